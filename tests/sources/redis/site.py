"""A Redis of a test's own, as the contracts want it."""

from __future__ import annotations

import base64
import contextlib
import json

import redis

from celerytop.model.address import Address, BrokerSettings, Endpoint, Secret
from tests.rig import RedisServer
from tests.sources.contract import SECRET, WRONG


class RedisSite:
    """Satisfies ``Site``."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.url = server.url()

    @property
    def settings(self) -> BrokerSettings:
        return settings_of(self.server, SECRET)

    @property
    def refused(self) -> BrokerSettings:
        return settings_of(self.server, WRONG)

    def publish(self, event: bytes) -> None:
        with self.client() as client:
            client.publish("/0.celeryev/task.multi", envelope(event))

    def connections(self) -> int:
        with self.client() as client:
            return sum(one["name"].startswith("celerytop") for one in client.client_list())

    def client(self) -> contextlib.closing[redis.Redis]:
        return contextlib.closing(self.server.client())

    def freeze(self) -> None:
        self.server.freeze()

    def thaw(self) -> None:
        self.server.thaw()

    def kill(self) -> None:
        self.server.kill()

    def restart(self) -> None:
        self.server.restart()


def settings_of(server: RedisServer, password: str | None = None, user: str | None = None) -> BrokerSettings:
    secret = Secret(password) if password else None
    where = (Endpoint("127.0.0.1", server.port),)
    return BrokerSettings(Address("redis", where, username=user, password=secret, url="redis://***"))


def envelope(event: bytes) -> bytes:
    """What kombu PUBLISHes."""
    return json.dumps(
        {
            "body": base64.b64encode(event).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"hostname": "w@h"},
            "properties": {"body_encoding": "base64", "delivery_info": {"exchange": "celeryev"}},
        }
    ).encode()

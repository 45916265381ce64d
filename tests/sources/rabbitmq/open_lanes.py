"""What the tests of this folder share: settings for a vhost, lanes that are closed again, one poll."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
import pika

from celerytop.model.address import Address, BrokerSettings, Endpoint, Secret
from celerytop.model.broker import RabbitBroker
from celerytop.model.observation import BrokerMeasured, Observation, QueuesMeasured, WorkersAnswered
from celerytop.model.queue import Queue
from celerytop.sources.base import Interest, Lane, Probe
from celerytop.sources.rabbitmq.lane import rabbit_lanes
from tests.rig import Child, RabbitServer, wait_until
from tests.sources.contract import WRONG


def settings_for(
    server: RabbitServer, vhost: str = "/", user: str = "guest", password: str = "guest", **more: Any
) -> BrokerSettings:
    """Settings of a vhost, management API included; ``more`` changes any of them."""
    address = Address("rabbitmq", (Endpoint("127.0.0.1", server.port),), user, Secret(password), vhost=vhost)
    return msgspec.structs.replace(BrokerSettings(address, management_url=server.management_url), **more)


@contextmanager
def lanes_of(settings: BrokerSettings, *names: str, passive: bool = False) -> Iterator[dict[str, Lane]]:
    """Connected lanes by name: all, or those named."""
    lanes = {lane.name: lane for lane in rabbit_lanes(settings, passive) if not names or lane.name in names}
    try:
        for lane in lanes.values():
            lane.connect()
        yield lanes
    finally:
        for lane in lanes.values():
            lane.close()


def probe_of(lanes: dict[str, Lane], name: str) -> Probe:
    """The probe of this source name."""
    return next(probe for lane in lanes.values() for probe in lane.probes if probe.name == name)


def ask(lanes: dict[str, Lane], name: str, interest: Interest | None = None) -> list[Observation]:
    """One poll of one probe."""
    probe = probe_of(lanes, name)
    probe.attend(interest or Interest())
    return list(probe.poll())


def queues_in(observations: list[Observation]) -> dict[str, Queue]:
    """Queues by name, of the one ``QueuesMeasured`` among them."""
    (measured,) = [found for found in observations if isinstance(found, QueuesMeasured)]
    return {queue.name: queue for queue in measured.queues}


def broker_in(observations: list[Observation]) -> RabbitBroker:
    """The newest picture of the broker."""
    broker = [found for found in observations if isinstance(found, BrokerMeasured)][-1].broker
    assert isinstance(broker, RabbitBroker)
    return broker


def answers_in(observations: list[Observation]) -> WorkersAnswered | None:
    """What the workers answered, if they were asked."""
    return next((found for found in observations if isinstance(found, WorkersAnswered)), None)


@contextmanager
def channel_of(server: RabbitServer, vhost: str) -> Iterator[Any]:
    """A channel of somebody else, to make queues and messages with."""
    connection = pika.BlockingConnection(pika.URLParameters(server.url(vhost)))
    try:
        yield connection.channel()
    finally:
        if connection.is_open:
            connection.close()


def inventory(server: RabbitServer, vhost: str) -> dict[str, Any]:
    """Everything in a vhost that looking must not change."""
    queues = server.api("GET", f"/queues/{vhost}?columns=name,arguments,durable,policy&disable_stats=true")
    return {
        "queues": sorted(queue["name"] for queue in queues),
        "exchanges": sorted(found["name"] for found in server.api("GET", f"/exchanges/{vhost}?columns=name")),
        "bindings": sorted(found["source"] + found["destination"] for found in server.api("GET", f"/bindings/{vhost}")),
        "policies": server.api("GET", f"/policies/{vhost}"),
        "permissions": server.api("GET", f"/vhosts/{vhost}/permissions"),
    }


def own_connections(server: RabbitServer, vhost: str | None = None) -> list[str]:
    """Connections that call themselves celerytop, of all vhosts or one. The API tells of them some time later."""
    columns = "name,vhost,client_properties"
    return [
        found["name"]
        for found in server.api("GET", f"/connections?columns={columns}")
        if (found.get("client_properties") or {}).get("connection_name") == "celerytop"
        and vhost in (None, found["vhost"])
    ]


class RabbitSite:
    """A vhost of a test's own, as the contracts want it; a worker has been here, so its exchange exists."""

    def __init__(self, server: RabbitServer, vhost: str) -> None:
        self.server: Child = server
        self._rabbit = server
        self._vhost = vhost
        with channel_of(server, vhost) as channel:
            channel.exchange_declare("celeryev", "topic", durable=True)

    @property
    def url(self) -> str:
        return self._rabbit.url(self._vhost)

    @property
    def settings(self) -> BrokerSettings:
        return settings_for(self._rabbit, self._vhost)

    @property
    def refused(self) -> BrokerSettings:
        return settings_for(self._rabbit, self._vhost, password=WRONG)

    def publish(self, event: bytes) -> None:
        with channel_of(self._rabbit, self._vhost) as channel:
            channel.basic_publish("celeryev", "task.multi", event)

    def connections(self) -> int:
        return len(own_connections(self._rabbit, self._vhost))

    def freeze(self) -> None:
        self.server.freeze()

    def thaw(self) -> None:
        self.server.thaw()

    def kill(self) -> None:
        self.server.kill()

    def restart(self) -> None:
        self._rabbit.restart()

    def debris(self) -> list[str]:
        """Queues of ours that are still there after a while."""

        def ours() -> list[str]:
            queues = self._rabbit.api("GET", f"/queues/{self._vhost}?columns=name&disable_stats=true")
            return [queue["name"] for queue in queues if ".ctop." in queue["name"]]

        with suppress(TimeoutError):
            wait_until(lambda: not ours())
        return ours()

    # ----------------------------------------------------------------------------------- QueuesContract's words
    def lane(self, password: str | None = None) -> Lane:
        settings = settings_for(self._rabbit, self._vhost, password=password or "guest")
        return next(lane for lane in rabbit_lanes(settings) if lane.name == "queues")

    def add(self, queue: str, count: int) -> None:
        with channel_of(self._rabbit, self._vhost) as channel:
            channel.confirm_delivery()
            channel.queue_declare(queue, durable=True)
            for _ in range(count):
                channel.basic_publish("", queue, b"x")

    def take(self, queue: str, count: int) -> None:
        with channel_of(self._rabbit, self._vhost) as channel:
            for _ in range(count):
                channel.basic_get(queue, auto_ack=True)

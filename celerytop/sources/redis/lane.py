"""Everything asked of a Redis broker, one question after the other over one connection."""

from __future__ import annotations

import contextlib
from typing import Any

import redis

from celerytop.errors import BrokerError
from celerytop.model.address import BrokerSettings
from celerytop.model.broker import OwnCost
from celerytop.sources.base import Probe
from celerytop.sources.redis.broker import RedisBrokerProbe
from celerytop.sources.redis.connection import connect
from celerytop.sources.redis.control import RedisControl
from celerytop.sources.redis.memory import KeyWalkProbe
from celerytop.sources.redis.pipeline import Pipeline
from celerytop.sources.redis.queues import RedisQueues


class RedisLane:
    """Satisfies ``Lane``. With the one of the events, celerytop has two connections in all."""

    name = "redis"

    def __init__(self, settings: BrokerSettings, passive: bool = False) -> None:
        """Choose what to ask; nothing is opened yet.

        Args:
            settings: the broker and Celery's names on it.
            passive: publish nothing: leave control out.
        """
        self._settings = settings
        self._client: redis.Redis | None = None
        self._connection: Any = None
        self.pipeline = Pipeline(self, settings.address)
        self._queues = RedisQueues(settings, self.pipeline)
        self._broker = RedisBrokerProbe(settings, self.pipeline, self.cost)
        self._walk = KeyWalkProbe(settings, self.pipeline, self._queues.names)
        looks: tuple[Probe, ...] = (self._queues, self._broker, self._walk)
        self._control = None if passive else RedisControl(settings, self)
        self.probes: tuple[Probe, ...] = looks if self._control is None else (self._control, *looks)

    @property
    def client(self) -> redis.Redis:
        """The connected client.

        Raises:
            BrokerError: there is none.
        """
        if self._client is None:
            raise BrokerError("not connected")
        return self._client

    def connect(self) -> None:
        """Open the connection anew; under sentinel to the master of now."""
        self.close()
        self._client = connect(self._settings.address)
        self._connection = _pin(self._client)
        self._connection.read_response = self.pipeline.counting(self._connection.read_response)
        self.pipeline.reset()
        self._queues.reset()
        self._broker.reset()
        self._walk.reset()

    def close(self) -> None:
        """Close it; late answers of workers are deleted first, unless the connection has broken."""
        client, self._client = self._client, None
        if client is None:
            return
        if self._control is not None and self._connection._sock is not None:
            self._control.close()
        with contextlib.suppress(redis.RedisError, OSError):
            client.close()

    def cost(self) -> OwnCost:
        """What this lane has cost so far; the stream of events is not counted."""
        into, out = self.pipeline.bytes or (None, None)
        return OwnCost(2, self.pipeline.commands, into, out, self.pipeline.rate())


def _pin(client: redis.Redis) -> Any:
    """Make ``client`` use its one connection for everything, and never open another behind our back.

    redis-py would take a second one for each pipeline, and connect again unasked when this one has broken: then a
    restart goes unnoticed, and after a failover the old master is asked on.
    """
    connection: Any = client.connection
    pool: Any = client.connection_pool

    def stay(*_: Any, **__: Any) -> None:
        if connection._sock is None:
            raise redis.ConnectionError("Connection closed")

    connection.connect_check_health = stay
    client.connection = None
    pool.max_connections = 1
    pool.release(connection)
    return connection

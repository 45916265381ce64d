"""What the AMQP lane and the management lane learn about one broker, put together.

Both tell their part of it and both pass on the whole, so that whoever receives a ``BrokerMeasured`` only ever replaces.
Lanes live in threads of their own: the one thing they share is this, under a lock.
"""

from __future__ import annotations

import threading
from typing import Any

import msgspec

from celerytop.model.address import BrokerSettings
from celerytop.model.broker import OwnCost, RabbitBroker
from celerytop.model.text import clean
from celerytop.sources.rabbitmq.connection import Link

OTHER_CONNECTIONS = 1
"""The event stream's: counted, its bytes are not, they are what the cluster sends anyway."""


class Meter:
    """What one lane has cost so far, over all its connections."""

    def __init__(self) -> None:
        self.commands = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.connections = 0
        self._link: Link | None = None

    def follow(self, link: Link | None) -> None:
        """Count a new connection from now on; ``None``: there is none."""
        if self._link is not None:
            self.commands += self._link.commands
            self.bytes_in += self._link.bytes_in
            self.bytes_out += self._link.bytes_out
        self._link = link
        self.connections = 0 if link is None else 1

    def read(self) -> tuple[int, int, int, int]:
        """Connections, commands, bytes in, bytes out."""
        link = self._link
        more = (0, 0, 0) if link is None else (link.commands, link.bytes_in, link.bytes_out)
        return self.connections, self.commands + more[0], self.bytes_in + more[1], self.bytes_out + more[2]


class Picture:
    """The broker as far as known."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.listed: frozenset[str] = frozenset()
        """Names of queues the management API lists, plumbing left out."""
        self.nodes: frozenset[str] | None = None
        """Node names with a pidbox, as the management API lists them; ``None``: nobody has said."""
        self.asked = threading.Event()
        """The management API has answered, or has failed."""
        self.meters = {lane: Meter() for lane in ("queues", "control", "management")}
        self._lock = threading.Lock()
        self._vhost = clean(settings.address.vhost, 64)
        self._broker = RabbitBroker(0.0, vhost=self._vhost)
        self._denied: dict[str, tuple[str, ...]] = {}
        self._paced: tuple[float, int] | None = None
        self._rate: float | None = None

    def tell(self, at: float, **facts: Any) -> RabbitBroker:
        """Put in what was learnt at ``at``; the whole, for a ``BrokerMeasured``."""
        with self._lock:
            denied = tuple(sorted({right for rights in self._denied.values() for right in rights}))
            self._broker = msgspec.structs.replace(
                self._broker, measured_at=at, denied=denied, cost=self._cost(at), **facts
            )
            return self._broker

    def deny(self, who: str, rights: tuple[str, ...]) -> None:
        """Note which rights one lane misses; ``()`` takes it back."""
        with self._lock:
            self._denied[who] = rights

    def lose_management(self, at: float, sentence: str) -> RabbitBroker:
        """The management API is gone: what only it can say is not known any more."""
        self.listed = frozenset()
        self.nodes = None
        self.deny("management", ())
        self.asked.set()
        return self.tell(at, management=sentence, **_UNKNOWN)

    def _cost(self, at: float) -> OwnCost:
        connections, commands, bytes_in, bytes_out = (
            sum(figures) for figures in zip(*(meter.read() for meter in self.meters.values()), strict=True)
        )
        if self._paced is None:
            self._paced = (at, commands)
        elif at - self._paced[0] >= 5.0:
            self._rate = (commands - self._paced[1]) / (at - self._paced[0])
            self._paced = (at, commands)
        return OwnCost(connections + OTHER_CONNECTIONS, commands, bytes_in, bytes_out, self._rate)


_UNKNOWN: dict[str, Any] = {
    "cluster_name": None,
    "nodes": (),
    "alarms": None,
    "clients": None,
    "channels": None,
    "messages": None,
    "unacked": None,
    "publish_rate": None,
    "deliver_rate": None,
    "delayed": None,
    "hidden_queues": 0,
    "hidden_memory": None,
    "client_list": None,
}

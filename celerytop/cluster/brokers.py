"""The broker's health over time: its memory's trend, what was seen once and holds for a while, its version."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from celerytop.cluster.statistics import History
from celerytop.model.broker import Broker, BrokerClient, KeyWalk, RabbitBroker, RedisBroker
from celerytop.model.host import Host

KEPT_FOR = 20.0
"""Seconds for which a client list or slow log counts that is not asked for in every look."""
GROWTH_OVER, GROWTH_LEAST = 600.0, 60.0
"""Seconds over which growth is taken, and that must be known."""


class BrokerBook:
    """The one broker of a cluster."""

    def __init__(self) -> None:
        self._broker: Broker | None = None
        self._walk: KeyWalk | None = None
        self._memory = History()
        self._listed_at = 0.0

    def measured(self, broker: Broker, at: float) -> None:
        """Take a new look. RabbitMQ's halves come put together."""
        before = self._broker
        if isinstance(broker, RedisBroker):
            self._memory.put(at, broker.used_memory)
            if broker.client_list is not None:
                self._listed_at = at
            elif isinstance(before, RedisBroker) and at - self._listed_at < KEPT_FOR:
                broker = replace(broker, client_list=before.client_list, slowlog=broker.slowlog or before.slowlog)
        else:
            used = [node.mem_used for node in broker.nodes if node.mem_used is not None]
            self._memory.put(at, sum(used) if used else None)
        self._broker = broker

    def walked(self, walk: KeyWalk) -> None:
        """The memory walk has come on."""
        self._walk = walk

    def picture(self, hosts: Mapping[str, Host]) -> Broker | None:
        """As a value; ``None`` before the first look. Connections of processes on ``hosts`` are named."""
        broker = self._broker
        if broker is None:
            return None
        trend, growth = self._memory.series(), self._memory.change(GROWTH_OVER, GROWTH_LEAST)
        clients = None if broker.client_list is None else _named(broker.client_list, hosts)
        if isinstance(broker, RedisBroker):
            walk = broker.walk or self._walk
            return replace(broker, memory_trend=trend, memory_growth=growth, walk=walk, client_list=clients)
        return replace(broker, memory_trend=trend, memory_growth=growth, client_list=clients)

    def clients(self) -> set[str]:
        """Far ends of the connections to our database, as far as they are listed."""
        rows = (self._broker.client_list or ()) if isinstance(self._broker, RedisBroker) else ()
        ours = {row.db for row in rows if row.own}
        return {row.address for row in rows if row.db in ours and not row.own}

    def owners(self) -> dict[str, str]:
        """Far ends of connections to the worker whose they are, where the broker (RabbitMQ) tells."""
        rows = (self._broker.client_list or ()) if self._broker is not None else ()
        return {row.address: row.worker for row in rows if row.worker is not None}

    def version(self) -> str | None:
        """E.g. ``redis 7.0.15``; ``None`` is not known."""
        broker = self._broker
        if broker is None or broker.version is None:
            return None
        return (
            f"RabbitMQ {broker.version}" if isinstance(broker, RabbitBroker) else f"{_server(broker)} {broker.version}"
        )

    def muted(self) -> str | None:
        """Why nobody can publish, workers included; ``None``: nothing known speaks against it."""
        broker = self._broker
        if not isinstance(broker, RabbitBroker):
            return None
        if broker.blocked is not None:
            return f"RabbitMQ blocks all who publish ({broker.blocked})"
        return f"RabbitMQ blocks all who publish (alarm: {broker.alarms[0]})" if broker.alarms else None

    def unacked(self) -> int | None:
        """Of all queues of this vhost, as RabbitMQ counts them."""
        return self._broker.unacked if isinstance(self._broker, RabbitBroker) else None


def _named(clients: tuple[BrokerClient, ...], hosts: Mapping[str, Host]) -> tuple[BrokerClient, ...]:
    """Whose connection it is: an address and port belong to one process of a machine at a time."""
    owners = {end: process for host in hosts.values() for process in host.processes for end in process.sockets or ()}
    if not owners:
        return clients
    return tuple(
        replace(client, worker=owner.nodename, pid=owner.pid) if (owner := owners.get(client.address)) else client
        for client in clients
    )


def _server(broker: RedisBroker) -> str:
    return broker.server or "redis"

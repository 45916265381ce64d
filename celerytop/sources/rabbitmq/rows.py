"""The management API's answers, row by row: untrusted JSON becomes typed, clean values.

RabbitMQ writes an empty object as ``[]`` now and then, and leaves out what it has not counted yet: whatever is not as
expected is ``None``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from celerytop.model.address import BrokerSettings
from celerytop.model.broker import BrokerClient, RabbitNode
from celerytop.model.queue import Queue
from celerytop.model.text import clean
from celerytop.sources.rabbitmq.names import delayed, node_of, plumbing
from celerytop.sources.wire_fields import flag, integer, name, number

QUEUE_COLUMNS = (
    "name",
    "type",
    "messages_ready",
    "messages_unacknowledged",
    "memory",
    "message_bytes",
    "message_stats.publish_details.rate",
    "message_stats.deliver_get_details.rate",
)
NODE_COLUMNS = (
    "name",
    "running",
    "mem_used",
    "mem_limit",
    "mem_alarm",
    "disk_free",
    "disk_free_limit",
    "disk_free_alarm",
    "fd_used",
    "fd_total",
    "sockets_used",
    "sockets_total",
    "proc_used",
    "proc_total",
    "uptime",
    "run_queue",
    "partitions",
)
CONNECTION_COLUMNS = (
    "name",
    "user",
    "state",
    "peer_host",
    "peer_port",
    "connected_at",
    "send_pend",
    "client_properties.connection_name",
    "client_properties.product",
    "client_properties.instance",
)
CONSUMER_COLUMNS = ("queue.name", "channel_details.connection_name")
OVERVIEW_COLUMNS = (
    "rabbitmq_version",
    "cluster_name",
    "object_totals",
    "message_stats.publish_details.rate",
    "message_stats.deliver_get_details.rate",
)


def dig(row: object, *path: str) -> Any:
    """The value at ``path``; ``None`` where the path ends early.

    >>> dig({"a": {"b": 1}}, "a", "b"), dig({"a": []}, "a", "b")
    (1, None)
    """
    for step in path:
        row = row.get(step) if isinstance(row, dict) else None
    return row


def rows(told: object) -> list[Mapping[str, Any]]:
    """The rows of a list, or of one page of it."""
    items = dig(told, "items") if isinstance(told, dict) else told
    return [row for row in items if isinstance(row, dict)] if isinstance(items, list) else []


class Listing:
    """All queues of a vhost, sorted into those a person cares for and the rest."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.queues: list[Queue] = []
        self.names: set[str] = set()
        """As the broker writes them."""
        self.nodes: set[str] = set()
        """Node names that have a pidbox."""
        self.hidden = 0
        self.hidden_memory = 0
        self._delayed: list[int | None] = []
        self._ready: list[int | None] = []
        self._settings = settings

    def add(self, page: Iterable[Mapping[str, Any]], at: float) -> None:
        """Sort in one page."""
        for row in page:
            raw = row.get("name")
            if not isinstance(raw, str) or not raw:
                continue
            if plumbing(raw, self._settings):
                self._hide(raw, row)
            else:
                self.names.add(raw)
                self.queues.append(_queue(raw, row, at))
                self._ready.append(integer(row.get("messages_ready")))

    def _hide(self, raw: str, row: Mapping[str, Any]) -> None:
        self.hidden += 1
        self.hidden_memory += integer(row.get("memory")) or 0
        if (whose := node_of(raw, self._settings)) is not None:
            self.nodes.add(clean(whose, 512))
        if delayed(raw):
            self._delayed.append(integer(row.get("messages_ready")))

    @property
    def delayed(self) -> int | None:
        """Messages in the queues of native delayed delivery; ``None``: there are none, or one is not counted yet."""
        return _sum(self._delayed) if self._delayed else None

    @property
    def unacked(self) -> int | None:
        """Of the queues of a person's business; ``None`` while one of them is not counted yet."""
        return _sum([queue.unacked for queue in self.queues])

    @property
    def messages(self) -> int | None:
        """The same, ready ones included."""
        return _sum([*self._ready, self.unacked])


def _sum(numbers: Sequence[int | None]) -> int | None:
    """``None`` while one of them is not known: a part is no total."""
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def _queue(raw: str, row: Mapping[str, Any], at: float) -> Queue:
    """What AMQP cannot say; ``messages`` and ``consumers`` are left to it, being up to six seconds old here."""
    return Queue(
        name(raw) or "",
        unacked=integer(row.get("messages_unacknowledged")),
        type=name(row.get("type")),
        exists=None,
        memory=integer(row.get("memory")),
        message_bytes=integer(row.get("message_bytes")),
        known_by=("management",),
        publish_rate=number(dig(row, "message_stats", "publish_details", "rate")),
        deliver_rate=number(dig(row, "message_stats", "deliver_get_details", "rate")),
        measured_at=at,
    )


def node(row: Mapping[str, Any]) -> RabbitNode:
    """One row of ``/api/nodes``."""
    uptime = number(row.get("uptime"))
    partitions = row.get("partitions")
    return RabbitNode(
        name(row.get("name")) or "?",
        running=flag(row.get("running")),
        mem_alarm=flag(row.get("mem_alarm")),
        disk_free_alarm=flag(row.get("disk_free_alarm")),
        uptime=uptime / 1000 if uptime is not None else None,
        partitions=len(partitions) if isinstance(partitions, list) else 0,
        **{field: integer(row.get(field)) for field in _NODE_NUMBERS},
    )


_NODE_NUMBERS = (
    "mem_used",
    "mem_limit",
    "disk_free",
    "disk_free_limit",
    "fd_used",
    "fd_total",
    "sockets_used",
    "sockets_total",
    "proc_used",
    "proc_total",
    "run_queue",
)


def alarms(told: object) -> tuple[str, ...]:
    """``memory on rabbit@a``, from ``/api/health/checks/alarms``; the answer is 503 while there are any."""
    listed = dig(told, "alarms")
    return tuple(
        f"{name(dig(alarm, 'resource')) or 'an alarm'} on {name(dig(alarm, 'node')) or '?'}"
        for alarm in (listed if isinstance(listed, list) else ())
    )


def overview(told: object) -> dict[str, Any]:
    """Fields of ``RabbitBroker`` that ``/api/overview`` knows."""
    return {
        "version": name(dig(told, "rabbitmq_version")),
        "cluster_name": name(dig(told, "cluster_name")),
        "clients": integer(dig(told, "object_totals", "connections")),
        "channels": integer(dig(told, "object_totals", "channels")),
        "publish_rate": number(dig(told, "message_stats", "publish_details", "rate")),
        "deliver_rate": number(dig(told, "message_stats", "deliver_get_details", "rate")),
    }


def owners(told: object, settings: BrokerSettings) -> dict[str, str]:
    """Connection name -> node name: who consumes ``<node>.celery.pidbox`` is that worker."""
    found: dict[str, str] = {}
    for row in rows(told):
        queue, connection = dig(row, "queue", "name"), dig(row, "channel_details", "connection_name")
        whose = node_of(queue, settings) if isinstance(queue, str) else None
        if whose is not None and isinstance(connection, str):
            found[connection] = name(whose) or "?"
    return found


def _bracketed(host: str | None) -> str:
    """A peer's address as in ``ip:port``.

    >>> _bracketed("::ffff:10.0.0.5"), _bracketed("fe80::1"), _bracketed(None)
    ('10.0.0.5', '[fe80::1]', '?')
    """
    host = (host or "?").removeprefix("::ffff:").strip("[]")
    return f"[{host}]" if ":" in host else host


def client(row: Mapping[str, Any], workers: Mapping[str, str], own: str, now: float) -> BrokerClient:
    """One row of ``/api/connections``."""
    since = number(row.get("connected_at"))
    host, port = name(row.get("peer_host")), integer(row.get("peer_port"))
    told = dig(row, "client_properties", "connection_name") or dig(row, "client_properties", "product")
    return BrokerClient(
        f"{_bracketed(host)}:{port if port is not None else '?'}",
        name=name(told),
        user=name(row.get("user")),
        state=name(row.get("state")),
        age=max(0.0, now - since / 1000) if since is not None else None,
        output_buffer=integer(row.get("send_pend")),
        worker=workers.get(str(row.get("name"))),
        own=dig(row, "client_properties", "instance") == own,
    )

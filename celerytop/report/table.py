"""A Snapshot as plain text: the same columns as the screen, no escape codes, for watch, cron and tickets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from celerytop import columns
from celerytop.columns import Column, Look
from celerytop.format import count, cut, duration, pad, rate, size
from celerytop.model.broker import RabbitBroker, RedisBroker
from celerytop.model.observation import UP
from celerytop.model.snapshot import Snapshot
from celerytop.report.choice import Choice
from celerytop.report.once import ills
from celerytop.select import ordered

_LISTED = 200
"""Rows of one table; what is more is said in a line."""


def as_text(snapshot: Snapshot, choice: Choice, *, width: int = 120, look: Look | None = None) -> str:
    """The whole report, ending in a line feed."""
    look = look or Look(ascii=True)
    lines = [*_header(snapshot)]
    if choice.shows("queues"):
        lines += _section("QUEUES", "queues", columns.QUEUES, choice.queues(snapshot), snapshot, width, look)
    if choice.shows("workers"):
        lines += _section("WORKERS", "workers", columns.WORKERS, choice.workers(snapshot), snapshot, width, look)
    if choice.shows("tasks"):
        lines += _section("TASKS", "tasks", columns.TASKS, choice.tasks(snapshot), snapshot, width, look)
    if choice.shows("types"):
        lines += _section("TYPES", "types", columns.TYPES, choice.types(snapshot), snapshot, width, look)
    if choice.shows("broker"):
        lines += ["", "BROKER", *_broker(snapshot)]
    if choice.shows("hosts"):
        for host in snapshot.hosts.values():
            title = f"HOST {host.name}"
            lines += _section(title, "hosts", columns.PROCESSES, host.processes, snapshot, width, look)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _header(snapshot: Snapshot) -> Iterator[str]:
    cluster, totals = snapshot.cluster, snapshot.totals
    words = [cluster.name, cluster.url, cluster.version, cluster.tls, cluster.mode]
    yield "celerytop  " + "  ".join(word for word in words if word)
    yield (
        f"workers {count(totals.workers_alive)}/{count(totals.workers)} up"
        f"   slots {count(totals.slots_busy)}/{count(totals.slots)} busy"
        f"   ready {count(totals.ready)} {rate(totals.ready_rate)}/s"
        f"   unacked {count(totals.unacked)}   failed {rate(totals.failed_per_minute)}/min"
    )
    for source in snapshot.sources:
        if source.state != UP:
            yield f"! {source.name} {source.state}: {source.error or 'no answer yet'}"
    yield from (f"! {ill}" for ill in ills(snapshot.broker))
    yield from (f"- {sentence}" for sentence in columns.losses(snapshot))
    if snapshot.bad_events:
        yield f"- the last bad event: {columns.last_bad(snapshot.bad_events[-1], snapshot.at)}"
    said = {source.error for source in snapshot.sources if source.state != UP}
    yield from (f"- {note}" for note in snapshot.notes if note not in said)


def _section(
    title: str,
    page: str,
    known: Sequence[Column],
    rows: Sequence[Any],
    snapshot: Snapshot,
    width: int,
    look: Look,
) -> list[str]:
    fitted = columns.fit(known, width)
    key, reverse = columns.DEFAULT_SORT[page]
    column = next(column for column in known if column.key == key)
    shown = ordered(rows, lambda row: column.value(row, snapshot), reverse, _LISTED) if page != "hosts" else rows
    out = [
        "",
        f"{title} {len(rows)}",
        _line((pad(column.title, room, column.align) for column, room in fitted)),
    ]
    for row in shown:
        cells = ((column, room, column.text(row, snapshot, look)) for column, room in fitted)
        out.append(_line(pad(cut(text, room), room, column.align) for column, room, text in cells))
    if len(rows) > _LISTED and page != "hosts":
        out.append(f" ... {len(rows) - _LISTED:,} more: narrow it with --filter")
    return out


def _line(cells: Iterator[str]) -> str:
    return " ".join(cells)


def _broker(snapshot: Snapshot) -> Iterator[str]:
    broker = snapshot.broker
    if broker is None:
        yield " ?"
    elif isinstance(broker, RedisBroker):
        yield from _redis(broker)
    else:
        yield from _rabbit(broker)


def _redis(broker: RedisBroker) -> Iterator[str]:
    limit = "no limit" if broker.maxmemory == 0 else size(broker.maxmemory)
    yield f" {broker.server or 'redis'} {broker.version or '?'}  {broker.role or '?'}  up {duration(broker.uptime)}"
    yield (
        f" memory {size(broker.used_memory)} of {limit}  peak {size(broker.used_memory_peak)}"
        f"  policy {broker.maxmemory_policy or '?'}"
    )
    yield (
        f" clients {count(broker.clients)} of {count(broker.maxclients)}  blocked {count(broker.blocked_clients)}"
        f"  ops {rate(broker.ops_rate)}/s  evicted {count(broker.evicted_keys)}"
        f"  rejected {count(broker.rejected_connections)}"
    )
    if broker.trouble:
        yield f" ! {broker.trouble}"
    if broker.denied:
        yield f" - may not: {' '.join(broker.denied)}"


def _rabbit(broker: RabbitBroker) -> Iterator[str]:
    yield f" rabbitmq {broker.version or '?'}  {broker.cluster_name or ''}  vhost {broker.vhost or '?'}"
    yield from (f" ! alarm: {alarm}" for alarm in broker.alarms or ())
    if broker.management:
        yield f" - {broker.management}"
    for node in broker.nodes:
        yield (
            f" {node.name}  memory {size(node.mem_used)} of {size(node.mem_limit)}"
            f"  disk free {size(node.disk_free)}  fds {count(node.fd_used)} of {count(node.fd_total)}"
        )

"""A queue in full: its backlog, what waits in it, who fills it and who empties it."""

from __future__ import annotations

from collections.abc import Iterator

from celerytop import format as fmt
from celerytop.columns import Look
from celerytop.columns.queues import queue_tone
from celerytop.columns.workers import slots, state_word, worker_tone
from celerytop.model.queue import Queue, QueueSample
from celerytop.model.snapshot import Snapshot
from celerytop.ui.details import forecast
from celerytop.ui.details.line import (
    BLANK,
    Col,
    Line,
    Span,
    Target,
    field,
    fold,
    heading,
    line,
    pairs,
    row,
    ruler,
    shares,
)
from celerytop.ui.details.messages import ENDS, columns, end, message_line

_WORKERS = 12


def lines(snapshot: Snapshot, name: str, look: Look, width: int) -> list[Line]:
    """The whole page."""
    queue = snapshot.queues.get(name)
    if queue is None:
        return [BLANK, line((" This queue is not known (any more).", "dim"))]
    return [
        *_backlog(queue, look, width),
        *_facts(queue, width, look),
        *_consumers(queue, snapshot, look, width),
        *_sample(queue, snapshot, look, width),
        *_unacked(queue, snapshot, look, width),
    ]


def title(snapshot: Snapshot, name: str) -> list[Span]:
    """Its state, for the line above the page."""
    queue = snapshot.queues.get(name)
    if queue is None:
        return []
    tone = queue_tone(queue, snapshot)
    word = queue.state or "state not known"
    return [(word.upper() if tone in ("bad", "warn") else word, "dim" if tone == "unknown" else tone)]


def _backlog(queue: Queue, look: Look, width: int) -> Iterator[Line]:
    """The first lines: how much, how fast, what will be."""
    values = queue.trend.values if queue.trend is not None else ()
    known = [value for value in values if value is not None]
    trend = fmt.sparkline(values, min(len(values), max(10, width - 52), 60), look.ascii) if known else ""
    label = f"{fmt.count(queue.messages)} ready"
    note = f"10 min, max {fmt.count(max(known))}" if known else "no history yet"
    yield field("backlog", (label, "title"), "   ", (trend, "note"), "   " if known else "", (note, "dim"))
    yield field(
        "rates",
        *pairs(
            ("in", f"{fmt.rate(queue.in_rate)}/s"),
            ("out", f"{fmt.rate(queue.out_rate)}/s"),
            ("net", f"{fmt.rate(queue.net_rate, signed=True)}/s"),
        ),
    )
    if (told := _by_broker(queue)) is not None:
        yield told
    yield field("forecast", forecast.backlog(queue))


def _by_broker(queue: Queue) -> Line | None:
    if queue.publish_rate is None and queue.deliver_rate is None:
        return None
    rates = f"published {fmt.rate(queue.publish_rate)}/s, delivered {fmt.rate(queue.deliver_rate)}/s"
    return field("", (f"by the management API: {rates}", "dim"))


def _oldest(queue: Queue) -> str:
    if queue.oldest_age is None:
        return "-" if queue.messages == 0 else "?"
    return ("at least " if queue.oldest_at_least else "") + fmt.duration(queue.oldest_age)


def _facts(queue: Queue, width: int, look: Look) -> Iterator[Line]:
    yield field(
        "oldest", *pairs(("", _oldest(queue)), ("unacked", fmt.count(queue.unacked)), ("type", queue.type or "?"))
    )
    yield field(
        "size",
        *pairs(
            ("memory", fmt.size(queue.memory)),
            ("messages", fmt.size(queue.message_bytes) if queue.message_bytes is not None else ""),
            ("next", fmt.size(queue.head.size) if queue.head is not None and queue.head.size else ""),
        ),
    )
    if queue.by_priority:
        steps = "   ".join(f"{step}: {fmt.count(number)}" for step, number in queue.by_priority)
        yield from fold("priorities", steps, width, look, most=2)
    if queue.exists is False:
        yield field("", ("It does not exist on the broker.", "bad"))
    if queue.known_by:
        yield field("known by", (", ".join(queue.known_by), "dim"))


# -------------------------------------------------------------------------------------------------- consumers
def _consumers(queue: Queue, snapshot: Snapshot, look: Look, width: int) -> Iterator[Line]:
    yield ruler("consumers", width, f"{fmt.count(queue.consumers)} by {_asked(queue)}")
    if not queue.workers:
        if queue.consumers == 0:
            tone = "bad" if queue.messages else "dim"
            yield line(("  none", tone))
        else:
            yield line(("  no worker has told that it consumes this queue", "dim"))
        return
    table = (Col("WORKER", 28), Col("BUSY", 7, "right"), Col("DONE/s", 7, "right"), Col("STATE", 12))
    yield heading(table, width)
    for nodename in queue.workers[:_WORKERS]:
        worker = snapshot.workers.get(nodename)
        target = Target("worker", nodename)
        if worker is None:
            yield row(table, (nodename, "?", "?", "?"), width, look, target=target)
            continue
        tone = worker_tone(worker, snapshot)
        state = (state_word(worker), {"unknown": "dim", "failed": "bad"}.get(tone, tone))
        yield row(
            table,
            (nodename, slots(worker), fmt.rate(worker.done_rate), state),
            width,
            look,
            "!" if tone in ("bad", "failed") else " ",
            target,
        )
    if len(queue.workers) > _WORKERS:
        yield line((f"  and {len(queue.workers) - _WORKERS} more", "dim"))


def _asked(queue: Queue) -> str:
    return "the workers' word" if queue.type in ("list", None) else "the broker's word"


# ----------------------------------------------------------------------------------------------------- sample
def _sample(queue: Queue, snapshot: Snapshot, look: Look, width: int) -> Iterator[Line]:
    sample = snapshot.samples.get(queue.name)
    if sample is None:
        yield ruler("what waits", width)
        empty = queue.messages == 0
        yield line(("  nothing" if empty else "  not looked at yet", "dim"))
        return
    age = fmt.ago(max(0.0, snapshot.at - sample.at))
    if sample.note is not None:
        yield ruler("what waits", width, age)
        yield line((f"  {sample.note}", "warn"))
        if not sample.sampled:
            return
    else:
        seen = f"{fmt.count(sample.sampled)} of {fmt.count(sample.total)} looked at, from both ends, {age}"
        yield ruler("what waits, by task", width, seen if width >= 78 else age)
    if not sample.sampled:
        yield line(("  nothing", "dim"))
        return
    yield from shares(sample.by_name, sample.sampled, width, look)
    yield from _oddities(sample)
    if sample.by_origin:
        yield ruler("who sent it", width)
        yield from shares(sample.by_origin, sample.sampled, width, look, most=6, noun="producers")
    more = "]: all of them, page by page" if sample.total > ENDS else ""
    yield from end("next to run", sample.oldest, snapshot, look, width, more)
    yield from end("newest", sample.newest, snapshot, look, width)


def _oddities(sample: QueueSample) -> Iterator[Line]:
    sizes = sample.sizes
    yield field(
        "sizes",
        *pairs(("p50", fmt.size(sizes.p50)), ("p95", fmt.size(sizes.p95)), ("most", fmt.size(sizes.max))),
    )
    spans: list[Span] = []
    for word, number, tone in (
        ("duplicates", sample.duplicates, "warn"),
        ("expired", sample.expired, "warn"),
        ("later (ETA)", sample.with_eta, "note"),
        ("retries", sample.retries, "note"),
        ("redelivered", sample.redelivered, "warn"),
    ):
        spans += [("   " if spans else "", ""), (f"{word} ", "dim"), (fmt.count(number), tone if number else "")]
    yield field("of these", *spans)


# ---------------------------------------------------------------------------------------------------- unacked
def _unacked(queue: Queue, snapshot: Snapshot, look: Look, width: int) -> Iterator[Line]:
    """What workers hold: on Redis one hash for all queues, of which a bounded part is known."""
    unacked = snapshot.unacked
    if unacked is None:
        return
    mine = [message for message in unacked.messages if message.queue == queue.name]
    orphaned = dict(unacked.orphaned_by_queue).get(queue.name)
    if not mine and not orphaned and not queue.unacked:
        return
    part = "" if unacked.complete else f"{len(unacked.messages):,} of {unacked.count:,} looked at"
    yield ruler("taken, not acknowledged", width, part)
    back = unacked.visibility_timeout
    yield field(
        "unacked",
        *pairs(("", fmt.count(queue.unacked)), ("given back after", fmt.duration(back) if back is not None else "?")),
    )
    if orphaned:
        yield field("orphaned", (f"{fmt.count(orphaned)} are claimed by no living worker", "warn"))
    if not mine:
        return
    table = columns("TAKEN", width)
    yield heading(table, width)
    for message in sorted(mine, key=lambda item: item.reserved_at or snapshot.at)[:ENDS]:
        age = None if message.reserved_at is None else max(0.0, snapshot.at - message.reserved_at)
        yield message_line(table, message, fmt.ago(age), look, width)

"""Columns of the queues page."""

from __future__ import annotations

import math

from celerytop import format as fmt
from celerytop.columns.column import Column, Look
from celerytop.model.queue import Queue
from celerytop.model.snapshot import Snapshot

FEW = 20
"""Messages below which no forecast is worth a word."""

_TONES = {"no consumer": "bad", "gone": "bad", "growing": "warn", "idle": "dim", "unused": "dim"}


def queue_tone(queue: Queue, snapshot: Snapshot) -> str:
    """How a queue is: bad when nobody takes its work, warn when it grows, unknown when it cannot be said."""
    if queue.state is None:
        return "unknown" if queue.messages is None else ""
    return _TONES.get(queue.state, "")


def _state(queue: Queue, snapshot: Snapshot, look: Look) -> str:
    if queue.state is None:
        return fmt.UNKNOWN
    return queue.state.upper() if _TONES.get(queue.state) in ("bad", "warn") else queue.state


def _state_order(queue: Queue, snapshot: Snapshot) -> object:
    order = ("unused", "idle", "steady", "draining", "growing", "gone", "no consumer")
    return order.index(queue.state) if queue.state in order else None


def _name_tone(queue: Queue, snapshot: Snapshot) -> str:
    tone = queue_tone(queue, snapshot)
    return "" if tone == "unknown" else tone


def _state_tone(queue: Queue, snapshot: Snapshot) -> str:
    return _name_tone(queue, snapshot) or ("dim" if queue.state is None else "")


def _drains(queue: Queue, snapshot: Snapshot, look: Look) -> str:
    """``-`` below 20 messages, where no forecast applies; ``?`` while the rates are not known."""
    if queue.drains_in is None:
        return fmt.NONE if queue.messages is not None and queue.messages < FEW else fmt.UNKNOWN
    return fmt.duration(queue.drains_in)


def _oldest(queue: Queue, snapshot: Snapshot, look: Look) -> str:
    if queue.oldest_age is None:
        return fmt.NONE if queue.messages == 0 else fmt.UNKNOWN
    return (">" if queue.oldest_at_least else "") + fmt.duration(queue.oldest_age)


def _trend(width: int, look: Look, queue: Queue) -> str:
    values = queue.trend.values if queue.trend is not None else ()
    if not any(value is not None for value in values):
        return fmt.UNKNOWN.rjust(width)
    if not any(values) and queue.state == "unused":
        return "." * width
    return fmt.sparkline(values, width, look.ascii)


def trend_change(queue: Queue) -> float | None:
    """Messages more than at the start of its trend."""
    known = [value for value in queue.trend.values if value is not None] if queue.trend is not None else []
    return known[-1] - known[0] if known else None


def _net_tone(queue: Queue, snapshot: Snapshot) -> str:
    return "warn" if queue.state in ("growing", "no consumer") else ""


def _priorities(queue: Queue, snapshot: Snapshot, look: Look) -> str:
    if not queue.by_priority:
        return fmt.NONE
    return " ".join(f"{step}:{fmt.count(number)}" for step, number in queue.by_priority)


def _trend_column(width: int, title: str, wider: Column | None) -> Column:
    return Column(
        "trend", title, width, "left",
        lambda queue, snapshot: trend_change(queue),
        lambda queue, snapshot, look: _trend(width, look, queue),
        "READY over the last ten minutes, highest at its full height",
        tone=lambda queue, snapshot: "note" if queue.messages else "dim", wider=wider,
    )  # fmt: skip


# fmt: off
QUEUES: tuple[Column, ...] = (
    Column("queue", "QUEUE", 12, "left", lambda q, s: q.name, lambda q, s, k: q.name,
           "name of the queue", tone=_name_tone, flexible=True, most=48),
    Column("type", "TYPE", 7, "left", lambda q, s: q.type, lambda q, s, k: q.type or fmt.UNKNOWN,
           "list (Redis), classic, quorum or stream", drop=50, optional=True),
    Column("ready", "READY", 9, "right", lambda q, s: q.messages, lambda q, s, k: fmt.count(q.messages),
           "messages that wait for a worker to take them", tone=_name_tone),
    Column("unacked", "UNACK", 6, "right", lambda q, s: q.unacked, lambda q, s, k: fmt.count(q.unacked),
           "messages a worker has taken and not acknowledged", drop=30),
    _trend_column(8, "10 min", _trend_column(16, "BACKLOG 10 min", None)),
    Column("in", "IN/s", 6, "right", lambda q, s: q.in_rate, lambda q, s, k: fmt.rate(q.in_rate),
           "messages that come in a second", drop=40),
    Column("out", "OUT/s", 6, "right", lambda q, s: q.out_rate, lambda q, s, k: fmt.rate(q.out_rate),
           "messages that workers take a second", drop=40),
    Column("net", "NET/s", 6, "right", lambda q, s: q.net_rate,
           lambda q, s, k: fmt.rate(q.net_rate, signed=True),
           "change of READY a second over two minutes", tone=_net_tone),
    Column("drains", "DRAINS", 6, "right", lambda q, s: q.drains_in, _drains,
           "time until it is empty at this rate; no forecast below 20 messages",
           tone=lambda q, s: "warn" if q.drains_in == math.inf else ""),
    Column("oldest", "OLDEST", 7, "right", lambda q, s: q.oldest_age, _oldest,
           "age of the message that is next; > when only a lower bound is known", drop=20),
    Column("consumers", "CONS", 4, "right", lambda q, s: q.consumers, lambda q, s, k: fmt.count(q.consumers),
           "workers that consume it", drop=10,
           tone=lambda q, s: "bad" if q.consumers == 0 and q.messages else ""),
    Column("memory", "MEMORY", 7, "right", lambda q, s: q.memory, lambda q, s, k: fmt.size(q.memory),
           "memory it takes on the broker", drop=60, optional=True),
    Column("bytes", "BYTES", 7, "right", lambda q, s: q.message_bytes,
           lambda q, s, k: fmt.size(q.message_bytes), "size of its messages", drop=61, optional=True),
    Column("state", "STATE", 11, "left", _state_order, _state,
           "no consumer, growing, draining, steady, idle, unused, gone", tone=_state_tone),
    Column("priorities", "PRIORITIES", 20, "left", lambda q, s: len(q.by_priority), _priorities,
           "messages by priority step", drop=70, flexible=True, optional=True),
)
# fmt: on

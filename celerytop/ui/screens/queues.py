"""Page 1: queues, their backlog and where it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual.screen import Screen

from celerytop import columns as col
from celerytop.format import clock, count, rate, size, sparkline
from celerytop.model.queue import Queue
from celerytop.model.snapshot import Snapshot
from celerytop.ui.acting import Offer
from celerytop.ui.details.forecast import backlog
from celerytop.ui.screens.acting_page import ActingPage
from celerytop.ui.widgets.painted import Spans
from celerytop.ui.widgets.rows import Row
from celerytop.ui.widgets.scroll import ruler

_LABEL = 16


class QueuesPage(ActingPage):
    """Page 1."""

    page = "queues"
    title = "Queues"
    needs = ("queues",)
    columns = col.QUEUES
    nothing = "no queue is known yet: none is bound, named by a worker or by an event"
    lower_height = 8
    WORDS: ClassVar[tuple[tuple[str, str], ...]] = (
        ("!", "work waits and nobody takes it, or the queue is gone"),
        ("~", "it grows"),
        ("never", "it is not emptied at this rate: IN is not below OUT"),
    )

    def items(self, snapshot: Snapshot) -> Mapping[str, Any]:
        """See ``TablePage``."""
        return snapshot.queues

    def ids(self, snapshot: Snapshot) -> Sequence[str]:
        """By name, where the order does not tell them apart."""
        return sorted(self.known)

    def tone(self, item: Queue, snapshot: Snapshot) -> str:
        """See ``TablePage``."""
        return col.queue_tone(item, snapshot)

    def details(self, row: Row) -> Screen[None] | None:
        """See ``TablePage``."""
        from celerytop.ui.screens.queue_detail import QueueDetail

        return QueueDetail(row.id)

    def offers(self, ids: Sequence[str]) -> tuple[str, list[Offer]]:
        """See ``ActingPage``."""
        from celerytop.ui.offers import queues

        return (ids[0], queues.offers(ids[0], self.top.newest)) if ids else ("", [])

    def keys(self) -> Sequence[tuple[str, str]]:
        """See ``Page``."""
        return (
            ("up/dn", "move"), ("enter", "open"), ("x", "act"), ("/", "filter"), ("s", "sort"), ("c", "columns"),
            ("space", "pause"), ("y", "copy"), ("?", "help"), ("q", "quit"),
        )  # fmt: skip

    def lower(self, row: Row, snapshot: Snapshot, width: int) -> Sequence[Spans]:
        """Trend, rates, forecast, sizes, consumers of one queue."""
        queue: Queue = row.item
        ascii = self.top.ascii
        room = max(10, min(60, width - 60))
        trend = queue.trend.values if queue.trend is not None else ()
        known = [value for value in trend if value is not None]
        most = f"10 min, max {count(max(known, default=None))}"
        known_by = ", ".join(queue.known_by) or "?"
        return [
            ruler(queue.name, width, "enter: full page"),
            _graph("backlog", count(queue.messages), sparkline(trend, room, ascii), most),
            _graph("in", rate(queue.in_rate) + "/s", "", _published(queue)),
            _graph("out", rate(queue.out_rate) + "/s", "", _next(queue)),
            _fact("forecast", *backlog(queue)),
            _fact("sizes", _sizes(queue)),
            _fact("consumers", _consumers(queue), "bad" if queue.consumers == 0 else ""),
            _fact("known by", f"{known_by}   measured {clock(queue.measured_at, self.top.utc)}"),
        ]


def _graph(label: str, value: str, graph: str, words: str) -> Spans:
    return [(f" {label:<8}{value:>9}  ", ""), (graph, "note"), ("   " if graph else "", ""), (words, "dim")]


def _fact(label: str, words: str, tone: str = "") -> Spans:
    return [(f" {label:<{_LABEL}}", ""), (words, tone)]


def _published(queue: Queue) -> str:
    if queue.publish_rate is None:
        return ""
    return f"published {rate(queue.publish_rate)}/s by the broker's word"


def _next(queue: Queue) -> str:
    head = queue.head
    if head is None:
        return ""
    return f"next: {head.name or '?'} {(head.task_id or '')[:8]}".rstrip()


def _sizes(queue: Queue) -> str:
    parts = []
    if queue.head is not None:
        parts.append(f"next message {size(queue.head.size)}")
    if queue.memory is not None:
        parts.append(f"memory {size(queue.memory)}")
    if queue.message_bytes is not None:
        parts.append(f"messages {size(queue.message_bytes)}")
    if queue.by_priority:
        parts.append("priorities " + "  ".join(f"{step}:{count(number)}" for step, number in queue.by_priority))
    return "   ".join(parts) or "?"


def _consumers(queue: Queue) -> str:
    if queue.consumers == 0:
        return "none"
    names = ", ".join(queue.workers)
    return f"{count(queue.consumers)}   {names}".rstrip()

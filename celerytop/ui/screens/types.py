"""Page 8: task types: rate, failures, running times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual.screen import Screen

from celerytop import columns as col
from celerytop.format import count, duration, percent, sparkline
from celerytop.model.snapshot import Snapshot
from celerytop.model.task import TaskType
from celerytop.ui.screens.page import TablePage
from celerytop.ui.widgets.painted import Spans
from celerytop.ui.widgets.rows import Row
from celerytop.ui.widgets.scroll import ruler


class TypesPage(TablePage):
    """Page 8."""

    page = "types"
    title = "Types"
    needs = ("events",)
    columns = col.TYPES
    nothing = "no task has been seen yet: workers without -E send no task events"
    lower_height = 5
    WORDS: ClassVar[tuple[tuple[str, str], ...]] = (
        ("!", "half of its runs or more fail"),
        ("~", "one run in twenty fails"),
        ("?", "not known; - does not apply"),
        ("since", "everything is counted since celerytop started"),
    )

    def items(self, snapshot: Snapshot) -> Mapping[str, Any]:
        """See ``TablePage``."""
        return snapshot.types

    def tone(self, item: TaskType, snapshot: Snapshot) -> str:
        """See ``TablePage``."""
        return col.type_tone(item, snapshot)

    def details(self, row: Row) -> Screen[None] | None:
        """Its tasks, on the tasks page."""
        self.top.main.show_tasks(f"name:{row.id}")
        return None

    def keys(self) -> Sequence[tuple[str, str]]:
        """See ``Page``."""
        return (
            ("up/dn", "move"), ("enter", "its tasks"), ("/", "filter"), ("s", "sort"), ("c", "columns"),
            ("space", "pause"), ("y", "copy"), ("?", "help"), ("q", "quit"),
        )  # fmt: skip

    def lower(self, row: Row, snapshot: Snapshot, width: int) -> Sequence[Spans]:
        """The counts in words."""
        kind: TaskType = row.item
        run, wait = kind.runtime, kind.waiting
        counted = (
            f" counted   received {count(kind.received)}   succeeded {count(kind.succeeded)}   "
            f"failed {count(kind.failed)}   retried {count(kind.retried)}   revoked {count(kind.revoked)}"
        )
        runtime = (
            f" runtime   p50 {duration(run.p50)}   p95 {duration(run.p95)}   p99 {duration(run.p99)}   "
            f"max {duration(run.max)}   of {count(run.count)} runs"
        )
        waiting = (
            f" waiting   p50 {duration(wait.p50)}   p95 {duration(wait.p95)}   of {count(wait.count)}   "
            f"share of slots {percent(kind.share)}"
        )
        graph = sparkline(kind.trend, max(10, min(60, width - 40)), self.top.ascii)
        return [
            ruler(kind.name, width, "enter: its tasks"),
            [(" done/s    ", ""), (graph, "note")],
            *([(text, "")] for text in (counted, runtime, waiting)),
        ]

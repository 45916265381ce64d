"""Page 9: what was done from here, newest first, and what was seen of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen

from celerytop.columns.actions import ACTIONS, report_tone
from celerytop.model.outcome import ActionReport
from celerytop.model.snapshot import Snapshot
from celerytop.ui.acting import offer
from celerytop.ui.details import outcome as told
from celerytop.ui.screens.action_detail import WORDS as VERDICTS
from celerytop.ui.screens.action_detail import ActionDetail
from celerytop.ui.screens.page import TablePage
from celerytop.ui.widgets.painted import Spans
from celerytop.ui.widgets.rows import Row
from celerytop.ui.widgets.scroll import ruler


class ActionsPage(TablePage):
    """Page 9."""

    page = "actions"
    title = "Actions"
    needs = ("events", "control")
    columns = ACTIONS
    nothing = "nothing has been done from here: K on a task, x on a row"
    lower_height = 8
    brief_height = 4
    WORDS: ClassVar[tuple[tuple[str, str], ...]] = VERDICTS
    BINDINGS: ClassVar[list[BindingType]] = [Binding("x", "offers", "What can be done without a row", show=False)]

    def items(self, snapshot: Snapshot) -> Mapping[str, Any]:
        """See ``TablePage``."""
        return {str(report.number): report for report in snapshot.actions}

    def ids(self, snapshot: Snapshot) -> Sequence[str]:
        """Newest first."""
        return list(self.known)[::-1]

    def heard(self, snapshot: Snapshot) -> bool:
        """What was done from here is known at once."""
        return True

    def tone(self, item: ActionReport, snapshot: Snapshot) -> str:
        """See ``TablePage``."""
        return report_tone(item, snapshot)

    def details(self, row: Row) -> Screen[None] | None:
        """See ``TablePage``."""
        return ActionDetail(row.item.action, number=row.item.number)

    def keys(self) -> Sequence[tuple[str, str]]:
        """See ``Page``."""
        return (
            ("up/dn", "move"), ("enter", "whole report"), ("x", "act"), ("s", "sort"), ("c", "columns"),
            ("y", "copy"), ("?", "help"), ("q", "quit"),
        )  # fmt: skip

    def copied(self) -> str | None:
        """Dump, new id, or number."""
        row = self.table.current
        return None if row is None else row.item.dump or row.item.new_id or row.id

    def lower(self, row: Row, snapshot: Snapshot, width: int) -> Sequence[Spans]:
        """Its first verdicts."""
        lines = told.lines(row.item, snapshot, self.top.columns_look, width)[1:]
        return [ruler(f"action {row.id}", width, "enter: whole report"), *(each.spans for each in lines)]

    def action_offers(self) -> None:
        """What needs no row."""
        from celerytop.ui.acting import Offer
        from celerytop.ui.offers import queues, tasks

        offer(self.top, "Act", [*tasks.others_offers(), Offer("restore a dump", "what was removed", queues.restore)])

"""A page whose rows can be acted on: ``v`` tags them, ``x`` opens the menu of what can be done, ``K`` stops tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from celerytop.ui.acting import TAGS, Offer, offer
from celerytop.ui.screens.page import TablePage
from celerytop.ui.widgets.rows import Row
from celerytop.ui.widgets.tagged import TagTable

MANY_AT_ONCE: tuple[BindingType, ...] = (
    Binding("K", "kill", "Stop: the kill ladder for this task, or the tagged ones (asks)", show=False),
    Binding("v", "tag", "Tag this row, or untag it", show=False),
    Binding("V", "untag", "Untag all rows", show=False),
)
"""For pages whose actions may hit several rows at once."""


class ActingPage(TablePage):
    """A table page with a menu of actions. A subclass gives ``offers``, and ``tasks_under`` where K works."""

    table_class = TagTable
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "act", "Act: the menu of what can be done here", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.tagged: dict[str, None] = {}
        """Ids, in the order they were tagged."""

    # ------------------------------------------------------------------------------------------- to override
    def offers(self, ids: Sequence[str]) -> tuple[str, list[Offer]]:
        """Title and lines of the menu for these rows."""
        return "Act", []

    def tag_of(self, row: Row) -> str:
        """What is tagged when the cursor stands here."""
        return row.id

    def tasks_under(self) -> Sequence[str]:
        """Ids of the tasks that K is for."""
        return ()

    # -------------------------------------------------------------------------------------------------- tags
    @property
    def chosen_rows(self) -> list[str]:
        """The tagged ones that are still there; without a tag, the one under the cursor."""
        tags = [row_id for row_id in self.tagged if row_id in self.known]
        row = self.table.current
        return tags or ([self.tag_of(row)] if row is not None else [])

    def action_tag(self) -> None:
        """Tag or untag."""
        row = self.table.current
        if row is None:
            return
        row_id = self.tag_of(row)
        self.tagged = {known: None for known in self.tagged if known in self.known}
        if row_id in self.tagged:
            del self.tagged[row_id]
        elif len(self.tagged) >= TAGS:
            self.top.say(f"{TAGS} rows are tagged: that is all at once; V untags them", "warn")
            return
        else:
            self.tagged[row_id] = None
        self._tags_changed()

    def action_untag(self) -> None:
        """Untag all."""
        self.tagged = {}
        self._tags_changed()

    def _tags_changed(self) -> None:
        table = self.table
        assert isinstance(table, TagTable)
        table.tagged = frozenset(self.tagged)
        table.repaint()
        self.top.main.draw_aside()

    def aside(self) -> str:
        """Also how many are tagged."""
        number = sum(row_id in self.known for row_id in self.tagged)
        return "  ".join(part for part in (f"{number} tagged" if number else "", super().aside()) if part)

    # ------------------------------------------------------------------------------------------------- act
    def action_act(self) -> None:
        """The menu."""
        title, lines = self.offers(self.chosen_rows)
        if lines:
            offer(self.top, title, lines)
        else:
            self.top.say("no row is here to act on")

    def action_kill(self) -> None:
        """The ladder."""
        from celerytop.ui.ladder import climb

        ids = self.tasks_under()
        if ids:
            climb(self.top, ids)
        else:
            self.top.say("K is for tasks: no task is under the cursor")

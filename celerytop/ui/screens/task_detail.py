"""A task on a page of its own, from which one walks to its root, parent and children."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from celerytop.columns import Look
from celerytop.model.command import Attend
from celerytop.model.snapshot import Snapshot
from celerytop.ui.details import task
from celerytop.ui.details.line import Line
from celerytop.ui.screens.walking import Walking
from celerytop.ui.widgets.painted import Spans


class TaskDetail(Walking):
    """All that is known of it. ``m`` shows its arguments as they are."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("K", "kill", "Stop: the kill ladder for this task (asks)", show=False),
        Binding("x", "act", "Act: the menu of what can be done here", show=False),
    ]
    page = "tasks"
    needs = ("events",)

    def crumbs(self, snapshot: Snapshot) -> Spans:
        """See ``Detail``."""
        return [(" Tasks > ", "dim"), (self.short_key, "title"), ("   ", ""), *task.title(snapshot, self.key)]

    def lines(self, snapshot: Snapshot, look: Look, width: int) -> Sequence[Line]:
        """See ``Walking``."""
        return task.lines(snapshot, self.key, look, width)

    def attend(self) -> Attend:
        """See ``Frame``."""
        return Attend(page=self.page, task_id=self.key)

    def keys(self) -> Sequence[tuple[str, str]]:
        """See ``Frame``."""
        first, *others = super().keys()
        return (first, ("K", "stop"), ("x", "act"), *others)

    def action_kill(self) -> None:
        """The kill ladder for this task, whatever is under the cursor."""
        from celerytop.ui.ladder import climb

        climb(self.top, [self.key])

    def action_act(self) -> None:
        """The menu for this task."""
        from celerytop.ui.acting import offer
        from celerytop.ui.offers import tasks

        offer(self.top, tasks.title([self.key], self.top.newest), tasks.offers([self.key]))

    def action_unmask(self) -> None:
        """This task's arguments, whatever is under the cursor; again: masked."""
        self.top.unmask(self.key)

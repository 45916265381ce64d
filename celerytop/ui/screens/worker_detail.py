"""A worker on a page of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from celerytop.columns import Look
from celerytop.model.command import Attend
from celerytop.model.snapshot import Snapshot
from celerytop.ui.details import worker
from celerytop.ui.details.line import Line
from celerytop.ui.screens.walking import Walking
from celerytop.ui.widgets.painted import Spans


class WorkerDetail(Walking):
    """What it runs and what it is set to. While it is open the worker is asked for its settings."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("K", "kill", "Stop: the kill ladder for the task under the cursor (asks)", show=False),
        Binding("x", "act", "Act: the menu of what can be done here", show=False),
    ]
    page = "workers"
    needs = ("control", "events")

    def crumbs(self, snapshot: Snapshot) -> Spans:
        """See ``Detail``."""
        return [(" Workers > ", "dim"), (self.short_key, "title"), ("   ", ""), *worker.title(snapshot, self.key)]

    def lines(self, snapshot: Snapshot, look: Look, width: int) -> Sequence[Line]:
        """See ``Walking``."""
        return worker.lines(snapshot, self.key, look, width)

    def keys(self) -> Sequence[tuple[str, str]]:
        """See ``Frame``."""
        first, *others = super().keys()
        return (first, ("x", "act"), ("K", "stop task"), *others)

    def action_kill(self) -> None:
        """The kill ladder for the task under the cursor."""
        from celerytop.ui.ladder import climb

        target = self.under
        if target is not None and target.kind == "task":
            climb(self.top, [target.id])
        else:
            self.top.say("K is for tasks: no task is under the cursor")

    def action_act(self) -> None:
        """The menu for this worker."""
        from celerytop.ui.acting import offer
        from celerytop.ui.offers import workers

        offer(self.top, self.key, workers.offers([self.key], self.top.newest))

    def attend(self) -> Attend:
        """See ``Frame``."""
        return Attend(page=self.page, worker=self.key)

"""A worker on a page of its own."""

from __future__ import annotations

from collections.abc import Sequence

from celerytop.columns import Look
from celerytop.model.command import Attend
from celerytop.model.snapshot import Snapshot
from celerytop.ui.details import worker
from celerytop.ui.details.line import Line
from celerytop.ui.screens.walking import Walking
from celerytop.ui.widgets.painted import Spans


class WorkerDetail(Walking):
    """What it runs and what it is set to. While it is open the worker is asked for its settings."""

    page = "workers"
    needs = ("control", "events")

    def crumbs(self, snapshot: Snapshot) -> Spans:
        """See ``Detail``."""
        return [(" Workers > ", "dim"), (self.short_key, "title"), ("   ", ""), *worker.title(snapshot, self.key)]

    def lines(self, snapshot: Snapshot, look: Look, width: int) -> Sequence[Line]:
        """See ``Walking``."""
        return worker.lines(snapshot, self.key, look, width)

    def attend(self) -> Attend:
        """See ``Frame``."""
        return Attend(page=self.page, worker=self.key)

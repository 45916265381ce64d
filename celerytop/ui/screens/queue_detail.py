"""A queue on a page of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from celerytop.columns import Look
from celerytop.model.command import Attend
from celerytop.model.snapshot import Snapshot
from celerytop.ui.details import queue
from celerytop.ui.details.line import Line
from celerytop.ui.screens.walking import Walking
from celerytop.ui.widgets.painted import Spans


class QueueDetail(Walking):
    """What waits in it, who fills it, who empties it. While it is open the queue's messages are looked at."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "act", "Act: the menu of what can be done here", show=False),
    ]
    page = "queues"
    needs = ("queues",)

    def crumbs(self, snapshot: Snapshot) -> Spans:
        """See ``Detail``."""
        return [(" Queues > ", "dim"), (self.short_key, "title"), ("   ", ""), *queue.title(snapshot, self.key)]

    def lines(self, snapshot: Snapshot, look: Look, width: int) -> Sequence[Line]:
        """See ``Walking``."""
        return queue.lines(snapshot, self.key, look, width)

    def keys(self) -> Sequence[tuple[str, str]]:
        """See ``Frame``."""
        first, *others = super().keys()
        return (first, ("x", "act"), *others)

    def action_act(self) -> None:
        """The menu for this queue, and for the message under the cursor."""
        from celerytop.ui.acting import offer
        from celerytop.ui.offers import queues

        target = self.under
        message = target.id if target is not None and target.kind == "task" else None
        offer(self.top, self.key, queues.offers(self.key, self.top.newest, message))

    def attend(self) -> Attend:
        """See ``Frame``."""
        return Attend(page=self.page, queue=self.key)

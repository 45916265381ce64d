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
from celerytop.ui.details.messages import page_lines
from celerytop.ui.screens.walking import Walking
from celerytop.ui.widgets.painted import Spans
from celerytop.ui.widgets.walk import Walk


class QueueDetail(Walking):
    """What waits in it, who fills it, who empties it. While it is open the queue's messages are looked at.

    Behind this overview lie all its messages, page by page, none of which is taken out.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "act", "Act: the menu of what can be done here", show=False),
        Binding("right_square_bracket", "turn(1)", "Its messages page by page: the next page", show=False),
        Binding("left_square_bracket", "turn(-1)", "The page before; from the first one the overview", show=False),
    ]
    page = "queues"
    needs = ("queues",)

    def __init__(self, key: str, begins: Sequence[int] = ()) -> None:
        super().__init__(key)
        self.begins = list(begins)
        """How many messages run before each page up to the one shown; none: the overview. Pages are not all as long."""

    def crumbs(self, snapshot: Snapshot) -> Spans:
        """See ``Detail``."""
        return [(" Queues > ", "dim"), (self.short_key, "title"), ("   ", ""), *queue.title(snapshot, self.key)]

    def lines(self, snapshot: Snapshot, look: Look, width: int) -> Sequence[Line]:
        """See ``Walking``."""
        if self.begins:
            return page_lines(snapshot, self.key, self.begins[-1], look, width)
        return queue.lines(snapshot, self.key, look, width)

    def keys(self) -> Sequence[tuple[str, str]]:
        """See ``Frame``."""
        first, *others = super().keys()
        return (first, ("x", "act"), ("[ ]", "messages"), *others)

    def action_act(self) -> None:
        """The menu for this queue, and for the message under the cursor."""
        from celerytop.ui.acting import offer
        from celerytop.ui.offers import queues

        target = self.under
        message = target.id if target is not None and target.kind == "task" else None
        offer(self.top, self.key, queues.offers(self.key, self.top.newest, message))

    def show_page(self) -> None:
        """Its messages, from where one has been."""
        if not self.begins:
            self.action_turn(1)

    def action_turn(self, step: int) -> None:
        """One page of messages on, or back."""
        if not self.there or self.snapshot is None or (step < 0 and not self.begins):
            return
        if step < 0:
            self.begins.pop()
        elif (begin := self._next(self.snapshot)) is None:
            self.say("no message lies behind these", "dim")
            return
        else:
            self.begins.append(begin)
        self.top.feed.submit(self.attend())
        text = self.query_one("#text", Walk)
        text.cursor = None  # the first message of the page gets it
        text.action_scroll_edge(-1)
        self.draw(self.snapshot)

    def _next(self, snapshot: Snapshot) -> int | None:
        """Where the next page begins; ``None``: there is none, or this one has not come yet."""
        if not self.begins:
            return 0
        sample = snapshot.samples.get(self.key)
        if sample is None or not sample.page or sample.page_from != self.begins[-1]:
            return None
        begin = sample.page_from + len(sample.page)
        return begin if begin < sample.total else None

    def attend(self) -> Attend:
        """See ``Frame``."""
        return Attend(page=self.page, queue=self.key, peek_from=self.begins[-1] if self.begins else 0)

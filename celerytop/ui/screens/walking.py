"""What the full pages about one thing share: lines that lead to other such pages, Esc back through the walk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from celerytop.columns import Look
from celerytop.format import cut
from celerytop.model.snapshot import Snapshot
from celerytop.ui.details.line import Line, Target
from celerytop.ui.screens.frame import Detail
from celerytop.ui.widgets.header import DEEDS, TABS, Header
from celerytop.ui.widgets.painted import Lines
from celerytop.ui.widgets.walk import Walk

WORDS = (
    (">", "the cursor: Enter opens what the line leads to, Esc comes back"),
    ("! ~ x ?", "bad, worth a look, failed, not known"),
    ("RATIO", "running time by the P95 of its type; - below 20 finished runs"),
    ("unacked", "a worker has taken it and not acknowledged it yet"),
    ("its own word", "told by the worker (stats), not measured here"),
    ("***", "looks like a secret: m shows it"),
)


def screen_for(target: Target) -> Screen[None]:
    """The full page about it."""
    from celerytop.ui.screens.queue_detail import QueueDetail
    from celerytop.ui.screens.task_detail import TaskDetail
    from celerytop.ui.screens.worker_detail import WorkerDetail

    kinds: dict[str, Callable[[str], Screen[None]]] = {"queue": QueueDetail, "worker": WorkerDetail, "task": TaskDetail}
    return kinds[target.kind](target.id)


class Walking(Detail):
    """A full page about one thing. A subclass gives ``crumbs`` and ``lines`` (and ``attend``)."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"page('{page}')", f"Page {title}", show=False) for key, page, title, _ in (*TABS, DEEDS)),
        Binding("m", "unmask", "Show or mask the arguments of this task", show=False),
    ]

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key

    @property
    def short_key(self) -> str:
        """The name or id, cut so that the state behind it stays in view."""
        return cut(self.key, max(12, self.size.width - 40), self.top.ascii)

    def lines(self, snapshot: Snapshot, look: Look, width: int) -> Sequence[Line]:
        """The text."""
        raise NotImplementedError

    def body(self) -> ComposeResult:
        """See ``Frame``."""
        yield Lines(id="crumbs")
        yield Walk(id="text")

    def draw(self, snapshot: Snapshot) -> None:
        """See ``Frame``."""
        self.query_one("#crumbs", Lines).show([self.crumbs(snapshot)])
        lines = self.lines(snapshot, self.top.columns_look, max(40, self.size.width))
        self.query_one("#text", Walk).show_lines(lines, "dim" if self.stale else "")

    def keys(self) -> Sequence[tuple[str, str]]:
        """See ``Frame``."""
        return (
            ("esc", "back"),
            ("up/dn", "move"),
            ("enter", "open"),
            ("n/N", "next link"),
            ("y", "copy"),
            ("m", "unmask"),
            ("space", "pause"),
            ("?", "help"),
            ("q", "quit"),
        )

    def copied(self) -> str | None:
        """What ``y`` copies."""
        return self.key

    def help(self) -> Sequence[tuple[str, str]]:
        """See ``Frame``."""
        return WORDS

    def action_page(self, name: str) -> None:
        """Back to the main screen, to this page."""
        while self.app.screen is not self.top.main and len(self.app.screen_stack) > 1:
            self.app.pop_screen()
        self.app.call_after_refresh(self.top.main.set_page, name)

    @property
    def under(self) -> Target | None:
        """What the line under the cursor leads to."""
        return self.query_one("#text", Walk).target if self.there else None

    def action_unmask(self) -> None:
        """The task under the cursor; again: masked."""
        target = self.under
        if target is not None and target.kind == "task":
            self.top.unmask(target.id)
        else:
            self.say("no task under the cursor: nothing to unmask")

    @on(Walk.Scrolled)
    def scrolled(self, event: Walk.Scrolled) -> None:
        """Tell how much is below."""
        event.stop()
        self.query_one("#header", Header).aside = self.query_one("#text", Walk).aside()

    @on(Walk.Opened)
    def opened(self, event: Walk.Opened) -> None:
        """Enter: one page further; Esc there comes back."""
        event.stop()
        self.app.push_screen(screen_for(event.target))

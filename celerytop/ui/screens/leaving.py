"""Before leaving: only when an action is still being watched, or what was changed from here could be put back.

Only this celerytop knows who took from a queue before it was paused, and whose events were off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import events

from celerytop.columns.actions import result, what, whom
from celerytop.model.snapshot import Snapshot
from celerytop.model.text import some
from celerytop.ui.screens.asking import Asking
from celerytop.ui.widgets.boxed import wrapped
from celerytop.ui.widgets.painted import Spans
from celerytop.undo import enabled_here, paused_here, restoring

if TYPE_CHECKING:
    from celerytop.ui.app import CelerytopApp


def ask_before_leaving(top: CelerytopApp) -> bool:
    """Ask, if there is a reason to; asked twice, it is meant."""
    if isinstance(top.screen, Leaving):
        return False
    if not _unfinished(top.newest) and not restoring(top.newest):
        return False
    top.push_screen(Leaving(), lambda leave: top.exit() if leave else None)
    return True


def _unfinished(now: Snapshot) -> list[str]:
    return [
        f"{what(report.action)} {whom(report.action)}: {result(report, now.at)}"
        for report in now.actions
        if report.settled_at is None
    ]


class Leaving(Asking[bool]):
    """Returns whether to leave."""

    title_text = "Leave celerytop"

    def __init__(self) -> None:
        super().__init__()
        self.undoing = 0
        """Number of the last action before all is put back; then it leaves when that is settled."""

    def look_again(self) -> None:
        """Leave once what was changed is as it was."""
        if self.undoing and not _unfinished(self.top.newest) and not restoring(self.top.newest):
            self.leave(True)
            return
        super().look_again()

    def wanted(self, width: int) -> int:
        """See ``Asking``."""
        return len(self.lines(width, 0))

    def lines(self, width: int, height: int) -> Sequence[Spans]:
        """See ``Asking``."""
        now = self.top.newest
        out: list[Spans] = []
        unfinished, on, paused = _unfinished(now), enabled_here(now), paused_here(now)
        if unfinished:
            out.append([("Not settled yet; whoever leaves does not learn what became of it:", "warn")])
            for text in unfinished[:4]:
                out += wrapped(text, width, lead="  - ", most=2)
        if on:
            names = f"{on[0]}" + (f" and {len(on) - 1} more" if len(on) > 1 else "")
            out += wrapped(f"Task events were switched on from here: {names}", width, "warn", most=2)
        for queue, workers in list(paused.items())[:4]:
            told = f"{queue} was paused from here, and stays so: on {some(workers, 2)}. Who took from it is forgotten."
            out += wrapped(told, width, "warn", most=2)
        undo = "switch events off" if not paused else "resume" if not on else "undo all this"
        off = [(f"   d: {undo}, then leave", "dim")] if (on or paused) and not self.undoing else []
        return [*out, [("[ Stay ]", "cursor"), ("   y: leave", "dim"), *off, ("   esc: stay", "dim")]]

    def pressed(self, event: events.Key) -> None:
        """See ``Asking``."""
        if event.key == "enter" or event.character == "n":
            self.leave(None)
        elif event.character == "y":
            self.leave(True)
        elif event.character == "d" and not self.undoing and (undo := restoring(self.top.newest)):
            self.undoing = 1 + max((report.number for report in self.top.newest.actions), default=0)
            for action in undo:
                self.top.submit(action)

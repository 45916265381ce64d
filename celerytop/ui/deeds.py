"""What was done from here, as far as the last line of the screen tells of it."""

from __future__ import annotations

from celerytop.model.snapshot import Snapshot
from celerytop.ui.widgets.painted import Spans

SHOWN = 8.0
"""Seconds that a result stands in the last line."""


class Deeds:
    """Sees each picture; remembers what has been told."""

    def __init__(self) -> None:
        self._told: frozenset[int] = frozenset()
        self._notice: tuple[str, str, float] | None = None

    def take(self, snapshot: Snapshot) -> None:
        """Look whether an action has settled since the last picture."""
        if len(self._told) == len(snapshot.actions):
            return
        settled = [report for report in snapshot.actions if report.settled_at is not None]
        new = [report for report in settled if report.number not in self._told]
        self._told = frozenset(report.number for report in settled)
        if new:
            from celerytop.columns.actions import report_tone, result

            last = new[-1]
            text = f"Result: {result(last, snapshot.at)}."
            others = f"   and {len(new) - 1} more settled" if len(new) > 1 else ""
            self._notice = (f"{text}{others}   [9]", report_tone(last) or "note", snapshot.at + SHOWN)

    def notice(self, now: float) -> Spans | None:
        """The result of what has just settled; ``None``: nothing has."""
        if self._notice is None or now >= self._notice[2]:
            return None
        return [(f" {self._notice[0]}", self._notice[1])]

    def dismiss(self) -> None:
        """It was read."""
        self._notice = None

"""Shown instead of everything when the window is too small."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from celerytop.ui.widgets.painted import Lines

LEAST = (60, 10)
"""Columns and lines."""


class Small(Screen[None]):
    """One sentence; goes away by itself when there is room."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [Binding("q", "app.quit", "Quit", show=False)]

    def compose(self) -> ComposeResult:
        """One sentence."""
        yield Lines(id="small")

    def on_mount(self) -> None:
        """Say it."""
        self.on_resize()

    def on_resize(self) -> None:
        """Say it anew."""
        width, height = self.app.size
        text = f"Window too small: {LEAST[0]}x{LEAST[1]} needed, {width}x{height} now."
        lines, line = [], ""
        for word in text.split():
            if line and len(line) + 1 + len(word) > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}".strip()
        self.query_one(Lines).show([[(part, "")] for part in [*lines, line]])

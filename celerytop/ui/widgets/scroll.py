"""A text longer than its place: scrolls by lines, paints only what has changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.strip import Strip

from celerytop.format import cells
from celerytop.ui.widgets.painted import Painted, Spans, strip_of


class Scroll(Painted, can_focus=True):
    """Give it lines with ``show``; it keeps its place."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "scroll_by(1)", "One line down", show=False),
        Binding("up,k", "scroll_by(-1)", "One line up", show=False),
        Binding("pagedown", "scroll_pages(1)", "One page down", show=False),
        Binding("pageup", "scroll_pages(-1)", "One page up", show=False),
        Binding("home,g", "scroll_edge(-1)", "To the top", show=False),
        Binding("end,G", "scroll_edge(1)", "To the end", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.lines: Sequence[Spans] = ()
        self.tone = ""
        self.first = 0

    def show(self, lines: Sequence[Spans], tone: str = "") -> None:
        """Show these lines from the same place on; ``tone`` is of what has none (``dim`` when stale)."""
        self.lines, self.tone = lines, tone
        self._go(self.first)

    @property
    def below(self) -> int:
        """Lines that do not fit below."""
        return max(0, len(self.lines) - self.first - self.size.height)

    def _go(self, offset: int) -> None:
        self.first = max(0, min(offset, len(self.lines) - self.size.height))
        self.repaint()

    def reveal(self, line: int) -> None:
        """Scroll as little as needed to have ``line`` in view."""
        if line < self.first:
            self._go(line)
        elif line >= self.first + self.size.height:
            self._go(line - self.size.height + 1)

    def action_scroll_by(self, step: int) -> None:
        """Some lines."""
        self._go(self.first + step)

    def action_scroll_pages(self, step: int) -> None:
        """Some pages."""
        self._go(self.first + step * max(1, self.size.height - 1))

    def action_scroll_edge(self, side: int) -> None:
        """Top or end."""
        self._go(0 if side < 0 else len(self.lines))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Three lines down."""
        event.stop()
        self._go(self.first + 3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Three lines up."""
        event.stop()
        self._go(self.first - 3)

    def on_resize(self, event: events.Resize) -> None:
        """Other room."""
        self._go(self.first)
        self.repaint(everything=True)

    def strips(self, width: int, height: int) -> list[Strip]:
        """See ``Painted``."""
        return [strip_of(line, width, self.look, self.tone) for line in self.lines[self.first : self.first + height]]


def ruler(title: str, width: int, right: str = "") -> Spans:
    """A line that begins a part of a screen.

    >>> "".join(text for text, _ in ruler("payments", 24, "enter: open"))
    '- payments - enter: open -'
    """
    tail = f" {right}" if right else ""
    dashes = max(1, width - cells(title) - 3 - cells(tail) - (2 if right else 0))
    return [("- ", "line"), (title, "title"), (f" {'-' * dashes}{tail}{' -' if right else ''}", "line")]

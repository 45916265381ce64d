"""A text that scrolls, in which some lines lead somewhere: the cursor walks from one to the next, Enter opens it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip

from celerytop.ui.details.line import Line, Target
from celerytop.ui.widgets.painted import Span, strip_of
from celerytop.ui.widgets.scroll import Scroll


class Walk(Scroll):
    """Give it lines with ``show_lines``. Down and up go to the next line that leads somewhere, or scroll."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open what the line leads to", show=False),
        Binding("n", "leap(1)", "Next line that leads somewhere", show=False),
        Binding("N", "leap(-1)", "Previous line that leads somewhere", show=False),
    ]

    class Opened(Message):
        """Enter on a line."""

        def __init__(self, target: Target) -> None:
            super().__init__()
            self.target = target

    class Scrolled(Message):
        """Other lines are in view, or their number has changed."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.cursor: int | None = None
        """Number of its line; ``None``: no line leads anywhere."""
        self._targets: list[tuple[int, Target]] = []
        self._told: object = None

    def show_lines(self, lines: Sequence[Line], tone: str = "") -> None:
        """Show these lines from the same place on; the cursor stays on what it stood on."""
        before = self.target
        self._targets = [(number, each.target) for number, each in enumerate(lines) if each.target is not None]
        self.cursor = self._again(before)
        self.show([each.spans for each in lines], tone)

    def _again(self, before: Target | None) -> int | None:
        if not self._targets:
            return None
        old = self.cursor if self.cursor is not None else 0
        same = [number for number, target in self._targets if target == before]
        return min(same or [number for number, _ in self._targets], key=lambda number: abs(number - old))

    @property
    def target(self) -> Target | None:
        """What the cursor's line leads to."""
        return next((target for number, target in self._targets if number == self.cursor), None)

    def _go(self, offset: int) -> None:
        before = self.first, self.below
        super()._go(offset)
        if (self.first, self.below) != before or self._told is not self.lines:
            self._told = self.lines
            self.post_message(self.Scrolled())

    def aside(self) -> str:
        """For the header: how much lies below the window."""
        return f"{self.below} lines below" if self.below else ""

    def _shows(self, number: int) -> bool:
        return self.first <= number < self.first + self.size.height

    def _next(self, step: int) -> int | None:
        """The next line that leads somewhere; from the window's edge when the cursor is out of sight."""
        here = self.cursor
        if here is None:
            return None
        if not self._shows(here):
            here = self.first - 1 if step > 0 else self.first + self.size.height
        numbers = [number for number, _ in self._targets]
        if step > 0:
            return next((number for number in numbers if number > here), None)
        return next((number for number in reversed(numbers) if number < here), None)

    def action_scroll_by(self, step: int) -> None:
        """One line that leads somewhere, when it is in sight; else one line of text."""
        found = self._next(step)
        if found is not None and self._shows(found):
            self.cursor = found
            self.repaint()
            return
        before = self.first
        super().action_scroll_by(step)
        if found is not None and self._shows(found) and self.first != before and not self._shows(self.cursor or 0):
            self.cursor = found
            self.repaint()

    def action_leap(self, step: int) -> None:
        """The next one, wherever it is."""
        found = self._next(step)
        if found is not None:
            self.cursor = found
            self.reveal(found)
            self.repaint()

    def action_open(self) -> None:
        """Tell the screen."""
        if self.target is not None and self.cursor is not None and self._shows(self.cursor):
            self.post_message(self.Opened(self.target))

    def on_click(self, event: events.Click) -> None:
        """A line gets the cursor, and opens when it has it."""
        event.stop()
        number = self.first + event.y
        if any(number == known for known, _ in self._targets):
            if number == self.cursor and event.chain > 1:
                self.action_open()
            self.cursor = number
            self.repaint()

    def strips(self, width: int, height: int) -> list[Strip]:
        """See ``Painted``."""
        out = super().strips(width, height)
        if self.cursor is not None and self._shows(self.cursor) and self.has_focus:
            line = self.lines[self.cursor]
            out[self.cursor - self.first] = strip_of(_chosen(line), width, self.look, "cursor")
        return out

    def on_focus(self) -> None:
        """The cursor appears."""
        self.repaint()

    def on_blur(self) -> None:
        """The cursor goes."""
        self.repaint()


def _chosen(spans: Sequence[Span]) -> list[Span]:
    """The line under the cursor: its first cell is ``>``.

    >>> _chosen([(" pool ", "dim"), ("solo", "bad")])
    [('>', 'cursor'), ('pool ', 'cursor'), ('solo', 'cursor')]
    """
    text = "".join(text for text, _ in spans[:1])
    head = [(part, "cursor") for part in (">", text[1:]) if part]
    return head + [(text, "cursor") for text, _ in spans[1:]]

"""Widgets made of lines of text, which repaint only the cells that have changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.segment import Segment
from textual import events
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from celerytop.format import cells, cut
from celerytop.model.text import clean
from celerytop.ui.look import Look

if TYPE_CHECKING:
    from celerytop.ui.app import CelerytopApp

Span = tuple[str, str]
"""Text and its tone."""
Spans = Sequence[Span]

PLAIN = Look()


def strip_of(spans: Iterable[Span], width: int, look: Look, tone: str = "") -> Strip:
    """One line, exactly ``width`` cells wide. ``tone`` is given to all that has none of its own.

    >>> strip_of([("abc", ""), ("defg", "bad")], 5, Look()).text, strip_of([("a", "")], 3, Look()).text
    ('abcd…', 'a  ')
    """
    segments: list[Segment] = []
    room, style = width, look.style
    for given, own in spans:
        if room <= 0:
            break
        text = given if given.isprintable() else clean(given)  # nothing in the model should need it
        taken = len(text) if text.isascii() else cells(text)
        if taken > room:
            text = cut(text, room, look.ascii)
            taken = min(taken, cells(text))
        segments.append(Segment(text, style(own or tone)))
        room -= taken
    if room > 0:
        segments.append(Segment(" " * room, look.style(tone)))
    return Strip(segments, width)


def strip_spans(spans: Sequence[Span], width: int) -> list[Span]:
    """The first ``width`` cells, filled up.

    >>> strip_spans([("abc", ""), ("def", "bad")], 4), strip_spans([("a", "")], 3)
    ([('abc', ''), ('d', 'bad')], [('a', ''), ('  ', '')])
    """
    out: list[Span] = []
    room = max(0, width)
    for text, tone in spans:
        if room <= 0:
            break
        part = text[:room]
        out.append((part, tone))
        room -= len(part)
    if room:
        out.append((" " * room, ""))
    return out


def changed(old: Strip, new: Strip) -> tuple[int, int] | None:
    """First cell that differs and the cell behind the last one; ``None``: all the same.

    >>> from rich.segment import Segment as S
    >>> changed(Strip([S("ab"), S("cd"), S("ef")]), Strip([S("ab"), S("xy"), S("ef")]))
    (2, 4)
    """
    if old._segments == new._segments:
        return None
    if old.cell_length != new.cell_length:
        return 0, max(old.cell_length, new.cell_length)
    left = _same(old._segments, new._segments)
    right = _same(old._segments[::-1], new._segments[::-1])
    start, end = left, new.cell_length - right
    return (start, end) if start < end else (0, new.cell_length)


def _same(one: Sequence[Segment], two: Sequence[Segment]) -> int:
    """Cells that are the same at the beginning."""
    total = 0
    for first, second in zip(one, two, strict=False):
        if first != second:
            break
        total += first.cell_length
    return total


class Painted(Widget):
    """A widget whose lines are known before they are asked for."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._strips: list[Strip] = []
        self._made_for = Size(0, 0)
        """The size that the lines were made for."""
        self.painted_cells = 0
        """Cells asked to be painted again so far; a measure for tests."""

    @property
    def top(self) -> CelerytopApp:
        """The application, by its type."""
        from celerytop.ui.app import CelerytopApp

        assert isinstance(self.app, CelerytopApp)
        return self.app

    @property
    def look(self) -> Look:
        """Colours and symbols of now."""
        return getattr(self.app, "look", PLAIN)

    def strips(self, width: int, height: int) -> list[Strip]:
        """The lines to show, at most ``height``; what is missing stays blank."""
        raise NotImplementedError

    def repaint(self, everything: bool = False) -> None:
        """Make the lines anew and paint those cells that differ."""
        width, height = self.size
        if width and height:
            self.put(self.strips(width, height)[:height], everything)

    def put(self, new: list[Strip], everything: bool = False) -> None:
        """Paint those cells of these lines that differ."""
        width, height = self._made_for = self.size
        new.extend([Strip.blank(width)] * (height - len(new)))
        old, self._strips = self._strips, new
        if everything or len(old) != len(new):
            self.painted_cells += width * height
            self.refresh()
            return
        regions: list[Region] = []
        for y, (before, after) in enumerate(zip(old, new, strict=True)):
            if before is not after and (span := changed(before, after)):
                regions.append(Region(span[0], y, span[1] - span[0], 1))
        self.painted_cells += sum(region.width for region in regions)
        if regions:
            self.refresh(*regions)

    def render_line(self, y: int) -> Strip:
        """See Textual's Line API."""
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.size.width)

    def on_resize(self, event: events.Resize) -> None:
        """Another size: other lines."""
        self.refit()

    def refit(self) -> None:
        """Paint all of it, unless a picture has come since the new size was known."""
        self.repaint(everything=self._made_for != self.size)


class Lines(Painted):
    """Text given from outside: ``show`` it."""

    def __init__(self, lines: Sequence[Spans] = (), *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: Sequence[Spans] = lines
        self.tone = ""

    def show(self, lines: Sequence[Spans], tone: str = "") -> None:
        """Show these lines."""
        self._lines, self.tone = lines, tone
        self.repaint()

    def strips(self, width: int, height: int) -> list[Strip]:
        """See ``Painted``."""
        return [strip_of(line, width, self.look, self.tone) for line in self._lines[:height]]

    def get_content_height(self, container: Any, viewport: Any, width: int) -> int:
        """As many as there are lines."""
        return len(self._lines)

"""A frame around lines, in which long sentences are wrapped: what all boxes that ask are drawn with."""

from __future__ import annotations

from collections.abc import Sequence

from textual.strip import Strip

from celerytop.format import cells, cut, plain
from celerytop.model.text import clean
from celerytop.ui.look import Look
from celerytop.ui.widgets.painted import Span, Spans, strip_of


def boxed(title: str, lines: Sequence[Spans], width: int, height: int, look: Look) -> list[Strip]:
    """A box of exactly this size. Lines that do not fit are left out: the caller has chosen which matter."""
    left, right, foot, end, across, down = "++++-|" if look.ascii else "┌┐└┘─│"
    name = cut(_shown(title, look), max(1, width - 6), look.ascii)
    top = f"{left}{across} {name} " + across * max(0, width - cells(name) - 5) + right
    out: list[Spans] = [[(top, "line")]]
    for spans in [*lines, *[[]] * height][: max(0, height - 2)]:
        inner = strip_of([(_shown(text, look), tone) for text, tone in spans], width - 4, look)
        known = [(segment.text, spans[i][1] if i < len(spans) else "") for i, segment in enumerate(inner)]
        out.append([(f"{down} ", "line"), *known, (f" {down}", "line")])
    out.append([(foot + across * (width - 2) + end, "line")])
    return [strip_of(line, width, look) for line in out]


def _shown(text: str, look: Look) -> str:
    text = text if text.isprintable() else clean(text)
    return plain(text) if look.ascii else text


def wrapped(text: str, width: int, tone: str = "", lead: str = "", most: int = 6) -> list[list[Span]]:
    """A sentence on as many lines as it needs, the first after ``lead``, the others below its text.

    >>> [line[0][0] + line[1][0] for line in wrapped("one two three", 9, lead="- ")]
    ['- one two', '  three']
    >>> [line[1][0] for line in wrapped("abcdefgh", 5)]
    ['abcde', 'fgh']
    """
    room = max(4, width - cells(lead))
    rows: list[str] = []
    row = ""
    for word in _words(clean(text), room):
        joined = f"{row} {word}" if row else word
        if cells(joined) <= room:
            row = joined
        else:
            rows.append(row)
            row = word
    rows.append(row)
    if len(rows) > most:
        rows = [*rows[: most - 1], cut(" ".join(rows[most - 1 :]), room)]
    blank = " " * cells(lead)
    return [[(lead if not index else blank, tone), (text, tone)] for index, text in enumerate(rows)]


def _words(text: str, room: int) -> list[str]:
    """Its words; one that is too long for a line is cut in pieces."""
    out: list[str] = []
    for word in text.split(" "):
        piece = ""
        for char in word if cells(word) > room else ():
            if cells(piece + char) > room:
                out.append(piece)
                piece = ""
            piece += char
        out.append(piece or word)
    return out

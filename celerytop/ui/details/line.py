"""Lines, and the few shapes all full-page views are made of: fields, tables, a line that begins a part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from celerytop import format as fmt
from celerytop.columns import Look

Span = tuple[str, str]
"""Text and its tone."""

LABEL = 11
"""Cells of the label in front of a field."""


class Target(NamedTuple):
    """What Enter on a line opens."""

    kind: str
    """``task``, ``queue`` or ``worker``."""
    id: str


class Line(NamedTuple):
    """One line of a screen."""

    spans: tuple[Span, ...] = ()
    target: Target | None = None

    @property
    def text(self) -> str:
        """Its text alone."""
        return "".join(text for text, _ in self.spans)


BLANK = Line()


class Col(NamedTuple):
    """A column of a small table."""

    title: str
    width: int
    align: str = "left"


def line(*spans: Span | str, target: Target | None = None) -> Line:
    """A line of spans; a plain string has no tone."""
    return Line(tuple(span if isinstance(span, tuple) else (span, "") for span in spans), target)


def ruler(title: str, width: int, right: str = "") -> Line:
    """The line that begins a part.

    >>> ruler("payments", 28, "1s ago").text
    '- payments -------- 1s ago -'
    """
    title = fmt.cut(title, max(1, width - 6 - (len(right) + 2 if right else 0)))
    tail = f" {right} -" if right else "-"
    dashes = "-" * max(1, width - fmt.cells(title) - 3 - fmt.cells(tail))
    return line(("- ", "line"), (title, "title"), (" " + dashes + tail, "line"))


def field(label: str, *spans: Span | str, target: Target | None = None) -> Line:
    """A label and what it is.

    >>> field("pool", "prefork", "  8 slots").text
    ' pool       prefork  8 slots'
    """
    return line((" " + fmt.pad(label, LABEL), "dim"), *spans, target=target)


def pairs(*pairs: tuple[str, str], gap: str = "   ") -> list[Span]:
    """Words and values after one another, the words dim; a pair whose value is empty is left out.

    >>> "".join(text for text, _ in pairs(("retries", "0"), ("x", ""), ("priority", "3")))
    'retries 0   priority 3'
    """
    spans: list[Span] = []
    for word, value in pairs:
        if value:
            spans += [(gap if spans else "", ""), (word + " " if word else "", "dim"), (value, "")]
    return spans


def fold(label: str, text: str, width: int, look: Look, tone: str = "", most: int = 6) -> list[Line]:
    """A long text under one label, on at most ``most`` lines; what does not fit is cut and says so.

    >>> [part.text for part in fold("args", "abcdefgh", 17, Look())]
    [' args       abcd', '            efgh']
    """
    room = max(4, width - LABEL - 2)
    out: list[Line] = []
    while True:
        last = len(out) == most - 1
        part = fmt.cut(text, room, look.ascii) if last else _head(text, room)
        out.append(field("" if out else label, (part, tone)))
        text = text[len(part) :]
        if last or not text:
            return out


def _head(text: str, room: int) -> str:
    if text.isascii():
        return text[:room]
    used = 0
    for index, char in enumerate(text):
        used += fmt.cells(char)
        if used > room:
            return text[:index] or char
    return text


def heading(columns: Sequence[Col], width: int) -> Line:
    """The titles of a small table."""
    return line((" " + " ".join(fmt.pad(c.title, cells, c.align) for c, cells in _fit(columns, width)), "dim"))


def row(
    columns: Sequence[Col],
    values: Iterable[str | Span],
    width: int,
    look: Look,
    mark: str = " ",
    target: Target | None = None,
) -> Line:
    """A row of a small table, each cell as wide as its column; the last takes the rest of the line."""
    spans: list[Span] = []
    for (column, cells), value in zip(_fit(columns, width), values, strict=True):
        text, tone = value if isinstance(value, tuple) else (value, "")
        text = fmt.plain(text) if look.ascii else text
        lead = (mark if not spans else " ", "bad" if mark in "!x" and not spans else "")
        spans += [lead, (fmt.pad(text, cells, column.align, look.ascii), tone)]
    return Line(tuple(spans), target)


def _fit(columns: Sequence[Col], width: int) -> list[tuple[Col, int]]:
    """The last column gives or takes what is left."""
    rest = width - 1 - sum(column.width + 1 for column in columns[:-1])
    return [*((column, column.width) for column in columns[:-1]), (columns[-1], max(columns[-1].width, rest))]


def shares(
    counts: Iterable[tuple[str, int]], whole: int, width: int, look: Look, most: int = 10, noun: str = "kinds"
) -> list[Line]:
    """Names with bars: how much of a whole each is. What does not fit the list is summed up in its last line."""
    counts = list(counts)
    shown, rest = counts[:most], counts[most:]
    name_width = min(40, max((fmt.cells(name) for name, _ in shown), default=0), max(12, width - 46))
    bar_width = min(30, max(8, width - name_width - 26))
    out = []
    for full, number in shown:
        part = number / whole if whole else None
        name = fmt.plain(full) if look.ascii else full
        out.append(
            line(
                f"  {fmt.pad(name, name_width, ascii=look.ascii)}  ",
                (fmt.bar(part, bar_width, look.ascii), "note"),
                f"  {fmt.percent(part):>4}  {fmt.count(number):>9}",
            )
        )
    if rest:
        out.append(line((f"  and {len(rest)} more {noun}: {fmt.count(sum(n for _, n in rest))}", "dim")))
    return out


def plain_text(lines: Iterable[Line]) -> str:
    """The text of lines, as a screen shows it."""
    return "\n".join(each.text.rstrip() for each in lines)

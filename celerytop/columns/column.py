"""What a column is, which columns fit a window, and the words and signs all pages share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from celerytop import format as fmt
from celerytop.model.snapshot import Snapshot

GAP = 1
"""Cells between two columns. Before the first stands one cell: the row's mark."""

MARKS: Mapping[str, str] = {
    "": " ",
    "dim": " ",
    "note": " ",
    "unknown": "?",
    "warn": "~",
    "bad": "!",
    "failed": "x",
}
"""Symbol by tone, so that colour never stands alone: ok, slow or soon, bad, failed, not known."""

COLOURS: Mapping[str, str] = {"unknown": "dim", "failed": "bad"}
"""Tones that are drawn like another one."""


class Look(msgspec.Struct, frozen=True):
    """How a person wants to see it."""

    ascii: bool = False
    utc: bool = False
    unmasked: frozenset[str] = frozenset()
    """Task ids whose arguments are shown as they are."""


Value = Callable[[Any, Snapshot], object]
Values = Callable[[Sequence[Any], Snapshot], Sequence[Any]]
Text = Callable[[Any, Snapshot, Look], str]
Tone = Callable[[Any, Snapshot], str]


def _plain(row: Any, snapshot: Snapshot) -> str:
    return ""


class Column(msgspec.Struct, frozen=True, eq=False):
    """One column of one page. The callables are given that page's rows: their type is the page's."""

    key: str
    title: str
    width: int
    """Cells, at least."""
    align: str
    """``left`` or ``right``."""
    value: Value
    """To sort by; ``None`` is not known and sorts last both ways."""
    text: Text
    help: str
    """One line."""
    drop: int = 0
    """Goes first in a narrow window when it is the highest; 0 never goes."""
    tone: Tone = _plain
    """"", ``note``, ``warn``, ``bad`` or ``dim``."""
    flexible: bool = False
    """Takes room that is left."""
    most: int = 0
    """Widest a flexible column gets; 0 is no limit."""
    weight: int = 1
    """How much of that room, measured by the others."""
    optional: bool = False
    """Hidden unless chosen."""
    wider: Column | None = None
    """The same with more to show, when there is room for it."""
    values: Values | None = None
    """``value`` of many rows in one go, where sorting a hundred thousand by it would take too long otherwise."""


class Cell(msgspec.Struct, frozen=True):
    """The text of one cell, as wide as its column, and its tone."""

    text: str
    tone: str


def fit(columns: Sequence[Column], width: int, chosen: Collection[str] | None = None) -> tuple[tuple[Column, int], ...]:
    """The columns that fit ``width`` cells (with the mark and the gaps), and how wide each is.

    ``chosen`` are keys; ``None`` shows all that are not optional. At least the first column is always there.
    """
    if chosen is None:
        kept = [column for column in columns if not column.optional]
    else:
        kept = [column for column in columns if column.key in chosen] or list(columns[:1])
    while table_width([(column, column.width) for column in kept]) > width:
        most = max(column.drop for column in kept)
        if most == 0:
            break
        kept = [column for column in kept if column.drop != most]
    kept = _widen(kept, width)
    return _share([(column, column.width) for column in kept], width)


def _widen(kept: list[Column], width: int) -> list[Column]:
    for index, column in enumerate(kept):
        if column.wider is not None:
            more = [*kept[:index], column.wider, *kept[index + 1 :]]
            if table_width([(other, other.width) for other in more]) <= width:
                kept = more
    return kept


def _share(widths: list[tuple[Column, int]], width: int) -> tuple[tuple[Column, int], ...]:
    """Give the room that is left to the flexible columns, evenly; take from them what is missing."""
    left = width - table_width(widths)
    while left > 0:
        takers = [i for i, (column, cells) in enumerate(widths) if _can_grow(column, cells)]
        if not takers:
            break
        # The one that has got least takes first, so that they grow evenly.
        taker = min(takers, key=lambda i: (widths[i][1] - widths[i][0].width) / widths[i][0].weight)
        widths[taker] = (widths[taker][0], widths[taker][1] + 1)
        left -= 1
    return tuple(_cut_right(widths, width) if left < 0 else widths)


def _can_grow(column: Column, cells: int) -> bool:
    return column.flexible and (not column.most or cells < column.most)


def _cut_right(widths: list[tuple[Column, int]], width: int) -> list[tuple[Column, int]]:
    """Nothing may go any more: cut what stands beyond the window's edge."""
    out: list[tuple[Column, int]] = []
    used = 1
    for column, cells in widths:
        room = width - used
        if out and room < 2:
            break
        out.append((column, max(1, min(cells, room))))
        used += out[-1][1] + GAP
    return out


def table_width(widths: Sequence[tuple[Column, int]]) -> int:
    """Cells that a row takes: mark, columns, gaps."""
    return 1 + sum(cells for _, cells in widths) + GAP * max(0, len(widths) - 1)


def heading(widths: Sequence[tuple[Column, int]], sort: str | None = None, ascii: bool = False) -> list[Cell]:
    """Titles, as wide as their columns; the sorted one has the tone ``note``."""
    cells = [Cell(" ", "")]
    for column, width in widths:
        text = fmt.pad(column.title, width, column.align, ascii)
        cells.append(Cell(text, "note" if column.key == sort else "dim"))
    return cells


def row_cells(
    row: object, snapshot: Snapshot, look: Look, widths: Sequence[tuple[Column, int]], tone: str = ""
) -> list[Cell]:
    """Mark and cells of a row, each as wide as its column; join them with ``GAP`` blanks after the second."""
    cells = [mark(tone)]
    for column, width in widths:
        text = column.text(row, snapshot, look)
        if look.ascii:
            text = fmt.plain(text)
        cells.append(Cell(fmt.pad(text, width, column.align, look.ascii), column.tone(row, snapshot)))
    return cells


def mark(tone: str) -> Cell:
    """The sign in front of a row of this tone, in its colour.

    >>> mark("warn"), mark("failed"), mark("")
    (Cell(text='~', tone='warn'), Cell(text='x', tone='bad'), Cell(text=' ', tone=''))
    """
    return Cell(MARKS[tone], COLOURS.get(tone, tone))


def sort_key(column: Column, snapshot: Snapshot, reverse: bool) -> Callable[[Any], tuple[bool, Any]]:
    """A key for ``sorted(rows, key=..., reverse=reverse)``: what is not known comes last both ways."""

    def key(row: Any) -> tuple[bool, Any]:
        value = column.value(row, snapshot)
        return ((value is None) != reverse, 0 if value is None else value)

    return key


def share_of(part: float | None, whole: float | None) -> float | None:
    """Part of a whole; ``None`` when either is not known or there is no whole."""
    return part / whole if part is not None and whole else None


def or_none(value: float | None, form: Callable[[float | None], str], known: bool = True) -> str:
    """``-`` for what does not apply here, else the value by ``form``."""
    return form(value) if value is not None or not known else fmt.NONE

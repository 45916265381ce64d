"""The one table: asks only for the rows in view, paints only what has changed, keeps its cursor on an id."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip

from celerytop import columns as col
from celerytop.format import clock, pad
from celerytop.model.snapshot import Snapshot
from celerytop.model.text import clean
from celerytop.ui.widgets.painted import Painted, Span, strip_of, strip_spans
from celerytop.ui.widgets.rows import NO_ROWS, OPEN, SHUT, Row, Rows, same_row

STAYS = 5.0
"""Seconds that a vanished row stays under the cursor."""
_REMEMBERED = 1000
"""Lines kept while the picture stays the same."""
Widths = Sequence[tuple[col.Column, int]]


class Table(Painted, can_focus=True):
    """A virtual table with a heading line."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Next row", show=False),
        Binding("up,k", "move(-1)", "Previous row", show=False),
        Binding("pagedown", "page(1)", "One page down", show=False),
        Binding("pageup", "page(-1)", "One page up", show=False),
        Binding("home,g", "edge(-1)", "First row", show=False),
        Binding("end,G", "edge(1)", "Last row", show=False),
        Binding("right", "fold(True)", "Unfold", show=False),
        Binding("left", "fold(False)", "Fold", show=False),
        Binding("enter", "open", "Open", show=False),
    ]

    class Opened(Message):
        """Enter on a row."""

        def __init__(self, row: Row) -> None:
            super().__init__()
            self.row = row

    class Folded(Message):
        """A row shall be unfolded, or folded."""

        def __init__(self, row: Row, open: bool) -> None:
            super().__init__()
            self.row = row
            self.open = open

    class Heading(Message):
        """A click on a title."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, tone_of: Callable[[Any, Snapshot], str], follow: Callable[[bool], None]) -> None:
        super().__init__()
        self.tone_of = tone_of
        self.follow = follow
        """Called when the cursor is on another row, by hand or not. No message: what follows it is painted with it, not
        one painting later."""
        self.rows: Rows = NO_ROWS
        self.snapshot: Snapshot | None = None
        self.widths: Widths = ()
        self.sorted_by: tuple[str, bool] | None = None
        self.dim = False
        """Old news: everything is drawn dim."""
        self.empty: str | None = None
        """Said when there are no rows; ``None``: not known yet, so every cell is ``?``."""
        self.known: Mapping[str, Any] = {}
        """Items by id, also those not shown: a task that has finished is no longer active, but there."""
        self.more: Callable[[], Rows] | None = None
        """Puts all rows in order, when only the first are."""
        self.cursor_id: str | None = None
        self.index = 0
        self.first = 0
        self.touched = False
        self._state: tuple[Any, ...] = (None,)
        self._lines: dict[str, tuple[tuple[Row, bool, bool], Strip]] = {}
        self.made = 0
        """Lines of rows made so far; a measure for tests."""
        self.ghost: tuple[Row, float] | None = None
        """The vanished row under the cursor, and until when (snapshot time) it stays."""

    # ------------------------------------------------------------------------------------------------ content
    def show(self, rows: Rows, snapshot: Snapshot, now: float, chosen: bool = False) -> None:
        """Show these rows, as they were in ``snapshot``; the cursor stays on its id.

        ``chosen``: somebody has asked for other rows, so one that is missing has not vanished.
        """
        last = self.current
        if chosen:
            self.ghost = None
        self.rows, self.snapshot = rows, snapshot
        self._place(None if chosen or self.cursor_id is None else last, now)
        self._scroll()
        self.repaint()
        if self.current is not None and (last is None or last.id != self.current.id):
            self.follow(False)

    def _place(self, last: Row | None, now: float) -> None:
        found = None if self.cursor_id is None else self._find(self.cursor_id)
        if found is not None:
            self.ghost, self.index = None, found
            if not self.touched and found >= max(1, self._page):
                self._set_cursor(0)  # nobody has chosen this row: stay with what matters most
            return
        if self.ghost is None and last is not None:
            self.ghost = (last._replace(fold="", item=self.known.get(last.id, last.item)), now + STAYS)
        elif self.ghost is not None and now >= self.ghost[1]:
            self.ghost = None
        if self.ghost is None:
            self._set_cursor(min(self.index, max(0, len(self) - 1)) if last is not None else 0)
        self.index = min(self.index, max(0, len(self) - 1))

    def _find(self, row_id: str) -> int | None:
        found = self.rows.find(row_id)
        if found is None and self.more is not None and self.rows.total > len(self.rows) and self.touched:
            self.rows = self.more()
            found = self.rows.find(row_id)
        return found

    def forget(self) -> None:
        """Begin anew: other rows altogether (another view)."""
        self.cursor_id, self.index, self.first, self.ghost, self.touched = None, 0, 0, None, False

    def __len__(self) -> int:
        """Rows that can be moved to, with the vanished one."""
        return self.rows.total + (self.ghost is not None)

    def __bool__(self) -> bool:
        return True

    @property
    def _page(self) -> int:
        return max(0, self.size.height - 1)

    def row_at(self, index: int) -> Row | None:
        """The row on line ``index``; ``None``: there is none."""
        if self.ghost is not None:
            if index == self.index:
                return self.ghost[0]
            index -= index > self.index
        if not 0 <= index < self.rows.total:
            return None
        if index >= len(self.rows) and self.more is not None:
            self.rows = self.more()
        return self.rows.row(index) if index < len(self.rows) else None

    @property
    def current(self) -> Row | None:
        """The row under the cursor."""
        return self.row_at(self.index)

    # ------------------------------------------------------------------------------------------------ cursor
    def _set_cursor(self, index: int) -> None:
        self.index = index
        row = self.row_at(index)
        self.cursor_id = row.id if row is not None else None

    def go(self, index: int) -> None:
        """Move the cursor, by hand."""
        index = min(max(0, index), len(self) - 1)
        if index < 0:
            return
        if self.ghost is not None and index != self.index:
            index -= index > self.index
            self.ghost = None
        self.touched = index != 0
        self._set_cursor(index)
        self._scroll()
        self.repaint()
        self.follow(True)

    def _scroll(self) -> None:
        page = self._page
        if page <= 0:
            return
        low, high = self.index - page + 1, self.index
        self.first = max(0, min(max(self.first, low), high, max(0, len(self) - page)))

    def action_move(self, step: int) -> None:
        """One row."""
        self.go(self.index + step)

    def action_page(self, step: int) -> None:
        """One page."""
        self.go(self.index + step * max(1, self._page - 1))

    def action_edge(self, side: int) -> None:
        """First or last row."""
        self.go(0 if side < 0 else len(self) - 1)

    def next_match(self, step: int) -> None:
        """The next row of the first level, around the end."""
        count = len(self)
        index = self.index
        for _ in range(count):
            index = (index + step) % count
            row = self.row_at(index)
            if row is not None and row.depth == 0:
                self.go(index)
                return

    def action_fold(self, open: bool) -> None:
        """Unfold; fold, or go up to the row that can be folded."""
        row = self.current
        if row is None:
            return
        if row.fold == (SHUT if open else OPEN):
            self.post_message(self.Folded(row, open))
        elif not open and row.parent is not None and (parent := self.rows.find(row.parent)) is not None:
            self.go(parent)

    def action_open(self) -> None:
        """Tell the page."""
        if (row := self.current) is not None:
            self.post_message(self.Opened(row))

    # ------------------------------------------------------------------------------------------------- mouse
    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Three rows down."""
        event.stop()
        self.go(self.index + 3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Three rows up."""
        event.stop()
        self.go(self.index - 3)

    def on_click(self, event: events.Click) -> None:
        """A title sorts; a row gets the cursor, and opens when it has it."""
        event.stop()
        if event.y == 0:
            left = 1
            for column, width in self.widths:
                if left <= event.x <= left + width:
                    self.post_message(self.Heading(column.key))
                left += width + col.GAP
        elif (index := self.first + event.y - 1) < len(self):
            if index == self.index and event.chain > 1:
                self.action_open()
            else:
                self.go(index)

    # ------------------------------------------------------------------------------------------------- paint
    def on_resize(self, event: events.Resize) -> None:
        """Other room: the cursor stays in view."""
        self._scroll()
        self.refit()

    def strips(self, width: int, height: int) -> list[Strip]:
        """See ``Painted``."""
        state = (self.snapshot, self.widths, width, self.dim, self.look, self.top.columns_look)
        if self._state[0] is not state[0] or self._state[1:] != state[1:] or len(self._lines) > _REMEMBERED:
            self._state, self._lines = state, {}
        strips = [strip_of(self._heading(), width, self.look)]
        if not self.rows.total and self.ghost is None:
            return [*strips, *self._nothing(width)]
        for index in range(self.first, min(self.first + height - 1, len(self))):
            row = self.row_at(index)
            if row is not None:
                strips.append(self._strip_again(row, index, width))
        return strips

    def _strip_again(self, row: Row, index: int, width: int) -> Strip:
        """A row's line, made only when anything in it may have changed: a cursor that moves changes two of them."""
        gone = self.ghost is not None and index == self.index
        what = (row, index == self.index, gone)
        known = self._lines.get(row.id)
        if known is None or known[0][1:] != what[1:] or not same_row(known[0][0], row):
            known = self._lines[row.id] = (what, self._strip(row, index, width))
            self.made += 1
        return known[1]

    def _nothing(self, width: int) -> list[Strip]:
        if self.empty is not None:
            return [strip_of([(f" {self.empty}", "dim")], width, self.look)]
        cells = [(pad("?", cell, column.align), "dim") for column, cell in self.widths]
        return [strip_of([(" ", ""), *self._spaced(cells)], width, self.look)]

    def _spaced(self, cells: Sequence[Span]) -> list[Span]:
        gap = " " * col.GAP
        spans: list[Span] = []
        for text, tone in cells:
            spans += [(text, tone), (gap, "")]
        return spans

    def _heading(self) -> list[Span]:
        key, reverse = self.sorted_by or ("", False)
        spans: list[Span] = [(" ", "")]
        for column, width in self.widths:
            title = pad(column.title, width, column.align, self.look.ascii)
            tone = "head" if column.key == key else "dim"
            arrow = ("v" if reverse else "^") if column.key == key else " "
            if column.align == "left" and len(column.title) < width:
                title, arrow = pad(column.title + arrow, width), " "
            spans += [(title, tone), (arrow, tone)]
        return spans

    def _strip(self, row: Row, index: int, width: int) -> Strip:
        assert self.snapshot is not None
        gone = self.ghost is not None and index == self.index
        here = index == self.index
        tone = ("cursor" if here else "dim" if self.dim else "") + (" gone" if gone else "")
        spans = self._spans(row)
        if gone:
            tag = self._farewell(row)
            spans = [*strip_spans(spans, width - len(tag)), (tag, "")]
        if here:
            spans = [(">", ""), *spans[1:]]
        if tone:
            spans = [(text, tone) for text, _ in spans]
        return strip_of(spans, width, self.look, tone)

    def _farewell(self, row: Row) -> str:
        assert self.snapshot is not None
        if (at := getattr(row.item, "finished_at", None)) is not None:
            return f" finished {clock(at, self.top.utc)} "
        return f" now {row.item.state} " if row.id in self.known and hasattr(row.item, "state") else " gone "

    def _spans(self, row: Row) -> list[Span]:
        if row.text is not None:
            return [(" ", ""), (" " * row.depth + self._sign(row), ""), *row.text]
        assert self.snapshot is not None
        look = self.top.columns_look
        cells = col.row_cells(row.item, self.snapshot, look, self.widths, self.tone_of(row.item, self.snapshot))
        spans: list[Span] = [(cell.text, cell.tone) for cell in cells]
        for number, (column, width) in enumerate(self.widths, 1):
            text, tone = spans[number]
            if not text.isprintable():  # nothing in the model should need it; a longer text would push the others
                spans[number] = (pad(clean(text.strip(" ")), width, column.align, look.ascii), tone)
        sign = " " * row.depth + self._sign(row)
        if sign and self.widths:
            text, tone = spans[1]
            spans[1] = (pad(sign + text.strip(), self.widths[0][1], ascii=look.ascii), tone)
        return [spans[0], *self._spaced(spans[1:])]

    def _sign(self, row: Row) -> str:
        return {OPEN: "v ", SHUT: "> "}.get(row.fold, "  " if row.depth else "")

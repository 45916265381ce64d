"""What all pages made of one table share: filter, order, columns, the pane below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from textual import on
from textual.app import ComposeResult
from textual.screen import Screen

from celerytop import columns as col
from celerytop.model.many import many
from celerytop.model.snapshot import Snapshot
from celerytop.ui.arrange import Values, kept, ordered
from celerytop.ui.news import freshness
from celerytop.ui.screens.frame import FRAME_HEIGHT
from celerytop.ui.screens.leaf import Page
from celerytop.ui.sift import EVERYTHING, Sift
from celerytop.ui.widgets.painted import Lines, Spans
from celerytop.ui.widgets.rows import Flat, Row, Rows
from celerytop.ui.widgets.table import Table

__all__ = ["Page", "TablePage"]

TALL, MIDDLE = 23, 16
"""Lines of a page from which on there is room for the pane below, for its first lines."""
_AT_ONCE = 2000
"""Rows made ready for a filter in one go: two milliseconds."""
AHEAD = 500
"""Rows put in order beyond those in view."""
FEW = 2000
"""So many are looked up one by one; more in a set, made in 6 ms, where 100,000 look-ups take 80."""
MANY, ANEW = 20_000, 3.0
"""More rows than this are put in order every three seconds: 100,000 take 50 ms."""


class TablePage(Page):
    """A page that is one table, with a pane about the selected row when the window is high enough."""

    columns: ClassVar[tuple[col.Column, ...]] = ()
    table_class: ClassVar[type[Table]] = Table
    nothing: ClassVar[str] = "nothing here"
    """Said when there is no row and the sources have answered."""
    lower_height: ClassVar[int] = 0
    brief_height: ClassVar[int] = 0
    """Lines of the pane that a window of 24 lines has room for."""
    words: ClassVar[Mapping[str, str]] = {}

    def __init__(self) -> None:
        super().__init__(id=self.page)
        self.sort: tuple[str, bool] | None = col.DEFAULT_SORT.get(self.page)
        self.chosen: frozenset[str] | None = None
        """Keys of the columns somebody wants; ``None``: the usual ones."""
        self.sift: Sift = EVERYTHING
        self.order: Sequence[str] = []
        self.matching: Sequence[str] = []
        self._order_of: Sequence[str] | None = None  # what matched then
        self._values = Values()
        self._read: tuple[Sequence[str] | None, list[Any]] = (None, [])
        self._ordered_at = float("-inf")
        self._last_order: tuple[object, Sequence[str], object, Snapshot | None] = (None, (), None, None)
        self._past: tuple[Snapshot | None, Snapshot | None] = (None, None)
        self.known: Mapping[str, Any] = {}
        """Everything by id, also what does not match."""

    # ------------------------------------------------------------------------------------------- to override
    def items(self, snapshot: Snapshot) -> Mapping[str, Any]:
        """What can be shown, by id."""
        raise NotImplementedError

    def ids(self, snapshot: Snapshot) -> Sequence[str]:
        """What of it shall be shown, in its natural order."""
        return list(self.known)

    def read(self, ids: Sequence[str]) -> list[Any]:
        """The items of these ids."""
        return list(many(self.known, ids))

    def tone(self, item: Any, snapshot: Snapshot) -> str:
        """How an item is."""
        return ""

    def rows(self, snapshot: Snapshot, order: Sequence[str], items: Mapping[str, Any]) -> Rows:
        """Rows of these items; a tree adds what hangs below them."""
        return Flat(order, items, len(self.matching))

    def lower(self, row: Row, snapshot: Snapshot, width: int) -> Sequence[Spans]:
        """Lines about the selected row."""
        return ()

    def details(self, row: Row) -> Screen[None] | None:
        """The screen that Enter opens."""
        return None

    def above(self, snapshot: Snapshot) -> Sequence[Spans]:
        """Lines above the table."""
        return ()

    # -------------------------------------------------------------------------------------------------- draw
    def compose(self) -> ComposeResult:
        """Table and pane."""
        yield Lines(classes="above")
        yield self.table_class(self.tone, self.moved)
        yield Lines(classes="lower")

    @property
    def table(self) -> Table:
        """The table."""
        return self.query_one(Table)

    def draw(self, snapshot: Snapshot, chosen: bool = False) -> None:
        """See ``Page``. ``chosen``: somebody has asked for other rows or another order."""
        self.known = self.items(snapshot)
        ids = self.ids(snapshot)
        if self._read[0] is not ids:
            self._read = (None, [])
        self._lay_out(snapshot)
        self.matching = self.sift.keep(ids, self.known, snapshot.at, lambda: self._rows_of(ids))
        self._arrange(snapshot, hold=bool(self.order) and (self.top.held(snapshot) or self._lately(snapshot)))
        self._show(snapshot, bool(ids), chosen)

    def _lay_out(self, snapshot: Snapshot) -> None:
        above = self.above(snapshot)
        band = self.query_one(".above", Lines)
        band.display = bool(above)
        if above:
            band.show(above)
        pane = self.query_one(".lower", Lines)
        height = self.size.height or self.app.size.height - FRAME_HEIGHT  # not laid out yet: what it will be
        lines = self.lower_height if height >= TALL else self.brief_height if height >= MIDDLE else 0
        pane.display = lines > 0
        if pane.display:
            pane.styles.height = lines

    def _arrange(self, snapshot: Snapshot, hold: bool = False, limit: int | None = -1) -> None:
        """Put what matches in order; ``hold`` keeps the order there is."""
        if hold:
            if self.matching is self._order_of and len(self.order) >= min(len(self.matching), self._reach):
                return  # nothing has come, nothing has gone
            few = len(self.matching) == len(self.known) and min(len(self.order), self._reach) <= FEW
            there, self._order_of = (self.known if few else set(self.matching)), self.matching
            if len(self.matching) > self._reach:  # of many only those that can be seen soon; ``_all_rows`` has the rest
                self.order = [row_id for row_id in self.order[: self._reach] if row_id in there]
            else:
                self.order = kept(self.order, self.matching, there)
            return
        self._order_of = self.matching
        column = self.sort_column
        if column is None:
            self.order = self.matching
            self._values.forget()
            return
        if limit == -1:
            limit = self._reach
        assert self.sort is not None
        self._ordered_at = snapshot.at
        self.order = self._ordered(column, snapshot, self.sort[1], limit)

    def _rows_of(self, ids: Sequence[str]) -> list[Any]:
        """The items of these ids, read once."""
        if self._read[0] is not ids:
            self._read = (ids, self.read(ids))
        return self._read[1]

    def _lately(self, snapshot: Snapshot) -> bool:
        """Whether very many were put in order a moment ago: not in every picture, a key might wait for that."""
        return self.sort_column is not None and len(self.matching) > MANY and snapshot.at < self._ordered_at + ANEW

    @property
    def _reach(self) -> int:
        """Rows that are put in order at once."""
        return self.table.first + self.table.size.height + AHEAD

    def _ordered(self, column: col.Column, snapshot: Snapshot, reverse: bool, limit: int | None) -> Sequence[str]:
        """In the order of a column. A longer word that keeps the same rows keeps their order too."""
        before = self._last_order[3]
        if before is not None and self._still(before, snapshot):
            snapshot = before
        what = (id(self.matching), id(snapshot), column.key, reverse, limit)
        if self._last_order[0] != what:
            held = self.sift.held(self.matching, self._rows_of)
            found = ordered(self.matching, self._values.left(held, column, snapshot), reverse, limit)
            self._last_order = (what, found, self.matching, snapshot)  # held, so that an id means the same
        return self._last_order[1]

    def _still(self, before: Snapshot, now: Snapshot) -> bool:
        """Whether the values of a picture just before will do: of very many rows, none of which has changed."""
        return len(self.known) > MANY and before.at <= now.at < before.at + ANEW and self.items(before) is self.known

    def _all_rows(self) -> Rows:
        """All in order, not only the first page."""
        snapshot = self.snapshot
        assert snapshot is not None
        self._arrange(snapshot, limit=None)
        return self.rows(snapshot, self.order, self.known)

    def _as_of(self, snapshot: Snapshot) -> Snapshot:
        """While the page is stale nothing in it grows older: it shows what was known then."""
        if not self.stale:
            return snapshot
        if self._past[0] is not snapshot:
            at = freshness(snapshot, self.needs).as_of or snapshot.at
            self._past = (snapshot, msgspec.structs.replace(snapshot, at=at))
        return self._past[1] or snapshot

    def _show(self, snapshot: Snapshot, any_ids: bool, chosen: bool) -> None:
        table = self.table
        keys = self.usual if self.chosen is None else self.chosen
        table.widths = col.fit(self.columns, max(1, self.size.width), keys)
        table.sorted_by = self.sort
        table.dim = self.stale
        table.more, table.known = self._all_rows, self.known
        table.empty = self._empty(snapshot, any_ids)
        past = self._as_of(snapshot)
        table.show(self.rows(past, self.order, self.known), past, snapshot.at, chosen)
        self.draw_lower()

    def _empty(self, snapshot: Snapshot, any_ids: bool) -> str | None:
        if self.sift.text and any_ids:
            return f"nothing matches {self.sift.text}"
        return self.nothing if self.heard(snapshot) else None

    def draw_lower(self) -> None:
        """Write the pane about the selected row."""
        pane = self.query_one(".lower", Lines)
        snapshot, row = self.snapshot, self.table.current
        if pane.display and snapshot is not None:
            width = self.size.width
            pane.show(
                self.lower(row, self._as_of(snapshot), width) if row is not None else (), "dim" if self.stale else ""
            )

    def redraw(self, anew: bool = False) -> None:
        """Draw the same picture again after something was chosen; ``anew``: in a new order."""
        if self.snapshot is None or not self.ready:
            return
        if anew:
            self.order, self._order_of = [], None
        self.draw(self.snapshot, chosen=anew)

    def on_resize(self) -> None:
        """Other room: other columns."""
        self.redraw()
        self.call_after_refresh(self.top.main.draw_aside)

    # ------------------------------------------------------------------------------------------- what is chosen
    @property
    def usual(self) -> frozenset[str]:
        """Keys of the columns shown while nobody has chosen others."""
        return frozenset(column.key for column in self.columns if not column.optional)

    @property
    def sort_column(self) -> col.Column | None:
        """The column it is sorted by; ``None``: natural order."""
        key = self.sort[0] if self.sort is not None else None
        return next((column for column in self.columns if column.key == key), None)

    def sort_by(self, key: str | None) -> None:
        """Sort by this column; the same again turns it round. ``None``: natural order."""
        if key is None:
            self.sort = None
        elif self.sort is not None and self.sort[0] == key:
            self.sort = (key, not self.sort[1])
        else:
            column = next(column for column in self.columns if column.key == key)
            self.sort = (key, column.align == "right")
        self.redraw(anew=True)

    def reverse(self) -> None:
        """Turn the order round."""
        if self.sort is not None:
            self.sort = (self.sort[0], not self.sort[1])
            self.redraw(anew=True)

    def choose(self, keys: frozenset[str]) -> None:
        """Show these columns."""
        self.chosen = keys
        self.redraw()

    def filter(self, sift: Sift) -> None:
        """Show only what matches."""
        self.sift = sift
        self.redraw(anew=True)

    def begin_filter(self) -> None:
        """A filter will be typed: make ready, a few milliseconds at a time, so that keys still come through."""
        if not self.sift.text and self.snapshot is not None:
            self.sift = Sift()
            self._make_ready(self._rows_of(self.ids(self.snapshot)), [])

    def _make_ready(self, rows: Sequence[Any], texts: list[str]) -> None:
        if self.sift is not EVERYTHING and self.sift.prepare(rows, texts, _AT_ONCE):
            self.call_later(self._make_ready, rows, texts)

    def filter_typed(self, text: str) -> None:
        """The filter as it is being typed.

        Raises:
            FilterError: a sentence for the user.
        """
        self.filter(Sift(text, self.sift if self.sift is not EVERYTHING else None))

    def aside(self) -> str:
        """Place, filter, order."""
        table, parts = self.table, []
        total = table.rows.total
        if self.sift.text:
            parts.append(f"/{self.sift.text}")
        if total > table.size.height - 1 > 0:
            parts.append(f"{table.index + 1}/{total:,}")
        if self.sort is not None and (column := self.sort_column) is not None:
            parts.append(f"sort {column.title} {'v' if self.sort[1] else '^'}")
        return "  ".join(parts)

    def help(self) -> Sequence[tuple[str, str]]:
        """Its columns, then its words."""
        shown = [(column.title, column.help) for column in self.columns]
        return [*shown, *self.WORDS]

    def copied(self) -> str | None:
        """The id under the cursor."""
        row = self.table.current
        return row.id if row is not None else None

    # ----------------------------------------------------------------------------------------------- messages
    def moved(self, by_hand: bool) -> None:
        """The pane follows the cursor; the order is held while somebody moves."""
        if by_hand:
            self.top.moved()
        self.draw_lower()
        self.top.main.draw_aside()
        if by_hand:
            self.top.main.paint_now()

    @on(Table.Opened)
    def opened(self, event: Table.Opened) -> None:
        """Enter."""
        event.stop()
        screen = self.details(event.row)
        if screen is not None:
            self.app.push_screen(screen)

    @on(Table.Heading)
    def heading(self, event: Table.Heading) -> None:
        """A click on a title."""
        event.stop()
        self.sort_by(event.key)

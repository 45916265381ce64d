"""The rows of a table, asked for one by one: a hundred thousand tasks are never turned into rows at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from celerytop.ui.widgets.painted import Spans

OPEN, SHUT = "open", "shut"


class Row(NamedTuple):
    """One line of a table."""

    id: str
    """Names it for ever: the cursor stays on it."""
    item: Any
    """What the columns read; also given to whoever opens the row."""
    depth: int = 0
    fold: str = ""
    """``OPEN``, ``SHUT``, or "" when nothing is below it."""
    text: Spans | None = None
    """Written instead of cells."""
    parent: str | None = None
    """Id of the row it hangs below."""


def same_row(one: Row, two: Row) -> bool:
    """Whether they say the same: the very same thing at the same place in the tree."""
    return one.item is two.item and one.text is two.text and one[2:4] == two[2:4] and one.id == two.id


class Rows(Protocol):
    """What a table shows, in order."""

    total: int
    """How many there are, the ones not yet put in order too."""

    def __len__(self) -> int: ...

    def row(self, index: int) -> Row:
        """The row at ``index``."""
        ...

    def find(self, row_id: str) -> int | None:
        """Where the row of this id is; ``None``: not here."""
        ...


class Flat:
    """Items of a mapping in a given order. May hold only the first page of it: then ``total`` is larger."""

    def __init__(self, ids: Sequence[str], items: Mapping[str, Any], total: int | None = None) -> None:
        self.ids = ids
        self.items = items
        self.total = len(ids) if total is None else total

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, index: int) -> Row:
        """See ``Rows``."""
        row_id = self.ids[index]
        return Row(row_id, self.items[row_id])

    def find(self, row_id: str) -> int | None:
        """See ``Rows``."""
        try:
            return self.ids.index(row_id)
        except ValueError:
            return None


class Tree:
    """Rows that are known one by one: parents, each followed by what hangs below it when it is open."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.total = len(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, index: int) -> Row:
        """See ``Rows``."""
        return self.rows[index]

    def find(self, row_id: str) -> int | None:
        """See ``Rows``."""
        return next((index for index, row in enumerate(self.rows) if row.id == row_id), None)


NO_ROWS = Tree(())

"""A table in which rows can be tagged."""

from __future__ import annotations

from collections.abc import Collection

from rich.segment import Segment
from textual.strip import Strip

from celerytop.ui.widgets.rows import Row
from celerytop.ui.widgets.table import Table

TAG = "*"


class TagTable(Table):
    """Marks tagged rows with ``*`` where the cursor or the severity stands else."""

    tagged: Collection[str] = ()
    """Ids."""

    def _strip_again(self, row: Row, index: int, width: int) -> Strip:
        strip = super()._strip_again(row, index, width)
        if row.id not in self.tagged or not width:
            return strip
        style = self.look.style("cursor" if index == self.index else "note title")
        return Strip([Segment(TAG, style), *strip.crop(1, width)], width)

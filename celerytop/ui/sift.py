"""The filter of a page: the grammar of ``celerytop.select``, over rows by id."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from celerytop.model.queue import Queue
from celerytop.model.task import Task, TaskType
from celerytop.model.worker import Worker
from celerytop.select import FilterError, parse


class Sift:
    """A filter that was read, and what it has said last: the order may change without asking it again."""

    def __init__(self, text: str = "") -> None:
        """Read it.

        Raises:
            FilterError: a sentence for the user.
        """
        self.text = text.strip()
        self._filter = parse(self.text)
        self._last: tuple[Sequence[str], float, Sequence[str]] = ((), 0.0, ())

    def keep(self, ids: Sequence[str], items: Mapping[str, Any], now: float) -> Sequence[str]:
        """The ids whose items match, in the same order."""
        if not self._filter:
            return ids
        if self._last[0] is not ids or self._last[1] != now:
            rows = [items[row_id] for row_id in ids]
            self._last = (ids, now, _ids(self._filter.keep(rows, now), ids, rows))
        return self._last[2]


def _ids(kept: Sequence[Any], ids: Sequence[str], rows: Sequence[Any]) -> Sequence[str]:
    """The ids of the rows that were kept."""
    own = _OWN_ID.get(type(kept[0])) if kept else None
    if own is not None:
        return list(map(own, kept))
    matching = set(map(id, kept))
    return [row_id for row_id, row in zip(ids, rows, strict=True) if id(row) in matching]


_OWN_ID: dict[type, Callable[[Any], str]] = {
    Task: attrgetter("task_id"),
    Queue: attrgetter("name"),
    TaskType: attrgetter("name"),
    Worker: attrgetter("nodename"),
}


EVERYTHING = Sift()

__all__ = ["EVERYTHING", "FilterError", "Sift"]

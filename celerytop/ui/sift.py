"""The filter of a page: the grammar of ``celerytop.select``, over rows by id, never asking twice what is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import compress, count, filterfalse
from operator import attrgetter, is_not
from typing import Any, NamedTuple

from celerytop.model.many import many
from celerytop.model.queue import Queue
from celerytop.model.task import Task, TaskType
from celerytop.model.worker import Worker
from celerytop.select import Filter, FilterError, Held, Texts, parse


class Sift:
    """A filter that was read, and what it has said last.

    A longer word is asked only of what the shorter one has left, another picture only of the tasks that have changed
    in it: at 100,000 tasks a key costs 20 ms instead of 100, a picture 20 instead of 120.
    """

    def __init__(self, text: str = "", after: Sift | None = None) -> None:
        """Read it; ``after``: it takes the place of this one, for the same rows.

        Raises:
            FilterError: a sentence for the user.
        """
        self.text = text.strip()
        self._filter = parse(self.text)
        self.asked = 0
        """Rows that were asked for the last answer: a measure for tests."""
        self._texts: Texts = after._texts if after is not None else Texts()
        self._lined: _Lined = after._lined if after is not None else _Lined(self._texts)
        self._before: _Answer = after._last if after is not None else _NOTHING
        self._last: _Answer = _NOTHING
        self._seen: set[Any] = set()
        """Tasks that were asked, of the last pictures; ``_matched``: those of them that match."""
        self._matched: set[Any] = set()

    def keep(
        self, ids: Sequence[str], items: Mapping[str, Any], now: float, read: Callable[[], list[Any]] | None = None
    ) -> Sequence[str]:
        """The ids whose items match, in the same order; the same sequence when all do.

        ``read`` gives the items of all ids, where that is faster than to look them up.
        """
        if not self._filter:
            return ids
        if self._last.ids is not ids or (self._last.now != now and self._filter.timed):
            before = self._before
            if before.ids is ids and (before.now == now or not self._filter.timed) and self._narrows(before):
                self._last = self._narrowed(before)
            else:
                self._last = self._asked(ids, read() if read is not None else list(many(items, ids)), now)
            self._before = _NOTHING
        return self._last.answer

    def rows(self, ids: Sequence[str]) -> Sequence[Any] | None:
        """The items of ``ids``, if that is the last answer."""
        return self._last.kept.rows if self._last.answer is ids else None

    def prepare(self, rows: Sequence[Any], lines: list[str], number: int) -> bool:
        """Make the texts of so many more of these rows, and put them with ``lines``: the first key need not do it.

        Returns whether there are more.
        """
        some = rows[len(lines) : len(lines) + number] if rows and rows[0].__class__ is Task else ()
        lines += map(self._texts.__getitem__, some)
        if lines and len(lines) == len(rows):
            self._lined.begin(rows, lines)
        return bool(some)

    def _narrows(self, before: _Answer) -> bool:
        return before.filter is not None and self._filter.narrows(before.filter)

    def _narrowed(self, before: _Answer) -> _Answer:
        """Ask only those that matched the shorter word."""
        self.asked = len(before.kept.rows)
        held = before.kept
        if held.texts is None and held.rows and held.rows[0].__class__ is Task:
            held = Held(held.rows, self._texts_of(held.rows, len(before.rows)))
        kept = self._filter.narrow(held, before.now)
        answer = before.answer if kept is held else _ids(kept.rows, before.ids, before.rows)
        return before._replace(filter=self._filter, kept=kept, answer=answer)

    def _asked(self, ids: Sequence[str], rows: list[Any], now: float) -> _Answer:
        if not rows or rows[0].__class__ is not Task:
            self.asked = len(rows)
            kept = Held(self._filter.keep(rows, now))
        elif self._last.filter is None or self._filter.timed:
            self.asked = len(rows)
            kept = self._filter.narrow(Held(rows, self._texts_of(rows)), now)
        else:
            return self._of_changed(ids, rows, now)
        answer = ids if len(kept.rows) == len(rows) else _ids(kept.rows, ids, rows)
        return _Answer(self._filter, ids, now, rows, kept, answer)

    def _of_changed(self, ids: Sequence[str], rows: list[Any], now: float) -> _Answer:
        """Ask only those that were not there in the last picture, or were other ones: a task never changes."""
        if not self._seen or len(self._seen) > 2 * len(rows) + _SPARE:
            self._seen, self._matched = set(self._last.rows), set(self._last.kept.rows)
        new = list(filterfalse(self._seen.__contains__, rows))
        self.asked = len(new)
        self._seen.update(new)
        self._matched.update(self._filter.narrow(Held(new, self._texts_of(new, len(rows))), now).rows)
        mask = list(map(self._matched.__contains__, rows))
        answer = ids if all(mask) else list(compress(ids, mask))
        return _Answer(self._filter, ids, now, rows, Held(rows, self._texts_of(rows)).only(mask), answer)

    def _texts_of(self, rows: Sequence[Any], held: int = 0) -> list[str] | None:
        """Made only for filters with a plain word: for others they would be made in vain.

        ``held``: how many rows there are, if these are some of them.
        """
        if not self._filter.plain:
            return None
        if len(self._texts) > 2 * max(held, len(rows)) + _SPARE:
            self._texts.clear()
        return list(map(self._texts.__getitem__, rows)) if held else self._lined.of(rows)


class _Lined:
    """The texts of all rows in their order. From one picture to the next nearly all lie side by side as they did: that
    is found by comparing places, 4 ms for 100,000; to look up each takes 12."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._rows: Sequence[Any] = ()
        self._lines: list[str] = []

    def begin(self, rows: Sequence[Any], lines: list[str]) -> None:
        """Learn the texts of ``rows``, unless there are newer ones."""
        if not self._rows:
            self._rows, self._lines = rows, lines

    def of(self, rows: Sequence[Any]) -> list[str]:
        """The texts of ``rows``."""
        if rows is not self._rows:
            self._lines = self._moved(rows)
            self._rows = rows
        return self._lines

    def _moved(self, rows: Sequence[Any]) -> list[str]:
        before, middle = self._rows, len(self._rows) // 2
        try:
            shift = rows.index(before[middle]) - middle
        except (IndexError, ValueError):  # there were none, or it has changed
            return list(map(self._texts.__getitem__, rows))
        if shift < 0:
            before, lines, shift = before[-shift:], self._lines[-shift:], 0
        else:
            lines = self._lines
        lines = [*map(self._texts.__getitem__, rows[:shift]), *lines[: len(rows) - shift]]
        for index in compress(count(shift), map(is_not, rows[shift:], before)):
            lines[index] = self._texts[rows[index]]
        lines += map(self._texts.__getitem__, rows[len(lines) :])
        return lines


class _Answer(NamedTuple):
    """What a filter has said about which rows."""

    filter: Filter | None
    ids: Sequence[str]
    now: float
    rows: Sequence[Any]
    kept: Held
    answer: Sequence[str]


_NOTHING = _Answer(None, (), 0.0, (), Held(()), ())
_SPARE = 10_000
"""Texts of tasks that are gone which are not worth throwing away."""


def _ids(kept: Sequence[Any], ids: Sequence[str], rows: Sequence[Any]) -> Sequence[str]:
    """The ids of the rows that were kept."""
    own = _OWN_ID.get(kept[0].__class__) if kept else None
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

"""The filter of a page: the grammar of ``celerytop.select``, over rows by id, never asking twice what is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress, count, islice
from operator import is_not
from typing import Any, NamedTuple

from celerytop.model.many import Some, many
from celerytop.model.task import Task
from celerytop.select import Filter, FilterError, Held, Texts, parse


class Sift:
    """A filter that was read, and what it has said last.

    A longer word is asked only of what the shorter one has left, another picture only of the tasks that have changed
    in it: at 100,000 tasks a key costs 20 ms instead of 100, a picture 10 instead of 120.
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
                kept = self._narrowed(before)
            else:
                kept = self._asked(read() if read is not None else list(many(items, ids)), now)
            self._last = _Answer(self._filter, ids, now, kept, ids if kept.all else Some(ids, kept.at))
            self._before = _NOTHING
        return self._last.answer

    def held(self, ids: Sequence[str], read: Callable[[Sequence[str]], list[Any]]) -> Held:
        """The items of ``ids``: known when that is the last answer."""
        return self._last.kept if self._last.answer is ids else Held(read(ids))

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

    def _narrowed(self, before: _Answer) -> Held:
        """Ask only those that matched the shorter word."""
        held = before.kept
        self.asked = len(held)
        if held.lines is None and len(held) and held.of[0].__class__ is Task:
            held = Held(held.of, self._lines(held.of, held), held.at)
        return self._filter.narrow(held, before.now, before.filter)

    def _asked(self, rows: list[Any], now: float) -> Held:
        if not rows or rows[0].__class__ is not Task:
            self.asked = len(rows)
            return self._filter.hold(Held(rows), now)
        if self._last.filter is None or self._filter.timed or not self._last.kept.of:
            self.asked = len(rows)
            return self._filter.narrow(Held(rows, self._lines(rows)), now)
        return self._of_changed(rows, now)

    def _of_changed(self, rows: list[Any], now: float) -> Held:
        """Ask only those that were not there in the last picture, or were other ones: a task never changes."""
        kept = self._last.kept
        before, moved = kept.of, self._lined.moved(kept.of, rows)
        matched = bytearray([kept.all]) * len(before)
        for place in () if kept.all else kept.at:
            matched[place] = True
        elsewhere = {before[place]: matched[place] for place in moved.left(len(before), len(rows))}
        flags = moved.carry(matched, len(rows))
        new = []
        for place in moved.other:
            if (known := elsewhere.get(rows[place])) is None:
                new.append(place)
            else:
                flags[place] = known
        self.asked = len(new)
        lines = self._lines(rows)
        for place in self._filter.narrow(Held(rows, lines, new), now).at:
            flags[place] = True
        return Held(rows, lines, list(compress(count(), flags)) if 0 in flags else None)

    def _lines(self, rows: Sequence[Any], some: Held | None = None) -> Sequence[str] | None:
        """Made only for filters with a plain word: for others they would be made in vain; only of ``some`` if few."""
        if not self._filter.plain:
            return None
        if len(self._texts) > 2 * len(rows) + _SPARE:
            self._texts.clear()
        if some is not None and _FEW * len(some) < len(rows):
            lines = [""] * len(rows)
            for place in some.at:
                lines[place] = self._texts[rows[place]]
            return lines
        return self._lined.of(rows)


class _Moved(NamedTuple):
    """How the rows of one picture lie in the next."""

    shift: int
    """By so many places have most of them moved."""
    other: list[int]
    """Places in the new one where not the same row stands as so many before in the old one."""

    def carry(self, old: bytearray, length: int) -> bytearray:
        """What is said of the old rows, by the places of the new ones; 0 of the others."""
        new = bytearray(max(0, self.shift)) + old[max(0, -self.shift) :]
        del new[length:]
        new += bytes(length - len(new))
        for place in self.other:
            new[place] = 0
        return new

    def left(self, before: int, now: int) -> Iterator[int]:
        """Places of old rows that do not stand where most do."""
        yield from range(min(before, -self.shift))
        yield from (place - self.shift for place in self.other if 0 <= place - self.shift < before)
        yield from range(max(0, now - self.shift), before)


class _Lined:
    """The texts of all rows in their order. From one picture to the next nearly all lie side by side as they did: that
    is found by comparing places, 5 ms for 100,000; to look up each takes 12, and so much took a set of known ones."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._rows: Sequence[Any] = ()
        self._lines: list[str] = []
        self._moved: tuple[Sequence[Any], Sequence[Any], _Moved] = ((), (), _Moved(0, []))

    def begin(self, rows: Sequence[Any], lines: list[str]) -> None:
        """Learn the texts of ``rows``, unless there are newer ones."""
        if not self._rows:
            self._rows, self._lines = rows, list(lines)

    def of(self, rows: Sequence[Any]) -> list[str]:
        """The texts of ``rows``. Those of the rows before are then no more: they are made into these."""
        if rows is not self._rows:
            lines, texts, (shift, other) = self._lines, self._texts, self.moved(self._rows, rows)
            lines[: max(0, -shift)] = [""] * shift
            del lines[len(rows) :]
            lines += [""] * (len(rows) - len(lines))
            for place in other:
                lines[place] = texts[rows[place]]
            self._rows = rows
        return self._lines

    def moved(self, before: Sequence[Any], rows: Sequence[Any]) -> _Moved:
        """How the rows of one picture lie in the next: nobody has changed in the middle, or all are other ones."""
        if self._moved[0] is not before or self._moved[1] is not rows:
            self._moved = (before, rows, _moved(before, rows))
        return self._moved[2]


def _moved(before: Sequence[Any], rows: Sequence[Any]) -> _Moved:
    shift = _shift(before, rows)
    if shift is None:
        return _Moved(0, list(range(len(rows))))
    start, end = max(0, shift), min(len(rows), len(before) + shift)
    pairs = map(is_not, islice(rows, start, end), islice(before, start - shift, None))
    return _Moved(shift, [*range(start), *compress(count(start), pairs), *range(end, len(rows))])


def _shift(before: Sequence[Any], rows: Sequence[Any]) -> int | None:
    middle = len(before) // 2
    for start in (middle, 0):  # what comes is put before what there is
        try:
            return rows.index(before[middle], start) - middle
        except (IndexError, ValueError):
            continue
    return None


class _Answer(NamedTuple):
    """What a filter has said about which rows."""

    filter: Filter | None
    ids: Sequence[str]
    now: float
    kept: Held
    answer: Sequence[str]


_NOTHING = _Answer(None, (), 0.0, Held(()), ())
_SPARE = 10_000
"""Texts of tasks that are gone which are not worth throwing away."""
_FEW = 4
"""One row of so many has its text looked up; of more all are put in a row."""
EVERYTHING = Sift()

__all__ = ["EVERYTHING", "FilterError", "Sift"]

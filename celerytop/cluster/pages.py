"""A large mapping of which pictures are taken: each shares with the one before all that has not changed since.

It lies in pages of some hundred entries, in the order they came. What changes copies its page, once a picture; a
picture is a copy of the list of pages. Of 100,000 tasks a plain copy took 3 ms, 10 to 17 once many had come and gone,
and all that time no event could be folded; thirty changed ones take 0.1 ms, and 8,000 take 2.

Rejected: the changes since in a second dict over a shared first one (once in a while everything is copied all the same,
and that is the moment that counts); pages by hash, which need no ``_where`` (3 MB), but know no order.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from dataclasses import dataclass
from itertools import chain
from typing import Generic, TypeVar

Value = TypeVar("Value")
ROOM = 340
"""Entries of a page: as many as a dict of 512 places holds."""
_SPARSE = 3
"""Times as many pages as there need be, before those that are nearly empty are put together."""

_FEW = 16
"""One key of so many costs as much to look up, one by one, as one to put into a dict."""


class Pages(Generic[Value]):
    """What is there now; values are never ``None``. ``take`` writes, ``picture`` reads."""

    __slots__ = ("_last", "_own", "_pages", "moved", "where")

    def __init__(self) -> None:
        self.where: dict[str, int] = {}
        """The page of each key."""
        self.moved = 0
        """Grows before a key leaves its page."""
        self._pages: dict[int, dict[str, Value]] = {}
        self._own: set[int] = set()
        """Pages that no picture has."""
        self._last = -1
        """The page that is filled."""

    def take(self, changed: Mapping[str, Value | None]) -> None:
        """Learn what has changed; ``None``: it is gone. What is new comes last, as it lies in ``changed``."""
        where = self.where
        gone: list[str] = []
        newest, last = self._newest()
        for key, value in changed.items():
            at = where.get(key)
            if value is None:
                if at is not None:
                    gone.append(key)
            elif at is not None:
                self._mine(at)[key] = value
            else:
                if len(newest) >= ROOM:
                    newest, last = self._newest()
                where[key] = last
                newest[key] = value
        if gone:
            self._remove(gone)

    def picture(self) -> Mapping[str, Value]:
        """All of it, never changed after."""
        if len(self._pages) > 2 and len(self._pages) * ROOM > _SPARSE * len(self.where):
            self._gather()
        self._own.clear()
        return Paged(self, self._pages.copy(), len(self.where))

    def _mine(self, at: int) -> dict[str, Value]:
        """A page that no picture has."""
        if at in self._own:
            return self._pages[at]
        self._own.add(at)
        page = self._pages[at] = self._pages[at].copy()
        return page

    def _newest(self) -> tuple[dict[str, Value], int]:
        """The page for what is new, and its number."""
        page = self._pages.get(self._last)
        if page is None or len(page) >= ROOM:
            self._last += 1
            self._pages[self._last] = {}
        return self._mine(self._last), self._last

    def _remove(self, keys: Iterable[str]) -> None:
        self.moved += 1
        for key in keys:
            at = self.where.pop(key)
            page = self._mine(at)
            del page[key]
            if not page and at != self._last:
                del self._pages[at]
                self._own.discard(at)

    def _gather(self) -> None:
        """Put neighbours together that fit into one page: a few tasks that never end keep a page each."""
        self.moved += 1
        gathered: dict[int, dict[str, Value]] = {}
        last: dict[str, Value] = {}
        at = -1
        for number, page in self._pages.items():
            if at >= 0 and len(last) + len(page) <= ROOM:
                last = gathered[at] = last | page
                self.where.update(dict.fromkeys(page, at))
            else:
                at, last = number, page
                gathered[at] = page
        self._pages, self._last = gathered, max(at, self._last)


@dataclass(init=False, eq=False, repr=False)
class Paged(Mapping[str, Value]):
    """One picture. For any thread; iterating over it costs what iterating over a dict does."""

    __slots__ = ("_all", "_home", "_length", "_moved", "pages")

    pages: Mapping[int, Mapping[str, Value]]

    def __init__(self, home: Pages[Value], pages: Mapping[int, Mapping[str, Value]], length: int) -> None:
        self.pages = pages
        self._home = home
        self._moved = home.moved
        self._length = length
        self._all: dict[str, Value] | None = None

    def __getitem__(self, key: str) -> Value:
        """By where the key is now. If that is not here, and any has been moved since, this picture is looked through.

        Once: from then on it has a dict of its own. What is asked for is nearly always still there.
        """
        page = self.pages.get(self._home.where.get(key, -1))
        if page is not None and (found := page.get(key)) is not None:
            return found
        if self._home.moved == self._moved:
            raise KeyError(key)
        return self._flat()[key]

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self.pages.values())

    def __len__(self) -> int:
        return self._length

    def many(self, keys: Sequence[str]) -> Iterable[Value]:
        """See ``model.many``."""
        few = self._all is None and _FEW * len(keys) < self._length
        return map(self.__getitem__ if few else self._flat().__getitem__, keys)

    def _flat(self) -> dict[str, Value]:
        """All of it in one dict, made when somebody first needs it: 3 ms for 100,000."""
        if self._all is None:
            found: dict[str, Value] = {}
            for page in self.pages.values():
                found.update(page)
            self._all = found
        return self._all

    def values(self) -> ValuesView[Value]:
        """See ``Mapping``."""
        return _Values(self)

    def items(self) -> ItemsView[str, Value]:
        """See ``Mapping``."""
        return _Items(self)


class _Values(ValuesView[Value]):
    _mapping: Paged[Value]

    def __iter__(self) -> Iterator[Value]:
        return chain.from_iterable(page.values() for page in self._mapping.pages.values())


class _Items(ItemsView[str, Value]):
    _mapping: Paged[Value]

    def __iter__(self) -> Iterator[tuple[str, Value]]:
        return chain.from_iterable(page.items() for page in self._mapping.pages.values())

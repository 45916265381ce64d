"""Reads a filter, and asks rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from celerytop.select.terms import (
    NUMBERS,
    PLAIN,
    TEXTS,
    TIMED,
    FilterError,
    Held,
    Not,
    Row,
    Term,
    Text,
    number,
    pattern,
)

R = TypeVar("R")


class Clause(NamedTuple):
    """One term as it was written."""

    negated: bool
    field: str | None
    value: str
    make: Callable[[type], Term]
    """The condition for one kind of row."""

    def narrows(self, other: Clause) -> bool:
        """Whether what meets this one meets ``other``: the same, or a longer word."""
        if (self.negated, self.field) != (other.negated, other.field):
            return False
        if self.value == other.value:
            return True
        word = not self.negated and self.field not in NUMBERS and self.value[:1] != "~" != other.value[:1]
        return word and other.value.lower() in self.value.lower()


class Filter:
    """A parsed filter."""

    def __init__(self, text: str, clauses: tuple[Clause, ...]) -> None:
        self.text = text
        self.clauses = clauses
        self._terms: dict[type, tuple[Term, ...]] = {}

    @property
    def timed(self) -> bool:
        """Whether the answer may change while a row does not."""
        return any(clause.field in TIMED for clause in self.clauses)

    @property
    def plain(self) -> bool:
        """Whether it looks for a plain word."""
        return any(clause.field is None and clause.value[:1] != "~" for clause in self.clauses)

    def narrows(self, other: Filter) -> bool:
        """Whether all that match also match ``other``; false may mean: not known.

        >>> short, longer = parse("mai"), parse("mail st")
        >>> longer.narrows(short), short.narrows(longer), parse("!mail").narrows(parse("!mai"))
        (True, False, False)
        """
        pairs = zip(self.clauses, other.clauses, strict=False)
        return len(self.clauses) >= len(other.clauses) and all(mine.narrows(theirs) for mine, theirs in pairs)

    def matches(self, row: Row, now: float) -> bool:
        """Whether every term holds for ``row``; ``now`` is for what still runs."""
        return all(term.test(row, now) for term in self._of(row.__class__))

    def keep(self, rows: Iterable[R], now: float) -> list[R]:
        """All rows that match: term by term over what is left, several times as fast as row by row."""
        return list(self.hold(Held(list(rows)), now).rows)

    def hold(self, held: Held, now: float) -> Held:
        """The same for rows that may be of several kinds."""
        if len({row.__class__ for row in held.rows}) == 1:
            return self.narrow(held, now)
        return held.only([self.matches(row, now) for row in held.rows])

    def narrow(self, held: Held, now: float, before: Filter | None = None) -> Held:
        """The same for rows of one kind whose texts may be there already; itself when all match.

        ``before``: all of them match that one at this moment, so what it says too is not asked again.
        """
        if not len(held):
            return held
        known = [] if before is None else [clause[:3] for clause in before.clauses]
        for clause, term in zip(self.clauses, self._of(held.of[held.at[0]].__class__), strict=True):
            if clause[:3] not in known:
                held = held.only(term.mask(held, now))
        return held

    def __bool__(self) -> bool:
        return bool(self.clauses)

    def _of(self, kind: type) -> tuple[Term, ...]:
        terms = self._terms.get(kind)
        if terms is None:
            terms = self._terms[kind] = tuple(clause.make(kind) for clause in self.clauses)
        return terms


def parse(text: str) -> Filter:
    """Read a filter.

    Raises:
        FilterError: a sentence for the user.

    >>> from celerytop.model.task import Task
    >>> task = Task("7b2e", name="app.pay", state="STARTED", started_at=0.0)
    >>> [parse(text).matches(task, 40.0) for text in ("pay", "runtime:>30", "!state:started", "~^app", "runtime:<1m")]
    [True, True, False, True, True]
    """
    return Filter(text, tuple(_clause(term) for term in _written(text)))


_TERM = re.compile(r'(?P<not>!?)(?:(?P<field>[a-z_]+):)?(?P<value>~?(?:"[^"]*"?|[^\s"])*)')


def _written(text: str) -> list[re.Match[str]]:
    found = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        term = _TERM.match(text, position)
        if term is None or term.end() == position:  # a lone quote, at worst
            raise FilterError(f"The filter cannot be read from `{text[position:][:20]}` on.")
        found.append(term)
        position = term.end()
    return found


def _clause(term: re.Match[str]) -> Clause:
    field, value = term["field"], term["value"].replace('"', "")
    if field is None:
        make = _text(PLAIN, value)
    elif field in NUMBERS:
        make = number(field, value)
    elif field in TEXTS:
        make = _text(TEXTS[field], value)
    else:
        known = ", ".join(sorted({*TEXTS, *NUMBERS}))
        raise FilterError(f"The filter knows no `{field}:`; it knows {known}.")
    return Clause(bool(term["not"]), field, value, _negated(make) if term["not"] else make)


def _negated(make: Callable[[type], Term]) -> Callable[[type], Term]:
    return lambda kind: Not(make(kind))


def _text(names: tuple[str, ...], value: str) -> Callable[[type], Term]:
    pattern(value)  # what is wrong with it shows now
    return lambda kind: Text(names, kind, value)

"""The conditions a filter is made of, and which attributes each looks at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import compress, repeat
from operator import attrgetter, contains, not_
from typing import Any, TypeVar

from celerytop.errors import CelerytopError
from celerytop.model.host import Process
from celerytop.model.queue import Queue
from celerytop.model.task import Task, TaskType
from celerytop.model.worker import Worker

Row = Task | Queue | Worker | TaskType | Process
V = TypeVar("V")
Read = Callable[[Any, float], float | None]
Reads = Callable[[Iterable[Any], float], Iterable[float | None]]

_NUMBER = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[smhdkKMG]?)$")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}
_REMEMBERED = 50_000


class FilterError(CelerytopError):
    """The filter cannot be read; one sentence says why."""


class Texts(dict[Any, str]):
    """What a plain word is looked for in, by task: all its texts in lower case, a NUL between them.

    Made once for each task (0.5 us); then a key costs 0.07 us a task instead of 1.2, for some 300 bytes a task.
    """

    def __missing__(self, task: Task) -> str:
        text = self[task] = "\0".join(filter(None, _OF_TASK(task))).lower()  # no text of the model holds a NUL
        return text


class Held:
    """Those of very many rows of one kind that are left, by their places in ``of``.

    Only places are copied, never what stands there: to copy 50,000 rows, texts and ids took 8 ms, for each must be
    fetched from memory to be counted as held once more; the places of 50,000 take 1.
    """

    __slots__ = ("at", "lines", "of")

    def __init__(self, of: Sequence[Any], lines: Sequence[str] | None = None, at: Sequence[int] | None = None) -> None:
        """All of them, or those ``at`` these places, in their order."""
        self.of = of
        self.lines = lines
        """In the same order what a plain word is looked for in; ``None``: not made."""
        self.at: Sequence[int] = range(len(of)) if at is None else at

    def __len__(self) -> int:
        return len(self.at)

    @property
    def all(self) -> bool:
        """Whether none is missing."""
        return len(self.at) == len(self.of)

    @property
    def rows(self) -> Sequence[Any]:
        """Those that are left."""
        return self.of if self.all else list(self.each(self.of))

    @property
    def texts(self) -> list[str] | None:
        """What a plain word is looked for in."""
        return None if self.lines is None else list(self.each(self.lines))

    def each(self, values: Sequence[V]) -> Iterable[V]:
        """Of one value for each of all rows those of the rows that are left."""
        return values if self.all else map(values.__getitem__, self.at)

    def only(self, mask: Iterable[bool]) -> Held:
        """Those for which ``mask`` is true; itself when all are."""
        known = list(mask)
        return self if all(known) else Held(self.of, self.lines, list(compress(self.at, known)))


class Term:
    """One condition, for rows of one kind."""

    def test(self, row: Any, now: float) -> bool:
        """Whether ``row`` meets it; ``now`` is for what still runs."""
        raise NotImplementedError

    def mask(self, held: Held, now: float) -> Iterable[bool]:
        """For each row whether it meets it."""
        test = self.test
        return (test(row, now) for row in held.each(held.of))


class Not(Term):
    """The opposite."""

    def __init__(self, term: Term) -> None:
        self._term = term

    def test(self, row: Any, now: float) -> bool:
        """See ``Term``."""
        return not self._term.test(row, now)

    def mask(self, held: Held, now: float) -> Iterable[bool]:
        """See ``Term``."""
        return map(not_, self._term.mask(held, now))


class Text(Term):
    """A part of any of these attributes, or what a regular expression finds in one of them."""

    def __init__(self, names: Iterable[str], kind: type, value: str) -> None:
        present = [name for name in names if name in kind.__struct_fields__]  # type: ignore[attr-defined]
        self._often = _all_at_once([name for name in present if name not in _UNIQUE])
        self._once = _all_at_once([name for name in present if name in _UNIQUE])
        self._small = value.lower()
        self._pattern = pattern(value)
        self._memo = _Memo(self._pattern)
        self._joined = kind is Task and tuple(names) == PLAIN and not value.startswith("~") and "\0" not in value
        self._one = attrgetter(present[0]) if len(present) == 1 and present[0] not in _UNIQUE else None

    def test(self, row: Any, now: float) -> bool:
        """See ``Term``. Those that repeat are asked first."""
        memo, found = self._memo, self._pattern
        return any(memo[text] for text in self._often(row)) or any(text and found(text) for text in self._once(row))

    def mask(self, held: Held, now: float) -> Iterable[bool]:
        """See ``Term``. All in C, for what a hundred thousand tasks are asked while somebody types."""
        if self._joined and held.lines is not None:
            return map(contains, held.each(held.lines), repeat(self._small))
        if self._one is not None:
            return map(self._memo.__getitem__, map(self._one, held.each(held.of)))
        return super().mask(held, now)


class Number(Term):
    """A number in a range."""

    def __init__(self, read: Read, low: float, high: float, strict: bool, reads: Reads | None = None) -> None:
        self._read, self._low, self._high, self._strict = read, low, high, strict
        self._reads = reads

    def test(self, row: Any, now: float) -> bool:
        """See ``Term``."""
        number = self._read(row, now)
        if number is None:
            return False
        return self._low < number < self._high if self._strict else self._low <= number <= self._high

    def mask(self, held: Held, now: float) -> Iterable[bool]:
        """See ``Term``. Of 100,000 tasks in 17 ms instead of 50, where all their numbers can be read at once."""
        if self._reads is None:
            return super().mask(held, now)
        low, high, numbers = self._low, self._high, self._reads(held.each(held.of), now)
        if self._strict:
            return [number is not None and low < number < high for number in numbers]
        return [number is not None and low <= number <= high for number in numbers]


class _Memo(dict[Any, bool]):
    """Whether a value matches; names, workers, queues and states come again and again."""

    def __init__(self, found: Callable[[str], object]) -> None:
        super().__init__()
        self._found = found

    def __missing__(self, value: Any) -> bool:
        if len(self) > _REMEMBERED:
            self.clear()
        text = " ".join(str(getattr(item, "name", item)) for item in value) if isinstance(value, tuple) else value
        self[value] = answer = isinstance(text, str) and bool(self._found(text))
        return answer


def pattern(value: str) -> Callable[[str], object]:
    """Whether a text holds it: a part of it, or after ``~`` a regular expression.

    Raises:
        FilterError: it is none.
    """
    if value.startswith("~"):
        try:
            return re.compile(value[1:], re.IGNORECASE).search
        except re.error as error:
            raise FilterError(f"`{value}` is no regular expression: {error}.") from None
    small = value.lower()
    return lambda text: small in text.lower()


def _all_at_once(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Reads several attributes in one call: a third of the time of a loop."""
    if len(names) > 1:
        return attrgetter(*names)
    return (lambda row: (getattr(row, names[0]),)) if names else lambda row: ()


def number(field: str, value: str) -> Callable[[type], Term]:
    """A term about a number.

    Raises:
        FilterError: it is none.
    """
    low, high, strict = _range(field, value)
    return lambda kind: Number(NUMBERS[field](kind), low, high, strict, _OF_TASKS.get(field) if kind is Task else None)


def _range(field: str, value: str) -> tuple[float, float, bool]:
    infinite = float("inf")
    if ".." in value:
        low, _, high = value.partition("..")
        return (_quantity(field, low) if low else -infinite), (_quantity(field, high) if high else infinite), False
    for sign, strict in ((">=", False), ("<=", False), (">", True), ("<", True), ("=", False)):
        if value.startswith(sign):
            limit = _quantity(field, value[len(sign) :])
            if sign == "=":
                return limit, limit, False
            return (limit, infinite, strict) if sign[0] == ">" else (-infinite, limit, strict)
    limit = _quantity(field, value)
    return limit, limit, False


def _quantity(field: str, text: str) -> float:
    found = _NUMBER.match(text)
    if found is None:
        raise FilterError(f"`{field}:` takes a number such as >30, <=5m or 1..10, not `{text[:20]}`.")
    return float(found["number"]) * _UNITS[found["unit"]]


TEXTS: dict[str, tuple[str, ...]] = {
    "id": ("task_id",),
    "name": ("name", "nodename", "task_name"),
    "state": ("state", "status"),
    "worker": ("worker", "nodename", "workers"),
    "queue": ("queue", "queues"),
    "args": ("args", "kwargs"),
    "root": ("root_id",),
    "parent": ("parent_id",),
    "pool": ("pool",),
    "exception": ("exception",),
    "role": ("role",),
    "place": ("place",),
    "type": ("type",),
    "host": ("host",),
}
"""Attributes by field."""
PLAIN = ("task_id", "name", "nodename", "worker", "queue", "args", "kwargs", "task_name", "command")
"""Where a plain word is looked for."""
_OF_TASK = attrgetter(*(name for name in PLAIN if name in Task.__struct_fields__))
_UNIQUE = frozenset({"task_id", "args", "kwargs", "root_id", "parent_id", "exception", "command"})
"""Texts that hardly ever come twice: not worth remembering."""


def _runtime(kind: type) -> Read:
    if kind is Task:
        return lambda row, now: row.ran(now)
    return (lambda row, now: row.runtime.p95) if kind is TaskType else lambda row, now: None


def _age(kind: type) -> Read:
    if kind is Task:
        return lambda row, now: None if (begin := _began_at(row)) is None else now - begin
    if kind is Process:
        return lambda row, now: now - row.created_at
    return _plain("oldest_age", "uptime")(kind)


def _runtimes(tasks: Iterable[Task], now: float) -> Iterable[float | None]:
    return (task.runtime if task.runtime is not None else task.ran(now) for task in tasks)


def _ages(tasks: Iterable[Task], now: float) -> Iterable[float | None]:
    for sent_at, received_at, started_at in map(attrgetter("sent_at", "received_at", "started_at"), tasks):
        at = sent_at if sent_at is not None else received_at if received_at is not None else started_at
        yield None if at is None else now - at


def _began_at(task: Task) -> float | None:
    return next((at for at in (task.sent_at, task.received_at, task.started_at) if at is not None), None)


def _plain(*names: str) -> Callable[[type], Read]:
    """The first of these attributes that a row of the kind has."""

    def reader(kind: type) -> Read:
        name = next((name for name in names if name in kind.__struct_fields__), None)  # type: ignore[attr-defined]
        if name is None:
            return lambda row, now: None
        get = attrgetter(name)
        return lambda row, now: get(row)

    return reader


TIMED = frozenset({"runtime", "age"})
"""Numbers that grow while nothing is told."""
NUMBERS: dict[str, Callable[[type], Read]] = {
    "runtime": _runtime,
    "age": _age,
    "retries": _plain("retries", "retried"),
    "messages": _plain("messages"),
    "unacked": _plain("unacked"),
    "consumers": _plain("consumers"),
    "active": _plain("active"),
    "reserved": _plain("reserved"),
    "processed": _plain("processed"),
    "failed": _plain("failed"),
    "pid": _plain("worker_pid", "pid"),
    "cpu": _plain("cpu_percent"),
    "rss": _plain("rss"),
    "rate": _plain("rate", "done_rate", "net_rate"),
    "priority": _plain("priority"),
}
"""Numbers by field: seconds, bytes and counts."""
_OF_TASKS: dict[str, Reads] = {
    "runtime": _runtimes,
    "age": _ages,
    "retries": lambda tasks, now: map(attrgetter("retries"), tasks),
}
"""The same of many tasks at once."""

"""Filter and sort rows: one grammar for the screen's ``/`` and for ``--filter``. Pure.

::

    app.pay                       a word: part of the id, name, worker, queue or arguments
    state:STARTED  name:pay       a field: part of it, upper and lower case alike
    ~^app\\.(pay|mail)  name:~pay$  a regular expression
    runtime:>30  age:5m..1h       a number: > >= < <= = or a range; units s m h d, k M G
    !state:SUCCESS  "two words"   not; quotes keep spaces

Terms are separated by spaces and all of them must hold. A row whose value is not known matches no number.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable
from operator import attrgetter, itemgetter
from typing import Any, TypeVar

from celerytop.errors import CelerytopError
from celerytop.model.host import Process
from celerytop.model.queue import Queue
from celerytop.model.snapshot import Snapshot
from celerytop.model.task import READY_STATES, Task, TaskType
from celerytop.model.worker import Worker

Row = Task | Queue | Worker | TaskType | Process
R = TypeVar("R")
Test = Callable[[Any, float], bool]
"""(row, now) -> whether it matches."""
Maker = Callable[[type], Test]
"""The test of one term for one kind of row."""

VIEWS = ("active", "reserved", "scheduled", "failed", "recent", "all")
_FAILED = frozenset({"FAILURE", "RETRY", "REVOKED", "REJECTED"})


class FilterError(CelerytopError):
    """The filter cannot be read; one sentence says why."""


class Filter:
    """A parsed filter."""

    def __init__(self, text: str, makers: tuple[Maker, ...]) -> None:
        self.text = text
        self._makers = makers
        self._tests: dict[type, tuple[Test, ...]] = {}

    def matches(self, row: Row, now: float) -> bool:
        """Whether every term holds for ``row``; ``now`` is for what still runs."""
        return all(test(row, now) for test in self._of(row.__class__))

    def keep(self, rows: Iterable[R], now: float) -> list[R]:
        """All rows that match: term by term over what is left, several times as fast as row by row."""
        kept = list(rows)
        kinds = {row.__class__ for row in kept}
        if len(kinds) != 1:
            return [row for row in kept if self.matches(row, now)]  # type: ignore[arg-type]
        for test in self._of(kinds.pop()):
            kept = [row for row in kept if test(row, now)]
        return kept

    def __bool__(self) -> bool:
        return bool(self._makers)

    def _of(self, kind: type) -> tuple[Test, ...]:
        tests = self._tests.get(kind)
        if tests is None:
            tests = self._tests[kind] = tuple(make(kind) for make in self._makers)
        return tests


def parse(text: str) -> Filter:
    """Read a filter.

    Raises:
        FilterError: a sentence for the user.

    >>> task = Task("7b2e", name="app.pay", state="STARTED", started_at=0.0)
    >>> [parse(text).matches(task, 40.0) for text in ("pay", "runtime:>30", "!state:started", "~^app", "runtime:<1m")]
    [True, True, False, True, True]
    """
    return Filter(text, tuple(_test(term) for term in _terms(text)))


def ordered(rows: Iterable[R], key: Callable[[R], Any], reverse: bool = False, limit: int | None = None) -> list[R]:
    """Sort ``rows`` by ``key``, those whose key is ``None`` last either way; equal ones keep their order.

    >>> ordered([3, None, 1], lambda n: n), ordered([3, None, 1], lambda n: n, reverse=True, limit=2)
    ([1, 3, None], [3, 1])
    """
    known: list[tuple[Any, R]] = []
    unknown: list[R] = []
    for row in rows:
        value = key(row)
        if value is None:
            unknown.append(row)
        else:
            known.append((value, row))
    if limit is None or limit * 8 > len(known):
        known.sort(key=itemgetter(0), reverse=reverse)
    else:
        known = (heapq.nlargest if reverse else heapq.nsmallest)(limit, known, key=itemgetter(0))
    found = [row for _, row in known] + unknown
    return found if limit is None else found[:limit]


def tasks_in(snapshot: Snapshot, view: str) -> list[Task]:
    """The tasks of one view: active, reserved, scheduled, failed, recent (finished), all.

    A task that is over, though nobody said how (its worker sends no events, or is gone), waits and runs nowhere.
    """
    tasks = snapshot.tasks.values()
    match view:
        case "active" | "reserved" | "scheduled":
            return [task for task in tasks if task.finished_at is None and _where(task) == view]
        case "failed":
            return [task for task in tasks if task.state in _FAILED]
        case "recent":
            return [task for task in tasks if task.state in READY_STATES]
        case _:
            return list(tasks)


def _where(task: Task) -> str | None:
    """What a worker's list says; without one, what events say."""
    if task.place is not None or task.state not in ("STARTED", "RECEIVED"):
        return task.place
    if task.state == "STARTED":
        return "active"
    return "reserved" if task.eta_at is None else "scheduled"


_TERM = re.compile(r'(?P<not>!?)(?:(?P<field>[a-z_]+):)?(?P<value>~?(?:"[^"]*"?|[^\s"])*)')
_NUMBER = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[smhdkKMG]?)$")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}


def _terms(text: str) -> list[re.Match[str]]:
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


def _test(term: re.Match[str]) -> Maker:
    field, value = term["field"], term["value"].replace('"', "")
    if field is None:
        make = _text(_PLAIN, value)
    elif field in _NUMBERS:
        make = _number(field, value)
    elif field in _TEXTS:
        make = _text(_TEXTS[field], value)
    else:
        known = ", ".join(sorted({*_TEXTS, *_NUMBERS}))
        raise FilterError(f"The filter knows no `{field}:`; it knows {known}.")
    return _negated(make) if term["not"] else make


def _negated(make: Maker) -> Maker:
    def negated(kind: type) -> Test:
        test = make(kind)
        return lambda row, now: not test(row, now)

    return negated


def _pattern(value: str) -> Callable[[str], object]:
    if value.startswith("~"):
        try:
            return re.compile(value[1:], re.IGNORECASE).search
        except re.error as error:
            raise FilterError(f"`{value}` is no regular expression: {error}.") from None
    small = value.lower()
    return lambda text: small in text.lower()


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


def _any_of(names: Iterable[str], kind: type, value: str) -> Test:
    """Whether any of these attributes matches; those that repeat are asked first."""
    found = _pattern(value)
    present = [name for name in names if name in kind.__struct_fields__]  # type: ignore[attr-defined]
    often = _all_at_once([name for name in present if name not in _UNIQUE])
    once = _all_at_once([name for name in present if name in _UNIQUE])
    memo, small, search = _Memo(found), value.lower(), value.startswith("~")

    def test(row: Any, now: float) -> bool:
        for text in often(row):
            if memo[text]:
                return True
        for text in once(row):  # noqa: SIM110 - written out: for each key typed, a hundred thousand tasks are asked
            if text and (found(text) if search else small in text.lower()):
                return True
        return False

    return test


def _all_at_once(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Reads several attributes in one call: a third of the time of a loop."""
    if len(names) > 1:
        return attrgetter(*names)
    return (lambda row: (getattr(row, names[0]),)) if names else lambda row: ()


def _text(names: tuple[str, ...], value: str) -> Maker:
    _pattern(value)  # what is wrong with it shows now
    return lambda kind: _any_of(names, kind, value)


def _number(field: str, value: str) -> Maker:
    low, high, strict = _range(field, value)
    reader = _NUMBERS[field]

    def make(kind: type) -> Test:
        read = reader(kind)

        def test(row: Any, now: float) -> bool:
            number = read(row, now)
            if number is None:
                return False
            return low < number < high if strict else low <= number <= high

        return test

    return make


def _range(field: str, value: str) -> tuple[float, float, bool]:
    infinite = float("inf")
    if ".." in value:
        low, _, high = value.partition("..")
        return (_read(field, low) if low else -infinite), (_read(field, high) if high else infinite), False
    for sign, strict in ((">=", False), ("<=", False), (">", True), ("<", True), ("=", False)):
        if value.startswith(sign):
            number = _read(field, value[len(sign) :])
            if sign == "=":
                return number, number, False
            return (number, infinite, strict) if sign[0] == ">" else (-infinite, number, strict)
    number = _read(field, value)
    return number, number, False


def _read(field: str, text: str) -> float:
    found = _NUMBER.match(text)
    if found is None:
        raise FilterError(f"`{field}:` takes a number such as >30, <=5m or 1..10, not `{text[:20]}`.")
    return float(found["number"]) * _UNITS[found["unit"]]


_TEXTS: dict[str, tuple[str, ...]] = {
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
_UNIQUE = frozenset({"task_id", "args", "kwargs", "root_id", "parent_id", "exception", "command"})
"""Texts that hardly ever come twice: not worth remembering."""
_REMEMBERED = 50_000
_PLAIN = ("task_id", "name", "nodename", "worker", "queue", "args", "kwargs", "task_name", "command")
"""Where a plain word is looked for."""


Read = Callable[[Any, float], float | None]


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


_NUMBERS: dict[str, Callable[[type], Read]] = {
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

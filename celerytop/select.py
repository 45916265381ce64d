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

VIEWS = ("active", "reserved", "scheduled", "failed", "recent", "all")
_FAILED = frozenset({"FAILURE", "RETRY", "REVOKED", "REJECTED"})


class FilterError(CelerytopError):
    """The filter cannot be read; one sentence says why."""


class Filter:
    """A parsed filter."""

    def __init__(self, text: str, tests: tuple[Test, ...]) -> None:
        self.text = text
        self._tests = tests

    def matches(self, row: Row, now: float) -> bool:
        """Whether every term holds for ``row``; ``now`` is for what still runs."""
        return all(test(row, now) for test in self._tests)

    def __bool__(self) -> bool:
        return bool(self._tests)


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
        known.sort(key=_first, reverse=reverse)
    else:
        choose = heapq.nlargest if reverse else heapq.nsmallest
        known = choose(limit, known, key=_first)
    found = [row for _, row in known] + unknown
    return found if limit is None else found[:limit]


def tasks_in(snapshot: Snapshot, view: str) -> list[Task]:
    """The tasks of one view: active, reserved, scheduled, failed, recent (finished), all."""
    tasks = snapshot.tasks.values()
    match view:
        case "active":
            return [task for task in tasks if task.state == "STARTED" or task.place == "active"]
        case "reserved":
            return [task for task in tasks if task.place == "reserved" or _received(task)]
        case "scheduled":
            return [task for task in tasks if task.place == "scheduled" or (_received(task, eta=True))]
        case "failed":
            return [task for task in tasks if task.state in _FAILED]
        case "recent":
            return [task for task in tasks if task.state in READY_STATES]
        case _:
            return list(tasks)


def _received(task: Task, *, eta: bool = False) -> bool:
    return task.state == "RECEIVED" and task.place is None and (task.eta_at is not None) == eta


def _first(pair: tuple[Any, object]) -> Any:
    return pair[0]


# ------------------------------------------------------------------------------------------------ reading
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


def _test(term: re.Match[str]) -> Test:
    field, value = term["field"], term["value"].replace('"', "")
    if field is None:
        test = _anywhere(value)
    elif field in _NUMBERS:
        test = _number(field, value)
    elif field in _TEXTS:
        test = _within(field, value)
    else:
        known = ", ".join(sorted({*_TEXTS, *_NUMBERS}))
        raise FilterError(f"The filter knows no `{field}:`; it knows {known}.")
    return _negated(test) if term["not"] else test


def _negated(test: Test) -> Test:
    return lambda row, now: not test(row, now)


def _pattern(value: str) -> Callable[[str], object]:
    if value.startswith("~"):
        try:
            return re.compile(value[1:], re.IGNORECASE).search
        except re.error as error:
            raise FilterError(f"`{value}` is no regular expression: {error}.") from None
    small = value.lower()
    return lambda text: small in text.lower()


def _anywhere(value: str) -> Test:
    found = _pattern(value)
    fields = tuple({name: None for names in _TEXTS.values() for name in names if name in _PLAIN})

    def test(row: Any, now: float) -> bool:
        return any(found(text) for name in fields if isinstance(text := getattr(row, name, None), str))

    return test


def _within(field: str, value: str) -> Test:
    found = _pattern(value)
    names = _TEXTS[field]

    def test(row: Any, now: float) -> bool:
        for name in names:
            text = getattr(row, name, None)
            if isinstance(text, tuple):
                text = " ".join(str(getattr(item, "name", item)) for item in text)
            if isinstance(text, str) and found(text):
                return True
        return False

    return test


def _number(field: str, value: str) -> Test:
    low, high, strict = _range(field, value)
    read = _NUMBERS[field]

    def test(row: Any, now: float) -> bool:
        number = read(row, now)
        if number is None:
            return False
        return low < number < high if strict else low <= number <= high

    return test


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


# ------------------------------------------------------------------------------------------------ fields
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
_PLAIN = frozenset({"task_id", "name", "nodename", "worker", "queue", "args", "kwargs", "task_name", "command"})


def _runtime(row: Any, now: float) -> float | None:
    if isinstance(row, Task):
        return row.ran(now)
    runtime = getattr(row, "runtime", None)
    return runtime.p95 if runtime is not None else None


def _age(row: Any, now: float) -> float | None:
    if isinstance(row, Queue):
        return row.oldest_age
    if isinstance(row, Task):
        begin = next((at for at in (row.sent_at, row.received_at, row.started_at) if at is not None), None)
        return None if begin is None else now - begin
    if isinstance(row, Process):
        return now - row.created_at
    return getattr(row, "uptime", None)


def _plain(*names: str) -> Callable[[Any, float], float | None]:
    def read(row: Any, now: float) -> float | None:
        for name in names:
            value = getattr(row, name, None)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return value
        return None

    return read


_NUMBERS: dict[str, Callable[[Any, float], float | None]] = {
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

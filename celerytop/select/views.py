"""Which list a task stands in: active, reserved, scheduled, failed; ``recent`` is all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from celerytop.model.task import Task

RECENT = "recent"
NAMES = ("active", "reserved", "scheduled", "failed", RECENT)
_OVER = frozenset({"SUCCESS", "FAILURE", "REVOKED", "REJECTED"})
_state = attrgetter("state")


class Views(NamedTuple):
    """One of the lists, and how long each is."""

    ids: Sequence[str]
    """In the order of the tasks; ``failed`` and ``recent`` newest first."""
    counts: Mapping[str, int]


def view_of(state: str, place: str | None) -> str:
    """The view that a task belongs to, by its state and where its worker lists it.

    >>> view_of("STARTED", "active"), view_of("RECEIVED", "reserved"), view_of("RECEIVED", "scheduled")
    ('active', 'reserved', 'scheduled')
    >>> view_of("FAILURE", None), view_of("SUCCESS", None), view_of("RETRY", None)
    ('failed', '', 'scheduled')
    """
    if state == "FAILURE":
        return "failed"
    if state in ("SUCCESS", "REVOKED", "REJECTED"):
        return ""
    if place is not None:
        return place
    if state == "STARTED":
        return "active"
    if state == "RETRY":
        return "scheduled"
    return "reserved" if state == "RECEIVED" else ""


def where(task: Task, now: float) -> str:
    """The view it belongs to.

    Some have ended though nobody said how: their worker sends no events, or is gone. Some wait for their ETA, and their
    worker has not been asked for its list since.
    """
    if task.place is None and task.state in ("STARTED", "RECEIVED"):
        if task.finished_at is not None:
            return ""
        if task.state == "RECEIVED" and task.eta_at is not None and task.eta_at > now:
            return "scheduled"
    return view_of(task.state, task.place)


def views(tasks: Mapping[str, Task], name: str, now: float) -> Views:
    """The list called ``name``. Most tasks are over, and their state says it all: of 100,000 that costs 10 ms."""
    states = list(map(_state, tasks.values()))
    found = Counter(states)
    live = [task_id for task_id, state in zip(tasks, states, strict=True) if state not in _OVER]
    places = [where(tasks[task_id], now) for task_id in live]
    counts = {view: number for view, number in Counter(places).items() if view}
    counts = {**dict.fromkeys(NAMES, 0), **counts, "failed": found["FAILURE"], RECENT: len(tasks)}
    if name == RECENT:
        return Views(list(tasks)[::-1], counts)
    if name == "failed":
        return Views(
            [task_id for task_id, state in zip(tasks, states, strict=True) if state == "FAILURE"][::-1], counts
        )
    return Views([task_id for task_id, place in zip(live, places, strict=True) if place == name], counts)

"""Which list a task stands in: active, reserved, scheduled, failed; ``recent`` is all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from celerytop.model.many import many
from celerytop.model.snapshot import Lists, Snapshot
from celerytop.model.task import Task

RECENT = "recent"
NAMES = ("active", "reserved", "scheduled", "failed", RECENT)
_OVER = frozenset({"SUCCESS", "FAILURE", "REVOKED", "REJECTED"})


class Views(NamedTuple):
    """One of the lists, and how long each is."""

    ids: Sequence[str]
    """In the order they began; ``failed`` and ``recent`` newest first."""
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


def views(snapshot: Snapshot, name: str) -> Views:
    """The list called ``name``. Of 100,000 tasks most are over: those that live and those that failed are listed."""
    tasks, now = snapshot.tasks, snapshot.at
    lists = snapshot.lists or _looked_for(tasks)
    live = [task for task in many(tasks, lists.live) if task.state not in _OVER]
    places = [where(task, now) for task in live]
    counts = {view: number for view, number in Counter(places).items() if view}
    counts = {**dict.fromkeys(NAMES, 0), **counts, "failed": len(lists.failed), RECENT: len(tasks)}
    if name == RECENT:
        return Views(list(tasks)[::-1], counts)
    if name == "failed":
        return Views(lists.failed[::-1], counts)
    return Views([task.task_id for task, place in zip(live, places, strict=True) if place == name], counts)


def _looked_for(tasks: Mapping[str, Task]) -> Lists:
    """Both lists, found among all tasks."""
    live, failed = [], []
    for task in tasks.values():
        if (state := task.state) not in _OVER:
            live.append(task.task_id)
        elif state == "FAILURE":
            failed.append(task.task_id)
    return Lists(tuple(live), tuple(failed))

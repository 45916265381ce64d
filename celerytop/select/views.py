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
_STILL = ("failed", RECENT)
"""Lists that time alone does not change."""
_OVER = frozenset({"SUCCESS", "FAILURE", "REVOKED", "REJECTED"})


class Views(NamedTuple):
    """One of the lists, and how long each is."""

    ids: Sequence[str]
    """In the order they began; ``failed`` and ``recent`` newest first."""
    counts: Mapping[str, int]
    live: Sequence[Task] = ()
    """All tasks that are not over."""


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


def views(snapshot: Snapshot, name: str, known: Views | None = None) -> Views:
    """The list called ``name``. Of 100,000 tasks most are over: those that live and those that failed are listed.

    ``known``: what this has said of the same list when the same tasks were in the picture before; time alone moves a
    task from one list to another.
    """
    if known is None:
        known = _found(snapshot, name)
    places = [where(task, snapshot.at) for task in known.live]
    counts = dict.fromkeys(NAMES, 0)
    counts |= {view: number for view, number in Counter(places).items() if view}
    counts |= {"failed": known.counts["failed"], RECENT: len(snapshot.tasks)}
    if name not in _STILL:
        ids = [task.task_id for task, place in zip(known.live, places, strict=True) if place == name]
        return Views(ids, counts, known.live)
    return Views(known.ids, counts, known.live)


def _found(snapshot: Snapshot, name: str) -> Views:
    """What time does not change."""
    tasks = snapshot.tasks
    lists = snapshot.lists or _looked_for(tasks)
    live = [task for task in many(tasks, lists.live) if task.state not in _OVER]
    ids = list(tasks)[::-1] if name == RECENT else lists.failed[::-1]
    return Views(ids, {"failed": len(lists.failed)}, live)


def _looked_for(tasks: Mapping[str, Task]) -> Lists:
    """Both lists, found among all tasks."""
    live, failed = [], []
    for task in tasks.values():
        if (state := task.state) not in _OVER:
            live.append(task.task_id)
        elif state == "FAILURE":
            failed.append(task.task_id)
    return Lists(tuple(live), tuple(failed))

"""What ``active``, ``reserved`` and ``scheduled`` say of tasks: placeholders for those no event told of, and an end for
those that are not listed any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from celerytop.cluster.node import Node
from celerytop.cluster.store import TaskStore
from celerytop.model.observation import InspectedTask, TasksListed
from celerytop.model.task import READY_STATES, Task, whole

_STATES = {"active": "STARTED", "reserved": "RECEIVED", "scheduled": "RECEIVED"}
RACE = 1.0
"""Seconds in which a list may be older than an event."""
MISSED_FOR = 4.0
"""Seconds a task must be missing in ``active`` before its end is believed, where events should have told it."""


def fold_listed(listed: TasksListed, node: Node, store: TaskStore, told_at: float, at: float) -> None:
    """Put one reply into the tasks and the node.

    Args:
        listed: the reply.
        node: the worker that gave it.
        store: all tasks.
        told_at: our clock; the list is not older than this.
        at: our clock, now.
    """
    place = listed.place
    before = node.listed.get(place)
    node.listed[place], node.listed_at[place] = listed, at
    if place == "active":
        node.active, node.active_at = listed.total, at
    ids = set()
    for item in listed.tasks:
        ids.add(item.task_id)
        old = store.tasks.get(item.task_id)
        new = inspected(old, item, place, node, told_at, at)
        if new is not old:
            store.put(old, new)
        if place == "active" and new.place == "active":
            node.running[item.task_id] = None
    if listed.total <= len(listed.tasks):  # else it was cut: who is missing proves nothing
        _gone_from(place, before, ids, node, store, at)
        if place == "active":
            _ended(node, ids, store, told_at, at)
        else:
            since = {task_id: taken for task_id, taken in node.held(place).items() if taken > told_at - RACE}
            waiting = (task_id for task_id in ids if store.tasks[task_id].place == place)
            node.holds_now(place, {**dict.fromkeys(waiting, told_at - RACE), **since})


def inspected(task: Task | None, item: InspectedTask, place: str, node: Node, told_at: float, at: float) -> Task:
    """The task after it was found in a worker's list. What events have told since stays.

    The list gives what it alone knows (pid, ``acks_late``, queue); arguments only where none are known.
    """
    known = task or Task(item.task_id)
    if known.state in READY_STATES and not _again(known, item, told_at):
        return task or known
    if _events_know_better(known, place, node, told_at):
        return task or known
    started_at = _started_at(known, item, node)
    queue = item.queue if not item.exchange or known.queue is None else None
    running = place == "active"
    return replace(
        whole(known),
        name=known.name or item.name,
        args=known.args if known.args is not None else item.args,
        kwargs=known.kwargs if known.kwargs is not None else item.kwargs,
        state="STARTED" if running else known.state if known.state == "RETRY" else _STATES[place],
        worker=node.nodename,
        worker_pid=item.worker_pid if running else None,
        place=place,
        queue=known.queue or queue,
        priority=item.priority if item.priority is not None else known.priority,
        eta_at=item.eta_at if item.eta_at is not None else known.eta_at,
        started_at=started_at if running else known.started_at,
        finished_at=None,
        runtime=None if running else known.runtime,
        acks_late=not item.acknowledged if running and item.acknowledged is not None else known.acks_late,
        redelivered=item.redelivered if item.redelivered is not None else known.redelivered,
        exchange=item.exchange if item.exchange is not None else known.exchange,
        updated_at=at,
    )


def end_unseen(task: Task, at: float) -> Task:
    """A task that runs no more, and nobody said how it ended: its state stays, its end is when we noticed."""
    ran = max(0.0, at - task.started_at) if task.started_at is not None else None
    return replace(whole(task), place=None, finished_at=at, runtime=ran, updated_at=at)


def leave(node: Node, store: TaskStore, at: float) -> None:
    """The worker is gone: it runs nothing and holds nothing any more."""
    node.touch()
    for task in _of(node, store, node.running):
        if task.runs():
            store.put(task, end_unseen(task, at))
    for listed in node.listed.values():
        for task in _of(node, store, (item.task_id for item in listed.tasks)):
            if task.place is not None:
                store.put(task, replace(task, place=None, updated_at=at))
    node.running.clear()
    node.listed.clear()
    node.listed_at.clear()
    node.reserved.clear()
    node.scheduled.clear()


def _of(node: Node, store: TaskStore, ids: Iterable[str]) -> Iterator[Task]:
    for task_id in list(ids):
        task = store.tasks.get(task_id)
        if task is not None and task.worker == node.nodename:
            yield task


def _gone_from(place: str, before: TasksListed | None, ids: set[str], node: Node, store: TaskStore, at: float) -> None:
    """What was listed and is not any more. Where no events tell what became of it, it is taken for over."""
    for task in _of(node, store, (item.task_id for item in before.tasks) if before is not None else ()):
        if task.task_id not in ids and task.place == place:
            untold = place != "active" and not node.task_events
            store.put(task, end_unseen(task, at) if untold else replace(task, place=None, updated_at=at))


def _ended(node: Node, ids: set[str], store: TaskStore, told_at: float, at: float) -> None:
    """What was running and is not listed: over, unless an event may still tell us how."""
    for task_id, missed_at in list(node.running.items()):
        if task_id in ids:
            continue
        task = store.tasks.get(task_id)
        if task is None or task.worker != node.nodename or task.state != "STARTED":
            del node.running[task_id]
        elif task.started_at is not None and task.started_at > told_at - RACE:
            continue
        elif node.task_events and (missed_at is None or at - missed_at < MISSED_FOR):
            node.running[task_id] = missed_at if missed_at is not None else at
        else:
            del node.running[task_id]
            store.put(task, end_unseen(task, at))


def _again(task: Task, item: InspectedTask, told_at: float) -> bool:
    """Whether a finished task is listed because it was delivered once more, not because the list is old."""
    if item.time_start is not None and task.finished_at is not None:
        return item.time_start > task.finished_at + RACE
    return task.finished_at is None or told_at > task.finished_at + RACE


def _events_know_better(task: Task, place: str, node: Node, told_at: float) -> bool:
    """It runs, and an old list, or another worker that got it too, still has it waiting."""
    if place == "active" or task.state != "STARTED" or task.finished_at is not None:
        return False
    return task.worker != node.nodename or (task.started_at is not None and task.started_at > told_at - RACE)


def _started_at(task: Task, item: InspectedTask, node: Node) -> float | None:
    """By the event if there was one for this run, else by the worker's word, on our clock."""
    told = item.time_start + node.clock.shift if item.time_start is not None else None
    if task.runs() and task.started_at is not None:
        return task.started_at
    return told if told is not None else task.started_at

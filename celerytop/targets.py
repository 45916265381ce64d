"""Tasks as an action needs them: who runs one, in which process; and all that came of it. Pure, over a Snapshot."""

from __future__ import annotations

from collections.abc import Iterator

from celerytop.model.action import Target
from celerytop.model.host import same_host
from celerytop.model.snapshot import Snapshot
from celerytop.model.task import READY_STATES, Task

GREENLETS = frozenset({"gevent", "eventlet"})


def target_of(snapshot: Snapshot, task_id: str) -> Target:
    """What is known of it now; an unknown id is a target too, with nothing but its id."""
    task = snapshot.tasks.get(task_id)
    if task is None:
        return Target(task_id)
    pid = None if _greenlet(snapshot, task) else task.worker_pid
    return Target(
        task_id,
        name=task.name,
        state=task.state,
        worker=task.worker,
        worker_pid=pid,
        pid_started_at=_started_at(snapshot, task, pid),
        queue=task.queue,
    )


def descendants(snapshot: Snapshot, task_id: str, *, finished: bool = False) -> tuple[Target, ...]:
    """All that it has sent, and what these have sent, nearest first; without those that have ended unless asked.

    What has ended may still have children that run: they are found.
    """
    return tuple(
        target_of(snapshot, found)
        for found in _below(snapshot, task_id)
        if finished or found not in snapshot.tasks or snapshot.tasks[found].state not in READY_STATES
    )


def _below(snapshot: Snapshot, task_id: str) -> Iterator[str]:
    """Breadth first; a task that names itself or its ancestor as its child is met once."""
    met = {task_id}
    waiting = [task_id]
    for one in waiting:
        for child in snapshot.children.get(one, ()):
            if child not in met:
                met.add(child)
                waiting.append(child)
                yield child


def _greenlet(snapshot: Snapshot, task: Task) -> bool:
    worker = snapshot.workers.get(task.worker or "")
    return worker is not None and worker.pool in GREENLETS


def _started_at(snapshot: Snapshot, task: Task, pid: int | None) -> float | None:
    """Start time of its process, when that is on this host and belongs to the worker that runs it."""
    if pid is None or task.worker is None:
        return None
    for host in snapshot.hosts.values():
        for process in host.processes:
            mine = process.nodename == task.worker or (process.nodename is None and _is_here(host.name, task.worker))
            if process.pid == pid and mine:
                return process.created_at
    return None


def _is_here(host: str, nodename: str) -> bool:
    return same_host(nodename.partition("@")[2], host)

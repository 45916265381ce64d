"""The tasks that an action is meant for, as they are now: still the same ones?"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from celerytop import format as fmt
from celerytop.consequences.said import Said
from celerytop.model.action import AnyAction, KillTree, Revoke, Target
from celerytop.model.host import Process
from celerytop.model.secret import mask_args
from celerytop.model.snapshot import Snapshot, message_of
from celerytop.model.task import READY_STATES, Task
from celerytop.model.worker import Worker

GREEN = ("gevent", "eventlet")
"""Pools whose tasks have no process."""
SHOWN = 4
"""Tasks with a line of their own."""


class Subject(msgspec.Struct, frozen=True, eq=False):
    """One target and what is known of it now."""

    target: Target
    task: Task | None
    worker: Worker | None
    gone: str | None = None
    """Why nothing is left to be done to it."""
    forgotten: bool = False
    """Its worker was told to end it, calls it REVOKED and lists it no more; its processes live, or may."""
    rung: str | None = None
    """The next rung, by the last verdict on it from here."""

    @property
    def runs(self) -> bool:
        """Whether a slot runs it now."""
        if self.forgotten:
            return True
        if self.task is None:
            return self.target.state == "STARTED"
        return self.task.runs()

    @property
    def pool(self) -> str | None:
        """Of its worker; ``None``: not known."""
        return self.worker.pool if self.worker is not None else None

    @property
    def pid(self) -> int | None:
        """Of the process that runs it."""
        return self.task.worker_pid if self.task is not None else self.target.worker_pid

    @property
    def where(self) -> str | None:
        """Its worker."""
        return (self.task.worker if self.task is not None else None) or self.target.worker


def subjects(snapshot: Snapshot, targets: Sequence[Target]) -> list[Subject]:
    """All of them, now."""
    return [_subject(snapshot, target) for target in targets]


def _subject(snapshot: Snapshot, target: Target) -> Subject:
    task = snapshot.tasks.get(target.task_id)
    nodename = (task.worker if task is not None else None) or target.worker
    worker = snapshot.workers.get(nodename) if nodename is not None else None
    verdict = snapshot.outcomes.get(target.task_id)
    rung = verdict.next if verdict is not None else None
    one = Subject(target, task, worker, rung=rung)
    if task is not None and task.state == "REVOKED" and task.terminated and (rung or _there(snapshot, one)):
        return replace(one, forgotten=True)
    if task is not None and task.state == "REVOKED" and task.terminated and one.pool in GREEN and not task.exited:
        why = "was told to exit, and its worker lists it no more: whether its greenlet has is not known"
        return replace(one, gone=f"{target.task_id[:8]} {why}, and it cannot be told again")
    return replace(one, gone=_gone(target, task))


def _there(snapshot: Snapshot, one: Subject) -> bool:
    """The process that began it is seen on this host, and it had begun before."""
    process, began = process_of(snapshot, one), one.task.started_at if one.task is not None else None
    return process is not None and began is not None and process.created_at <= began + 1.0


def _gone(target: Target, task: Task | None) -> str | None:
    if task is None:
        return None
    if task.state in READY_STATES or task.finished_at is not None:
        word = task.state if task.state in READY_STATES else "not there any more"
        return f"{target.task_id[:8]} is over ({word}): nothing is left to stop"
    if target.state == "STARTED" and task.state in ("RETRY", "REJECTED"):
        return f"{target.task_id[:8]} does not run any more: {task.state}"
    if target.worker_pid is not None and task.worker_pid is not None and target.worker_pid != task.worker_pid:
        return f"{target.task_id[:8]} runs in another process now: pid {task.worker_pid}, not {target.worker_pid}"
    if target.worker is not None and task.worker is not None and target.worker != task.worker:
        return f"{target.task_id[:8]} is with another worker now: {task.worker}, not {target.worker}"
    return None


def still(snapshot: Snapshot, action: AnyAction) -> AnyAction:
    """The same action without the tasks that are over, or are not what they were."""
    if not isinstance(action, Revoke | KillTree):
        return action
    left = tuple(one.target for one in subjects(snapshot, action.targets) if one.gone is None)
    return msgspec.structs.replace(action, targets=left)


def lines(found: Sequence[Subject], snapshot: Snapshot) -> list[Said]:
    """One line for each of the first, and how many more there are."""
    shown = [Said(_line(one, snapshot), "dim" if one.gone else "") for one in found[:SHOWN]]
    rest = len(found) - SHOWN
    return [*shown, Said(f"and {rest} more", "dim")] if rest > 0 else shown


def _line(one: Subject, snapshot: Snapshot) -> str:
    task = one.task
    message = message_of(snapshot, one.target.task_id)
    args = (task.args if task is not None else message.args if message is not None else None) or ""
    name = (task.name if task is not None else None) or one.target.name or "?"
    parts = [one.target.task_id[:8], fmt.cut(f"{name}{mask_args(args)}", 22), one.where or "no worker"]
    if one.runs:
        ran = _ran(one, task, snapshot.at) if task is not None else None
        nowhere = "a greenlet" if one.pool in GREEN else "pid ?"
        parts += [f"pid {one.pid}" if one.pid is not None else nowhere, f"running {fmt.duration(ran)}"]
        late = task.acks_late if task is not None else None
        parts.append(f"acks_late {'?' if late is None else 'yes' if late else 'no'}")
    else:
        state = task.state if task is not None else one.target.state or "?"
        queue = (task.queue if task is not None else None) or one.target.queue
        parts += [(task.place if task is not None else None) or state, f"queue {queue or '?'}"]
    return "  ".join(parts)


def _ran(one: Subject, task: Task, now: float) -> float | None:
    """What Celery calls over goes on."""
    if not one.forgotten:
        return task.ran(now)
    return max(0.0, now - task.started_at) if task.started_at is not None else None


def process_of(snapshot: Snapshot, one: Subject) -> Process | None:
    """The process that runs it, when it is on this host. The same number on another host is another process."""
    mains = {one.worker.pid, *one.worker.pids} - {None} if one.worker is not None else set()
    for host in snapshot.hosts.values():
        for process in host.processes:
            mine = process.main_pid in mains if mains else process.nodename == one.where
            if process.pid == one.pid and mine and process.task_id in (None, one.target.task_id):
                return process
    return None


def below(snapshot: Snapshot, pid: int) -> list[Process]:
    """What this process has started, and what those have."""
    every = [process for host in snapshot.hosts.values() for process in host.processes]
    found: list[Process] = []
    front = {pid}
    while front:
        more = [process for process in every if process.ppid in front and process.pid not in front]
        front = {process.pid for process in more} - {process.pid for process in found}
        found += [process for process in more if process.pid in front]
    return found

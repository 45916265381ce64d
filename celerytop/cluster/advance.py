"""One event moves one task on: the hottest function of all.

States are ranked as Celery's own ``celery.events.state.Task`` ranks them: an event that logically happens before what
is known fills in what it knows and moves nothing. Where this differs from Celery's, the sender's own clock decides:

* a late task-retried does not re-open a task that has started again or finished since;
* a late event of an earlier attempt does not end the wait of a retry;
* a task that starts again after it finished (it was delivered twice) runs again;
* a task-rejected after the start ends it;
* gevent's task-succeeded of a terminated task, which has neither result nor runtime, is no success.

Timestamps of events must be corrected to our clock before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from celerytop.cluster.spelling import moment, real_exception, signal_number
from celerytop.model.event import (
    TaskCancelled,
    TaskEvent,
    TaskFailed,
    TaskReceived,
    TaskRejected,
    TaskRetried,
    TaskRevoked,
    TaskSent,
    TaskStarted,
    TaskSucceeded,
)
from celerytop.model.task import READY_STATES, BriefTask, SentTask, Task, sent, whole

RANK = {
    "PENDING": 0,
    "RETRY": 1,
    "REJECTED": 2,
    "RECEIVED": 3,
    "STARTED": 4,
    "REVOKED": 5,
    "FAILURE": 6,
    "SUCCESS": 7,
}
"""``celery.states.precedence``, the other way round: the higher one wins."""


def advance(task: Task | None, event: TaskEvent, at: float, queue: str | None = None) -> Task:
    """The task after one more event.

    Args:
        task: what is known of it; ``None`` when this is the first.
        event: ``event.timestamp`` on our clock.
        at: our clock, now.
        queue: where it must have come from, when its worker consumes one queue only; used if nobody tells.

    >>> event = TaskReceived("a", 10.0, "w@h", name="app.add", retries=0)
    >>> task = advance(advance(None, TaskStarted("a", 11.0, "w@h"), 11.0), event, 11.0)
    >>> task.state, task.name, task.received_at, task.started_at
    ('STARTED', 'app.add', 10.0, 11.0)
    """
    return _MOVES[event.__class__](task, event, at, queue)


def _sent(task: Task | None, event: TaskSent, at: float, queue: str | None) -> Task:
    known = sent(task) if task is not None else SentTask(event.uuid)
    parent, root = _family(known, event)
    later = known.sent_at is None or event.timestamp >= known.sent_at
    again = event.retries is not None and known.retries is not None and event.retries < known.retries
    fields: dict[str, Any] = {} if again else _call(known, event)
    return replace(
        whole(known) if "eta_at" in fields or "expires_at" in fields else known,
        parent_id=parent,
        root_id=root,
        queue=event.queue or known.queue,
        exchange=event.exchange if event.exchange is not None else known.exchange,
        routing_key=event.routing_key or known.routing_key,
        sender=event.hostname if later else known.sender,
        sent_at=event.timestamp if later else known.sent_at,
        updated_at=at,
        **fields,
    )


def _received(task: Task | None, event: TaskReceived, at: float, queue: str | None) -> Task:
    uuid = event.uuid
    parent = event.parent_id
    if task is None:
        task = BriefTask(
            uuid,
            name=event.name,
            state="RECEIVED",
            worker=event.hostname,
            queue=queue,
            root_id=event.root_id,
            parent_id=None if parent == uuid else parent,
            args=event.args,
            kwargs=event.kwargs,
            retries=event.retries,
            received_at=event.timestamp,
            updated_at=at,
        )
        if event.eta is None and event.expires is None:
            return task
        return replace(whole(task), eta_at=moment(event.eta), expires_at=moment(event.expires))
    return _received_again(task, event, at, queue)


def _received_again(task: Task, event: TaskReceived, at: float, queue: str | None) -> Task:
    retries, before = event.retries, task.retries
    stale = retries is not None and before is not None and retries < before
    parent, root = _family(task, event)
    fields: dict[str, Any] = {} if stale else _call(task, event)
    newest = task.received_at is None or event.timestamp > task.received_at
    if newest:
        fields["received_at"] = event.timestamp
    if RANK[task.state] < 3 and not stale and not _old_attempt(task, event, newer=_exceeds(retries, before)):
        fields |= {"state": "RECEIVED", "worker": event.hostname}
    elif task.worker is None or (newest and task.state == "RECEIVED"):  # the latter: delivered once more
        fields |= {"worker": event.hostname, "finished_at": None}
    if "eta_at" in fields or "expires_at" in fields:
        task = whole(task)
    return replace(task, parent_id=parent, root_id=root, queue=task.queue or queue, updated_at=at, **fields)


def _started(task: Task | None, event: TaskStarted, at: float, queue: str | None) -> Task:
    moment_, worker = event.timestamp, event.hostname
    if task is None:
        return BriefTask(event.uuid, state="STARTED", worker=worker, queue=queue, started_at=moment_, updated_at=at)
    if type(task) is not Task and task.state == "RECEIVED" and task.finished_at is None:  # nearly always
        return replace(task, state="STARTED", worker=worker, started_at=moment_, updated_at=at)
    if _late_start(task, event):
        started = max(task.started_at or 0.0, moment_)
        return replace(
            task, started_at=started, runtime=_runtime(task.runtime, task.finished_at, started), updated_at=at
        )
    told: dict[str, Any] = {"state": "STARTED", "worker": worker, "started_at": moment_, "updated_at": at}
    told |= {"finished_at": None, "runtime": None}
    if type(task) is not Task:
        return replace(task, **told)
    told["exited"] = None
    listed = task.place == "active" and task.worker == worker
    return replace(task, place="active" if listed else None, worker_pid=task.worker_pid if listed else None, **told)


def _late_start(task: Task, event: TaskStarted) -> bool:
    """Whether this start is over already. A finished task that starts once more was delivered twice: that is not."""
    if task.state in READY_STATES:
        return task.finished_at is not None and event.timestamp <= task.finished_at
    if task.state == "STARTED":
        return task.started_at is not None and event.timestamp < task.started_at
    return _old_attempt(task, event)


def _succeeded(task: Task | None, event: TaskSucceeded, at: float, queue: str | None) -> Task:
    if event.runtime is None and event.result is None:  # gevent and eventlet: the task was terminated
        return replace(whole(task or BriefTask(event.uuid)), worker=event.hostname, exited=True, updated_at=at)
    if task is None:
        task = BriefTask(event.uuid)
    elif task.state == "SUCCESS":
        return replace(task, result=event.result, runtime=event.runtime, updated_at=at)
    return replace(
        replace(task, place=None) if type(task) is Task and task.place is not None else task,
        state="SUCCESS",
        worker=event.hostname,
        queue=task.queue or queue,
        result=event.result,
        runtime=event.runtime,
        finished_at=event.timestamp,
        updated_at=at,
    )


def _failed(task: Task | None, event: TaskFailed, at: float, queue: str | None) -> Task:
    known = whole(task or BriefTask(event.uuid))
    exception = real_exception(event.exception, event.traceback)
    if known.state == "FAILURE":  # a hard time limit fails twice
        return replace(
            known,
            exception=known.exception or exception,
            traceback=known.traceback or event.traceback,
            updated_at=at,
        )
    if known.state == "SUCCESS":
        return replace(known, updated_at=at)
    return replace(
        known,
        state="FAILURE",
        worker=event.hostname,
        queue=known.queue or queue,
        exception=exception,
        traceback=event.traceback,
        runtime=_runtime(None, event.timestamp, known.started_at),
        finished_at=event.timestamp,
        place=None,
        updated_at=at,
    )


def _retried(task: Task | None, event: TaskRetried, at: float, queue: str | None) -> Task:
    known = whole(task or BriefTask(event.uuid))
    exception = real_exception(event.exception, event.traceback)
    told = {"retried_at": max(event.timestamp, known.retried_at or 0.0), "updated_at": at}
    if _since(known) > event.timestamp and known.state != "RETRY":
        return replace(known, exception=known.exception or exception, **told)
    return replace(
        known,
        state="RETRY",
        worker=event.hostname,
        exception=exception,
        traceback=event.traceback,
        finished_at=None,
        runtime=None,
        place=known.place if known.place in ("reserved", "scheduled") else None,
        **told,
    )


def _revoked(task: Task | None, event: TaskRevoked, at: float, queue: str | None) -> Task:
    known = whole(task or BriefTask(event.uuid))
    signum = signal_number(event.signum)
    told: dict[str, Any] = {
        "terminated": known.terminated or event.terminated,
        "signum": signum if signum is not None else known.signum,
        "expired": known.expired or event.expired,
        "updated_at": at,
    }
    if RANK[known.state] >= 5:
        return replace(known, **told)
    return replace(
        known,
        state="REVOKED",
        worker=event.hostname,
        runtime=_runtime(None, event.timestamp, known.started_at),
        finished_at=event.timestamp,
        place=None,
        **told,
    )


def _rejected(task: Task | None, event: TaskRejected, at: float, queue: str | None) -> Task:
    known = whole(task or BriefTask(event.uuid))
    if known.state in READY_STATES or _since(known) > event.timestamp or _old_attempt(known, event):
        return replace(known, updated_at=at)
    return replace(known, state="REJECTED", worker=event.hostname, place=None, updated_at=at)


def _cancelled(task: Task | None, event: TaskCancelled, at: float, queue: str | None) -> Task:
    """Celery stores RETRY for it: the message comes back."""
    return _retried(task, TaskRetried(event.uuid, event.timestamp, event.hostname), at, queue)


def _call(task: Task, event: TaskSent | TaskReceived) -> dict[str, Any]:
    """What the message says of the call; what it does not say stays as it was."""
    fields: dict[str, Any] = {
        "name": event.name or task.name,
        "args": _same(event.args, task.args),
        "kwargs": _same(event.kwargs, task.kwargs),
        "retries": event.retries if event.retries is not None else task.retries,
    }
    if event.eta is not None or _exceeds(event.retries, task.retries):
        fields["eta_at"] = moment(event.eta)
    if event.expires is not None:
        fields["expires_at"] = moment(event.expires)
    return fields


def _same(told: str | None, known: str | None) -> str | None:
    """What is told; if it is what was known, that very object: the store holds texts once."""
    return known if told is None or told == known else told


def _family(task: Task, event: TaskSent | TaskReceived) -> tuple[str | None, str | None]:
    """(parent, root). The message of a retry names itself as its parent: what was known before stays."""
    root = _same(event.root_id or None, task.root_id)
    if event.parent_id == event.uuid:
        return task.parent_id, task.root_id or root
    return _same(event.parent_id, task.parent_id), root


def _exceeds(retries: int | None, before: int | None) -> bool:
    return retries is not None and before is not None and retries > before


def _since(task: Task) -> float:
    """When its state began, as far as a start or an end made it."""
    return max(task.started_at or 0.0, task.finished_at or 0.0)


def _old_attempt(task: Task, event: Any, newer: bool = False) -> bool:
    """Whether it is of the run that was retried since. Two workers' clocks are not compared."""
    if task.state != "RETRY" or newer or task.retried_at is None:
        return False
    return bool(event.timestamp < task.retried_at and event.hostname == task.worker)


def _runtime(known: float | None, finished_at: float | None, started_at: float | None) -> float | None:
    if known is not None or finished_at is None or started_at is None:
        return known
    return max(0.0, finished_at - started_at)


_MOVES: dict[type, Callable[[Task | None, Any, float, str | None], Task]] = {
    TaskSent: _sent,
    TaskReceived: _received,
    TaskStarted: _started,
    TaskSucceeded: _succeeded,
    TaskFailed: _failed,
    TaskRetried: _retried,
    TaskRevoked: _revoked,
    TaskRejected: _rejected,
    TaskCancelled: _cancelled,
}

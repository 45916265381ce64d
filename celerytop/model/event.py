"""Celery's events as they come off the wire, typed: only the fields celerytop keeps.

Undeclared fields cost nothing to skip, so ``utcoffset`` (kombu makes timestamps wrong with it) and ``clock`` (may be
anything in a hostile event) are left out on purpose. ``type`` is the tag of the union.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

TaskId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=512)]
Retries: TypeAlias = Annotated[int, Meta(ge=0, lt=2**31)]
Runtime: TypeAlias = Annotated[float, Meta(ge=0, lt=315_576_000)]  # ten years
Every: TypeAlias = Annotated[float, Meta(gt=0, le=86400)]
Small: TypeAlias = Annotated[int, Meta(ge=0, lt=2**31)]
Counter: TypeAlias = Annotated[int, Meta(ge=0, lt=2**53)]


class _TaskEvent(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    uuid: TaskId
    timestamp: float
    """Epoch seconds of the sender's clock; its ``utcoffset`` only spoils it."""
    hostname: str


class TaskSent(_TaskEvent, frozen=True, gc=False, tag="task-sent"):
    """Emitted by the producer when ``task_send_sent_event`` is on; the only event with the queue's name."""

    name: str | None = None
    args: str | None = None
    kwargs: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    retries: Retries | None = None
    eta: str | None = None
    expires: str | float | None = None
    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    pid: int | None = None


class TaskReceived(_TaskEvent, frozen=True, gc=False, tag="task-received"):
    """A worker has reserved the task. For a retry, ``parent_id`` is its own uuid."""

    name: str | None = None
    args: str | None = None
    kwargs: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    retries: Retries | None = None
    eta: str | None = None
    expires: str | float | None = None


class TaskStarted(_TaskEvent, frozen=True, gc=False, tag="task-started"):
    """A pool slot runs the task; the child's pid is not told."""


class TaskSucceeded(_TaskEvent, frozen=True, gc=False, tag="task-succeeded"):
    """Finished. ``runtime`` and ``result`` both ``None`` is gevent's bogus success of a terminated task."""

    result: str | None = None
    runtime: Runtime | None = None


class TaskFailed(_TaskEvent, frozen=True, gc=False, tag="task-failed"):
    """Failed. A hard time limit sends it twice; a lost worker's real class is in the last line of ``traceback``."""

    exception: str | None = None
    traceback: str | None = None


class TaskRetried(_TaskEvent, frozen=True, gc=False, tag="task-retried"):
    """Will run again under the same uuid; the new task-received may arrive before this."""

    exception: str | None = None
    traceback: str | None = None


class TaskRevoked(_TaskEvent, frozen=True, gc=False, tag="task-revoked"):
    """Revoked, terminated or expired. ``signum`` is a string in Celery 4.4's second copy."""

    terminated: bool | None = None
    signum: int | str | None = None
    expired: bool | None = None


class TaskRejected(_TaskEvent, frozen=True, gc=False, tag="task-rejected"):
    """Rejected by the worker, perhaps put back."""

    requeue: bool | None = None


class TaskCancelled(_TaskEvent, frozen=True, gc=False, tag="task-cancelled"):
    """Cancelled on connection loss (``worker_cancel_long_running_tasks_on_connection_loss``)."""


class _WorkerEvent(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    hostname: str
    timestamp: float
    pid: Small | None = None
    freq: Every | None = None
    active: Small | None = None
    processed: Counter | None = None
    sw_ident: str | None = None
    sw_ver: str | None = None
    sw_sys: str | None = None


class WorkerOnline(_WorkerEvent, frozen=True, gc=False, tag="worker-online"):
    """The worker has started its event dispatcher: at start and after every reconnect."""


class WorkerHeartbeat(_WorkerEvent, frozen=True, gc=False, tag="worker-heartbeat"):
    """Every ``freq`` seconds (2.0). A forced one (``heartbeat`` command) lacks active and processed: partial."""


class WorkerOffline(_WorkerEvent, frozen=True, gc=False, tag="worker-offline"):
    """Goodbye. After a broker restart it arrives late: trust it only when it is fresh."""


TaskEvent = (
    TaskSent
    | TaskReceived
    | TaskStarted
    | TaskSucceeded
    | TaskFailed
    | TaskRetried
    | TaskRevoked
    | TaskRejected
    | TaskCancelled
)
WorkerEvent = WorkerOnline | WorkerHeartbeat | WorkerOffline
Event = TaskEvent | WorkerEvent


class BadEvent(msgspec.Struct, frozen=True, gc=False):
    """An event that was refused, for the user to look at: already clean, cut to a line."""

    at: float
    reason: str
    """One sentence, e.g. ``timestamp is not a number``."""
    hostname: str | None = None
    excerpt: str = ""
    """The first 200 characters, cleaned."""

"""Celery's events as they come off the wire, typed: only the fields celerytop keeps.

Undeclared fields cost nothing to skip, so ``utcoffset`` (kombu makes timestamps wrong with it) and ``clock`` (may be
anything in a hostile event) are left out on purpose. ``type`` is the tag of the union.
"""

from __future__ import annotations

import msgspec


class TaskSent(msgspec.Struct, frozen=True, gc=False, tag="task-sent", tag_field="type"):
    """Emitted by the producer when ``task_send_sent_event`` is on; the only event with the queue's name."""

    uuid: str
    timestamp: float
    hostname: str
    name: str | None = None
    args: str | None = None
    kwargs: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    retries: int | None = None
    eta: str | None = None
    expires: str | float | None = None
    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    pid: int | None = None


class TaskReceived(msgspec.Struct, frozen=True, gc=False, tag="task-received", tag_field="type"):
    """A worker has reserved the task. For a retry, ``parent_id`` is its own uuid."""

    uuid: str
    timestamp: float
    hostname: str
    name: str | None = None
    args: str | None = None
    kwargs: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    retries: int | None = None
    eta: str | None = None
    expires: str | float | None = None


class TaskStarted(msgspec.Struct, frozen=True, gc=False, tag="task-started", tag_field="type"):
    """A pool slot runs the task; the child's pid is not told."""

    uuid: str
    timestamp: float
    hostname: str


class TaskSucceeded(msgspec.Struct, frozen=True, gc=False, tag="task-succeeded", tag_field="type"):
    """Finished. ``runtime`` and ``result`` both ``None`` is gevent's bogus success of a terminated task."""

    uuid: str
    timestamp: float
    hostname: str
    result: str | None = None
    runtime: float | None = None


class TaskFailed(msgspec.Struct, frozen=True, gc=False, tag="task-failed", tag_field="type"):
    """Failed. A hard time limit sends it twice; a lost worker's real class is in the last line of ``traceback``."""

    uuid: str
    timestamp: float
    hostname: str
    exception: str | None = None
    traceback: str | None = None


class TaskRetried(msgspec.Struct, frozen=True, gc=False, tag="task-retried", tag_field="type"):
    """Will run again under the same uuid; the new task-received may arrive before this."""

    uuid: str
    timestamp: float
    hostname: str
    exception: str | None = None
    traceback: str | None = None


class TaskRevoked(msgspec.Struct, frozen=True, gc=False, tag="task-revoked", tag_field="type"):
    """Revoked, terminated or expired. ``signum`` is a string in Celery 4.4's second copy."""

    uuid: str
    timestamp: float
    hostname: str
    terminated: bool | None = None
    signum: int | str | None = None
    expired: bool | None = None


class TaskRejected(msgspec.Struct, frozen=True, gc=False, tag="task-rejected", tag_field="type"):
    """Rejected by the worker, perhaps put back."""

    uuid: str
    timestamp: float
    hostname: str
    requeue: bool | None = None


class TaskCancelled(msgspec.Struct, frozen=True, gc=False, tag="task-cancelled", tag_field="type"):
    """Cancelled on connection loss (``worker_cancel_long_running_tasks_on_connection_loss``)."""

    uuid: str
    timestamp: float
    hostname: str


class _WorkerEvent(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    hostname: str
    timestamp: float
    pid: int | None = None
    freq: float | None = None
    active: int | None = None
    processed: int | None = None
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

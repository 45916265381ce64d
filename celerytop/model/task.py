"""A task, as far as events, inspect replies and messages tell."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, cast

import msgspec

from celerytop.model.series import Quantiles

READY_STATES = frozenset({"SUCCESS", "FAILURE", "REVOKED"})
"""Celery's own word: states after which nothing more comes."""


class Task(msgspec.Struct, frozen=True, gc=False, eq=False):
    """One task. Moments are the sender's clock corrected to ours; ``None`` is not known."""

    task_id: str
    name: str | None = None
    state: str = "PENDING"
    """Celery's states: PENDING (sent), RECEIVED, STARTED, SUCCESS, FAILURE, RETRY, REVOKED, REJECTED."""
    worker: str | None = None
    """``nodename`` of the worker that has or had it."""
    worker_pid: int | None = None
    """The pool child that runs it. Source: ``active``. Never a greenlet's number."""
    place: str | None = None
    """``active``, ``reserved`` or ``scheduled`` while an inspect reply lists it there; else ``None``."""
    queue: str | None = None
    """Source: task-sent, or ``delivery_info.routing_key`` of an inspect reply."""
    root_id: str | None = None
    parent_id: str | None = None
    """``None`` for a retry too, whose event names itself as its parent."""
    args: str | None = None
    """argsrepr, clean, not masked: mask before showing (``model.secret.mask_args``)."""
    kwargs: str | None = None
    retries: int | None = None
    priority: int | None = None
    eta_at: float | None = None
    expires_at: float | None = None
    sent_at: float | None = None
    received_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    """SUCCESS, FAILURE or REVOKED; else when it was seen to run no more, and nobody told how it ended (``untold``)."""
    retried_at: float | None = None
    runtime: float | None = None
    """Seconds, of a finished run. Source: task-succeeded; for others finished_at - started_at. Running: see ``ran``."""
    result: str | None = None
    exception: str | None = None
    traceback: str | None = None
    terminated: bool | None = None
    signum: int | None = None
    expired: bool | None = None
    exited: bool | None = None
    """gevent and eventlet: the greenlet of the terminated task has come back; task-revoked comes before that."""
    acks_late: bool | None = None
    """``active`` with ``acknowledged`` false means acks_late."""
    redelivered: bool | None = None
    exchange: str | None = None
    routing_key: str | None = None
    sender: str | None = None
    """Node that sent it. Source: task-sent."""
    updated_at: float = 0.0
    """Our clock, when we last heard of it."""

    def ran(self, now: float) -> float | None:
        """Seconds it ran, or has been running until ``now``."""
        if self.runtime is not None:
            return self.runtime
        if self.state == "STARTED" and self.started_at is not None:
            return max(0.0, (now if self.finished_at is None else self.finished_at) - self.started_at)
        return None

    def runs(self) -> bool:
        """A slot has it, as far as anybody told."""
        return self.state == "STARTED" and self.finished_at is None

    def untold(self) -> bool:
        """It runs or waits there no more, and nobody told how it ended: its state is the last known."""
        return self.finished_at is not None and self.state in ("STARTED", "RECEIVED")

    def waited(self) -> float | None:
        """Seconds between sent and started; ``None`` without task-sent."""
        if self.sent_at is None or self.started_at is None:
            return None
        return max(0.0, self.started_at - self.sent_at)


_BRIEF = (
    *("task_id", "name", "state", "worker", "queue", "root_id", "parent_id", "args", "kwargs", "retries"),
    *("received_at", "started_at", "finished_at", "runtime", "result", "updated_at"),
)
_SENT = (*_BRIEF, "sent_at", "exchange", "routing_key", "sender")
_brief: Callable[[Task], tuple[Any, ...]] = attrgetter(*_BRIEF)
_sent: Callable[[Task], tuple[Any, ...]] = attrgetter(*_SENT)


def _short(kind: str, names: tuple[str, ...]) -> type[Task]:
    defaults = dict(zip(Task.__struct_fields__[1:], Task.__struct_defaults__, strict=True))
    fields: list[Any] = [names[0], *((name, Any, defaults[name]) for name in names[1:])]
    shared: dict[str, Any] = {name: default for name, default in defaults.items() if name not in names}
    shared |= {"ran": Task.ran, "runs": Task.runs, "untold": Task.untold, "waited": Task.waited}
    shared |= {"__class__": property(lambda self: Task), "__repr__": lambda self: repr(whole(self))}
    return cast("type[Task]", msgspec.defstruct(kind, fields, namespace=shared, frozen=True, gc=False, eq=False))


BriefTask = _short("BriefTask", _BRIEF)
"""A ``Task`` to all who ask, in 144 bytes, not 288: what most tasks never have is no field of it and reads as ``None``.

100,000 tasks of a usual stream take 12 MB less, and each step of a life is a shorter copy. One more struct for the rare
fields was rejected: every filter and sort key would pay for the second look-up.
"""
SentTask = _short("SentTask", _SENT)
"""The same with what task-sent tells, in 176 bytes."""


def whole(task: Task) -> Task:
    """The same with room for every field."""
    kind = type(task)
    if kind is Task:
        return task
    names, values = (_BRIEF, _brief(task)) if kind is BriefTask else (_SENT, _sent(task))
    return Task(**dict(zip(names, values, strict=True)))


def sent(task: Task) -> Task:
    """The same with room for what task-sent tells."""
    return SentTask(*_brief(task)) if type(task) is BriefTask else task


class TaskType(msgspec.Struct, frozen=True, eq=False):
    """All tasks of one name, counted since celerytop started."""

    name: str
    received: int = 0
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    revoked: int = 0
    active: int | None = None
    """Slots that run it now."""
    share: float | None = None
    """Part of all busy slots, 0 to 1."""
    rate: float | None = None
    """Finished a second, over the last minute."""
    failure_rate: float | None = None
    """Failed of finished, 0 to 1."""
    runtime: Quantiles = Quantiles(0)
    waiting: Quantiles = Quantiles(0)
    """Sent to started; only where task-sent is known."""
    trend: tuple[float | None, ...] = ()

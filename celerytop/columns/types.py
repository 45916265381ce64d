"""Columns of the types page: all tasks of one name, counted since celerytop started."""

from __future__ import annotations

from celerytop import format as fmt
from celerytop.columns.column import Column, Look, or_none
from celerytop.model.snapshot import Snapshot
from celerytop.model.task import TaskType

_SOME, _MANY = 0.05, 0.5
"""Failed of finished."""
_ENOUGH = 20
"""Finished runs before a share of failures is called anything."""


def type_tone(kind: TaskType, snapshot: Snapshot) -> str:
    """How a type is: warn when one in twenty fails, bad when every second does, of at least twenty."""
    part = kind.failure_rate
    if part is None or kind.succeeded + kind.failed < _ENOUGH or part < _SOME:
        return ""
    return "bad" if part >= _MANY else "warn"


def _quantile(kind: TaskType, value: float | None) -> str:
    return or_none(value, fmt.duration, known=_told(kind)) if not kind.runtime.count else fmt.duration(value)


def _told(kind: TaskType) -> bool:
    """Whether anybody tells what becomes of its tasks: a worker without -E does not."""
    return kind.rate is not None


def _count(number: int, kind: TaskType) -> str:
    """A count; that nothing was counted is not known to be zero where nobody tells."""
    return fmt.count(number if number or _told(kind) else None)


def _waiting(kind: TaskType, snapshot: Snapshot, look: Look) -> str:
    """Not known without task-sent events."""
    return fmt.duration(kind.waiting.p95)


def _failures(kind: TaskType, snapshot: Snapshot, look: Look) -> str:
    if kind.succeeded + kind.failed:
        return fmt.percent(kind.failure_rate)
    return fmt.NONE if _told(kind) else fmt.UNKNOWN


# fmt: off
TYPES: tuple[Column, ...] = (
    Column("type", "TASK", 14, "left", lambda y, s: y.name, lambda y, s, k: y.name,
           "name of the task", tone=type_tone, flexible=True, most=56),
    Column("rate", "DONE/s", 6, "right", lambda y, s: y.rate, lambda y, s, k: fmt.rate(y.rate),
           "finished a second, last minute"),
    Column("active", "ACTIVE", 6, "right", lambda y, s: y.active, lambda y, s, k: fmt.count(y.active),
           "slots that run it now", drop=20),
    Column("share", "SHARE", 5, "right", lambda y, s: y.share, lambda y, s, k: fmt.percent(y.share),
           "part of all busy slots"),
    Column("p50", "P50", 6, "right", lambda y, s: y.runtime.p50, lambda y, s, k: _quantile(y, y.runtime.p50),
           "half of its runs took at most this long"),
    Column("p95", "P95", 6, "right", lambda y, s: y.runtime.p95, lambda y, s, k: _quantile(y, y.runtime.p95),
           "19 of 20 runs took at most this long"),
    Column("p99", "P99", 6, "right", lambda y, s: y.runtime.p99, lambda y, s, k: _quantile(y, y.runtime.p99),
           "99 of 100 runs took at most this long", drop=40),
    Column("max", "MAX", 6, "right", lambda y, s: y.runtime.max, lambda y, s, k: _quantile(y, y.runtime.max),
           "its longest run", drop=70, optional=True),
    Column("wait", "WAITp95", 7, "right", lambda y, s: y.waiting.p95, _waiting,
           "19 of 20 waited at most this long from sent to started; needs task-sent events", drop=30),
    Column("failures", "FAIL%", 5, "right", lambda y, s: y.failure_rate, _failures,
           "failed of finished", tone=type_tone),
    Column("retried", "RETRY", 6, "right", lambda y, s: y.retried, lambda y, s, k: _count(y.retried, y),
           "retries", tone=lambda y, s: "" if y.retried else "dim", drop=10),
    Column("succeeded", "SUCC", 9, "right", lambda y, s: y.succeeded, lambda y, s, k: _count(y.succeeded, y),
           "runs that succeeded", drop=50),
    Column("failed", "FAILED", 7, "right", lambda y, s: y.failed, lambda y, s, k: _count(y.failed, y),
           "runs that failed", tone=lambda y, s: "" if y.failed else "dim", drop=60),
    Column("revoked", "REVOKED", 7, "right", lambda y, s: y.revoked, lambda y, s, k: _count(y.revoked, y),
           "revoked, terminated or expired", drop=71, optional=True),
    Column("received", "RECEIVED", 9, "right", lambda y, s: y.received, lambda y, s, k: _count(y.received, y),
           "taken by a worker", drop=72, optional=True),
)
# fmt: on

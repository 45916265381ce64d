"""Commands that change the cluster. Every one names whom it is for; its verified fate is an ``Outcome``.

``actions`` performs them, and nothing else does. Each is JSON as it stands: the audit file keeps it whole.
"""

from __future__ import annotations

import re

import msgspec


class Target(msgspec.Struct, frozen=True, gc=False):
    """One task, as the screen saw it when the person decided: looked at again right before anything is sent."""

    task_id: str
    name: str | None = None
    state: str | None = None
    """Celery's state then."""
    worker: str | None = None
    """``nodename`` of the worker that has it; ``None``: not known, or it waits in a queue."""
    worker_pid: int | None = None
    """The pool child that ran it."""
    pid_started_at: float | None = None
    """Start time of that process, when it is on this host."""
    queue: str | None = None


class Action(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """What all of them have. ``wait``: seconds until the verdict must be there."""

    wait: float = 10.0


# ---------------------------------------------------------------------------------------------- tasks
class Revoke(Action, frozen=True, kw_only=True):
    """``revoke`` of tasks: do not start them; with ``signal`` also signal the process that runs them.

    ``signal`` is Celery's word: ``SIGUSR1`` raises SoftTimeLimitExceeded at the line that is stuck, ``SIGINT``,
    ``SIGTERM`` and ``SIGKILL`` are delivered to the pool child. ``None``: revoke only.
    """

    targets: tuple[Target, ...]
    signal: str | None = None
    descendants: str = "no"
    """What was asked for, and is in ``targets`` already: ``no``, ``with``, ``only`` the descendants."""
    roots: tuple[str, ...] = ()
    """Whose descendants: further steps, not sent yet, are read from their messages. None named: the targets'."""


class KillTree(Action, frozen=True, kw_only=True):
    """SIGKILL of the process tree that runs each task, on this host, past the worker: for a main that hangs."""

    targets: tuple[Target, ...]


class RevokeStamped(Action, frozen=True, kw_only=True):
    """``revoke_by_stamped_headers``: whatever carries this stamp, now and later, until the workers restart."""

    header: str
    values: tuple[str, ...]
    workers: tuple[str, ...]
    signal: str | None = None


# -------------------------------------------------------------------------------------------- workers
class PoolGrow(Action, frozen=True, kw_only=True):
    """``pool_grow`` by ``n`` slots."""

    workers: tuple[str, ...]
    n: int = 1


class PoolShrink(Action, frozen=True, kw_only=True):
    """``pool_shrink`` by ``n`` slots."""

    workers: tuple[str, ...]
    n: int = 1


class Autoscale(Action, frozen=True, kw_only=True):
    """``autoscale`` between ``min`` and ``max`` slots; only where the worker was started with --autoscale."""

    workers: tuple[str, ...]
    max: int
    min: int


class AddConsumer(Action, frozen=True, kw_only=True):
    """``add_consumer``: begin to take from ``queue`` (resume)."""

    workers: tuple[str, ...]
    queue: str


class CancelConsumer(Action, frozen=True, kw_only=True):
    """``cancel_consumer``: take no more from ``queue`` (pause)."""

    workers: tuple[str, ...]
    queue: str


class RateLimit(Action, frozen=True, kw_only=True):
    """``rate_limit`` of one task name: ``10/m``, ``1/s``, ``0`` for none."""

    workers: tuple[str, ...]
    task_name: str
    rate_limit: str


class TimeLimit(Action, frozen=True, kw_only=True):
    """``time_limit`` of one task name, seconds; for tasks that start later only."""

    workers: tuple[str, ...]
    task_name: str
    soft: float | None = None
    hard: float | None = None


class EnableEvents(Action, frozen=True, kw_only=True):
    """``enable_events``: task events, as -E."""

    workers: tuple[str, ...]


class DisableEvents(Action, frozen=True, kw_only=True):
    """``disable_events``."""

    workers: tuple[str, ...]


class PoolRestart(Action, frozen=True, kw_only=True):
    """``pool_restart``; needs the setting worker_pool_restarts."""

    workers: tuple[str, ...]


class Shutdown(Action, frozen=True, kw_only=True):
    """``shutdown``: warm, running tasks are finished first."""

    workers: tuple[str, ...]
    wait: float = 60.0


class KillWorker(Action, frozen=True, kw_only=True):
    """SIGKILL of a worker's main process and its tree, on this host: for a shutdown that hangs."""

    worker: str
    pid: int
    pid_started_at: float


# ------------------------------------------------------------------------------------------- messages
class PurgeQueue(Action, frozen=True, kw_only=True):
    """Remove messages from a queue; all of them, or those that match. A dump is written and fsynced first."""

    queue: str
    filter: str = ""
    """Words of the one grammar (``name:``, ``args:``, ``id:``, ``age:>60``...); "" is all of them."""
    task_ids: tuple[str, ...] = ()
    """Only these; with ``filter`` empty."""
    dump: str | None = None
    """File; ``None``: one in the state directory."""
    dry_run: bool = False
    """Only count what would be removed."""
    wait: float = 60.0


class MoveMessages(Action, frozen=True, kw_only=True):
    """Take matching messages from one queue and put them into another, byte for byte. Dumped first."""

    queue: str
    to: str
    filter: str = ""
    task_ids: tuple[str, ...] = ()
    dump: str | None = None
    dry_run: bool = False
    """Only count what would be moved."""
    wait: float = 60.0


class RestoreDump(Action, frozen=True, kw_only=True):
    """Put the messages of a dump back, byte for byte, where they came from (or into ``to``)."""

    path: str
    to: str | None = None
    """Into this queue; then the dump may come from another broker of the same kind."""
    force: bool = False
    """Also what was put back before, what was moved, and what nobody can say whether it was removed."""
    wait: float = 60.0


class RestoreUnacked(Action, frozen=True, kw_only=True):
    """Give back, now, unacked messages of dead workers (Redis), after proof that no live worker holds them."""

    task_ids: tuple[str, ...] = ()
    """Only these; none named: all that are orphaned."""
    queue: str | None = None
    """Only those of this queue."""
    wait: float = 30.0


class Resend(Action, frozen=True, kw_only=True):
    """Publish a task's original body and headers again under a new id, where they are really known."""

    task_id: str
    queue: str | None = None
    """Where to; ``None``: where it came from."""
    dump: str | None = None
    """Take it from this file."""


class SendTask(Action, frozen=True, kw_only=True):
    """``celery call``: send a task by name."""

    name: str
    args: str = "[]"
    """A JSON list."""
    kwargs: str = "{}"
    """A JSON object."""
    queue: str | None = None
    """``None``: the cluster's default queue, ``celery``."""
    countdown: float | None = None
    expires: float | None = None
    priority: int | None = None


AnyAction = (
    Revoke
    | KillTree
    | RevokeStamped
    | PoolGrow
    | PoolShrink
    | Autoscale
    | AddConsumer
    | CancelConsumer
    | RateLimit
    | TimeLimit
    | EnableEvents
    | DisableEvents
    | PoolRestart
    | Shutdown
    | KillWorker
    | PurgeQueue
    | MoveMessages
    | RestoreDump
    | RestoreUnacked
    | Resend
    | SendTask
)
"""Every class that changes the cluster: the guard's table names each of them."""


def command_of(action: AnyAction) -> str:
    """The class as JSON and the audit file write it.

    >>> command_of(PoolGrow(workers=("w1@h",)))
    'pool_grow'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(action).__name__).lower()

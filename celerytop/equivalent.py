"""The shell command of Celery's own that does the same: for a read-only celerytop, and for runbooks. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import assert_never

import msgspec

from celerytop.model import action as act
from celerytop.model.action import AnyAction, Target
from celerytop.model.snapshot import ClusterInfo

IDS = 50
"""Ids in one message, and in one command."""
_NONE = "Celery has no command for this"
_UNCOUNTED = (
    "To look without any action: a queue's page (Enter) shows how many wait, a sample by task name, and on Redis all "
    "its messages page by page ([ and ])."
)

_HIDDEN = "Put the password where *** stands, or -A APP instead of -b."
_RENAMED = "Give it -A APP instead of -b: this cluster's key prefix or exchange is a setting of its app."


class Equivalent(msgspec.Struct, frozen=True):
    """What to type instead."""

    commands: tuple[str, ...] = ()
    """Each is one line for a shell."""
    note: str | None = None
    """One sentence: what they do not do, or why there is none."""

    @property
    def line(self) -> str | None:
        """All of them in one line, to be copied; ``None``: there is none."""
        return " && ".join(self.commands) or None


def equivalent(
    action: AnyAction, cluster: ClusterInfo, app: str | None = None, workers: Sequence[str] = ()
) -> Equivalent:
    """The commands for ``action``. Without ``app`` (as for ``celery -A``) they name the broker, its password masked.

    ``workers`` are those who may take a task that runs nowhere yet.

    >>> prod = ClusterInfo("prod", "redis://***@10.0.0.5:6379/0", "redis")
    >>> equivalent(act.PoolGrow(workers=("w3@db-7",), n=4), prod, "app").commands
    ('celery -A app control -d w3@db-7 pool_grow 4',)
    >>> equivalent(act.Shutdown(workers=("w3@db-7",)), prod).commands
    ("celery -b 'redis://***@10.0.0.5:6379/0' control -d w3@db-7 shutdown",)
    """
    told = _equivalent(action, ("celery", "-A", app) if app else ("celery", "-b", cluster.url), workers)
    if app or not told.commands:
        return told
    notes = [told.note, _HIDDEN if "***" in cluster.url else None, _RENAMED if cluster.renamed else None]
    return msgspec.structs.replace(told, note=" ".join(filter(None, notes)) or None)


def _equivalent(action: AnyAction, celery: Sequence[str], workers: Sequence[str]) -> Equivalent:
    if getattr(action, "dry_run", False):
        return Equivalent(note=_UNCOUNTED)
    match action:
        case act.Revoke():
            return _revoke(celery, action, workers)
        case act.RevokeStamped() if action.signal is None:
            # One by one: the worker makes a dict of key=value words, and the last of one key wins.
            stamps = [f"{action.header}={value}" for value in action.values]
            words = ("revoke_by_stamped_headers",)
            return Equivalent(tuple(_control(celery, action.workers, *words, stamp) for stamp in stamps))
        case act.PurgeQueue() | act.SendTask():
            return _messages(celery, action)
        case act.KillTree() | act.KillWorker() | act.RevokeStamped():
            return Equivalent(note=_by_hand(action))
        case act.MoveMessages() | act.RestoreDump() | act.RestoreUnacked() | act.Resend():
            return Equivalent(note=f"{_NONE}: it knows its messages only while it runs them.")
        case _:
            return _worker(celery, action)


_Worker = (
    act.PoolGrow | act.PoolShrink | act.Autoscale | act.AddConsumer | act.CancelConsumer | act.RateLimit
    | act.TimeLimit | act.EnableEvents | act.DisableEvents | act.PoolRestart | act.Shutdown
)  # fmt: skip


def _worker(celery: Sequence[str], action: _Worker) -> Equivalent:
    if isinstance(action, act.TimeLimit) and action.soft is None:
        return Equivalent(note=f"{_NONE}: its time_limit wants a soft limit too.")
    return Equivalent((_control(celery, action.workers, act.command_of(action), *_words(action)),))


def _words(action: _Worker) -> tuple[str, ...]:
    match action:
        case act.PoolGrow() | act.PoolShrink():
            return (str(action.n),)
        case act.Autoscale():
            return str(action.max), str(action.min)
        case act.AddConsumer() | act.CancelConsumer():
            return (action.queue,)
        case act.RateLimit():
            return action.task_name, action.rate_limit
        case act.TimeLimit():
            limits = (action.soft, action.hard)
            return action.task_name, *(f"{seconds:g}" for seconds in limits if seconds is not None)
        case act.EnableEvents() | act.DisableEvents() | act.PoolRestart() | act.Shutdown():
            return ()
        case _:
            assert_never(action)


def _control(celery: Sequence[str], workers: Sequence[str], command: str, *words: str) -> str:
    """One line. Without ``workers`` it goes to all."""
    to = ("-d", ",".join(workers)) if workers else ()
    end = ("--",) if any(word.startswith("-") for word in words) else ()  # else click takes it for an option
    return shlex.join([*celery, "control", *to, *end, command, *words])


def _revoke(celery: Sequence[str], action: act.Revoke, workers: Sequence[str]) -> Equivalent:
    """Running ones to their worker, waiting ones to whoever may take them."""
    found: dict[tuple[tuple[str, ...], str | None], list[str]] = {}
    for target in action.targets:
        to = (target.worker,) if target.worker is not None else tuple(workers)
        unseen = target.state is None and target.queue is None  # it may run: what was asked for is kept
        found.setdefault((to, action.signal if unseen or _runs(target) else None), []).append(target.task_id)
    lines = []
    for (to, signal), ids in found.items():
        words = ("revoke",) if signal is None else ("terminate", signal)
        for first in range(0, len(ids), IDS):
            lines.append(_control(celery, to, *words, *ids[first : first + IDS]))
    return Equivalent(tuple(lines), "Its answer says that a worker has read it, not that anything stopped.")


def _runs(target: Target) -> bool:
    return target.state == "STARTED" or target.worker_pid is not None


def _messages(celery: Sequence[str], action: act.PurgeQueue | act.SendTask) -> Equivalent:
    match action:
        case act.PurgeQueue() if action.filter or action.task_ids:
            return Equivalent(note=f"{_NONE}: its purge takes all messages of a queue.")
        case act.PurgeQueue():
            line = shlex.join([*celery, "purge", "-Q", action.queue])
            return Equivalent((line,), "It keeps no copy: what it removes is lost.")
        case act.SendTask():
            options = [("-a", action.args, "[]"), ("-k", action.kwargs, "{}"), ("--queue", action.queue, None)]
            words = [word for flag, value, usual in options if value and value != usual for word in (flag, value)]
            for flag, seconds in (("--countdown", action.countdown), ("--expires", action.expires)):
                words += [] if seconds is None else [flag, f"{seconds:g}"]
            note = None if action.priority is None else "It has no option for a priority."
            return Equivalent((shlex.join([*celery, "call", action.name, *words]),), note)
        case _:
            assert_never(action)


def _by_hand(action: act.KillTree | act.KillWorker | act.RevokeStamped) -> str:
    match action:
        case act.KillWorker():
            return f"{_NONE}; on its host: kill -KILL {action.pid}"
        case act.RevokeStamped():
            return f"{_NONE}: its revoke_by_stamped_headers cannot send a signal."
        case act.KillTree():
            pids = " ".join(str(target.worker_pid) for target in action.targets if target.worker_pid is not None)
            return f"{_NONE}; on its host, after what it has started: kill -KILL {pids}".rstrip()
        case _:
            assert_never(action)

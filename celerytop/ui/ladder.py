"""The kill ladder: one question with five rungs, from a mere revoke to SIGKILL of the process tree on this host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from celerytop.model.action import AnyAction, KillTree, Revoke, Target
from celerytop.model.snapshot import Snapshot
from celerytop.targets import descendants, target_of
from celerytop.ui.acting import confirm_one_of

if TYPE_CHECKING:
    from celerytop.ui.app import CelerytopApp

RUNGS = (
    ("r", "revoke only", None),
    ("u", "USR1", "SIGUSR1"),
    ("t", "TERM", "SIGTERM"),
    ("k", "KILL", "SIGKILL"),
    ("p", "tree", "tree"),
)
"""Letter, label, Celery's word for the signal (``tree``: past the worker)."""
_RUNGS = frozenset(signal for _, _, signal in RUNGS if signal is not None)
_HAVE_SIGNALS = ("prefork", "gevent", "eventlet")


def climb(top: CelerytopApp, task_ids: Sequence[str], rung: str | None = "", family: str = "no") -> None:
    """Ask how to stop these tasks.

    ``rung``: what is chosen at first, a signal, ``tree``, ``None`` for revoke only; "" is what fits. ``family``:
    ``no``, ``with`` their known descendants, or ``only`` those.
    """
    snapshot = top.newest
    targets = _all(snapshot, task_ids, family)
    if not task_ids:
        top.say("no task is chosen here")
        return
    from celerytop.ui.screens.confirm import Variant

    wanted = fitting(snapshot, targets) if rung == "" else rung
    roots = tuple(task_ids) if family != "no" else ()
    rungs = RUNGS if family == "no" else RUNGS[:-1]
    variants = [Variant(key, label, _maker(targets, signal, family, roots)) for key, label, signal in rungs]
    at = next((index for index, (_, _, signal) in enumerate(rungs) if signal == wanted), 0)
    confirm_one_of(top, variants, at)


def _all(snapshot: Snapshot, task_ids: Sequence[str], family: str) -> tuple[Target, ...]:
    found: dict[str, Target] = {}
    for task_id in task_ids:
        if family != "only":
            found[task_id] = target_of(snapshot, task_id)
        if family != "no":
            found |= {one.task_id: one for one in descendants(snapshot, task_id)}
    return tuple(found.values())


def fitting(snapshot: Snapshot, targets: Sequence[Target]) -> str | None:
    """The next rung of what was not stopped; SIGTERM where something runs that a signal can end; else revoke only."""
    for target in targets:
        verdict = snapshot.outcomes.get(target.task_id)
        if verdict is not None and verdict.next in _RUNGS:
            return verdict.next
        worker = snapshot.workers.get(target.worker) if target.worker is not None else None
        if target.state == "STARTED" and worker is not None and worker.pool in _HAVE_SIGNALS:
            return "SIGTERM"
    return None


def _maker(
    targets: tuple[Target, ...], signal: str | None, family: str, roots: tuple[str, ...]
) -> Callable[[Snapshot], AnyAction]:
    def make(snapshot: Snapshot) -> AnyAction:
        these = tuple(followed(snapshot, target) for target in targets)
        if signal == "tree":
            return KillTree(targets=these)
        return Revoke(targets=these, signal=signal, descendants=family, roots=roots)

    return make


def followed(snapshot: Snapshot, target: Target) -> Target:
    """The same with what has become known since; a process that was known stays the one that was meant."""
    new = target_of(snapshot, target.task_id)
    if target.state != "STARTED":
        return new if new.state is not None else target
    if target.worker_pid is None and new.worker in (None, target.worker):
        return replace(target, worker_pid=new.worker_pid, pid_started_at=new.pid_started_at)
    return target

"""What was changed from here and could be put back: read from the reports of what was done. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from celerytop.model.action import AddConsumer, AnyAction, CancelConsumer, DisableEvents, EnableEvents
from celerytop.model.outcome import DONE, Outcome
from celerytop.model.snapshot import Snapshot
from celerytop.model.worker import GONE

ENABLED = "task events enabled"
"""What a worker answers whose events were off; one that sent them answers ``task events already enabled``."""
TOOK = "took before from"
"""Evidence of a pause: this worker did take from that queue."""


def enabled_here(snapshot: Snapshot) -> tuple[str, ...]:
    """Workers that send task events because of us, and would not otherwise: for ``DisableEvents`` on leaving."""
    found: dict[str, None] = {}
    for action, outcome, worker in _done(snapshot):
        if isinstance(action, EnableEvents) and _has(outcome, "reply", ENABLED):
            found[worker] = None
        elif isinstance(action, DisableEvents):
            found.pop(worker, None)
    return tuple(found)


def paused_here(snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
    """Queue to the workers that took from it before it was paused from here: for ``AddConsumer``."""
    found: dict[tuple[str, str], None] = {}
    for action, outcome, worker in _done(snapshot):
        if isinstance(action, CancelConsumer) and _has(outcome, "inspect", f"{TOOK} {action.queue}"):
            found[action.queue, worker] = None
        elif isinstance(action, AddConsumer):
            found.pop((action.queue, worker), None)
    return {queue: tuple(worker for one, worker in found if one == queue) for queue, _ in found}


def restoring(snapshot: Snapshot) -> tuple[AnyAction, ...]:
    """The actions that put all of it back."""
    events = enabled_here(snapshot)
    resumed = tuple(AddConsumer(workers=workers, queue=queue) for queue, workers in paused_here(snapshot).items())
    return (*((DisableEvents(workers=events),) if events else ()), *resumed)


def _done(snapshot: Snapshot) -> Iterator[tuple[AnyAction, Outcome, str]]:
    """What was seen to have come about, oldest first, on workers that are still the ones it was done to."""
    for report in sorted(snapshot.actions, key=lambda one: one.settled_at or one.began_at):
        for outcome in report.outcomes:
            if outcome.worker is not None and outcome.outcome == DONE and _still(snapshot, outcome):
                yield report.action, outcome, outcome.worker


def _still(snapshot: Snapshot, outcome: Outcome) -> bool:
    """A worker that has gone, or was started since, remembers nothing of it."""
    worker = snapshot.workers.get(outcome.worker or "")
    if worker is None:
        return True
    seen_at = worker.seen_at or snapshot.at  # its uptime is told as of then, in whole seconds
    restarted = worker.uptime is not None and seen_at - worker.uptime > outcome.at + 2.0
    return worker.state != GONE and not restarted


def _has(outcome: Outcome, source: str, ending: str) -> bool:
    return any(one.source == source and one.text.endswith(ending) for one in outcome.evidence)

"""What was changed from here and could be put back, from reports alone."""

from __future__ import annotations

from celerytop.model.action import AddConsumer, AnyAction, CancelConsumer, DisableEvents, EnableEvents
from celerytop.model.outcome import DONE, NOT_DONE, ActionReport, Evidence, Outcome
from celerytop.model.snapshot import ClusterInfo, Snapshot
from celerytop.model.worker import ALIVE, GONE, Worker
from celerytop.undo import ENABLED, TOOK, enabled_here, paused_here, restoring

WORKERS = ("w1@h", "w2@h")
ON = Evidence(1.0, "reply", f"w: {ENABLED}", 4)
WAS_ON = Evidence(1.0, "reply", "w: task events already enabled", 4)


def report(number: int, action: AnyAction, **by_worker: tuple[str, Evidence | None]) -> ActionReport:
    """Settled at its number."""
    at = float(number)
    outcomes = tuple(
        Outcome("x", word, at, worker=f"{name}@h", evidence=(evidence,) if evidence else ())
        for name, (word, evidence) in by_worker.items()
    )
    return ActionReport(number, action, at, at, settled_at=at, outcomes=outcomes)


def seen(*reports: ActionReport, **workers: Worker) -> Snapshot:
    known = {worker.nodename: worker for worker in workers.values()}
    return Snapshot(100.0, ClusterInfo("c", "redis://", "redis"), workers=known, actions=reports)


def test_only_who_was_switched_on_here_is_switched_off() -> None:
    enable = EnableEvents(workers=WORKERS)
    now = seen(report(1, enable, w1=(DONE, ON), w2=(DONE, WAS_ON)))
    assert enabled_here(now) == ("w1@h",)
    assert restoring(now) == (DisableEvents(workers=("w1@h",)),)
    unsure = seen(report(1, enable, w1=(NOT_DONE, ON)))
    assert enabled_here(unsure) == () and restoring(unsure) == ()
    off = report(2, DisableEvents(workers=("w1@h",)), w1=(DONE, None))
    assert enabled_here(seen(*now.actions, off)) == ()
    assert enabled_here(seen(*now.actions, off, report(3, enable, w1=(DONE, ON)))) == ("w1@h",)


def test_only_who_took_from_the_queue_resumes_it() -> None:
    took = Evidence(1.0, "inspect", f"w1@h: {TOOK} mail", 3)
    pause = report(1, CancelConsumer(workers=WORKERS, queue="mail"), w1=(DONE, took), w2=(DONE, None))
    assert paused_here(seen(pause)) == {"mail": ("w1@h",)}
    assert restoring(seen(pause)) == (AddConsumer(workers=("w1@h",), queue="mail"),)
    resumed = report(2, AddConsumer(workers=WORKERS, queue="mail"), w1=(DONE, None))
    assert paused_here(seen(pause, resumed)) == {}
    other = report(2, AddConsumer(workers=WORKERS, queue="news"), w1=(DONE, None))
    assert paused_here(seen(pause, other)) == {"mail": ("w1@h",)}


def test_a_worker_that_was_started_since_remembers_nothing() -> None:
    enabled = report(10, EnableEvents(workers=WORKERS), w1=(DONE, ON))
    here = Worker("w1@h", state=ALIVE, seen_at=100.0, uptime=95.0)
    assert enabled_here(seen(enabled, one=here)) == ("w1@h",)
    again = Worker("w1@h", state=ALIVE, seen_at=100.0, uptime=30.0)
    assert enabled_here(seen(enabled, one=again)) == ()
    assert enabled_here(seen(enabled, one=Worker("w1@h", state=GONE))) == ()

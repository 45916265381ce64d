"""Pictures with actions in them, and a cluster on which actions are allowed."""

from __future__ import annotations

from typing import Any

import msgspec

from celerytop.model.action import AnyAction, Revoke, Target
from celerytop.model.command import Attend
from celerytop.model.outcome import NOT_STOPPED, STOPPED, ActionReport, Evidence, Outcome
from celerytop.model.snapshot import Snapshot
from celerytop.model.task import Task
from tests.ui import snapshots
from tests.ui.drive import Driver

AT = snapshots.AT
PAY = snapshots.PAY
OTHER = "91cc0211-0000-4000-8000-000000000002"


def allowed(snapshot: Snapshot | None = None) -> Snapshot:
    """The same where actions are allowed."""
    found = snapshot or snapshots.healthy()
    return msgspec.structs.replace(found, cluster=msgspec.structs.replace(found.cluster, mode=None))


def with_task(snapshot: Snapshot, task_id: str, **facts: Any) -> Snapshot:
    """The same with other facts about one task, a second later."""
    tasks = {**snapshot.tasks, task_id: msgspec.structs.replace(snapshot.tasks[task_id], **facts)}
    return msgspec.structs.replace(snapshot, at=snapshot.at + 1, sources=snapshots.up(snapshot.at + 1), tasks=tasks)


def many(number: int = 60) -> Snapshot:
    """So many running tasks."""
    tasks = {
        f"{i:08x}-0000": Task(
            f"{i:08x}-0000", "app.pay", "STARTED", "w3@db-7", worker_pid=5000 + i, place="active", started_at=AT - 9
        )
        for i in range(number)
    }
    return msgspec.structs.replace(allowed(), tasks=tasks)


def terminate() -> Revoke:
    """Of two tasks."""
    targets = tuple(
        Target(task_id, "app.pay", "STARTED", "w3@db-7", pid, queue="celery")
        for task_id, pid in ((PAY, 4711), (OTHER, 4712))
    )
    return Revoke(targets=targets, signal="SIGTERM")


def being_done(action: AnyAction | None = None) -> Snapshot:
    """An action that is being watched."""
    steps = (
        Evidence(AT - 2.98, "audit", "line 118 of /home/alice/.local/state/celerytop/audit.jsonl"),
        Evidence(AT - 2.95, "sent", "revoke + SIGTERM to w3@db-7"),
    )
    report = ActionReport(1, action or terminate(), AT - 3, AT + 7, steps=steps, audit_line=118)
    return msgspec.structs.replace(allowed(), actions=(report,))


def half_done() -> Snapshot:
    """One was stopped, one ignores the signal."""
    before = being_done()
    gone = Evidence(AT + 0.31, "host", "process 4711 is gone, child 5120 took its place", 1)
    answer = Evidence(AT - 2.9, "reply", "ok: terminate")
    still = Evidence(AT + 7.0, "host", "4712 is the same process 10 s after SIGTERM", 1)
    outcomes = (
        Outcome("revoke", STOPPED, AT + 0.31, PAY, "w3@db-7", None, (gone, answer), "It does not run any more."),
        Outcome(
            "revoke", NOT_STOPPED, AT + 7, OTHER, "w3@db-7", None, (still, answer),
            "Celery says REVOKED and no longer lists it, yet pid 4712 runs on and holds its slot.", "SIGKILL",
        ),
    )  # fmt: skip
    report = msgspec.structs.replace(
        before.actions[0], settled_at=AT + 7, outcomes=outcomes, steps=(*before.actions[0].steps, answer, gone, still)
    )
    at = AT + 8
    tasks = {**before.tasks, PAY: msgspec.structs.replace(before.tasks[PAY], state="REVOKED", finished_at=AT + 0.3)}
    return msgspec.structs.replace(
        before, at=at, sources=snapshots.up(at), tasks=tasks, actions=(report,),
        outcomes={outcome.task_id: outcome for outcome in outcomes if outcome.task_id is not None},
    )  # fmt: skip


def wishes(driver: Driver) -> list[Any]:
    """What was asked for, but for what is only looked at."""
    return [command for command in driver.feed.commands if not isinstance(command, Attend)]


async def type_keys(driver: Driver, *keys: str) -> None:
    """As a person does: letters in one go, but a box is answered once it is there."""
    for index, key in enumerate(keys):
        driver.send(key)
        if len(key) > 1 or index + 1 == len(keys) or len(keys[index + 1]) > 1:
            await driver.settle()

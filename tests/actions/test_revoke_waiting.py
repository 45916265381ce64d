"""Tasks that do not run yet: who holds the revoke, and that nothing is claimed beyond that."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import chain

from celerytop.actions.command import MOST_IDS
from celerytop.model.action import Revoke, Target
from celerytop.model.outcome import FLAGGED_ONLY, REFUSED, STOPPED
from celerytop.targets import target_of
from tests.actions.stage import PATIENCE, Stage, Wire, lives
from tests.rig import RedisServer, Worker, wait_until
from tests.rig.send import rig_app

pytestmark = [pytest.mark.redis, pytest.mark.worker]


STAFF = {"prefork": 2}
"""Slots of the stage's workers, by pool."""


def filled(stage: Stage) -> list[str]:
    """Both slots are busy, until they are ended."""
    return [stage.start("prefork", "rig.subprocess", 60)[0] for _ in range(2)]


def test_a_reserved_task_is_flagged_by_its_worker_and_never_runs(stage: Stage, server: RedisServer) -> None:
    busy = filled(stage)
    waiting = stage.send("prefork", "rig.add", 1, 2)
    stage.wait_state(waiting, "RECEIVED")
    verdict = stage.revoke(waiting)
    assert verdict.outcome == FLAGGED_ONLY
    assert stage.workers["prefork"].nodename in verdict.sentence and "statedb" in verdict.sentence
    stage.end("prefork", 2)
    for task_id in busy:
        stage.wait_state(task_id, "SUCCESS")
    task = stage.wait_state(waiting, "REVOKED")
    assert not task.terminated and task.started_at is None
    wait_until(lambda: server.client().hlen("unacked") == 0, PATIENCE, "its message is acknowledged")


def test_what_waits_is_told_before_a_place_is_free_for_it(stage: Stage, server: RedisServer) -> None:
    busy = filled(stage)
    waiting = stage.send("prefork", "rig.sleep", 60)
    stage.wait_state(waiting, "RECEIVED")
    targets = tuple(target_of(stage.see(), one) for one in (*busy, waiting))
    with Wire(server.client()) as wire:
        report = stage.perform(Revoke(targets=targets, signal="SIGKILL", wait=PATIENCE))
        told = [
            (message["arguments"]["task_id"], "terminate" in message["arguments"])
            for message in wire.commands("revoke")
        ]
    assert told[0] == ([waiting], False) and told[1][1]
    found = {one.task_id: one.outcome for one in report.outcomes}
    assert found[waiting] == FLAGGED_ONLY
    stage.wait_state(waiting, "REVOKED")


def test_an_eta_task_is_flagged(stage: Stage) -> None:
    task_id = stage.send("prefork", "rig.add", 1, 2, countdown=300)
    stage.wait_state(task_id, "RECEIVED")
    verdict = stage.revoke(task_id, signal="SIGKILL")
    assert verdict.outcome == FLAGGED_ONLY


def test_an_id_nobody_has_heard_of_is_held_by_every_worker(stage: Stage) -> None:
    assert stage.revoke("never-sent").outcome == FLAGGED_ONLY


def test_what_has_ended_is_refused(stage: Stage) -> None:
    task_id = stage.send("prefork", "rig.add", 1, 2)
    stage.wait_state(task_id, "SUCCESS")
    assert stage.revoke(task_id, signal="SIGKILL").outcome == REFUSED


def test_a_storm_of_revokes_names_its_workers_and_takes_small_bites(stage: Stage, server: RedisServer) -> None:
    running = [stage.start("prefork", "rig.sleep", 60) for _ in range(2)]
    targets = [target_of(stage.see(), task_id) for task_id, _ in running]
    targets += [Target(f"storm-{number}", queue="prefork") for number in range(498)]
    with Wire(server.client()) as wire:
        report = stage.perform(Revoke(targets=tuple(targets), signal="SIGTERM", wait=20))
        heard = wire.commands("revoke", "query_task", "active", "stats", "revoked")
    assert len(report.outcomes) == 500
    words = {outcome.task_id: outcome.outcome for outcome in report.outcomes}
    assert [words[task_id] for task_id, _ in running] == [STOPPED, STOPPED]
    assert not any(lives(pid) for _, pid in running)
    assert set(words.values()) == {STOPPED, FLAGGED_ONLY}
    ours = [message for message in heard if message["reply_to"]["exchange"] == "" and message["destination"]]
    revokes = [message for message in ours if message["method"] == "revoke"]
    assert sum(len(message["arguments"]["task_id"]) for message in revokes) == 500
    assert all(len(message["arguments"]["task_id"]) <= MOST_IDS for message in revokes)
    assert all(message["destination"] for message in heard if message["method"] in ("revoke", "query_task"))


def test_a_revoke_nobody_could_hold_is_not_sent(tmp_path: Path, redis_server: RedisServer) -> None:
    stage = Stage(redis_server.url(), tmp_path)
    stage.monitor.start()
    wait_until(stage.monitor.looked, PATIENCE, "it listens")
    try:
        task_id = stage.send("prefork", "rig.add", 1, 2)
        with Wire(redis_server.client()) as wire:
            verdict = stage.revoke(task_id)
            assert verdict.outcome == REFUSED and "no live worker" in verdict.sentence
            assert not wire.commands("revoke")
        with Worker(stage.url, queues=("prefork",)):
            stage.wait_state(task_id, "SUCCESS")
    finally:
        stage.close()


def test_steps_that_are_not_sent_yet_are_revoked_with_their_root(stage: Stage) -> None:
    app = rig_app(stage.url)
    steps = [app.signature("rig.add", (1, 2), queue="prefork", immutable=True) for _ in range(3)]
    last = chain(*steps, app=app).apply_async(countdown=300, queue="prefork")
    ids = [str(one) for one in reversed(last.as_list())]
    stage.wait_state(ids[0], "RECEIVED")
    with_root = Revoke(targets=(target_of(stage.see(), ids[0]),), descendants="with")
    only = Revoke(targets=(), descendants="only", roots=(ids[0],))
    for action, expected in ((only, ids[1:]), (with_root, ids)):
        report = stage.perform(action)
        assert {outcome.task_id: outcome.outcome for outcome in report.outcomes} == dict.fromkeys(
            expected, FLAGGED_ONLY
        )

"""Tasks that run: what became of the process, the message, the events, and the word for it."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from msgspec.structs import replace

from celerytop.model.action import KillTree, KillWorker, Revoke, Target
from celerytop.model.outcome import CANNOT, NOT_STOPPED, REFUSED, STOPPED, UNKNOWN, WILL_APPLY_LATER
from celerytop.targets import target_of
from tests.actions.stage import PATIENCE, Stage, Wire, grown_tree, lives, programs
from tests.rig import RedisServer, wait_until

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.timeout(120)]  # five workers are started


STAFF = {"prefork": 3, "threads": 2, "gevent": 3, "eventlet": 3, "solo": 1}
"""Slots of the stage's workers, by pool."""


def unacked(server: RedisServer) -> int:
    return int(server.client().hlen("unacked"))


@pytest.mark.parametrize("name", ["rig.sleep", "rig.lock"])
@pytest.mark.parametrize("word", ["SIGTERM", "SIGKILL"])
def test_a_signal_that_ends_the_child_is_verified_by_its_process(
    stage: Stage, server: RedisServer, name: str, word: str
) -> None:
    task_id, pid = stage.start("prefork", name, *([60] if name == "rig.sleep" else []))
    verdict = stage.revoke(task_id, signal=word)
    assert verdict.outcome == STOPPED
    assert not lives(pid)
    assert verdict.evidence[0].source == "host" and verdict.evidence[0].strength == 1
    task = stage.wait_state(task_id, "REVOKED")
    assert task.terminated and task.signum == signal.Signals[word]
    wait_until(lambda: unacked(server) == 0, PATIENCE, "its message is acknowledged")


def test_acks_late_is_not_run_again_after_a_terminate(stage: Stage, server: RedisServer) -> None:
    task_id, pid = stage.start("prefork", "rig.late_sleep", 60)
    assert unacked(server) == 1
    assert stage.revoke(task_id, signal="SIGKILL").outcome == STOPPED
    assert not lives(pid)
    stage.wait_state(task_id, "REVOKED")
    wait_until(lambda: unacked(server) == 0, PATIENCE, "its message is acknowledged")
    assert server.client().llen("prefork") == 0 and task_id not in stage.busy()


def test_the_soft_signal_ends_the_task_and_not_its_process(stage: Stage) -> None:
    task_id, pid = stage.start("prefork", "rig.lock")
    verdict = stage.revoke(task_id, signal="SIGUSR1")
    assert verdict.outcome == STOPPED and verdict.evidence[0].source == "events"
    assert lives(pid)
    assert (stage.wait_state(task_id, "FAILURE").exception or "").startswith("SoftTimeLimitExceeded")


def test_the_ladder_goes_on_though_the_worker_has_forgotten_the_task(stage: Stage) -> None:
    task_id, pid = stage.start("prefork", "rig.ignore_sigterm", 60)
    for word, rung in (("SIGINT", "SIGTERM"), ("SIGTERM", "SIGKILL")):
        verdict = stage.revoke(task_id, signal=word, wait=0.6)
        assert (verdict.outcome, verdict.next) == (NOT_STOPPED, rung)
        assert lives(pid) and task_id not in stage.busy()
        stage.wait_state(task_id, "REVOKED")
    verdict = stage.revoke(task_id, signal="SIGKILL")
    assert verdict.outcome == STOPPED
    assert not lives(pid)


def test_a_task_that_swallows_the_soft_signal_is_not_called_stopped(stage: Stage) -> None:
    task_id, pid = stage.start("prefork", "rig.swallow_soft", 60)
    verdict = stage.revoke(task_id, signal="SIGUSR1", wait=0.8)
    assert (verdict.outcome, verdict.next) == (NOT_STOPPED, "SIGTERM") and lives(pid)
    assert stage.revoke(task_id, signal="SIGTERM").outcome == STOPPED
    assert not lives(pid)


def test_revoke_alone_stops_nothing_that_runs(stage: Stage) -> None:
    task_id, pid = stage.start("prefork", "rig.subprocess", 60)
    verdict = stage.revoke(task_id)
    assert (verdict.outcome, verdict.next) == (NOT_STOPPED, "SIGUSR1")
    assert lives(pid)
    stage.end("prefork")
    stage.wait_state(task_id, "SUCCESS")


# ------------------------------------------------------------------------------------------------- trees
def test_sigterm_of_a_nested_pool_is_stopped_when_its_grandchildren_are(stage: Stage) -> None:
    task_id, pid = stage.start("prefork", "rig.billiard_pool", 60)
    tree = grown_tree(pid, 3)
    verdict = stage.revoke(task_id, signal="SIGTERM", wait=25)  # STOPPED: and nobody of the tree lives, it asserts
    if verdict.outcome != STOPPED:
        assert verdict.outcome == NOT_STOPPED and verdict.next in ("SIGKILL", "tree")
        assert any(str(one) in verdict.sentence for one in tree), "who lived when it was said may end by itself since"
        assert stage.kill_tree(target_of(stage.see(), task_id)).outcome in (STOPPED, REFUSED)
    assert not any(map(lives, tree))


@pytest.mark.parametrize("name", ["rig.billiard_pool", "rig.nested_pool"])
def test_what_sigkill_leaves_behind_is_not_stopped_until_the_tree_is_killed(stage: Stage, name: str) -> None:
    task_id, pid = stage.start("prefork", name, 60)
    tree = grown_tree(pid, 3)
    verdict = stage.revoke(task_id, signal="SIGKILL")
    assert (verdict.outcome, verdict.next) == (NOT_STOPPED, "tree")
    assert not lives(pid) and all(map(lives, tree[1:]))
    assert stage.kill_tree(target_of(stage.see(), task_id)).outcome == STOPPED
    assert not any(map(lives, tree))


def test_the_tree_is_killed_past_a_healthy_worker_and_nothing_else(stage: Stage) -> None:
    other, other_pid = stage.start("prefork", "rig.subprocess", 60)
    task_id, pid = stage.start("prefork", "rig.nested_pool", 60)
    tree = grown_tree(pid, 4)
    assert stage.kill_tree(target_of(stage.see(), task_id)).outcome == STOPPED
    assert not any(map(lives, tree))
    assert lives(other_pid) and stage.workers["prefork"].running
    stage.end("prefork")
    assert "WorkerLost" in (stage.wait_state(task_id, "FAILURE").exception or "")
    stage.wait_state(other, "SUCCESS")


def test_a_killed_tree_s_message_is_given_back_where_celery_is_told_so(stage: Stage) -> None:
    task_id, pid = stage.start("prefork", "rig.late_sleep", 60)
    verdict = stage.kill_tree(target_of(stage.see(), task_id))
    assert verdict.outcome == STOPPED and "run again" in verdict.sentence
    again = wait_until(
        lambda: new if (new := stage.pid_of(task_id)) not in (None, pid) else None, PATIENCE, "it runs again"
    )
    assert lives(again) and not lives(pid)
    assert stage.perform(Revoke(targets=(Target(task_id),), signal="SIGKILL")).outcomes[0].outcome == STOPPED
    assert not lives(again)


# ------------------------------------------------------------------------------------------- other pools
def test_a_thread_cannot_be_stopped_and_is_not_told_to(stage: Stage, server: RedisServer) -> None:
    task_id, _ = stage.start("threads", "rig.subprocess", 60)
    with Wire(server.client()) as wire:
        verdict = stage.revoke(task_id, signal="SIGKILL")
        assert (verdict.outcome, verdict.next) == (CANNOT, "kill_worker")
        assert not wire.commands("revoke")
        verdict = stage.revoke(task_id)
        assert (verdict.outcome, verdict.next) == (NOT_STOPPED, "kill_worker")  # no signal is the next rung
    assert stage.kill_tree(target_of(stage.see(), task_id)).outcome == CANNOT
    assert stage.workers["threads"].running
    stage.end("threads")
    stage.wait_state(task_id, "SUCCESS")


@pytest.mark.parametrize(("pool", "slots"), [("threads", 2), ("gevent", 3), ("eventlet", 3)])
def test_what_waits_inside_a_pool_without_processes_cannot_be_stopped(stage: Stage, pool: str, slots: int) -> None:
    running = [stage.start(pool, "rig.subprocess", 60)[0] for _ in range(slots)]
    waiting = stage.send(pool, "rig.add", 1, 2)
    stage.wait_state(waiting, "RECEIVED")
    for word in (None, "SIGTERM"):
        assert stage.revoke(waiting, signal=word).outcome == CANNOT
    stage.end(pool, slots)
    for task_id in (*running, waiting):
        stage.wait_state(task_id, "SUCCESS")


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_a_greenlet_is_stopped(stage: Stage, pool: str) -> None:
    task_id, pid = stage.start(pool, "rig.sleep", 60)
    assert pid == -1 and target_of(stage.see(), task_id).worker_pid is None
    verdict = stage.revoke(task_id, signal="SIGTERM")
    assert verdict.outcome == STOPPED and verdict.evidence[0].source == "events"
    assert stage.wait_state(task_id, "REVOKED").terminated
    assert task_id not in stage.busy()


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_a_greenlet_that_swallows_its_exit_is_not_called_stopped(stage: Stage, pool: str) -> None:
    task_id, _ = stage.start(pool, "rig.swallow_exit", 60)
    wait_until(lambda: programs(stage.workers[pool], 1), PATIENCE, "it is inside")
    verdict = stage.revoke(task_id, signal="SIGTERM", wait=2.0)
    assert (verdict.outcome, verdict.next) == (UNKNOWN, None)
    assert "-E" in verdict.sentence or pool == "eventlet"  # which answers nothing while it throws into a greenlet
    assert programs(stage.workers[pool], 1)
    stage.end(pool)
    wait_until(lambda: task_id not in stage.busy() and stage.posts()[stage.workers[pool].nodename].answered, PATIENCE)


def test_a_busy_solo_worker_finds_the_command_later_and_no_signal(stage: Stage, server: RedisServer) -> None:
    task_id = stage.send("solo", "rig.subprocess", 60)
    wait_until(lambda: unacked(server) == 1, PATIENCE, "it has the task; its events come when that has ended")
    name = stage.workers["solo"].nodename
    targets = (Target(task_id, state="STARTED", worker=name), Target(task_id, queue="solo"))
    with Wire(server.client()) as wire:
        named, unnamed = (stage.perform(Revoke(targets=(one,), signal="SIGKILL")).outcomes[0] for one in targets)
        assert (named.outcome, named.next) == (WILL_APPLY_LATER, "kill_worker")
        assert unnamed.outcome == WILL_APPLY_LATER
        assert all("terminate" not in message["arguments"] for message in wire.commands("revoke"))
    stage.end("solo")
    stage.wait_state(task_id, "SUCCESS")
    wait_until(lambda: stage.posts()[name].answered, PATIENCE, "it answers again")


# ----------------------------------------------------------------------------------- what is so no more
def test_another_task_in_the_same_process_is_not_killed_for_the_one_that_was_seen(stage: Stage) -> None:
    first, pid = stage.start("prefork", "rig.subprocess", 60)
    seen = replace(target_of(stage.see(), first), worker_pid=pid, state="STARTED")
    stage.end("prefork")
    stage.wait_state(first, "SUCCESS")
    others = [stage.start("prefork", "rig.subprocess", 60) for _ in range(3)]
    assert pid in [other for _, other in others]
    for action in (Revoke(targets=(seen,), signal="SIGKILL"), KillTree(targets=(seen,))):
        verdict = stage.perform(action).outcomes[0]
        assert verdict.outcome == REFUSED
    assert all(lives(other) for _, other in others)
    stage.end("prefork", 3)
    for task_id, _ in others:
        stage.wait_state(task_id, "SUCCESS")


def test_a_process_that_started_at_another_time_is_not_killed(stage: Stage) -> None:
    task_id, pid = stage.start("prefork", "rig.sleep", 60)
    seen = replace(
        target_of(stage.see(), task_id), worker_pid=pid, pid_started_at=psutil.Process(pid).create_time() - 100
    )
    for action in (Revoke(targets=(seen,), signal="SIGTERM"), KillTree(targets=(seen,))):
        assert stage.perform(action).outcomes[0].outcome == REFUSED
    assert lives(pid)
    assert stage.revoke(task_id, signal="SIGTERM").outcome == STOPPED


# -------------------------------------------------------------------------------------------- a hung main
def test_a_hung_main_is_named_and_its_tree_can_be_killed(stage: Stage) -> None:
    task_id, pid = stage.start("prefork", "rig.nested_pool", 60)
    tree = grown_tree(pid, 4)
    main = stage.workers["prefork"].pid
    seen = replace(target_of(stage.see(), task_id), worker_pid=pid, pid_started_at=psutil.Process(pid).create_time())
    os.kill(main, signal.SIGSTOP)
    try:
        verdict = stage.perform(Revoke(targets=(seen,), signal="SIGKILL")).outcomes[0]
        assert (verdict.outcome, verdict.next) == (WILL_APPLY_LATER, "tree")
        assert all(map(lives, tree))
        assert stage.kill_tree(seen).outcome == STOPPED
        assert not any(map(lives, tree))
        assert psutil.Process(main).status() == psutil.STATUS_STOPPED
    finally:
        os.kill(main, signal.SIGCONT)
    wait_until(lambda: stage.posts()[stage.workers["prefork"].nodename].answered, PATIENCE, "it answers again")


def test_a_worker_is_killed_with_all_below_it(stage: Stage) -> None:
    worker = stage.workers["threads"]
    started_at = psutil.Process(worker.pid).create_time()
    wrong = KillWorker(worker=worker.nodename, pid=worker.pid, pid_started_at=started_at - 50)
    assert stage.perform(wrong).outcomes[0].outcome == REFUSED and worker.running
    verdict = stage.perform(KillWorker(worker=worker.nodename, pid=worker.pid, pid_started_at=started_at)).outcomes[0]
    assert verdict.outcome == STOPPED and verdict.worker == worker.nodename
    wait_until(lambda: not worker.running, PATIENCE, "it is gone")

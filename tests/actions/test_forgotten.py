"""What workers have forgotten: a task that was told to end is listed by nobody, and its process may run on."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from celerytop.actions import case, revoke, tree, trees, verify
from celerytop.actions.actor import open_link_of
from celerytop.actions.later import LaterActor
from celerytop.actions.processes import look_at
from celerytop.model.action import KillTree, Revoke, Target
from celerytop.model.outcome import FLAGGED_ONLY, NOT_STOPPED, REFUSED, STOPPED, UNKNOWN, WILL_APPLY_LATER, Outcome
from celerytop.targets import target_of
from tests.actions.stage import PATIENCE, Stage, grown_tree, lives
from tests.rig import RedisServer, wait_until

pytestmark = [pytest.mark.redis, pytest.mark.worker]


STAFF = {"prefork": 1}
"""Slots of the stage's workers, by pool."""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "celerytop" / "trees"


@pytest.fixture
def another(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the next action came from a celerytop that has just been started."""
    _another(monkeypatch)


def _another(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = trees.Trees()
    for module in (case, revoke, tree, verify):
        monkeypatch.setattr(module, "TREES", fresh)


def by_id(stage: Stage, task_id: str, signal: str | None = None, wait: float = 5.0) -> Outcome:
    """As on the command line: nothing is known of it but its id."""
    return stage.perform(Revoke(targets=(Target(task_id),), signal=signal, wait=wait)).outcomes[0]


def ignoring(stage: Stage) -> tuple[str, int]:
    """A task that was told to end, that its worker has forgotten, and that runs."""
    task_id, pid = stage.start("prefork", "rig.ignore_sigterm", 60)
    verdict = stage.revoke(task_id, "SIGTERM", wait=0.5)
    assert (verdict.outcome, verdict.next) == (NOT_STOPPED, "SIGKILL")
    return task_id, pid


def test_the_next_celerytop_climbs_on(stage: Stage, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id, pid = ignoring(stage)
    assert [path.stat().st_mode & 0o777 for path in state.iterdir()] == [0o600]
    _another(monkeypatch)
    verdict = by_id(stage, task_id)
    assert (verdict.outcome, verdict.next) == (NOT_STOPPED, "SIGKILL") and lives(pid)
    assert by_id(stage, task_id, "SIGKILL").outcome == STOPPED and not lives(pid)
    assert not list(state.iterdir())


def test_what_ends_after_the_verdict_is_seen_to_have_ended(stage: Stage) -> None:
    task_id, pid = ignoring(stage)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not lives(pid), PATIENCE, "it ends")
    verdict = stage.revoke(task_id, "SIGTERM")
    assert verdict.outcome == STOPPED and verdict.evidence[0].source == "host" and str(pid) in verdict.sentence


def test_what_nobody_remembers_is_never_said_not_to_run(
    stage: Stage, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id, pid = ignoring(stage)
    (file,) = state.iterdir()
    file.write_text(file.read_text().replace(f'"pid":{pid},"started":', f'"pid":{pid},"started":1'))
    _another(monkeypatch)
    for asked in (None, "SIGKILL"):
        verdict = by_id(stage, task_id, asked)
        assert verdict.outcome == REFUSED and "cannot be seen" in verdict.sentence
        assert lives(pid)
    deaf = Stage(stage.url, state)  # it has heard no event
    deaf.monitor.start()
    try:
        wait_until(lambda: stage.workers["prefork"].nodename in deaf.see().workers, PATIENCE, "it knows the worker")
        verdict = by_id(deaf, task_id)
        assert verdict.outcome == UNKNOWN and "revoked before" in verdict.sentence
    finally:
        deaf.close()
    assert lives(pid)
    os.kill(pid, signal.SIGKILL)


def test_what_a_process_left_behind_is_killed_by_the_next_celerytop(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id, pid = stage.start("prefork", "rig.nested_pool", 60)
    family, target = grown_tree(pid, 4), target_of(stage.see(), task_id)
    assert stage.revoke(task_id, "SIGKILL", wait=4).outcome == NOT_STOPPED
    _another(monkeypatch)
    verdict = by_id(stage, task_id)
    assert (verdict.outcome, verdict.next) == (NOT_STOPPED, "tree"), verdict
    somebody_else = subprocess.Popen(["sh", "-c", "sleep 60 & sleep 60 & wait"], start_new_session=True)
    try:
        verdict = stage.perform(KillTree(targets=(target,))).outcomes[0]
        assert verdict.outcome == STOPPED, verdict
        assert not any(map(lives, family)) and lives(somebody_else.pid), "the same words are no proof"
    finally:
        os.killpg(somebody_else.pid, signal.SIGKILL)
        somebody_else.wait()


@pytest.mark.usefixtures("another")
def test_a_process_that_serves_another_task_by_now_is_left_alone(stage: Stage) -> None:
    task_id, pid = stage.start("prefork", "rig.ignore_sigterm", 60)
    assert stage.revoke(task_id, "SIGTERM", wait=0.5).outcome == NOT_STOPPED
    seen = look_at(pid)
    os.kill(pid, signal.SIGUSR1)  # the soft time limit: the task ends, and its process takes the next
    other, same = stage.start("prefork", "rig.sleep", 60)
    assert same == pid
    verdict = stage.perform(Revoke(targets=(Target(task_id),), signal="SIGKILL", wait=3)).outcomes[0]
    assert verdict.outcome in (REFUSED, UNKNOWN) and look_at(pid) is not None and seen is not None
    assert stage.pid_of(other) == pid and lives(pid)
    assert stage.revoke(other, "SIGKILL").outcome == STOPPED


def test_a_message_in_a_queue_is_found_and_an_id_that_is_nowhere_is_not(stage: Stage) -> None:
    busy, _ = stage.start("prefork", "rig.sleep", 60)
    waiting = [stage.send("prefork", "rig.add", 1, 2) for _ in range(8)][-1]  # four are reserved
    verdict = by_id(stage, waiting)
    assert (verdict.outcome, verdict.queue) == (FLAGGED_ONLY, "prefork") and verdict.sentence.startswith("Not running")
    nowhere = by_id(stage, "nowhere")
    assert (nowhere.outcome, nowhere.queue) == (FLAGGED_ONLY, None) and "no queue has its message" in nowhere.sentence
    assert stage.revoke(busy, "SIGKILL").outcome == STOPPED


def test_who_does_not_answer_may_run_it(stage: Stage) -> None:
    worker = stage.workers["prefork"]
    task_id, pid = stage.start("prefork", "rig.sleep", 60)
    worker.freeze()
    try:
        verdict = by_id(stage, task_id, "SIGTERM", wait=3)
        assert verdict.outcome == WILL_APPLY_LATER and lives(pid)
        assert "may run it" in verdict.sentence or "did not answer" in verdict.sentence
    finally:
        worker.thaw()


def test_an_answer_that_comes_after_an_action_is_put_away_when_celerytop_ends(
    stage: Stage, server: RedisServer
) -> None:
    worker = stage.workers["prefork"]
    worker.freeze()
    try:
        link = open_link_of(stage.settings)
        answers = link.control.ask("active", {}, (worker.nodename,), 0.1)
        key = link.control.reply_key  # type: ignore[attr-defined]
        link.close()
    finally:
        worker.thaw()
    assert not answers.by_worker
    wait_until(lambda: server.client().exists(key), PATIENCE, "the worker has answered to nobody")
    LaterActor(stage.settings, cluster="c", allowed=True).close()
    assert not server.client().exists(key)

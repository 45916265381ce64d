"""Processes that a task has sent away are nobody's children, and live: then it is not said to be stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from celerytop.actions.processes import Proc, below, look_at
from celerytop.actions.strays import Origin, strays
from celerytop.model.action import KillTree
from celerytop.model.outcome import NOT_STOPPED, REFUSED, STOPPED, UNKNOWN
from celerytop.targets import target_of
from tests.actions.stage import PATIENCE, Stage, lives
from tests.rig import RedisServer, Worker, wait_until
from tests.rig.send import close_apps

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.skipif(not Path("/proc").exists(), reason="/proc")]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with RedisServer() as server:
        made = Stage(server.url(), Path(tmp_path_factory.mktemp("state")))
        try:
            yield made.employ(prefork=2)
        finally:
            made.close()
            close_apps()


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def daemons(stage: Stage) -> set[int]:
    """Same command line as the worker, and not below it."""
    main = psutil.Process(stage.workers["prefork"].pid)
    return {one.pid for one in psutil.process_iter() if one != main and _same(one, main)}


def _same(one: psutil.Process, main: psutil.Process) -> bool:
    """Looked at one by one: a list of who is below the worker is old when the next child is forked."""
    try:
        return one.cmdline() == main.cmdline() and main not in one.parents() and lives(one.pid)
    except psutil.Error:
        return False


def daemonic(stage: Stage) -> tuple[str, int]:
    """A task that has sent a process away; its id and that process."""
    task_id, _ = stage.start("prefork", "rig.daemon", 60)
    (stray,) = wait_until(lambda: daemons(stage), PATIENCE, "it is away")
    return task_id, stray


def end(stray: int) -> None:
    os.kill(stray, signal.SIGKILL)
    wait_until(lambda: not lives(stray), PATIENCE, "it is gone")


def test_what_it_has_sent_away_is_told(stage: Stage) -> None:
    task_id, stray = daemonic(stage)
    try:
        verdict = stage.revoke(task_id, "SIGTERM")
        assert verdict.outcome == NOT_STOPPED and str(stray) in verdict.sentence and verdict.next is None
        assert lives(stray)
    finally:
        end(stray)


@pytest.mark.parametrize(("session", "seconds"), [(True, 61.25), (False, 62.25)])
def test_what_a_shell_has_left_in_the_background_is_told(stage: Stage, session: bool, seconds: float) -> None:
    task_id, _ = stage.start("prefork", "rig.background", seconds, session)
    (stray,) = wait_until(lambda: called(["sleep", str(seconds)]), PATIENCE, "it is away")
    try:
        verdict = stage.revoke(task_id, "SIGTERM")
        assert verdict.outcome == NOT_STOPPED and str(stray) in verdict.sentence
    finally:
        end(stray)


def test_the_last_rung_does_not_forget_what_was_sent_away(stage: Stage) -> None:
    task_id, _ = stage.start("prefork", "rig.background_and_child", 65.25)
    (stray,) = wait_until(lambda: called(["sleep", "65.25"]), PATIENCE, "it is away")
    (child,) = wait_until(lambda: called(["sleep", "66.25"]), PATIENCE, "the other one runs")
    try:
        verdict = stage.revoke(task_id, "SIGKILL")
        assert (verdict.outcome, verdict.next) == (NOT_STOPPED, "tree") and str(child) in verdict.sentence
        target = target_of(stage.see(), task_id)
        verdict = stage.perform(KillTree(targets=(target,))).outcomes[0]
        assert verdict.outcome == NOT_STOPPED and str(stray) in verdict.sentence and not lives(child)
    finally:
        end(stray)
    assert stage.revoke(task_id, "SIGKILL").outcome in (STOPPED, REFUSED)


def called(words: list[str]) -> list[int]:
    """Orphans that run these words."""
    return [
        one.pid for one in psutil.process_iter(["cmdline", "ppid"]) if one.info["cmdline"] == words and lives(one.pid)
    ]


def test_what_runs_below_another_worker_of_the_same_environment_is_no_stray(stage: Stage) -> None:
    with Worker(stage.url, concurrency=1, queues=("second",)) as second:
        task_id, _ = stage.start("prefork", "rig.sleep", 60)
        stage.send("second", "rig.subprocess", 63.25)
        wait_until(lambda: called(["sleep", "63.25"]), PATIENCE, "the other one's program runs")
        assert stage.revoke(task_id, "SIGTERM").outcome == STOPPED
        assert called(["sleep", "63.25"])
        second.kill()


def test_what_an_earlier_stray_starts_now_is_not_the_tasks() -> None:
    mark = "CELERY_LOG_LEVEL=20"
    environment = {"PATH": os.environ["PATH"], "CELERY_LOG_LEVEL": "20"}
    parent = subprocess.Popen(["sh", "-c", "sleep 0.2; sleep 64.25; true"], env=environment, start_new_session=True)
    try:
        (child,) = wait_until(lambda: called(["sleep", "64.25"]), PATIENCE, "the daemon has started something")
        began = [seen.proc.started for pid in (parent.pid, child) if (seen := look_at(pid)) is not None]
        of_both = Origin(Proc(1, -1.0), b"else", frozenset({mark.encode()}), began[0], True)
        assert {parent.pid, child} <= {one.pid for one in strays(of_both)}
        assert child not in {one.pid for one in strays(msgspec.structs.replace(of_both, since=began[1]))}
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()


def test_one_that_was_not_listed_yet_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
    try:
        words = wait_until(lambda: Path(f"/proc/{parent.pid}/cmdline").read_bytes(), PATIENCE, "it is executed")
        listed = iter([[1], [1, parent.pid]])
        monkeypatch.setattr(psutil, "pids", lambda: next(listed, [1, parent.pid]))
        origin = Origin(Proc(1, -1.0), words, frozenset({b"nowhere=1"}), 0.0, True)
        assert [one.pid for one in strays(origin)] == [parent.pid]
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()


def test_who_is_below_another_of_the_same_words_is_accounted_for() -> None:
    code = "import os, signal; os.fork(); signal.pause()"
    parent = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    ours = look_at(os.getpid())
    assert ours is not None
    try:
        (child,) = wait_until(lambda: below(parent.pid), PATIENCE, "it has forked")
        words = Path(f"/proc/{child}/cmdline").read_bytes()
        init = Proc(1, -1.0)  # of a main process that is not theirs
        assert [one.pid for one in strays(Origin(init, words, frozenset({b"nowhere=1"}), 0.0, True))] == [parent.pid]
        assert not strays(Origin(ours.proc, words, frozenset({b"nowhere=1"}), 0.0, True))
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()


def test_beside_another_task_it_is_not_known_whose_it_is(stage: Stage) -> None:
    other, pid = stage.start("prefork", "rig.sleep", 60)
    task_id, stray = daemonic(stage)
    try:
        target = target_of(stage.see(), task_id)
        verdict = stage.perform(KillTree(targets=(target,))).outcomes[0]
        assert verdict.outcome == UNKNOWN and str(stray) in verdict.sentence
        assert lives(stray) and lives(pid)
    finally:
        end(stray)
    assert stage.revoke(other, "SIGTERM").outcome == STOPPED

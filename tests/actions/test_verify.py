"""What counts as proof where the process cannot be seen from here, and where no events tell."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
from msgspec.structs import replace

from celerytop.actions import case, tree
from celerytop.actions.processes import Family, Proc, kill, lives, look_at
from celerytop.model.action import KillTree, Revoke
from celerytop.model.outcome import CANNOT, NOT_STOPPED, REFUSED, STOPPED, UNKNOWN
from celerytop.targets import target_of
from tests.actions.stage import PATIENCE, Stage, grown_tree
from tests.actions.stage import lives as alive
from tests.rig import RedisServer, wait_until

pytestmark = [pytest.mark.redis, pytest.mark.worker]


STAFF = {"prefork": 2}
"""Slots of the stage's workers, by pool."""


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the worker ran on another machine: none of its processes is ours to see."""
    for module in (case, tree):
        monkeypatch.setattr(module, "main_here", lambda pid, nodename: None)


@pytest.mark.usefixtures("elsewhere")
def test_elsewhere_the_pool_that_has_lost_the_process_is_the_proof(stage: Stage) -> None:
    task_id, pid = stage.start("prefork", "rig.sleep", 60)
    verdict = stage.revoke(task_id, signal="SIGTERM")
    assert verdict.outcome == STOPPED and not alive(pid)
    assert (verdict.evidence[0].source, verdict.evidence[0].strength) == ("stats", 1)


@pytest.mark.usefixtures("elsewhere")
def test_elsewhere_a_process_that_stays_in_the_pool_is_not_stopped(stage: Stage) -> None:
    task_id, pid = stage.start("prefork", "rig.ignore_sigterm", 60)
    verdict = stage.revoke(task_id, signal="SIGTERM", wait=1.5)
    assert (verdict.outcome, verdict.next) == (NOT_STOPPED, None)
    assert str(pid) in verdict.sentence and alive(pid)
    target = target_of(stage.see(), task_id)
    assert stage.perform(KillTree(targets=(target,))).outcomes[0].outcome == CANNOT
    stage.wait_state(task_id, "REVOKED")
    os.kill(pid, signal.SIGKILL)


def test_without_events_a_living_process_proves_neither(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    from celerytop.actions import verify

    monkeypatch.setattr(verify, "_by_end", lambda case, now: False)
    monkeypatch.setattr(verify, "_events_known", lambda case: False)
    task_id, pid = stage.start("prefork", "rig.sleep", 60)
    verdict = stage.revoke(task_id, signal="SIGUSR1", wait=0.6)
    assert verdict.outcome == UNKNOWN and "-E" in verdict.sentence
    assert alive(pid)


def test_a_process_that_serves_the_next_task_has_ended_this_one(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    from celerytop.actions import verify

    monkeypatch.setattr(verify, "_by_end", lambda case, now: False)
    first, pid = stage.start("prefork", "rig.sleep", 60)
    other, other_pid = stage.start("prefork", "rig.sleep", 60)
    waiting = stage.send("prefork", "rig.sleep", 60)
    verdict = stage.revoke(first, signal="SIGUSR1", wait=20)
    assert verdict.outcome == STOPPED and waiting in verdict.evidence[0].text
    assert alive(pid) and (stage.wait_pid(waiting), stage.wait_pid(other)) == (pid, other_pid), "both run on"
    for task_id in (other, waiting):
        assert stage.revoke(task_id, signal="SIGKILL").outcome == STOPPED


def test_what_is_on_this_host_is_seen_and_killed_though_the_broker_is_frozen(stage: Stage, server: RedisServer) -> None:
    task_id, pid = stage.start("prefork", "rig.ignore_sigterm", 60)
    target = replace(target_of(stage.see(), task_id), worker_pid=pid, pid_started_at=psutil.Process(pid).create_time())
    server.freeze()
    try:
        assert stage.perform(Revoke(targets=(target,), signal="SIGTERM")).outcomes[0].outcome == REFUSED
        assert alive(pid)
        assert stage.kill_tree(target).outcome == STOPPED
    finally:
        server.thaw()
    assert not alive(pid)
    wait_until(lambda: all(post.answered for post in stage.posts().values()), PATIENCE, "workers answer again")


def test_orphans_stay_in_the_family_they_were_seen_in(stage: Stage) -> None:
    _, pid = stage.start("prefork", "rig.nested_pool", 60)
    everyone = grown_tree(pid, 4)
    root = look_at(pid)
    assert root is not None
    family = Family(root.proc)
    assert {proc.pid for proc in family.members} == set(everyone)
    shell = look_at(everyone[1])
    assert shell is not None
    kill([root.proc, shell.proc], frozenset())
    wait_until(lambda: not lives(shell.proc) and not lives(root.proc), PATIENCE, "both are gone")
    assert {proc.pid for proc in family.living()} == set(everyone[2:])
    spared = frozenset({everyone[2]})
    kill(family.living(), spared)
    wait_until(lambda: {proc.pid for proc in family.living()} == spared, PATIENCE, "but one")
    kill(family.living(), frozenset())


def test_neither_we_nor_another_process_of_that_number_is_killed() -> None:
    mine = look_at(os.getpid())
    above = look_at(os.getppid())
    assert mine is not None and above is not None
    stranger = Proc(mine.proc.pid, mine.proc.started - 1)
    assert not lives(stranger)
    assert kill([mine.proc, above.proc, stranger], frozenset()) == ([], [])

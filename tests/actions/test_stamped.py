"""Revoke by stamped header: what ran with it is seen to end, what comes later is not run, the rest goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from celerytop.model.action import RevokeStamped
from celerytop.model.outcome import CANNOT, FLAGGED_ONLY, NOT_STOPPED, REFUSED, STOPPED, WILL_APPLY_LATER
from celerytop.targets import target_of
from tests.actions.crew import Crew, settled_words
from tests.actions.stage import PATIENCE, has_begun, lives
from tests.rig import RedisServer, rig_app, wait_until
from tests.rig.send import close_apps

pytestmark = [pytest.mark.worker, pytest.mark.timeout(120)]  # four workers are started within the first test


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    with RedisServer() as server:
        made = Crew(server.url(), Path(tmp_path_factory.mktemp("state")))
        try:
            yield made.hire(
                prefork={"concurrency": 3},
                threads={"pool": "threads"},
                solo={"pool": "solo"},
                gevent={"pool": "gevent"},
            )
        finally:
            made.close()
            close_apps()


def stamped(crew: Crew, queue: str, name: str, *args: object, **stamps: str) -> str:
    """Send one task with these stamps."""
    signature = rig_app(crew.url).signature(name, args)
    signature.stamp(None, **stamps)  # type: ignore[arg-type]
    return str(signature.apply_async(queue=queue).id)


def running(crew: Crew, *ids: str) -> None:
    wait_until(lambda: set(ids) <= set(crew.busy()), PATIENCE, "they run")


def test_nothing_is_stopped_without_a_signal_but_what_comes_later_is_not_run(crew: Crew) -> None:
    runs = stamped(crew, "prefork", "rig.subprocess", 60, tenant="flag")
    running(crew, runs)
    found = crew.do(RevokeStamped(header="tenant", values=("flag",), workers=crew.named("prefork", "gevent")))
    assert settled_words(found) == {"prefork": FLAGGED_ONLY, "gevent": FLAGGED_ONLY}
    assert all("Until it restarts" in one.sentence for one in found.values())
    later, other = stamped(crew, "prefork", "rig.add", 1, 1, tenant="flag"), crew.send("prefork", "rig.add", 1, 1)
    crew.wait_state(later, "REVOKED")
    crew.wait_state(other, "SUCCESS")
    crew.end("prefork")
    crew.wait_state(runs, "SUCCESS")


def test_what_runs_with_it_is_stopped_and_what_runs_without_it_goes_on(crew: Crew) -> None:
    mine = [stamped(crew, "prefork", "rig.sleep", 60, tenant="acme") for _ in range(2)]
    other = stamped(crew, "prefork", "rig.subprocess", 60, tenant="else")
    green = stamped(crew, "gevent", "rig.sleep", 60, tenant="acme")
    thread = stamped(crew, "threads", "rig.subprocess", 60, tenant="acme")
    running(crew, *mine, other, green, thread)
    pids = [crew.wait_pid(one) for one in mine]
    action = RevokeStamped(header="tenant", values=("acme",), workers=crew.named(), signal="SIGKILL")
    report = crew.report(action)
    found = crew.by_name(report)
    assert settled_words(found) == {
        "prefork": STOPPED,
        "gevent": STOPPED,
        "threads": CANNOT,
        "solo": FLAGGED_ONLY,
    }
    assert not any(map(lives, pids))
    assert {one.task_id: one.outcome for one in report.outcomes if one.task_id} == dict.fromkeys(
        [*mine, green], STOPPED
    )
    assert "2 running tasks" in found["prefork"].sentence and "Until it restarts" in found["prefork"].sentence
    crew.end("prefork")
    crew.end("threads")
    crew.wait_state(other, "SUCCESS")
    crew.wait_state(thread, "SUCCESS")  # the word was right
    crew.wait_state(stamped(crew, "solo", "rig.add", 1, 1, tenant="acme"), "REVOKED")


def test_one_that_ignores_the_signal_is_not_stopped_and_the_tree_is_offered(crew: Crew) -> None:
    task = stamped(crew, "prefork", "rig.ignore_sigterm", 60, tenant="stubborn")
    pid = crew.wait_pid(task)
    wait_until(lambda: has_begun("rig.ignore_sigterm", pid), PATIENCE, "it ignores the signal")
    action = RevokeStamped(
        header="tenant", values=("stubborn",), workers=crew.named("prefork"), signal="SIGTERM", wait=2.0
    )
    report = crew.report(action)
    words = {one.task_id: (one.outcome, one.next) for one in report.outcomes}
    assert words == {task: (NOT_STOPPED, "tree"), None: (NOT_STOPPED, "tree")} and lives(pid)
    assert crew.kill_tree(target_of(crew.see(), task)).outcome == STOPPED and not lives(pid)


def test_a_soft_signal_ends_the_task_and_spares_its_process(crew: Crew) -> None:
    task = stamped(crew, "prefork", "rig.sleep", 60, tenant="soft")
    pid = crew.wait_pid(task)
    action = RevokeStamped(header="tenant", values=("soft",), workers=crew.named("prefork"), signal="SIGUSR1")
    found = crew.do(action)["prefork"]
    assert found.outcome == STOPPED and lives(pid)
    assert "SoftTimeLimitExceeded" in (crew.wait_state(task, "FAILURE").exception or "")


def test_on_another_host_its_pool_says_that_the_process_is_gone(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celerytop.actions.stamped.main_here", lambda *_: None)
    task = stamped(crew, "prefork", "rig.sleep", 60, tenant="far")
    pid = crew.wait_pid(task)
    action = RevokeStamped(header="tenant", values=("far",), workers=crew.named("prefork"), signal="SIGTERM")
    found = crew.do(action)["prefork"]
    assert found.outcome == STOPPED and not lives(pid)
    assert (found.evidence[0].source, found.evidence[0].strength) == ("stats", 2)


def test_a_busy_solo_worker_reads_it_later_and_nonsense_is_not_sent(crew: Crew) -> None:
    runs = stamped(crew, "solo", "rig.subprocess", 60, tenant="late")
    wait_until(lambda: runs in crew.workers["solo"].log, PATIENCE, "it runs")
    action = RevokeStamped(header="tenant", values=("late",), workers=crew.named("solo"), signal="SIGTERM", wait=1.5)
    assert crew.do(action)["solo"].outcome == WILL_APPLY_LATER
    crew.end("solo")
    crew.wait_state(runs, "SUCCESS")
    crew.wait_state(stamped(crew, "solo", "rig.add", 1, 1, tenant="late"), "REVOKED")
    nothing = crew.do(RevokeStamped(header="tenant", values=(), workers=crew.named("gevent")))
    assert nothing["gevent"].outcome == REFUSED

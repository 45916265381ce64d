"""Shutdown: STOPPED only when the main process is gone; a hang is told, and the kill that is offered ends all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from celerytop.model.action import KillWorker, Shutdown
from celerytop.model.outcome import DONE, NOT_STOPPED, REFUSED, STOPPED, UNKNOWN, WILL_APPLY_LATER
from tests.actions.crew import Crew, settled_words
from tests.actions.stage import PATIENCE, lives, tree_of
from tests.rig import RedisServer, Worker, send, wait_until
from tests.rig.send import close_apps

pytestmark = [pytest.mark.worker, pytest.mark.timeout(150)]  # six workers are started within the first test


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    with RedisServer() as server:
        made = Crew(server.url(), Path(tmp_path_factory.mktemp("state")))
        try:
            yield made.hire(
                clean={"concurrency": 2},
                stuck={"concurrency": 2},
                gevent={"pool": "gevent"},
                threads={"pool": "threads"},
                far={"pool": "threads"},
                solo={"pool": "solo"},
            )
        finally:
            made.close()
            close_apps()


def begun(crew: Crew, queue: str, *tasks: str) -> None:
    wait_until(lambda: set(tasks) <= set(crew.busy()), PATIENCE, f"{queue} is busy")


def test_it_is_stopped_when_its_task_has_ended_and_its_process_is_gone(crew: Crew) -> None:
    begun(crew, "clean", crew.send("clean", "rig.subprocess", 600))
    tree = tree_of(crew.workers["clean"].pid)
    action = Shutdown(workers=crew.named("clean"))
    report = crew.report(action, at="1 of 1 tasks run", then=lambda: crew.end("clean"))
    found = crew.by_name(report)["clean"]
    assert found.outcome == STOPPED and found.evidence[0].source == "host"
    assert not any(map(lives, tree))
    assert any("0 of 1 tasks run" in step.text for step in report.steps)


def test_a_hang_is_told(crew: Crew) -> None:
    hangs = crew.send("stuck", "rig.nested_pool", 600)
    begun(crew, "both", hangs, crew.send("gevent", "rig.sleep", 600))
    found = crew.do(Shutdown(workers=crew.named("stuck", "gevent"), wait=5.0))
    assert settled_words(found) == {"stuck": NOT_STOPPED, "gevent": NOT_STOPPED}
    assert lives(crew.workers["stuck"].pid) and lives(crew.workers["gevent"].pid)
    assert found["stuck"].next == "kill_worker" and hangs in found["stuck"].sentence


def test_the_kill_that_is_offered_ends_the_worker_and_all_its_tasks_have_started(crew: Crew) -> None:
    for name in ("stuck", "gevent"):
        main = psutil.Process(crew.workers[name].pid)
        tree = tree_of(main.pid)
        nodename = crew.workers[name].nodename
        wrong = crew.do(KillWorker(worker=nodename, pid=main.pid, pid_started_at=main.create_time() - 60))
        assert wrong[name].outcome == REFUSED and lives(main.pid)
        killed = crew.do(KillWorker(worker=nodename, pid=main.pid, pid_started_at=main.create_time()))
        assert killed[name].outcome == STOPPED and "visibility timeout" in killed[name].sentence
        assert not any(map(lives, tree))


def test_from_another_host_no_process_is_claimed_to_be_gone(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celerytop.actions.shutdown.main_here", lambda *_: None)
    task = crew.send("far", "rig.sleep", 600)
    begun(crew, "far", task)
    found = crew.do(Shutdown(workers=crew.named("threads", "far"), wait=5.0))
    assert settled_words(found) == {"threads": DONE, "far": UNKNOWN}
    assert "another host" in found["threads"].sentence and task in found["far"].sentence
    assert found["far"].next is None and crew.workers["far"].running


def test_whoever_is_gone_is_refused_and_a_busy_solo_worker_reads_it_later(crew: Crew) -> None:
    if crew.workers["clean"].running:  # when the tests of this module are spread over several processes
        crew.workers["clean"].stop()
    crew.wait_worker("clean", "gone")
    runs = crew.send("solo", "rig.subprocess", 600)
    wait_until(lambda: runs in crew.workers["solo"].log, PATIENCE, "it runs")
    found = crew.do(Shutdown(workers=crew.named("clean", "solo"), wait=2.0))
    assert settled_words(found) == {"clean": REFUSED, "solo": WILL_APPLY_LATER}
    assert found["solo"].next == "kill_worker"
    crew.end("solo")
    wait_until(lambda: not crew.workers["solo"].running, PATIENCE, "it has read it")


def test_of_two_workers_with_one_name_both_have_to_be_gone(crew: Crew) -> None:
    twins = [Worker(crew.url, nodename="twin@rig", pool="threads", queues=(f"twin{n}",)).launch() for n in range(2)]
    try:
        for twin in twins:
            twin.wait_ready(60)
        wait_until(lambda: len(crew.pids("twin@rig")) == 2, PATIENCE, "both are known")
        task = send(crew.url, "rig.sleep", (600,), queue="twin1").id
        wait_until(lambda: task in twins[1].log, PATIENCE, "one of them is busy")
        (found,) = crew.perform(Shutdown(workers=("twin@rig",), wait=6.0)).outcomes
        assert found.outcome == NOT_STOPPED and "2 workers use this name; 1 of them run on" in found.sentence
        assert str(twins[1].pid) in found.sentence and not lives(twins[0].pid) and lives(twins[1].pid)
        assert found.next == "kill_worker"
    finally:
        for twin in twins:
            twin.close()

"""The demo cluster comes up at once, does what its scenario says, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from celerytop.demo.cluster import DemoCluster
from celerytop.demo.producer import FLOWS, QUEUE_OF
from celerytop.demo.scenarios import CONSUMED, SCENARIOS, WORKERS
from celerytop.errors import CelerytopError, OptionsError
from tests.rig import wait_until
from tests.rig.process import ROOT

pytestmark = pytest.mark.timeout(180)

GATE = """
import pathlib, sys, time
while "worker" in sys.orig_argv and not pathlib.Path({open!r}).exists():
    time.sleep(0.02)
"""
"""A ``sitecustomize`` that keeps every worker from starting."""

PARENT = """
import json, time
from celerytop.demo.cluster import DemoCluster
cluster = DemoCluster("stuck").start()
print(json.dumps([cluster.broker_url, cluster.pids()]), flush=True)
time.sleep(60)
"""


def _family(pids: dict[str, int]) -> list[psutil.Process]:
    """Every process of the cluster and what it has started, as of now."""
    parents = [psutil.Process(pid) for pid in pids.values()]
    return parents + [child for parent in parents for child in parent.children(recursive=True)]


def _gone(processes: list[psutil.Process]) -> bool:
    def dead(process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        return True

    return all(dead(process) for process in processes)


def _ping(url: str) -> list[str]:
    from celery import Celery

    with Celery(broker=url, set_as_current=False) as app:
        return sorted(name for reply in app.control.ping(timeout=0.5) or [] for name in reply)


@contextlib.contextmanager
def _ready(scenario: str) -> Iterator[tuple[DemoCluster, redis.Redis]]:
    with DemoCluster(scenario) as cluster:
        wait_until(lambda: len(_ping(cluster.broker_url)) == len(WORKERS), 90, "all workers answer")
        yield cluster, redis.Redis.from_url(cluster.broker_url)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenarios_name_flows_that_exist(scenario: str) -> None:
    chosen = SCENARIOS[scenario]
    assert {*chosen.per_second, *chosen.at_start} <= FLOWS.keys()
    assert set(QUEUE_OF.values()) - {"billing"} <= set(CONSUMED)
    assert {queue for worker in WORKERS for queue in worker.queues} == set(CONSUMED)


def test_unknown_scenario_is_refused_with_the_choice() -> None:
    with pytest.raises(OptionsError, match="mix, backlog, stuck"):
        DemoCluster("nope")


def test_a_port_in_use_is_said_in_a_sentence() -> None:
    with DemoCluster() as first:
        second = DemoCluster()
        second._port = first._port
        with pytest.raises(CelerytopError, match="Valkey does not start"):
            second.start()


@pytest.mark.worker
def test_broker_answers_at_once_and_nothing_is_left_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(GATE.format(open=str(tmp_path / "open")))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    with DemoCluster() as cluster:
        assert redis.Redis.from_url(cluster.broker_url).ping()
        assert _ping(cluster.broker_url) == [], "nobody waits for the workers"
        (tmp_path / "open").touch()
        assert set(cluster.pids()) == {"supervisor", "broker", "producer", *(worker.name for worker in WORKERS)}
        wait_until(lambda: len(_ping(cluster.broker_url)) == len(WORKERS), 90, "all workers answer")
        folder = psutil.Process(cluster.pids()["broker"]).cwd()
        family = _family(cluster.pids())
    wait_until(lambda: _gone(family), 30, "all of them are gone")
    assert not os.path.exists(folder)


@pytest.mark.worker
def test_nothing_is_left_when_celerytop_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert parent.stdout is not None
        url, pids = json.loads(parent.stdout.readline())
        wait_until(lambda: len(_ping(url)) == len(WORKERS), 90, "all workers answer")
        folder, family = psutil.Process(pids["broker"]).cwd(), _family(pids)
        assert len(family) >= 6 + 4 + 2, "six processes and the children of two pools"
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_until(lambda: _gone(family), 30, "all of them are gone")
    wait_until(lambda: not os.path.exists(folder), 30, "the folder is gone")


@pytest.mark.worker
def test_nothing_is_left_when_the_supervisor_is_killed() -> None:
    with DemoCluster() as cluster:
        folder, family = psutil.Process(cluster.pids()["broker"]).cwd(), _family(cluster.pids())
        os.kill(cluster.pids()["supervisor"], signal.SIGKILL)
    wait_until(lambda: _gone(family), 30, "all of them are gone")
    assert not os.path.exists(folder)


@pytest.mark.worker
@pytest.mark.slow
def test_mix_finishes_tasks_and_the_abandoned_queue_grows() -> None:
    with _ready("mix") as (_, client):
        wait_until(lambda: len(client.keys("celery-task-meta-*")) > 20, 60, "results")
        wait_until(lambda: client.llen("billing") >= 3, 60, "billing grows")
        assert client.pubsub_channels("celery-task-meta-*") == [], "the producer listens for no result"


@pytest.mark.worker
@pytest.mark.slow
def test_backlog_grows() -> None:
    with _ready("backlog") as (_, client):
        wait_until(lambda: client.llen("orders") > 300, 60, "orders pile up")


@pytest.mark.worker
@pytest.mark.slow
def test_stuck_pool_waits_for_its_own_subtasks_and_a_child_for_a_lock() -> None:
    from celery import Celery

    with _ready("stuck") as (cluster, _), Celery(broker=cluster.broker_url, set_as_current=False) as app:

        def active() -> dict[str, list[str]]:
            reply = app.control.inspect(timeout=0.5).active() or {}
            return {name.split("@")[0]: [task["name"] for task in tasks] for name, tasks in reply.items()}

        wait_until(lambda: active().get("orders") == ["shop.orders.checkout"] * 4, 60, "all four slots wait")
        wait_until(lambda: "mail.render_template" in active().get("mail", []), 60, "one child sleeps on a lock")

"""From the key to the verdict: how long it takes to stop a running task and to have seen that it stopped."""

from __future__ import annotations

import os
import tempfile
import time

import psutil

from benchmarks.table import Row, middle, report, share
from celerytop.broker_url import parse_url
from celerytop.build import build
from celerytop.model.action import Revoke
from celerytop.model.address import BrokerSettings
from celerytop.model.outcome import STOPPED
from celerytop.monitor import Monitor
from celerytop.options import Options
from celerytop.targets import target_of
from tests.rig import RedisServer, Worker, send, wait_until

KILLS = 30
LIMIT = 1.0
"""Seconds: the promise for 95 of 100."""


def stop_one(monitor: Monitor, url: str, signal: str) -> tuple[float, float]:
    """Seconds until the verdict was in the picture, and until the process was gone."""
    task_id = str(send(url, "rig.sleep", (60,)).id)

    def running() -> bool:
        task = monitor.picture().tasks.get(task_id)
        return task is not None and task.state == "STARTED"

    wait_until(running, 20, "it runs")
    action = Revoke(targets=(target_of(monitor.picture(), task_id),), signal=signal)
    begun = time.perf_counter()
    monitor.submit(action)
    while (verdict := monitor.picture().outcomes.get(task_id)) is None:
        time.sleep(0.001)
    took = time.perf_counter() - begun
    if verdict.outcome != STOPPED or verdict.evidence[0].source != "host":
        raise RuntimeError(f"not stopped: {verdict}")
    pid = int(verdict.evidence[0].text.split()[1])
    if _lives(pid):
        raise RuntimeError(f"STOPPED, and process {pid} lives")
    report_ = monitor.picture().actions[-1]
    sent = next(step.at for step in report_.steps if step.source == "sent")
    return took, verdict.at - sent


def _lives(pid: int) -> bool:
    """A zombie does not, nor does one that its parent is just reaping."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def main() -> None:
    """Kill as many with each signal."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, RedisServer() as server, Worker(server.url()) as worker:
        os.environ["XDG_STATE_HOME"] = folder
        monitor = build(Options(), BrokerSettings(parse_url(server.url())))
        monitor.start()
        wait_until(lambda: worker.nodename in monitor.picture().workers, 10, "the worker is known")
        for signal in ("SIGTERM", "SIGKILL"):
            found = [stop_one(monitor, server.url(), signal) for _ in range(KILLS + 1)][1:]
            took, after = ([1000 * one[column] for one in found] for column in (0, 1))
            p95 = share(took, 0.95)
            if p95 > 1000 * LIMIT:
                raise SystemExit(f"{signal}: p95 {p95:.0f} ms is above {LIMIT:g} s")
            ours = f"p50 {middle(took):.0f} ms, p95 {p95:.0f} ms (of it {middle(after):.0f} ms after sending)"
            rows.append(Row(f"key to verified STOPPED, {signal}", ours, "", f"limit {LIMIT:g} s at p95"))
        monitor.stop()
    report("stop", f"{KILLS} healthy prefork tasks each", rows)


if __name__ == "__main__":
    main()

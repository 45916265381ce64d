"""What 100,000 tasks take, and whether that stays while millions come and go."""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time

import psutil

from benchmarks.stream import messages
from benchmarks.table import Row, report, times
from celerytop.cluster import Cluster
from celerytop.model.observation import UP, SourceChanged
from celerytop.model.snapshot import ClusterInfo
from celerytop.sources.wire import Decoder
from tests.rig.process import ROOT

TASKS = 100_000
CHURN, MANY = 10_000, 1_000_000
"""Tasks held, and tasks that come and go meanwhile: an hour of 280 a second."""


def fresh(now: float) -> Cluster:
    """A cluster of which nothing is known, connected."""
    cluster = Cluster(ClusterInfo("bench", "redis://h", "redis"), ("events", "queues"), now)
    cluster.apply(SourceChanged(now, "events", UP))
    cluster.apply(SourceChanged(now, "queues", UP))
    return cluster


def _held(kind: str) -> float:
    """MB that the tasks take in this process."""
    now = time.time()
    bodies = [message.body for message in messages(TASKS, 24, now)]
    process = psutil.Process()
    state: object
    if kind == "celerytop":
        cluster, decoder = fresh(now), Decoder()
        gc.collect()
        before = process.memory_info().rss
        for first in range(0, len(bodies), 20):
            cluster.apply(decoder.feed_amqp(bodies[first : first + 20], now))
        state = cluster
    else:
        from celery.events.state import State

        celery_state = State(max_tasks_in_memory=TASKS)
        gc.collect()
        before = process.memory_info().rss
        for body in bodies:
            found = json.loads(body)
            for event in found if isinstance(found, list) else [found]:
                celery_state.event({**event, "local_received": now})
        state = celery_state
    gc.collect()
    used = process.memory_info().rss - before
    assert state is not None
    return used / 2**20


def held(kind: str) -> float:
    """The same in a fresh process."""
    words = [sys.executable, "-m", "benchmarks.memory", kind]
    return float(subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout)


def churn() -> tuple[float, int]:
    """(MB gained an hour, events folded) by a full store: the slope of the hour but its first third."""
    began = time.time()
    cluster, decoder = Cluster(ClusterInfo("bench", "redis://h", "redis"), ("events",), began, CHURN), Decoder()
    cluster.apply(SourceChanged(began, "events", UP))
    process, rounds = psutil.Process(), MANY // CHURN
    sizes, events = [], 0
    for number in range(rounds):
        at = began + 3600 * number / rounds
        mark = b"-%04x-4c3a-" % number  # else the same ids would come again
        bodies = [message.body.replace(b"-9b1d-4c3a-", mark) for message in messages(CHURN, 24, at)]
        for first in range(0, len(bodies), 20):
            seen = decoder.feed_amqp(bodies[first : first + 20], at)
            events += len(seen.events)
            cluster.apply(seen)
        cluster.snapshot(at)
        gc.collect()
        sizes.append(process.memory_info().rss / 2**20)
    settled = rounds // 3
    return statistics.linear_regression(range(settled, rounds), sizes[settled:]).slope * rounds, events


def main() -> None:
    """Measure, print, keep."""
    ours, other = held("celerytop"), held("celery")
    gained, events = churn()
    rows = [
        Row("memory of 100,000 tasks", f"{ours:.0f} MB", f"celery State {other:.0f} MB", times(other, ours)),
        Row(f"gained in an hour of {events:,} events, {CHURN:,} tasks held", f"{gained:+.1f} MB"),
    ]
    report("memory", "memory", rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(_held(sys.argv[1]))
    else:
        main()

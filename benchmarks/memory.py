"""What 100,000 tasks take, and what a picture costs: by tasks, workers and queues, and how it grows with them."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time

import psutil

from benchmarks.stream import messages
from benchmarks.table import Row, middle, report, times
from celerytop.cluster import Cluster
from celerytop.model.event import Event, TaskReceived, TaskStarted, TaskSucceeded, WorkerHeartbeat
from celerytop.model.observation import UP, EventsReceived, QueuesMeasured, SourceChanged
from celerytop.model.queue import Queue
from celerytop.model.snapshot import ClusterInfo
from celerytop.sources.wire import Decoder
from tests.rig.process import ROOT

TASKS = 100_000
SIZES = {"tasks": (100, 10_000, 100_000), "workers": (10, 1000, 10_000), "queues": (10, 1000, 5000)}
PICTURES = 9


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


def _many(what: str, number: int, now: float) -> Cluster:
    cluster = fresh(now)
    workers = number if what == "workers" else 10
    _beat(cluster, workers, now)
    queues = tuple(Queue(f"queue-{one}", messages=one, known_by=("settings",)) for one in range(_some(what, number)))
    cluster.apply(QueuesMeasured(now, queues))
    for first in range(0, number if what == "tasks" else 100):
        cluster.apply(EventsReceived(now, [TaskReceived(f"{first:036}", now, _worker(first, workers), "app.add")]))
    return cluster


def _some(what: str, number: int) -> int:
    return number if what == "queues" else 10


def _worker(number: int, workers: int) -> str:
    return f"celery@host-{number % workers}"


def _beat(cluster: Cluster, workers: int, now: float) -> None:
    beats = [WorkerHeartbeat(_worker(one, workers), now, one, 2.0, 1, one) for one in range(workers)]
    cluster.apply(EventsReceived(now, list(beats)))


def picture(what: str, number: int) -> float:
    """Milliseconds of a picture, under the lock, when some hundred events have come since the last one."""
    now = 1_700_000_000.0
    cluster = _many(what, number, now)
    took = []
    for turn in range(PICTURES):
        at = now + 4.0 + turn / 2
        workers = number if what == "workers" else 10
        beats = [WorkerHeartbeat(_worker(one, workers), at, one, 2.0, 1, one) for one in range(turn % 4, workers, 4)]
        cluster.apply(EventsReceived(at, list(beats)))  # each beats every two seconds
        for one in range(30):
            uuid, worker = f"{turn}-{one:030}", _worker(one, workers)
            events: list[Event] = [
                TaskReceived(uuid, at, worker, "app.add"),
                TaskStarted(uuid, at, worker),
                TaskSucceeded(uuid, at, worker, "1", 0.1),
            ]
            cluster.apply(EventsReceived(at, events))
        begun = time.process_time()
        cluster.snapshot(at)
        took.append(1000 * (time.process_time() - begun))
    return middle(took)


def main() -> None:
    """Measure, print, keep."""
    ours, other = held("celerytop"), held("celery")
    rows = [Row("memory of 100,000 tasks", f"{ours:.0f} MB", f"celery State {other:.0f} MB", times(other, ours))]
    for what, numbers in SIZES.items():
        found = [picture(what, number) for number in numbers]
        slope = 1000 * (found[-1] - found[0]) / (numbers[-1] - numbers[0])
        sizes = " / ".join(f"{number:,}" for number in numbers)
        took = " / ".join(f"{one:.1f}" for one in found)
        rows.append(Row(f"a picture with {sizes} {what}", f"{took} ms", "", f"{slope:.2f} us for each"))
    report("memory", "memory and pictures", rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(_held(sys.argv[1]))
    else:
        main()

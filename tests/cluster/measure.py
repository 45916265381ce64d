"""What folding costs: run by hand, ``python -m tests.cluster.measure``. CPU seconds of this process, best of three."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

import psutil

from celerytop.cluster import Cluster
from celerytop.cluster.advance import advance
from celerytop.model.event import Event, TaskEvent, TaskReceived, TaskStarted, TaskSucceeded, WorkerHeartbeat
from celerytop.model.observation import UP, EventsReceived, SourceChanged
from celerytop.model.snapshot import ClusterInfo
from celerytop.model.task import Task

T0 = 1_700_000_000.0
TASKS = 100_000
NAMES = [f"app.task{number}" for number in range(50)]
WORKERS = [f"w{number}@host{number % 5}" for number in range(20)]


def batches(first: int, tasks: int) -> Iterator[EventsReceived]:
    """Lives of tasks, 24 to a batch."""
    events: list[Event] = []
    for number in range(first, first + tasks):
        uuid, worker = f"{number:08x}-0000-4000-8000-000000000000", WORKERS[number // 24 % 20]
        at = T0 + number / 1000
        events += [
            TaskReceived(
                uuid,
                at,
                worker,
                name=NAMES[number % 50],
                args=f"({number}, 'some argument text')",
                kwargs=f"{{'k': {number}}}",
                root_id=uuid,
                retries=0,
            ),
            TaskStarted(uuid, at + 0.01, worker),
            TaskSucceeded(uuid, at + 0.5, worker, result=f"'{number}'", runtime=0.1 + number % 100 / 100),
        ]
        if len(events) == 72:
            yield EventsReceived(at, events)
            events = []


def fresh() -> Cluster:
    cluster = Cluster(ClusterInfo("x", "redis://h", "redis"), ("events", "control"), T0)
    cluster.apply(SourceChanged(T0, "events", UP))
    return cluster


def memory() -> None:
    """MB of 100,000 tasks."""
    gc.collect()
    before = psutil.Process().memory_info().rss
    cluster = fresh()
    for batch in batches(0, TASKS):
        cluster.apply(batch)
    gc.collect()
    used = psutil.Process().memory_info().rss - before
    print(f"{used / 2**20:.0f} MB for {len(cluster.snapshot(T0 + 100).tasks):,} tasks")


def folding() -> None:
    """Events a second, with and without statistics; a picture."""
    stream = list(batches(0, TASKS))
    events: list[TaskEvent] = [event for batch in stream for event in batch.events]  # type: ignore[misc]
    gc.freeze()
    alone, whole, cluster = [], [], fresh()
    for _ in range(3):
        tasks: dict[str, Task] = {}
        begun = time.process_time()
        for event in events:
            tasks[event.uuid] = advance(tasks.get(event.uuid), event, T0)
        alone.append(time.process_time() - begun)
        cluster = fresh()
        begun = time.process_time()
        for batch in stream:
            cluster.apply(batch)
        whole.append(time.process_time() - begun)
    print(f"{len(events) / min(alone):,.0f} events/s advanced, {len(events) / min(whole):,.0f} with all statistics")
    for what in ("first", "again"):
        begun = time.process_time()
        cluster.snapshot(T0 + 100)
        print(f"{1000 * (time.process_time() - begun):.1f} ms a picture of {TASKS:,} tasks, {what}")


def many_workers() -> None:
    """10,000 workers: heartbeats and a picture."""
    cluster, took = fresh(), 0.0
    for round_ in range(3):
        beats: list[Event] = [
            WorkerHeartbeat(f"w{number}@h{number}", T0 + 2 * round_, number, 2.0, 1, number, "py-celery", "5.7.0")
            for number in range(10_000)
        ]
        begun = time.process_time()
        cluster.apply(EventsReceived(T0 + 2 * round_, beats))
        took = time.process_time() - begun
    print(f"{took / 10_000 * 1e6:.1f} us a heartbeat")
    begun = time.process_time()
    cluster.snapshot(T0 + 6)
    print(f"{1000 * (time.process_time() - begun):.0f} ms a picture of 10,000 workers")


if __name__ == "__main__":
    memory()
    folding()
    many_workers()

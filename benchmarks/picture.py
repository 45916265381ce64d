"""What a picture costs, under the lock, by tasks, workers and queues held: it should grow with what changed alone.

Every worker beats every two seconds, as Celery's do, and a picture is taken twice a second: so a quarter of the workers
has changed, and thirty tasks came and went, whatever else is held.

Then the worst: 2,000 workers all of which have run tasks since the last picture, and a full store that forgets as many
tasks as come. Such a picture is made in steps, and others fold in between: no event waits longer than for one of them.
"""

from __future__ import annotations

import gc
import time

from benchmarks.memory import fresh
from benchmarks.table import Row, middle, report
from celerytop.cluster import Cluster
from celerytop.model.event import Event, TaskReceived, TaskStarted, TaskSucceeded, WorkerHeartbeat
from celerytop.model.observation import EventsReceived, QueuesMeasured
from celerytop.model.queue import Queue

SIZES = {"tasks": (100, 10_000, 100_000), "workers": (10, 1000, 10_000), "queues": (10, 1000, 5000)}
PICTURES = 40
BUSY, EACH = 2000, 8
"""Busy workers, and tasks that each has run between two pictures."""
SETTLED = 8
"""Pictures before it counts: the first are of all there is."""


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


def _live(cluster: Cluster, workers: int, turn: int, at: float) -> None:
    """Half a second of a cluster's life."""
    beats = [WorkerHeartbeat(_worker(one, workers), at, one, 2.0, 1, one) for one in range(turn % 4, workers, 4)]
    cluster.apply(EventsReceived(at, list(beats)))
    for one in range(30):
        uuid, worker = f"{turn}-{one:030}", _worker(one, workers)
        events: list[Event] = [
            TaskReceived(uuid, at, worker, "app.add"),
            TaskStarted(uuid, at, worker),
            TaskSucceeded(uuid, at, worker, "1", 0.1),
        ]
        cluster.apply(EventsReceived(at, events))


def picture(what: str, number: int) -> tuple[float, float]:
    """(median, longest) milliseconds of CPU of a picture."""
    now = 1_700_000_000.0
    cluster = _many(what, number, now)
    gc.collect()
    gc.freeze()  # as the program does once it has begun
    took = []
    for turn in range(PICTURES):
        at = now + 4.0 + turn / 2
        _live(cluster, number if what == "workers" else 10, turn, at)
        begun = time.process_time()
        cluster.snapshot(at)
        took.append(1000 * (time.process_time() - begun))
    gc.unfreeze()
    return middle(took[SETTLED:]), max(took[SETTLED:])


def busy() -> tuple[float, float, float]:
    """(median of a picture, median and longest of its steps) in milliseconds of CPU."""
    now = 1_700_000_000.0
    cluster = fresh(now)
    _beat(cluster, BUSY, now)
    gc.collect()
    gc.freeze()
    whole, steps = [], []
    for turn in range(PICTURES):
        at = now + 4.0 + turn / 2
        _live(cluster, BUSY, turn, at)
        for one in range(BUSY):
            worker, events = _worker(one, BUSY), list[Event]()
            for number in range(EACH):
                uuid = f"{turn}-{one}-{number:030}"
                events += [TaskReceived(uuid, at, worker, "app.add"), TaskStarted(uuid, at, worker)]
                events.append(TaskSucceeded(uuid, at, worker, "1", 0.1))
            cluster.apply(EventsReceived(at, events))
        took, making = [], cluster.making(at)
        while True:
            begun = time.process_time()
            ended = next(making, cluster) is cluster
            took.append(1000 * (time.process_time() - begun))
            if ended:
                break
        if turn >= SETTLED:
            whole.append(sum(took))
            steps += took
    gc.unfreeze()
    return middle(whole), middle(steps), max(steps)


def main() -> None:
    """Measure, print, keep."""
    rows = []
    for what, numbers in SIZES.items():
        found = [picture(what, number) for number in numbers]
        slope = 1000 * (found[-1][0] - found[0][0]) / (numbers[-1] - numbers[0])
        sizes = " / ".join(f"{number:,}" for number in numbers)
        took = " / ".join(f"{median:.1f}" for median, _ in found)
        longest = f"longest {found[-1][1]:.1f} ms"
        rows.append(Row(f"a picture with {sizes} {what}", f"{took} ms", longest, f"{slope:.2f} us for each"))
    whole, step, most = busy()
    what = f"a picture with {BUSY:,} workers and {BUSY * EACH:,} tasks changed"
    rows.append(Row(what, f"{whole:.1f} ms", f"in steps of {step:.2f} ms, longest {most:.1f} ms"))
    report("picture", "pictures", rows)


if __name__ == "__main__":
    main()

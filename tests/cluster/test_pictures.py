"""A picture made from what has changed is the picture made from all there is: whatever happens, at every moment."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from math import fsum

import msgspec
import pytest

from celerytop.cluster import Cluster
from celerytop.model.event import (
    Event,
    TaskFailed,
    TaskReceived,
    TaskRetried,
    TaskRevoked,
    TaskSent,
    TaskStarted,
    TaskSucceeded,
    WorkerHeartbeat,
    WorkerOffline,
    WorkerOnline,
)
from celerytop.model.host import Host
from celerytop.model.observation import (
    DOWN,
    UP,
    Conf,
    EventsReceived,
    HostMeasured,
    InspectedTask,
    Observation,
    Pong,
    QueuesConsumed,
    QueuesMeasured,
    Registered,
    Reply,
    SourceAlive,
    SourceChanged,
    StatsReply,
    TasksListed,
    WorkersAnswered,
)
from celerytop.model.queue import Message, Queue, Unacked
from celerytop.model.snapshot import Snapshot
from celerytop.model.worker import ConsumedQueue
from celerytop.select import views
from tests.cluster.feeding import INFO, SOURCES, T0, Fed, main_process

WORKERS = [f"w{number}@h{number % 3}" for number in range(7)]
QUEUES = ["celery", "low", "mail", "idle", "odd"]
NAMES = ["app.add", "app.pay"]
STEPS = (0.0, 0.01, 0.3, 0.5, 1.0, 2.0, 2.5, 4.0, 7.0, 13.0, 31.0, 65.0, 100.0)


class Chance:
    """Makes up what may happen."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.at = T0
        self._tasks = 0
        self._kinds: tuple[Callable[[], Observation], ...] = (
            *(self.tasks,) * 6,
            *(self.beats,) * 6,
            *(self.answers,) * 5,
            *(self.lengths,) * 4,
            self.host,
            self.source,
            self.alive,
        )

    def next(self) -> Observation:
        return self.random.choice(self._kinds)()

    def worker(self) -> str:
        return self.random.choice(WORKERS)

    def beats(self) -> Observation:
        return EventsReceived(self.at, [self.worker_event(name) for name in WORKERS if self.random.random() < 0.6])

    def worker_event(self, name: str) -> Event:
        chance = self.random.random()
        pid = 100 if chance < 0.95 else 200
        late = 0.0 if name != "w2@h2" or chance < 0.5 else 20.0
        if chance < 0.04:
            return WorkerOffline(name, self.at, pid)
        if chance < 0.08:
            return WorkerOnline(name, self.at, pid, 2.0, sw_ident="py-celery", sw_ver="5.7.0")
        active = self.random.randrange(3) if chance < 0.9 else None
        return WorkerHeartbeat(name, self.at - late, pid, 2.0, active, self.random.randrange(40))

    def tasks(self) -> Observation:
        return EventsReceived(self.at, [self.task_event() for _ in range(self.random.randrange(1, 8))])

    def task_event(self) -> Event:
        self._tasks += 1
        number = self.random.randrange(max(0, self._tasks - 30), self._tasks)
        uuid, name = f"t{number}", self.random.choice((NAMES[number % 2], None))
        worker, queue = self.worker(), self.random.choice(QUEUES)
        at = self.at - self.random.random()
        events: tuple[Event, ...] = (
            TaskSent(uuid, at, "gen1@h9", name=name, queue=queue, retries=0),
            TaskReceived(uuid, at, worker, name=name, retries=0, root_id=uuid),
            TaskStarted(uuid, at, worker),
            TaskStarted(uuid, at, worker),
            TaskSucceeded(uuid, at, worker, "1", 0.5),
            TaskFailed(uuid, at, worker, "ValueError()", "Traceback"),
            TaskRetried(uuid, at, worker, "ValueError()"),
            TaskRevoked(uuid, at, worker, terminated=True),
        )
        return self.random.choice(events)

    def answers(self) -> Observation:
        told = [name for name in WORKERS if self.random.random() < 0.6]
        everyone = self.random.random() < 0.6
        replies: list[Reply] = []
        for name in told:
            replies += [Pong(name, 0.01), *self.replies(name)]
        present = tuple(told) if self.random.random() < 0.3 else ()
        absent = tuple(set(WORKERS) - set(told)) if present else ()
        return WorkersAnswered(
            self.at,
            ("ping", "stats"),
            tuple(replies),
            window=0.01,
            asked_workers=None if everyone else tuple(WORKERS[:4]),
            expected=self.random.choice((None, len(told), len(told) + 1, 7)),
            present=present,
            absent=absent,
        )

    def replies(self, name: str) -> list[Reply]:
        items = tuple(self.inspected() for _ in range(self.random.randrange(3)))
        queues = self.random.choice((QUEUES[:1], QUEUES[:2], QUEUES[1:4]))
        every: list[Reply] = [
            StatsReply(name, pid=100, pool="prefork", concurrency=4, processes=(101, 102), uptime=50),
            QueuesConsumed(name, tuple(ConsumedQueue(queue) for queue in queues)),
            Registered(name, ("app.add",)),
            Conf(name, {"a": "b"}),
            *(TasksListed(name, place, items, len(items)) for place in ("active", "reserved", "scheduled")),
        ]
        return [reply for reply in every if self.random.random() < 0.5]

    def inspected(self) -> InspectedTask:
        number = self.random.randrange(self._tasks + 1)
        return InspectedTask(
            f"t{number}",
            NAMES[number % 2],
            time_start=self.at - 1,
            queue=self.random.choice(QUEUES),
            acknowledged=self.random.random() < 0.5,
        )

    def lengths(self) -> Observation:
        if self.random.random() < 0.3:  # the management API
            looks = tuple(Queue(name, unacked=self.random.randrange(2), known_by=("management",)) for name in QUEUES)
            return QueuesMeasured(self.at, looks[: self.random.randrange(6)])
        queues = tuple(self.length(name) for name in QUEUES if self.random.random() < 0.7)
        messages = tuple(Message("x", queue=self.random.choice(QUEUES)) for _ in range(self.random.randrange(3)))
        unacked = Unacked(len(messages), messages=messages, complete=self.random.random() < 0.8)
        return QueuesMeasured(self.at, queues, unacked if self.random.random() < 0.5 else None)

    def length(self, name: str) -> Queue:
        head = Message(f"t{self.random.randrange(self._tasks + 1)}") if self.random.random() < 0.3 else None
        number = 0 if name == "idle" else self.random.choice((0, 0, 5, 50))
        exists = None if self.random.random() < 0.9 else bool(number)
        return Queue(name, number, head=head if number else None, exists=exists, known_by=("binding",))

    def host(self) -> Observation:
        mains = [main_process(100, nodename=name) for name in WORKERS[:2] if self.random.random() < 0.7]
        return HostMeasured(self.at, Host("h0", self.at, processes=tuple(mains)))

    def source(self) -> Observation:
        up = self.random.random() < 0.8
        return SourceChanged(self.at, self.random.choice(("events", "control")), UP if up else DOWN)

    def alive(self) -> Observation:
        return SourceAlive(self.at, self.random.choice(SOURCES))


def added_up(snapshot: Snapshot) -> tuple[object, ...]:
    """What totals must say, added up from all rows."""
    there = [worker for worker in snapshot.workers.values() if worker.state != "gone"]
    slots = [worker.concurrency for worker in there if worker.concurrency is not None]
    busy = [worker.active for worker in there if worker.active is not None]
    ready = [queue.messages for queue in snapshot.queues.values() if queue.messages is not None]
    net = [queue.net_rate for queue in snapshot.queues.values() if queue.net_rate is not None]
    return (
        sum(slots) if slots else None,
        sum(busy) if busy else None,
        sum(ready),
        fsum(net) if net else None,
    )


def in_views(snapshot: Snapshot) -> list[tuple[set[str], object]]:
    """The lists of tasks and how long each is."""
    found = [views(snapshot, name) for name in ("active", "reserved", "scheduled", "failed", "recent")]
    return [(set(view.ids), view.counts) for view in found]


def connected() -> Cluster:
    cluster = Cluster(INFO, SOURCES, T0, 100_000)
    for name in SOURCES:
        cluster.apply(SourceChanged(T0, name, UP))
    return cluster


@pytest.mark.parametrize("seed", (*range(8), 24, 203, 230, 231))
def test_what_has_changed_gives_the_same_picture_as_all_there_is(seed: int) -> None:
    chance, quick, thorough = Chance(seed), connected(), connected()
    reused: Counter[str] = Counter()
    before = quick.snapshot(T0)
    for _ in range(300):
        chance.at += chance.random.choice(STEPS[: chance.random.choice((4, 7, len(STEPS)))])
        for _ in range(chance.random.randrange(3)):
            observation = chance.next()
            quick.apply(observation)
            thorough.apply(observation)
        thorough.invalidate()
        seen = quick.snapshot(chance.at)
        assert msgspec.to_builtins(seen) == msgspec.to_builtins(thorough.snapshot(chance.at))
        totals = seen.totals
        assert added_up(seen) == (totals.slots, totals.slots_busy, totals.ready or 0, totals.ready_rate)
        assert in_views(seen) == in_views(msgspec.structs.replace(seen, lists=None))
        reused["workers"] += sum(seen.workers[name] is before.workers.get(name) for name in seen.workers)
        reused["queues"] += sum(seen.queues[name] is before.queues.get(name) for name in seen.queues)
        before = seen
    assert reused["workers"] > 100, reused
    assert reused["queues"] > 100, reused


def test_a_picture_makes_anew_what_has_changed_and_nothing_else() -> None:
    fed = Fed()
    names = [f"w{number}@h{number}" for number in range(200)]
    fed.queues(0, *(Queue(f"q{number}", 0, known_by=("binding",)) for number in range(200)))
    for name in names:
        fed.beat(0, name)
    before = fed.quietly(1.5)
    fed.beat(2, names[7], active=1, processed=1)
    fed.queues(2, Queue("q5", 3, known_by=("binding",)))
    after = fed.quietly(2)
    assert [name for name in names if after.workers[name] is not before.workers[name]] == [names[7]]
    assert [name for name in after.queues if after.queues[name] is not before.queues[name]] == ["q5"]
    assert (after.totals.slots_busy, after.totals.ready) == (1, 3)
    assert fed.quietly(2).workers is fed.quietly(2).workers

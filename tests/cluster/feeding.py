"""A cluster fed by hand, at moments of our choosing."""

from __future__ import annotations

from typing import Any

from celerytop.cluster import Cluster
from celerytop.model.event import Event, TaskFailed, TaskReceived, TaskStarted, TaskSucceeded, WorkerHeartbeat
from celerytop.model.host import Host, Process
from celerytop.model.observation import (
    UP,
    EventsReceived,
    HostMeasured,
    InspectedTask,
    Pong,
    QueuesConsumed,
    QueuesMeasured,
    Reply,
    SourceAlive,
    SourceChanged,
    StatsReply,
    TasksListed,
    WorkersAnswered,
)
from celerytop.model.queue import Queue, Unacked
from celerytop.model.snapshot import ClusterInfo, Snapshot
from celerytop.model.worker import ConsumedQueue

T0 = 1_700_000_000.0
INFO = ClusterInfo("test", "redis://h", "redis")
SOURCES = ("events", "control", "queues", "broker", "host")


class Fed:
    """A cluster whose sources are up since ``T0``; all moments are seconds after that."""

    def __init__(self, sources: tuple[str, ...] = SOURCES, max_tasks: int = 1000, info: ClusterInfo = INFO) -> None:
        self.cluster = Cluster(info, sources, T0, max_tasks)
        for name in sources:
            self.cluster.apply(SourceChanged(T0, name, UP))

    def at(self, now: float) -> Snapshot:
        """The picture at that moment, every source that is up heard of just then."""
        for status in self.cluster.snapshot(T0).sources:
            self.cluster.apply(SourceAlive(T0 + now, status.name))
        return self.cluster.snapshot(T0 + now)

    def quietly(self, now: float) -> Snapshot:
        """The picture at that moment, though no source was heard of."""
        return self.cluster.snapshot(T0 + now)

    def events(self, now: float, *events: Event, **losses: Any) -> None:
        self.cluster.apply(EventsReceived(T0 + now, list(events), **losses))

    def beat(self, now: float, nodename: str = "w1@h", *, sent: float | None = None, **fields: Any) -> None:
        """A heartbeat, sent as it comes unless told."""
        told = {"pid": 100, "freq": 2.0, "active": 0, "processed": 0, **fields}
        self.events(now, WorkerHeartbeat(hostname=nodename, timestamp=T0 + (now if sent is None else sent), **told))

    def beats(self, start: float, stop: float, nodename: str = "w1@h", **fields: Any) -> None:
        """A heartbeat every two seconds."""
        while start <= stop:
            self.beat(start, nodename, **fields)
            start += 2.0

    def answers(self, now: float, *replies: Reply, asked: tuple[str, ...] = ("ping",), **fields: Any) -> None:
        self.cluster.apply(WorkersAnswered(T0 + now, asked, replies, **{"window": 0.01, **fields}))

    def tells_all(self, now: float, nodename: str = "w1@h", *queues: str, **places: tuple[InspectedTask, ...]) -> None:
        """A worker answers everything there is to ask."""
        listed = [
            TasksListed(nodename, place, places.get(place, ()), len(places.get(place, ())))
            for place in ("active", "reserved", "scheduled")
        ]
        consumed = tuple(ConsumedQueue(name) for name in queues or ("celery",))
        stats = StatsReply(nodename, pid=100, pool="prefork", concurrency=4, processes=(101, 102), uptime=now + 50)
        asked = ("ping", "stats", "active", "reserved", "scheduled", "active_queues")
        self.answers(
            now, Pong(nodename, 0.004), stats, QueuesConsumed(nodename, consumed), *listed, asked=asked, expected=1
        )

    def queues(self, now: float, *queues: Queue, unacked: Unacked | None = None, note: str | None = None) -> None:
        self.cluster.apply(QueuesMeasured(T0 + now, queues, unacked, note=note))

    def host(self, now: float, *processes: Process, name: str = "h") -> None:
        self.cluster.apply(HostMeasured(T0 + now, Host(name, T0 + now, processes=processes)))


def main_process(pid: int = 100, created: float = -60.0, **fields: Any) -> Process:
    """A worker's main process on this machine."""
    return Process(pid, 1, T0 + created, "main", pid, **{"nodename": "w1@h", "status": "sleeping", **fields})


def run(uuid: str, now: float, runtime: float = 1.0, name: str = "app.add", worker: str = "w1@h") -> list[Event]:
    """A task's whole life, ended ``now``."""
    return [
        TaskReceived(uuid, T0 + now - runtime - 0.1, worker, name=name, retries=0, root_id=uuid),
        TaskStarted(uuid, T0 + now - runtime, worker),
        TaskSucceeded(uuid, T0 + now, worker, result="1", runtime=runtime),
    ]


def fail(uuid: str, now: float, name: str = "app.add", worker: str = "w1@h") -> list[Event]:
    """The same, but it fails."""
    return [*run(uuid, now, 1.0, name, worker)[:2], TaskFailed(uuid, T0 + now, worker, exception="ValueError()")]

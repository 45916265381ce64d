"""Pictures made by hand, at a fixed moment: what the screens are tested with."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from celerytop.model.broker import BrokerClient, KeyClass, KeyWalk, OwnCost, RedisBroker, SlowCommand
from celerytop.model.host import Host, Process
from celerytop.model.observation import DOWN, STARTING, UP
from celerytop.model.queue import Message, Queue, QueueSample
from celerytop.model.series import Quantiles, Series
from celerytop.model.snapshot import ClusterInfo, Gap, Losses, Snapshot, SourceStatus, Totals
from celerytop.model.task import Task, TaskType
from celerytop.model.worker import ConsumedQueue, Rusage, Worker

AT = 1_700_000_000.0
"""2023-11-14 22:13:20 UTC."""
SOURCES = ("events", "control", "queues", "broker", "host")
CLUSTER = ClusterInfo(
    "prod", "redis://***@10.0.0.5:6379/0", "redis", "redis 7.0.15", "TLS", "READ-ONLY", "from CELERY_BROKER_URL"
)


def up(at: float = AT) -> tuple[SourceStatus, ...]:
    """All sources well."""
    return tuple(SourceStatus(name, UP, None, at - 600, at - 0.4) for name in SOURCES)


def empty() -> Snapshot:
    """Before anything has come."""
    info = ClusterInfo("prod", "redis://***@10.0.0.5:6379/0", "redis", mode="READ-ONLY")
    return Snapshot(AT, info, tuple(SourceStatus(name, STARTING) for name in SOURCES))


def _trend(*values: float) -> Series:
    return Series(600 / max(1, len(values)), AT, values)


def _queue(name: str, messages: int, **facts: Any) -> Queue:
    defaults: dict[str, Any] = {
        "type": "list",
        "unacked": 0,
        "consumers": 4,
        "known_by": ("binding", "active_queues"),
        "measured_at": AT - 0.4,
        "in_rate": 4.4,
        "out_rate": 4.4,
        "net_rate": 0.0,
        "state": "steady",
        "workers": ("w1@web-1",),
        "trend": _trend(*([float(messages)] * 16)),
    }
    return Queue(name, messages, **{**defaults, **facts})


# fmt: off
def queues() -> dict[str, Queue]:
    """Seven, of every state."""
    head = Message("7b2e1f3c-90ab-4c1e-8f0e-5d4d0a8c11f2", "app.pay", "payments", size=1228)
    rising = _trend(*(500.0 * i for i in range(1, 17)))
    falling = _trend(*(8000.0 - 300 * i for i in range(16)))
    found = [
        _queue("payments", 8114, unacked=0, in_rate=11.3, out_rate=0.0, net_rate=11.3, drains_in=math.inf,
               oldest_age=724.0, consumers=0, workers=(), state="no consumer", trend=rising, head=head,
               by_priority=((0, 8114), (3, 0), (6, 0), (9, 0))),
        _queue("reports", 6402, unacked=64, in_rate=41.0, out_rate=22.6, net_rate=18.4, drains_in=math.inf,
               oldest_age=281.0, consumers=8, state="growing", trend=rising),
        _queue("celery", 3377, unacked=512, in_rate=88.2, out_rate=131.5, net_rate=-43.3, drains_in=78.0,
               oldest_age=25.0, consumers=24, state="draining", trend=falling),
        _queue("emails", 301, unacked=96, in_rate=30.1, out_rate=30.4, net_rate=-0.3, drains_in=960.0,
               oldest_age=9.0, consumers=6),
        _queue("thumbs", 137, unacked=480, in_rate=211.0, out_rate=212.9, net_rate=-1.9, drains_in=72.0,
               oldest_age=0.6, consumers=12),
        _queue("default", 0, unacked=52, state="idle"),
        _queue("low.prio", 0, in_rate=None, out_rate=None, net_rate=None, consumers=0, workers=(), state="unused"),
    ]
    return {queue.name: queue for queue in found}


def _worker(nodename: str, **facts: Any) -> Worker:
    defaults: dict[str, Any] = {
        "host": nodename.partition("@")[2], "state": "alive", "why": "heartbeat 1.1 s ago", "pool": "prefork",
        "concurrency": 8, "active": 3, "reserved": 12, "done_rate": 11.2, "failed": 0, "heartbeat_at": AT - 1.1,
        "heartbeat_every": 2.0, "seen_at": AT - 1.1, "pid": 4690, "uptime": 86400.0, "software": "py-celery 5.7.0",
        "queues": (ConsumedQueue("celery"),), "task_events": True, "latency": 0.012, "prefetch_count": 32,
    }
    return Worker(nodename, **{**defaults, **facts})


def workers() -> dict[str, Worker]:
    """Six, of every state."""
    found = [
        _worker("w9@pay-2", state="gone", why="no goodbye; its process is not there any more", active=None,
                reserved=None, done_rate=0.0, seen_at=AT - 720, heartbeat_at=AT - 720,
                queues=(ConsumedQueue("payments"),)),
        _worker("w3@db-7", active=8, reserved=32, done_rate=0.0, processes=(4711, 4712), pids=(4690,)),
        _worker("w1@web-1", active=16, concurrency=16, reserved=60, done_rate=88.1, failed=1, pid=911,
                rusage=Rusage(5000.0, 1200.0, 96 * 2**20)),
        _worker("s1@cron-1", pool="solo", concurrency=1, active=1, reserved=0, done_rate=0.0, state="busy-solo",
                why="its one slot runs app.report: it cannot answer now", heartbeat_at=AT - 52,
                queues=(ConsumedQueue("reports"),)),
        _worker("w7@web-3", skew=41.0, active=12, concurrency=16, reserved=40, done_rate=20.3,
                queues=(ConsumedQueue("emails"),)),
        _worker("t1@img-1", pool="threads", concurrency=32, active=24, reserved=480, done_rate=211.0,
                task_events=False, queues=(ConsumedQueue("thumbs"), ConsumedQueue("default"))),
    ]
    return {worker.nodename: worker for worker in found}


PAY = "7b2e1f3c-90ab-4c1e-8f0e-5d4d0a8c11f2"
_ID = "{}-0000-4000-8000-00000000000{}"


def _task(task_id: str, name: str, **facts: Any) -> Task:
    defaults: dict[str, Any] = {
        "state": "STARTED", "place": "active", "worker": "w3@db-7", "queue": "celery", "args": "(8841,)", "retries": 0,
        "sent_at": AT - 2531.4, "received_at": AT - 2531, "started_at": AT - 2530, "updated_at": AT - 10,
    }
    return Task(task_id, name, **{**defaults, **facts})


def tasks() -> dict[str, Task]:
    """A few of every state."""
    waits: dict[str, Any] = {"state": "RECEIVED", "started_at": None}
    found = [
        _task(_ID.format("ff00aa11", 1), "app.mail", state="SUCCESS", place=None, worker="w1@web-1",
              started_at=AT - 60, finished_at=AT - 58, runtime=2.0),
        _task(PAY, "app.pay", worker_pid=4711, root_id=_ID.format("0a77c2d4", 0), args="(8841, 'token=abc')"),
        _task(_ID.format("91cc0211", 2), "app.pay", worker_pid=4712, started_at=AT - 2518),
        _task(_ID.format("55e0a4d1", 3), "app.report", worker="s1@cron-1", worker_pid=1201,
              started_at=AT - 372, retries=1),
        _task(_ID.format("0c11fe90", 4), "app.pay", worker="w1@web-1", started_at=AT - 21, worker_pid=4801),
        _task(_ID.format("c20d41bb", 5), "app.import", worker="w1@web-1", started_at=AT - 180),
        _task(_ID.format("40aa9e77", 6), "app.join", place="reserved", **waits),
        _task(_ID.format("d01b77aa", 7), "app.join", place="scheduled", eta_at=AT + 300, **waits),
        _task(_ID.format("e1f2a900", 8), "app.pay", state="FAILURE", place=None, started_at=AT - 40,
              finished_at=AT - 38, runtime=2.0, exception="CardError('declined')", traceback="Traceback ..."),
    ]
    return {task.task_id: task for task in found}


def types() -> dict[str, TaskType]:
    """Four."""
    found = [
        TaskType("app.pay", 1204, 1100, 14, 3, 0, 3, 0.5, 2.4, 0.0125, Quantiles(1114, 18.0, 31.0, 44.0, 61.0),
                 Quantiles(900, 0.3, 1.2, 4.0, 9.0), (1.0, 2.0, 3.0, 2.0)),
        TaskType("app.report", 40, 20, 22, 9, 1, 1, 0.17, 0.1, 0.52, Quantiles(42, 120.0, 240.0, 300.0, 330.0)),
        TaskType("app.join", 80, 70, 0, 0, 0, 0, 0.0, 0.3, 0.0, Quantiles(70, 9.0, 26.0, 30.0, 31.0)),
        TaskType("app.import", 1, active=1, share=0.17),
    ]
    return {kind.name: kind for kind in found}


def host() -> Host:
    """One machine with one worker on it."""
    main = Process(4690, 1, AT - 90000, "main", 4690, "w3@db-7", "sleeping", 0.6, 900.0, 92 * 2**20, 1024.0, 4, 31, 2,
                   command="celery -A app worker -n w3@db-7", wait_channel="ep_poll")
    children = [
        Process(pid, 4690, AT - 90000, "child", 4690, "w3@db-7", status, 0.0, 1.1, 214 * 2**20, 40_000.0, 1, 20, 0,
                command="celery -A app worker", wait_channel="poll_schedule_timeout", task_id=task, task_name="app.pay")
        for pid, status, task in ((4711, "sleeping", PAY), (4712, "stopped", _ID.format("91cc0211", 2)))
    ]
    return Host("db-7", AT - 0.9, 8, 12.5, (0.5, 0.7, 0.6), 16 * 2**30, 9 * 2**30, 0, 2**30, (main, *children))


def broker() -> RedisBroker:
    """A Redis."""
    results = KeyClass("results", "celery-task-meta-*", 812_402, 1_800_000_000, "9f1c", 4_000_000, 0)
    slow = BrokerClient("10.0.0.31:51022", "flower", command="psubscribe", idle=0.0, output_buffer=33_000_000)
    own = BrokerClient("10.0.0.7:40110", "celerytop", command="psubscribe", idle=0.0, output_buffer=0, own=True)
    return RedisBroker(
        AT - 0.5, "7.0.15", "redis", "standalone", "master", used_memory=3124 * 2**20, used_memory_peak=3328 * 2**20,
        used_memory_rss=3400 * 2**20, maxmemory=4 * 2**30, maxmemory_policy="noeviction", fragmentation=1.13,
        clients=214, blocked_clients=41, maxclients=10_000, ops_rate=4210.0, evicted_keys=0, rejected_connections=0,
        keys=905_000, uptime=41 * 86400.0, replicas=1, replication_lag=0.0, rdb_last_save_at=AT - 240,
        rdb_last_bgsave_status="ok", memory_trend=_trend(*(2.0e9 + 7e7 * i for i in range(16))), memory_growth=1.1e4,
        client_list=(slow, own), slowlog=(SlowCommand(AT - 90, 0.037, "BRPOP celery", "10.0.0.17:40554"),),
        walk=KeyWalk(AT - 12, (results,), 905_000, 905_000, True), cost=OwnCost(2, 4000, 120_000, 90_000, 2.1),
    )
# fmt: on


def healthy(at: float = AT) -> Snapshot:
    """A cluster of a bad night, seen well."""
    return Snapshot(
        at,
        CLUSTER,
        up(at),
        queues(),
        workers(),
        tasks(),
        {PAY: ("40aa9e77-0000-4000-8000-000000000006",)},
        types(),
        broker(),
        {"db-7": host()},
        Totals(6, 5, 81, 64, 18_331, 212.0, 1204, 14.0, 331.0, 900.0),
        Losses(forgotten=120, bad=3),
        samples={"payments": QueueSample("payments", AT - 2, 8114, 200, (("app.pay", 182), ("app.refund", 18)))},
    )


def stale(age: float = 34.0) -> Snapshot:
    """The same 34 s after the broker has stopped to answer."""
    sentence = "Broker does not answer: 10.0.0.5:6379 takes the connection but sends nothing."
    now = AT + age
    sources = tuple(
        SourceStatus(name, UP, None, AT - 600, now - 0.9)
        if name == "host"
        else SourceStatus(name, DOWN, sentence, now - 26, AT, now + 4, 4)
        for name in SOURCES
    )
    lost = {
        name: msgspec.structs.replace(worker, state="unknown", why="we are cut off")
        for name, worker in workers().items()
    }
    gaps = (Gap(AT, None, "the broker does not answer"),)
    return msgspec.structs.replace(healthy(), at=now, sources=sources, workers=lost, gaps=gaps)


def huge(number: int = 100_000) -> Snapshot:
    """So many tasks."""
    names = [f"app.task{i}" for i in range(50)]
    states = ("SUCCESS", "SUCCESS", "SUCCESS", "FAILURE", "STARTED")
    found: dict[str, Task] = {}
    for i in range(number):
        task_id = f"{(i * 2654435761) % 2**32:08x}-0000-4000-8000-{i:012x}"
        state = states[i % 5]
        runtime = None if state == "STARTED" else (i * 7919 % 10_000) / 100
        found[task_id] = Task(
            task_id,
            names[i % 50],
            state,
            f"w{i % 40}@host-{i % 7}",
            queue="celery",
            args=f"({i},)",
            retries=i % 3,
            received_at=AT - 100,
            started_at=AT - (i * 31 % 9000) / 10,
            runtime=runtime,
            updated_at=AT - number + i,
        )
    kinds = {name: TaskType(name, 2000, runtime=Quantiles(2000, 20.0, 90.0, 99.0, 100.0)) for name in names}
    return msgspec.structs.replace(healthy(), tasks=found, types=kinds)


NASTY = "\x1b[31m\x1b]52;c;ZXZpbA==\x07[/bold][link=http://x]\u202etxt\x9b2J\r\n日本e\u0301\u0301\u0301\u0301\ud800"


def hostile() -> Snapshot:
    """Every text is a weapon, as if nothing had been cleaned on its way in."""
    snapshot: Snapshot = _poison(healthy())
    return snapshot


def _poison(value: Any) -> Any:
    """The same value with ``NASTY`` in every string that a stranger can write."""
    if isinstance(value, str):
        return value + NASTY
    if isinstance(value, dict):
        return {_key(key): _poison(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_poison(item) for item in value)
    if isinstance(value, SourceStatus):
        return msgspec.structs.replace(value, error=NASTY)
    if isinstance(value, msgspec.Struct):
        names = value.__struct_fields__
        return msgspec.structs.replace(
            value, **{name: _poison(getattr(value, name)) for name in names if name not in _OURS}
        )
    return value


def _key(key: Any) -> Any:
    return key + NASTY if isinstance(key, str) else key


_OURS = frozenset({"state", "place", "role", "transport", "kind", "pool", "mode"})
"""Words of the model itself."""

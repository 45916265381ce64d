"""The hand-made picture, enriched with what the full pages show: a sampled queue, a family of tasks, RabbitMQ."""

from __future__ import annotations

import msgspec

from celerytop.model.broker import BrokerClient, KeyClass, KeyWalk, OwnCost, RabbitBroker, RabbitNode, RedisBroker
from celerytop.model.queue import Message, QueueSample, Unacked
from celerytop.model.series import Quantiles
from celerytop.model.snapshot import Snapshot
from celerytop.model.task import Task
from celerytop.model.worker import ConsumedQueue, Rusage
from tests.ui import snapshots
from tests.ui.snapshots import AT, PAY

GIB, MIB = 2**30, 2**20
ROOT = "0a77c2d4-0000-4000-8000-000000000000"
CHARGE = "31d0b7e0-0000-4000-8000-000000000001"
JOIN = "40aa9e77-0000-4000-8000-000000000006"
OTHER = "91cc0211-0000-4000-8000-000000000002"
WAITS = "aaaa1111-0000-4000-8000-00000000000a"
TRACEBACK = """Traceback (most recent call last):
  File "/srv/app/.venv/lib/python3.11/site-packages/celery/app/trace.py", line 479, in trace_task
    R = retval = fun(*args, **kwargs)
  File "/srv/app/pay.py", line 41, in pay
    charge(card='4111111111111111')
CardError: declined"""


def message(task_id: str = WAITS, **facts: object) -> Message:
    """A waiting message."""
    base = Message(
        task_id, "app.pay", "payments", ROOT, args="(9001, 'eur')", kwargs="{}", origin="gen77@web-1", size=1228
    )
    return msgspec.structs.replace(base, **facts)


def sample() -> QueueSample:
    """A look into ``payments``."""
    oldest = (
        message(),
        message("aaaa2222-0000", retries=2, expires_at=AT - 5),
        message("aaaa3333-0000", name="app.refund", kwargs="{'token': 'hunter2'}", eta_at=AT + 90, retries=0),
    )
    return QueueSample(
        "payments", AT - 3, 8114, 400, (("app.pay", 364), ("app.refund", 36)),
        (("gen77@web-1", 300), ("gen9@web-2", 100)),
        2, 1, 1, 1, 0, Quantiles(400, 1229.0, 3891.0, 4000.0, 9000.0), oldest, (message("bbbb0000-0000"),),
    )  # fmt: skip


def unacked() -> Unacked:
    """Two of ``celery`` in the hash all queues share."""
    held = (message("cccc0000-0000", queue="celery", reserved_at=AT - 2520), message("cccc1111-0000", queue="celery"))
    return Unacked(1204, AT - 2520, held, False, 3, (("celery", 3),), 3600.0)


def family() -> dict[str, Task]:
    """Root, parent, the task, its child; one that failed."""
    tasks = snapshots.tasks()
    tasks[ROOT] = Task(ROOT, "app.order", "SUCCESS", "w1@web-1", root_id=ROOT, runtime=1.1, finished_at=AT - 2540)
    tasks[CHARGE] = Task(CHARGE, "app.charge", "SUCCESS", "w1@web-1", root_id=ROOT, parent_id=ROOT, runtime=0.9)
    tasks[PAY] = msgspec.structs.replace(
        tasks[PAY], parent_id=CHARGE, root_id=ROOT, kwargs="{'card': '4111111111111111'}", sender="gen77@web-1",
        acks_late=False, priority=0, exchange="celery", routing_key="celery",
    )  # fmt: skip
    failed = "e1f2a900-0000-4000-8000-000000000008"
    tasks[failed] = msgspec.structs.replace(tasks[failed], traceback=TRACEBACK, parent_id=CHARGE, root_id=ROOT)
    return tasks


def full() -> Snapshot:
    """Everything the full pages can show, on Redis."""
    healthy = snapshots.healthy()
    workers = snapshots.workers()
    workers["w3@db-7"] = msgspec.structs.replace(
        workers["w3@db-7"], registered=("app.charge", "app.join", "app.pay [rate_limit=10/m]"), revoked=2,
        settings={"broker_url": "redis://:***@10.0.0.5:6379/0", "task_acks_late": "False", "worker_concurrency": "8"},
        processed=88_123,
        totals={"app.pay": 80_000, "app.join": 8_123}, rusage=Rusage(720.0, 31.5, 96 * MIB), answered_at=AT - 3.2,
        queues=(ConsumedQueue("celery", "celery", "direct", "celery"),
                ConsumedQueue("payments", "payments", "direct", "pay", None, 9)),
    )  # fmt: skip
    queues = snapshots.queues()
    queues["celery"] = msgspec.structs.replace(queues["celery"], workers=("w3@db-7", "w1@web-1", "w9@pay-2"))
    queues["payments"] = msgspec.structs.replace(queues["payments"], memory=12 * MIB)
    children = {PAY: (JOIN,), ROOT: (CHARGE,), CHARGE: (PAY, "e1f2a900-0000-4000-8000-000000000008")}
    return msgspec.structs.replace(
        healthy, workers=workers, queues=queues, tasks=family(), children=children, unacked=unacked(),
        samples={"payments": sample()}, broker=redis(),
    )  # fmt: skip


def redis() -> RedisBroker:
    """Redis with its memory by class of keys."""
    classes = (
        KeyClass("results", "celery-task-meta-*", 812_402, int(1.71 * GIB), "celery-task-meta-9f1c", 4 * MIB, 0),
        KeyClass("queues", "", 7, 24 * MIB, "payments", 11 * MIB, 7),
        KeyClass("unacked", "", 1, int(1.9 * MIB), "unacked", int(1.9 * MIB), 1),
        KeyClass("reply queues", "*.reply.celery.pidbox", 3, 41 * MIB, "b1c0", 38 * MIB, 3),
        KeyClass("bindings", "_kombu.binding.*", 14, 9 * 1024, None, 0, 14),
        KeyClass("other", "", 92_310, int(0.98 * GIB), "sess:x", int(0.97 * GIB), 0),
    )
    clients = (
        BrokerClient("10.0.0.31:51022", "flower", "mon", "psubscribe", None, 0.0, 900.0, 33_000_000),
        BrokerClient("10.0.0.7:40110", "celerytop", "default", "psubscribe", None, 0.0, 60.0, 0, None, None, True),
        BrokerClient("10.0.0.17:40554", "", "default", "brpop", None, 2520.0, 9000.0, 0, "w3@db-7", 4690),
    )
    walk = KeyWalk(AT - 12, classes, 905_000, 905_000, True)
    return msgspec.structs.replace(
        snapshots.broker(), client_list=clients, walk=walk, input_rate=410_000.0, output_rate=1_200_000.0,
        aof_enabled=False,
        expired_keys=120_034, cpu_seconds=4211.0, denied=("+config|get",),
    )  # fmt: skip


def rabbit_broker() -> RabbitBroker:
    """Three nodes, one with a memory alarm."""
    nodes = tuple(
        RabbitNode(f"rabbit@rmq-{number}", True, int(used * GIB), int(2.6 * GIB), used > 2.6, 61 * GIB, 50 * MIB, False,
                   402, 65_000, 96, 58_000, 900, 1_000_000, 86_400.0)
        for number, used in ((1, 1.9), (2, 2.7), (3, 1.2))
    )  # fmt: skip
    clients = (
        BrokerClient("10.0.0.21:40112", "w1@web-1", "app", None, "blocked", output_buffer=0, worker="w1@web-1"),
        BrokerClient("10.0.0.9:51000", "celery-producer", "app", None, "blocking", output_buffer=2048),
        BrokerClient("10.0.0.7:51444", "celerytop", "mon", None, "running", output_buffer=0, own=True),
    )
    return RabbitBroker(
        AT - 1, "3.13.7", "rabbit@rmq-1", "prod", None, nodes, ("memory on rabbit@rmq-2",), None, 96, 300, 9779, 576,
        41.0, 22.6, 12, 47, 24 * MIB, clients, OwnCost(2, 900, 120_000, 9_000, 0.6), (),
    )  # fmt: skip


def rabbit() -> Snapshot:
    """The same cluster on RabbitMQ."""
    queues = {
        name: msgspec.structs.replace(
            queue, type="quorum" if name == "reports" else "classic", memory=(queue.messages or 0) * 220_000
        )
        for name, queue in snapshots.queues().items()
    }
    info = msgspec.structs.replace(
        snapshots.CLUSTER, url="amqp://app:***@rmq:5672/prod", transport="rabbitmq", version="rabbitmq 3.13.7", tls=None
    )
    return msgspec.structs.replace(
        full(), cluster=info, queues=queues, broker=rabbit_broker(), unacked=None, samples={}
    )

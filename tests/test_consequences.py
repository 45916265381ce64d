"""What a box says before anything is done: of this task, this pool, these messages, by facts of now."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args

import msgspec
import pytest
from msgspec.structs import replace

from celerytop.consequences import MANY, Judgement, judge, still
from celerytop.consequences.judge import BY_CLASS
from celerytop.model import action as act
from celerytop.model.action import AnyAction, Target
from celerytop.model.host import Host, Process
from celerytop.model.observation import DOWN, UP
from celerytop.model.queue import Message, Queue, QueueSample, Unacked
from celerytop.model.snapshot import ClusterInfo, Snapshot, SourceStatus
from celerytop.model.task import Task
from celerytop.model.worker import Worker

AT = 1_700_000_000.0
INFO = ClusterInfo("prod", "redis://***@10.0.0.5:6379/0", "redis")
RABBIT = replace(INFO, transport="rabbitmq")
UPS = (SourceStatus("events", UP, seen_at=AT - 0.3), SourceStatus("control", UP, seen_at=AT - 2))
TARGET = Target("aaaa1111-x", "app.pay", "STARTED", "w1@h", 4711, queue="celery")


def picture(pool: str | None = "prefork", task: dict[str, Any] | None = None, **facts: Any) -> Snapshot:
    """One worker that runs one task."""
    running = {"state": "STARTED", "worker": "w1@h", "worker_pid": 4711, "started_at": AT - 60, "queue": "celery"}
    worker = Worker("w1@h", host="h", state="alive", pool=pool, pid=4690, active=1, concurrency=2)
    known: dict[str, Any] = {
        "tasks": {"aaaa1111-x": Task("aaaa1111-x", "app.pay", **{**running, **(task or {})})},
        "workers": {"w1@h": worker},
        "queues": {"celery": Queue("celery", 40, consumers=1, workers=("w1@h",))},
    }
    return Snapshot(**{"at": AT, "cluster": INFO, "sources": UPS, **known, **facts})


def here(*below: Process) -> dict[str, Host]:
    """The host of the worker, its main and its child."""
    main = Process(4690, 1, AT - 900, "main", 4690, "w1@h")
    child = Process(4711, 4690, AT - 900, "child", 4690, "w1@h", task_id="aaaa1111-x")
    return {"h": Host("h", AT, processes=(main, child, *below))}


def worker(**facts: Any) -> dict[str, Worker]:
    """The worker with other facts."""
    return {"w1@h": msgspec.structs.replace(picture().workers["w1@h"], **facts)}


def text(found: Judgement) -> str:
    """All it says."""
    return "\n".join([found.title, *(said.text for said in (*found.subjects, *found.does)), found.sends])


def revoke(snapshot: Snapshot, signal: str | None = "SIGTERM") -> Judgement:
    """Of the one task."""
    return judge(snapshot, act.Revoke(targets=(TARGET,), signal=signal))


def test_every_class_is_judged() -> None:
    assert set(BY_CLASS) == set(get_args(AnyAction))


@pytest.mark.parametrize(
    ("pool", "signal", "phrases"),
    [
        ("prefork", "SIGTERM", ["the pool process is killed, not only the task", "does not run again"]),
        ("prefork", "SIGKILL", ["cannot clean up", "live on: only the last rung"]),
        ("prefork", "SIGUSR1", ["SoftTimeLimitExceeded", "the process lives on", "FAILURE"]),
        ("prefork", None, ["runs on to the end: a revoke without a signal stops nothing"]),
        ("prefork", "SIGINT", ["nothing happens: a pool process ignores SIGINT"]),
        ("threads", "SIGTERM", ["CANNOT: a threads pool has no way to stop", "instead:", "Sends nothing"]),
        ("threads", None, ["runs on to the end", "threads cannot be stopped, only their whole worker", "revoke(1 id)"]),
        ("solo", "SIGTERM", ["WILL APPLY LATER", "instead: kill the worker's process", "only:  revoke(1 id)"]),
        ("gevent", "SIGTERM", ["its greenlet is killed, whatever the signal"]),
        ("eventlet", "SIGKILL", ["its greenlet is killed", "it may swallow that"]),
        (None, "SIGTERM", ["pool is not known"]),
    ],
)
def test_what_each_pool_can_do(pool: str | None, signal: str | None, phrases: list[str]) -> None:
    said = text(revoke(picture(pool), signal))
    assert all(phrase in said for phrase in phrases), said


def test_what_is_sent_and_to_whom_and_how_old_the_facts_are() -> None:
    said = text(revoke(picture()))
    assert "Sends, to w1@h only:  revoke(1 id, terminate=True, signal=SIGTERM)" in said
    assert "checked 0.3s ago: 4711 still runs exactly this task" in said
    assert "pid 4711" in said and "running 1m00s" in said


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"state": "SUCCESS", "finished_at": AT}, "aaaa1111 is over (SUCCESS)"),
        ({"finished_at": AT}, "aaaa1111 is over (not there any more)"),
        ({"state": "RETRY"}, "does not run any more: RETRY"),
        ({"worker_pid": 4712}, "runs in another process now: pid 4712, not 4711"),
        ({"worker": "w2@h"}, "is with another worker now: w2@h, not w1@h"),
    ],
)
def test_a_task_that_is_not_what_it_was_bars_it(facts: dict[str, Any], reason: str) -> None:
    snapshot = picture(task=facts)
    for action in (act.Revoke(targets=(TARGET,), signal="SIGTERM"), act.KillTree(targets=(TARGET,))):
        found = judge(snapshot, action)
        assert found.barred is not None and reason in found.barred
        assert still(snapshot, action).targets == ()  # type: ignore[union-attr]


def test_of_several_those_that_are_over_are_left_out() -> None:
    other = Task("bbbb2222-x", "app.pay", state="SUCCESS", worker="w1@h", finished_at=AT)
    snapshot = picture()
    snapshot = msgspec.structs.replace(snapshot, tasks={**snapshot.tasks, other.task_id: other})
    action = act.Revoke(targets=(TARGET, Target(other.task_id, state="STARTED", worker="w1@h")), signal="SIGTERM")
    found = judge(snapshot, action)
    assert found.barred is None and "TERMINATE 1 running task" in found.title
    assert "bbbb2222 is over (SUCCESS)" in text(found)
    assert still(snapshot, action) == act.Revoke(targets=(TARGET,), signal="SIGTERM")


def test_a_waiting_task_is_only_flagged() -> None:
    waits = Target("aaaa1111-x", "app.pay", "RECEIVED", "w1@h")
    snapshot = picture(task={"state": "RECEIVED", "place": "reserved", "worker_pid": None, "started_at": None})
    said = text(judge(snapshot, act.Revoke(targets=(waits,))))
    assert "FLAGGED ONLY" in said and "without --statedb" in said and "not running" in said
    threads = msgspec.structs.replace(snapshot, workers=worker(pool="threads"))
    assert "runs all the same" in text(judge(threads, act.Revoke(targets=(waits,))))
    nobody = msgspec.structs.replace(snapshot, workers=worker(state="gone"))
    assert "no worker is known to be up: nobody keeps the id" in text(judge(nobody, act.Revoke(targets=(waits,))))


@pytest.mark.parametrize(
    ("state", "phrase"),
    [
        ("gone", "is gone: nobody reads the command"),
        ("frozen", "is frozen: it reads the command only when it goes on"),
        ("silent", "whether it reads the command is not known"),
        ("busy-solo", "it reads the command after its task"),
        ("unknown", "whether it is alive is not known now"),
    ],
)
def test_a_worker_that_does_not_listen(state: str, phrase: str) -> None:
    assert phrase in text(revoke(picture(workers=worker(state=state))))
    assert phrase in text(judge(picture(workers=worker(state=state)), act.PoolGrow(workers=("w1@h",))))


def test_more_than_ten_want_the_clusters_name() -> None:
    def of(number: int) -> Judgement:
        return judge(picture(), act.Revoke(targets=tuple(Target(f"id-{i}") for i in range(number))))

    assert of(MANY).typed is None
    assert of(MANY + 1).typed == "prod"
    assert revoke(picture()).typed is None


@pytest.mark.parametrize(
    ("action", "typed"),
    [
        (act.Shutdown(workers=("w1@h",)), "w1@h"),
        (act.Shutdown(workers=("w1@h", "w2@h")), "prod"),
        (act.PoolRestart(workers=("w1@h",)), "w1@h"),
        (act.KillWorker(worker="w1@h", pid=4690, pid_started_at=AT - 900), "w1@h"),
        (act.RevokeStamped(header="tenant", values=("acme",), workers=("w1@h",)), "prod"),
        (act.PurgeQueue(queue="celery"), "prod"),
        (act.PurgeQueue(queue="celery", filter="name:x"), "prod"),
        (act.PurgeQueue(queue="celery", filter="name:x", dry_run=True), None),
        (act.PurgeQueue(queue="celery", task_ids=("a",)), None),
        (act.MoveMessages(queue="celery", to="other"), "prod"),
        (act.PoolGrow(workers=("w1@h",)), None),
        (act.SendTask(name="app.add"), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_broad_effects_want_a_name(action: AnyAction, typed: str | None) -> None:
    assert judge(picture(hosts=here()), action).typed == typed


# ------------------------------------------------------------------------------------------------------- tree
@pytest.mark.parametrize(
    ("late", "settings", "phrase"),
    [
        (None, None, "whether it runs again is not known"),
        (False, None, "does not run again: acks_late is off"),
        (None, {}, "does not run again: acks_late is off"),
        (True, {"task_reject_on_worker_lost": "True"}, "it RUNS AGAIN"),
        (None, {"task_acks_late": "True", "task_reject_on_worker_lost": "True"}, "it RUNS AGAIN"),
        (True, {}, "by its worker's settings it does not run again"),
        (True, None, "with reject_on_worker_lost, which is not known"),
    ],
)
def test_whether_it_runs_again_when_its_process_is_killed(late: bool | None, settings: Any, phrase: str) -> None:
    snapshot = picture(task={"acks_late": late}, workers=worker(settings=settings), hosts=here())
    assert phrase in text(judge(snapshot, act.KillTree(targets=(TARGET,))))


def test_a_tree_is_counted_and_only_killed_on_this_host() -> None:
    below = (
        Process(5000, 4711, AT, "descendant", 4690, "w1@h"),
        Process(5001, 5000, AT, "descendant", 4690, "w1@h"),
    )
    found = judge(picture(hosts=here(*below)), act.KillTree(targets=(TARGET,)))
    assert found.barred is None
    assert "SIGKILL to 1 pool process and 2 processes below" in text(found)
    assert "Sends nothing to a worker: SIGKILL here to 4711" in text(found)
    elsewhere = judge(picture(), act.KillTree(targets=(TARGET,)))
    assert elsewhere.barred is not None and "only its worker can kill it" in elsewhere.barred


def test_the_same_pid_of_another_worker_is_another_process() -> None:
    hosts = {"h": Host("h", AT, processes=(Process(4711, 99, AT, "child", 99, "w9@h"),))}
    assert judge(picture(hosts=hosts), act.KillTree(targets=(TARGET,))).barred is not None


# ----------------------------------------------------------------------------------------------------- family
def test_what_it_has_sent_and_what_never_will_be() -> None:
    child = Task("cccc3333-x", "app.join", state="STARTED", worker="w1@h")
    snapshot = picture()
    snapshot = msgspec.structs.replace(
        snapshot, tasks={**snapshot.tasks, child.task_id: child}, children={"aaaa1111-x": ("cccc3333-x",)}
    )
    said = text(revoke(snapshot))
    assert "1 task that it has sent run or wait on" in said
    assert "body of a chord: not known" in said
    message = Message("aaaa1111-x", "app.pay", "celery", group="dddd4444-x")
    known = msgspec.structs.replace(snapshot, unacked=Unacked(1, messages=(message,)))
    assert "part of group dddd4444: if a chord waits for it, its body will never run" in text(revoke(known))


# ------------------------------------------------------------------------------------------ workers, messages
def test_slots_before_and_after_and_pools_that_cannot() -> None:
    assert "w1@h: 2 slots, then 6" in text(judge(picture(), act.PoolGrow(workers=("w1@h",), n=4)))
    less = text(judge(picture(), act.PoolShrink(workers=("w1@h",), n=2)))
    assert "no slot is left: what it takes would wait for ever, so nothing is sent to it" in less
    assert "slots, then" not in text(judge(picture("solo"), act.PoolShrink(workers=("w1@h",))))
    assert "CANNOT: a solo pool has one slot" in text(judge(picture("solo"), act.PoolGrow(workers=("w1@h",))))


@pytest.mark.parametrize("kind", [act.PurgeQueue, partial(act.MoveMessages, to="b")])
def test_on_rabbitmq_choosing_is_borrowing_and_what_matches_cannot_be_counted(kind: Any) -> None:
    rabbit, chosen, borrowed = picture(cluster=RABBIT), kind(queue="celery", filter="name:a"), "no worker gets any"
    assert borrowed in text(judge(rabbit, chosen)) and borrowed not in text(judge(picture(), chosen))
    assert borrowed not in text(judge(rabbit, kind(queue="celery")))
    assert "redelivered" in (judge(rabbit, replace(chosen, dry_run=True)).barred or "")
    assert judge(rabbit, kind(queue="celery", dry_run=True)).barred is None


def test_pausing_says_who_takes_on() -> None:
    action = act.CancelConsumer(workers=("w1@h",), queue="celery")
    assert "40 wait there; nobody takes from it then" in text(judge(picture(), action))
    more = {"celery": Queue("celery", 40, consumers=2, workers=("w1@h", "w2@h"))}
    assert "w2@h take on from it" in text(judge(picture(queues=more), action))
    assert judge(picture(), act.CancelConsumer(workers=(), queue="celery")).barred is not None


def test_a_main_process_that_is_not_seen_is_not_killed() -> None:
    action = act.KillWorker(worker="w1@h", pid=4690, pid_started_at=AT - 900)
    assert judge(picture(hosts=here()), action).barred is None
    assert judge(picture(), action).barred is not None
    assert judge(picture(hosts=here()), msgspec.structs.replace(action, pid_started_at=1.0)).barred is not None


def test_a_purge_says_how_many_by_the_sample_and_that_it_dumps_first() -> None:
    samples = {"celery": QueueSample("celery", AT, 40, 20, (("app.pay", 15), ("app.mail", 5)))}
    said = text(judge(picture(samples=samples), act.PurgeQueue(queue="celery", filter="name:pay")))
    assert "15 of 20 looked at match: about 30 of 40" in said
    assert "first a dump is written" in said
    unknown = text(judge(picture(samples=samples), act.PurgeQueue(queue="celery", filter="age:>60")))
    assert "how many match is counted when it is done" in unknown
    assert judge(picture(), act.MoveMessages(queue="celery", to="celery")).barred is not None


def test_a_task_that_no_worker_knows() -> None:
    workers = worker(registered=("app.pay",))
    assert "no worker that was asked knows this task" in text(judge(picture(workers=workers), act.SendTask(name="x.y")))
    assert "not known" in text(judge(picture(), act.SendTask(name="x.y")))


def test_when_the_broker_is_away_it_says_so_first() -> None:
    snapshot = msgspec.structs.replace(picture(), sources=(SourceStatus("events", DOWN), SourceStatus("control", DOWN)))
    assert "The broker does not answer" in revoke(snapshot).does[0].text
    assert "not checked: nothing has been heard" in text(revoke(snapshot))


@pytest.mark.parametrize(
    ("pool", "action", "phrases", "never"),
    [
        (
            "prefork",
            act.PoolRestart(workers=("w1@h",)),
            ["running tasks (1) are finished first", "idle process"],
            "CANNOT",
        ),
        ("gevent", act.PoolRestart(workers=("w1@h",)), ["CANNOT on w1@h: a pool of gevent says yes and does"], "ended"),
        ("threads", act.PoolRestart(workers=("w1@h",)), ["a pool of threads says yes and does nothing"], "ended"),
        (
            "prefork",
            act.TimeLimit(workers=("w1@h",), task_name="app.pay", soft=5),
            ["holds only after the worker has next connected", "what runs keeps the limit it has"],
            "CANNOT",
        ),
        (
            "threads",
            act.TimeLimit(workers=("w1@h",), task_name="app.pay", soft=5),
            ["CANNOT on w1@h: a pool of threads enforces no time limit"],
            "gevent",
        ),
        (
            "gevent",
            act.TimeLimit(workers=("w1@h",), task_name="app.pay", soft=5),
            ["a gevent pool knows the hard limit only"],
            "CANNOT",
        ),
    ],
)
def test_restarts_and_limits_say_when_they_hold(pool: str, action: AnyAction, phrases: list[str], never: str) -> None:
    said = text(judge(picture(pool), action))
    assert all(phrase in said for phrase in phrases)
    assert never not in said


def test_killing_a_worker_says_what_becomes_of_what_it_holds() -> None:
    killed = act.KillWorker(worker="w1@h", pid=4690, pid_started_at=AT - 900)
    said = text(judge(picture(hosts=here(), unacked=Unacked(3, visibility_timeout=3600.0)), killed))
    assert "stay unacked" in said and "after the visibility timeout (1h00m)" in said and "restores them at once" in said
    rabbit = msgspec.structs.replace(picture(hosts=here()), cluster=ClusterInfo("prod", "amqp://10.0.0.5", "rabbitmq"))
    assert "goes back to its queue at once and runs again" in text(judge(rabbit, killed))


def test_two_workers_of_one_name_hear_the_same_command() -> None:
    both = worker(pids=(4690, 4800))
    assert "2 processes use the name w1@h, pid 4690, 4800: all of them hear it" in text(
        judge(picture(workers=both), act.Shutdown(workers=("w1@h",)))
    )
    rabbit = msgspec.structs.replace(picture(workers=both), cluster=ClusterInfo("prod", "amqp://10.0.0.5", "rabbitmq"))
    assert "only one of them hears it" in text(judge(rabbit, act.Shutdown(workers=("w1@h",))))

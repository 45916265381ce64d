"""Reading a round of answers in tests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from celerytop.model.observation import (
    Conf,
    Observation,
    Pong,
    QueuesConsumed,
    Registered,
    RevokedIds,
    StatsReply,
    TasksListed,
    WorkersAnswered,
)
from tests.rig import Worker


def start(*workers: Worker) -> None:
    """All at once: each takes seconds."""
    for worker in workers:
        worker.launch()
    for worker in workers:
        worker.wait_ready()


def only(observations: Iterator[Observation]) -> WorkersAnswered:
    found = list(observations)
    assert len(found) == 1
    assert isinstance(found[0], WorkersAnswered)
    return found[0]


def replies(answered: Observation, kind: type) -> list[Any]:
    return [one for one in answered.replies if isinstance(one, kind)] if isinstance(answered, WorkersAnswered) else []


def nodenames(answered: Observation) -> set[str]:
    return {pong.nodename for pong in replies(answered, Pong)}


def check_everything(workers: dict[str, Worker], answered: WorkersAnswered, task_id: str) -> None:
    everyone = {worker.nodename for worker in workers.values()}
    for kind in (Pong, StatsReply, QueuesConsumed, Registered, Conf, RevokedIds):
        assert {reply.nodename for reply in replies(answered, kind)} == everyone
    stats = {reply.nodename: reply for reply in replies(answered, StatsReply)}
    for pool, worker in workers.items():
        reply = stats[worker.nodename]
        assert (reply.pool, reply.pid) == (pool, worker.pid)
        assert reply.rusage.maxrss > 10_000_000, "bytes, not kilobytes"
    assert len(stats[workers["prefork"].nodename].processes) == 2
    assert stats[workers["threads"].nodename].processes is None
    consumed = {queue.name for reply in replies(answered, QueuesConsumed) for queue in reply.queues}
    assert consumed == {"celery", "alone"}
    assert all(any(name.startswith("rig.add") for name in one.names) for one in replies(answered, Registered))
    listed = replies(answered, TasksListed)
    assert {(one.nodename, one.place) for one in listed} == {
        (name, place) for name in everyone for place in ("active", "reserved", "scheduled")
    }
    tasks = [task for one in listed for task in one.tasks]
    assert [task.task_id for task in tasks] == [task_id]
    assert (tasks[0].name, tasks[0].queue) == ("rig.sleep", "celery")
    assert "\x1b" not in (tasks[0].args or "")
    assert abs((tasks[0].time_start or 0) - time.time()) < 600
    assert tasks[0].worker_pid is None or tasks[0].worker_pid < 2**22, "a greenlet's number is no pid"

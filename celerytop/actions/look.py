"""What named workers say now, within milliseconds of what is about to be sent: who runs what, in which process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from celerytop.actions.command import MOST_IDS
from celerytop.actions.link import Answer, Control
from celerytop.sources.wire_fields import flag, is_mapping, name, number, pid
from celerytop.sources.wire_reply import pool_kind

PATIENCE = 1.0
"""Seconds a worker has to answer. One whose main loop runs needs 5 ms."""
SHORT = 0.3
"""The same for a solo worker: it answers at once or when its task has ended."""
ACTIVE, RESERVED, SCHEDULED = "active", "reserved", "scheduled"


class Running(msgspec.Struct, frozen=True, gc=False):
    """One entry of ``active``."""

    task_id: str
    pid: int | None
    """``None`` for a greenlet."""
    started_at: float | None
    acknowledged: bool | None
    """``False``: acks_late."""


class Post(msgspec.Struct, frozen=True, eq=False):
    """One worker, now."""

    nodename: str
    answered: bool = False
    error: str | None = None
    """It answered, but nothing that could be read."""
    pool: str | None = None
    main_pid: int | None = None
    processes: frozenset[int] | None = None
    """Children of a prefork pool. A child is taken off this list when it has exited, not before (billiard)."""
    running: Mapping[str, Running] = msgspec.field(default_factory=dict)

    def running_in(self, number_: int) -> Running | None:
        """What this process runs."""
        return next((one for one in self.running.values() if one.pid == number_), None)


def look(control: Control, workers: Iterable[str], patience: float = PATIENCE) -> dict[str, Post]:
    """Ask ``active`` and ``stats`` of each worker.

    Raises:
        BrokerError: the broker does not answer.
    """
    workers = tuple(workers)
    if not workers:
        return {}
    active = control.ask("active", {"safe": True}, workers, patience).by_worker
    # who was silent once is not waited for again
    stats = control.ask("stats", {}, tuple(active), patience).by_worker if active else {}
    return {nodename: _post(nodename, active.get(nodename), stats.get(nodename)) for nodename in workers}


def _post(nodename: str, active: Answer | None, stats: Answer | None) -> Post:
    if active is None:
        return Post(nodename)
    error = active.error or (None if isinstance(active.body, list) else "an answer of no known form")
    told = stats.body if stats is not None and is_mapping(stats.body) else {}
    pool: Mapping[str, Any] = told["pool"] if is_mapping(told.get("pool")) else {}
    processes = pool.get("processes")
    listed = processes if isinstance(processes, list) else None
    return Post(
        nodename,
        answered=True,
        error=error,
        pool=pool_kind(pool),
        main_pid=pid(told.get("pid")),
        processes=None if listed is None else frozenset(one for found in listed if (one := pid(found)) is not None),
        running={} if error else _running(active.body),
    )


def _running(body: list[Any]) -> dict[str, Running]:
    found: dict[str, Running] = {}
    for entry in body:
        if is_mapping(entry) and (task_id := name(entry.get("id"))) is not None:
            found[task_id] = Running(
                task_id,
                pid(entry.get("worker_pid")),
                number(entry.get("time_start")),
                flag(entry.get("acknowledged")),
            )
    return found


def places(control: Control, task_ids: Iterable[str], workers: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Task id to (place, worker) of those that a worker holds: ``active``, ``reserved`` or ``scheduled``.

    Celery before 5.7 does not find scheduled ones; a rate-limited one is found by none.

    Raises:
        BrokerError: the broker does not answer.
    """
    workers = tuple(workers)
    found: dict[str, tuple[str, str]] = {}
    for ids in chunks(task_ids):
        for answer in control.ask("query_task", {"ids": ids}, workers, PATIENCE).by_worker.values() if workers else ():
            for task_id, told in answer.body.items() if is_mapping(answer.body) else ():
                if isinstance(told, list) and told and told[0] in (ACTIVE, RESERVED, SCHEDULED):
                    found[task_id] = (told[0], answer.nodename)
    return found


def holders(control: Control, workers: Iterable[str]) -> dict[str, frozenset[str]]:
    """Which ids each worker that answers holds as revoked.

    Raises:
        BrokerError: the broker does not answer.
    """
    workers = tuple(workers)
    if not workers:
        return {}
    answers = control.ask("revoked", {}, workers, PATIENCE).by_worker
    return {
        nodename: frozenset(one for one in answer.body if isinstance(one, str))
        for nodename, answer in answers.items()
        if isinstance(answer.body, list)
    }


def chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    """As many at a time as one message may carry."""
    rest = list(ids)
    while rest:
        yield rest[:MOST_IDS]
        rest = rest[MOST_IDS:]

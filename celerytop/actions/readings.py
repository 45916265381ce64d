"""What a worker's answer says of its pool, its queues and one task's limits. Hostile until read here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from celerytop.actions.link import Answer
from celerytop.sources.wire_fields import integer, is_mapping, name, pid
from celerytop.sources.wire_reply import pool_kind

GREEN = ("gevent", "eventlet")
_BRACKETS = re.compile(r" \[([^\]]*)\]$")
_FIELD = re.compile(r"(\w+)=(\S*)")
_LOW = -(2**31)


class Pool(msgspec.Struct, frozen=True, eq=False):
    """``stats``, as far as it tells how big a pool is."""

    kind: str | None = None
    main_pid: int | None = None
    slots: int | None = None
    """``max-concurrency``. Of prefork it stays what it was at the start, however its pool grows or shrinks (seen on
    5.7: ``grow`` and ``shrink`` are billiard's own, and never touch the limit). gevent lets it fall below zero."""
    processes: frozenset[int] | None = None
    """Children that prefork has now. One that has ended is taken off, and a new one put on, at the next round of
    maintenance: every five seconds, or when any child exits (celery/concurrency/asynpool.py)."""
    autoscaler: tuple[int | None, int | None] | None = None
    """(max, min); ``None``: it has none."""

    @property
    def size(self) -> int | None:
        """Slots there are."""
        return self.slots if self.processes is None or self.kind == "solo" else len(self.processes)

    def told(self) -> str:
        """In words.

        >>> Pool("prefork", processes=frozenset([7, 9])).told(), Pool("gevent", slots=1).told(), Pool().told()
        ('2 processes', '1 slot', 'a pool of unknown size')
        """
        if self.size is None:
            return "a pool of unknown size"
        one, many = ("slot", "slots") if self.processes is None else ("process", "processes")
        return f"{self.size} {one if self.size == 1 else many}"


def pool_of(answer: Answer | None) -> Pool | None:
    """``stats``; ``None`` when it is nothing of the kind."""
    body = answer.body if answer is not None else None
    if not is_mapping(body) or not is_mapping(body.get("pool")):
        return None
    pool: Mapping[str, Any] = body["pool"]
    scaler = body.get("autoscaler")
    listed = pool.get("processes")
    return Pool(
        kind=pool_kind(pool),
        main_pid=pid(body.get("pid")),
        slots=integer(pool.get("max-concurrency"), _LOW),
        processes=None if not isinstance(listed, list) else frozenset(one for found in listed if (one := pid(found))),
        autoscaler=(integer(scaler.get("max")), integer(scaler.get("min"))) if is_mapping(scaler) else None,
    )


def queues_of(answer: Answer | None) -> frozenset[str] | None:
    """``active_queues``: names."""
    body = answer.body if answer is not None else None
    if not isinstance(body, list):
        return None
    return frozenset(one for entry in body if is_mapping(entry) and (one := name(entry.get("name"))) is not None)


def limits_of(answer: Answer | None, task_name: str) -> Mapping[str, str] | None:
    """``registered`` with ``taskinfoitems``, of one task; ``None``: it is not registered there, or nothing was read.

    >>> limits_of(Answer("w@h", 0.0, body=["a.b [rate_limit=10/m time_limit=3.5]", "a.bc"]), "a.b")
    {'rate_limit': '10/m', 'time_limit': '3.5'}
    >>> limits_of(Answer("w@h", 0.0, body=["a.b [rate_limit=10/m]", "a.bc"]), "a.bc")
    {}
    """
    body = answer.body if answer is not None else None
    for entry in body if isinstance(body, list) else ():
        if not isinstance(entry, str) or not entry.startswith(task_name):
            continue
        found = _BRACKETS.search(entry)
        if (entry[: found.start()] if found else entry) == task_name:
            return dict(_FIELD.findall(found[1])) if found else {}
    return None

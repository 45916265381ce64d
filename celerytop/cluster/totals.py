"""The whole cluster in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from celerytop.cluster.fold import EventFolder
from celerytop.cluster.liveness import Reach
from celerytop.model.queue import Queue, Unacked
from celerytop.model.snapshot import Totals
from celerytop.model.worker import ALIVE, BUSY_SOLO, GONE, UNKNOWN, Worker

_THERE = (ALIVE, BUSY_SOLO)
_TELLS = 10.0
"""Seconds of listening below which nothing is said of a minute: one failure in the first second is not 60 a minute."""
_SETTLED = 3.0
"""Seconds of listening after which no heartbeat means no worker."""


class Counted:
    """What totals remember from one picture to the next."""

    def __init__(self) -> None:
        self.queues_measured = False
        self.asked = False
        self.alive: int | None = None
        """Workers that were there when we could last tell."""


def totals(
    workers: Mapping[str, Worker],
    queues: Mapping[str, Queue],
    unacked: Unacked | None,
    broker_unacked: int | None,
    folder: EventFolder,
    counted: Counted,
    reach: Reach,
    now: float,
) -> Totals:
    """Add up. What nobody has told is ``None``; while we are cut off the last numbers stand."""
    listening = reach.events_since is not None and now - reach.events_since > _SETTLED
    known = bool(workers) or counted.asked or listening
    there = [worker for worker in workers.values() if worker.state != GONE]
    if known:
        counted.alive = _alive(there, counted.alive, reach)
    tell = any(worker.task_events for worker in there)
    since = reach.events_since
    failed = folder.failed.rate(now, since) if tell and since is not None and now - since >= _TELLS else None
    return Totals(
        workers=len(workers) if known else None,
        workers_alive=counted.alive,
        slots=_sum(worker.concurrency for worker in there),
        slots_busy=_sum(worker.active for worker in there),
        ready=_ready(queues, counted.queues_measured),
        ready_rate=_sum_float(queue.net_rate for queue in queues.values()),
        unacked=_unacked(queues, unacked, broker_unacked),
        failed_per_minute=None if failed is None else failed * 60,
        done_rate=folder.finished.rate(now, since) if tell and since is not None else None,
        event_rate=folder.events.rate(now, since) if since is not None else None,
    )


def _alive(there: list[Worker], before: int | None, reach: Reach) -> int | None:
    """Workers that are there. While of some nobody can tell, cut off or just back, they count as before."""
    alive = sum(worker.state in _THERE for worker in there)
    if all(worker.state != UNKNOWN for worker in there) and (there or not reach.cut_off()):
        return alive
    if before is None:
        return None if reach.cut_off() else alive
    return max(alive, min(before, len(there))) if there else before


def _ready(queues: Mapping[str, Queue], measured: bool) -> int | None:
    ready = _sum(queue.messages for queue in queues.values())
    return 0 if ready is None and measured else ready


def _unacked(queues: Mapping[str, Queue], unacked: Unacked | None, broker: int | None) -> int | None:
    if unacked is not None:
        return unacked.count
    held = [queue.unacked for queue in queues.values() if queue.exists is not False]
    known = [number for number in held if number is not None]
    if not held:
        return broker
    return sum(known) if len(known) == len(held) else None  # a part of it is no total


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _sum_float(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None

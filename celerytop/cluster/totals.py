"""The whole cluster in numbers."""

from __future__ import annotations

from math import fsum

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


class WorkerTally:
    """Sums over all workers' pictures, kept up to date as these change. Who is gone counts as known, no more."""

    def __init__(self) -> None:
        self.known = 0
        self.there = 0
        self.alive = 0
        self.unknown = 0
        self.telling = 0
        """Who sends task events."""
        self._slots, self._busy = _Sum(), _Sum()

    def change(self, before: Worker | None, after: Worker | None) -> None:
        """One worker's picture is another one: ``None`` is no picture."""
        if before is not None and after is not None and _counts(before) == _counts(after):
            return
        if before is not None:
            self._add(before, -1)
        if after is not None:
            self._add(after, 1)

    def gone(self) -> int:
        """How many are gone."""
        return self.known - self.there

    def slots(self) -> int | None:
        """Of those that tell."""
        return self._slots.told()

    def busy(self) -> int | None:
        """Slots that run a task, of those that tell."""
        return self._busy.told()

    def _add(self, worker: Worker, number: int) -> None:
        self.known += number
        if worker.state == GONE:
            return
        self.there += number
        self.alive += number * (worker.state in _THERE)
        self.unknown += number * (worker.state == UNKNOWN)
        self.telling += number * bool(worker.task_events)
        self._slots.add(worker.concurrency, number)
        self._busy.add(worker.active, number)


class QueueTally:
    """Sums over all queues' pictures, kept up to date as these change."""

    def __init__(self) -> None:
        self._ready = self._known = 0
        self._unacked = self._counted = self._there = 0
        self._net: dict[str, float] = {}

    def change(self, before: Queue | None, after: Queue | None) -> None:
        """One queue's picture is another one: ``None`` is no picture."""
        if before is not None:
            self._add(before, -1)
            self._net.pop(before.name, None)
        if after is not None:
            self._add(after, 1)
            if after.net_rate is not None:
                self._net[after.name] = after.net_rate

    def ready(self) -> int | None:
        """Messages waiting, of those queues that tell."""
        return self._ready if self._known else None

    def ready_rate(self) -> float | None:
        """Their change a second."""
        return fsum(self._net.values()) if self._net else None

    def unacked(self, broker: int | None) -> int | None:
        """By queue, if all that are there tell; ``broker`` when there are no queues. A part of it is no total."""
        if not self._there:
            return broker
        return self._unacked if self._counted == self._there else None

    def _add(self, queue: Queue, number: int) -> None:
        if queue.messages is not None:
            self._known += number
            self._ready += number * queue.messages
        if queue.exists is not False:
            self._there += number
            if queue.unacked is not None:
                self._counted += number
                self._unacked += number * queue.unacked


class _Sum:
    """Of numbers some of which are not known."""

    __slots__ = ("_known", "_total")

    def __init__(self) -> None:
        self._known = self._total = 0

    def add(self, value: int | None, number: int) -> None:
        if value is not None:
            self._known += number
            self._total += number * value

    def told(self) -> int | None:
        return self._total if self._known else None


def _counts(worker: Worker) -> tuple[object, ...]:
    return worker.state, worker.active, worker.concurrency, worker.task_events


def totals(
    workers: WorkerTally,
    queues: QueueTally,
    unacked: Unacked | None,
    broker_unacked: int | None,
    folder: EventFolder,
    counted: Counted,
    reach: Reach,
    now: float,
) -> Totals:
    """Add up. What nobody has told is ``None``; while we are cut off the last numbers stand."""
    listening = reach.events_since is not None and now - reach.events_since > _SETTLED
    known = bool(workers.known) or counted.asked or listening
    if known:
        counted.alive = _alive(workers, counted.alive, reach)
    tell = bool(workers.telling)
    since = reach.events_since
    failed = folder.failed.rate(now, since) if tell and since is not None and now - since >= _TELLS else None
    ready = queues.ready()
    return Totals(
        workers=workers.known if known else None,
        workers_alive=counted.alive,
        slots=workers.slots(),
        slots_busy=workers.busy(),
        ready=0 if ready is None and counted.queues_measured else ready,
        ready_rate=queues.ready_rate(),
        unacked=unacked.count if unacked is not None else queues.unacked(broker_unacked),
        failed_per_minute=None if failed is None else failed * 60,
        done_rate=folder.finished.rate(now, since) if tell and since is not None else None,
        event_rate=folder.events.rate(now, since) if since is not None else None,
    )


def _alive(workers: WorkerTally, before: int | None, reach: Reach) -> int | None:
    """Workers that are there. While of some nobody can tell, cut off or just back, they count as before."""
    if not workers.unknown and (workers.there or not reach.cut_off()):
        return workers.alive
    if before is None:
        return None if reach.cut_off() else workers.alive
    return max(workers.alive, min(before, workers.there)) if workers.there else before

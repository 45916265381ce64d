"""Queues as values: what their lengths, the workers and the events make of each. What has not changed stays as it was.

A queue is looked at again when something was heard of it or of who consumes it, or when time alone changes what is said
of it: the age of what waits, a rate. An idle queue costs nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping

import msgspec

from celerytop.cluster.lengths import drains_in, state_word
from celerytop.cluster.liveness import Reach
from celerytop.cluster.node import Node
from celerytop.cluster.queues import QueueRecord, Queues
from celerytop.cluster.statistics import WINDOW
from celerytop.cluster.totals import QueueTally
from celerytop.cluster.worker_pictures import AT_ONCE, WorkerPictures
from celerytop.cluster.workers import Workers
from celerytop.model.queue import Message, Queue, Unacked
from celerytop.model.task import Task

API_LAG = 8.0
"""Seconds the management API's counters may be behind: queues tell them every five, and it reads them now and then."""
CONSUMING = ("alive", "busy-solo", "frozen")


class QueuePictures:
    """The last picture of each queue, and what is added up over all of them."""

    def __init__(self, queues: Queues, workers: Workers, seen: WorkerPictures, tasks: Mapping[str, Task]) -> None:
        self.tally = QueueTally()
        self._queues = queues
        self._workers = workers
        self._seen = seen
        self._tasks = tasks
        self._pictures: dict[str, Queue] = {}
        self._shown: Mapping[str, Queue] = {}
        self._always: list[QueueRecord] = []
        self._ticking: list[QueueRecord] = []
        """What is said of these changes with the seconds."""
        self._who = Consumers({}, complete=False)
        self._who_of: tuple[object, ...] = ()
        self._unacked: Unacked | None = None
        self._held: dict[str, int] | None = None
        self._reached: tuple[object, ...] = ()
        self._at = 0.0

    def see(
        self, everyone: bool, fresh: bool, unacked: Unacked | None, now: float, reach: Reach
    ) -> Generator[None, None, Mapping[str, Queue]]:
        """All queues at ``now``; never changed after. Pauses now and then: what is folded meanwhile may be in it.

        Args:
            everyone: all workers that listen have told what they consume.
            fresh: what they told can change; else it is of the moment the lengths are of.
            unacked: as measured.
            now: our clock.
            reach: what reaches us.
        """
        removed, self._queues.removed = self._queues.removed, []
        for record in removed:
            self.tally.change(self._pictures.pop(record.name, None), None)
        self._consumers(everyone, fresh)
        self._unacked_now(unacked)
        due = self._due(now, reach)
        since = reach.events_since if reach.events_since is not None else now
        records = self._queues.records
        for number, record in enumerate(due):
            if number % AT_ONCE == 0:
                yield
            record.touched = False
            if records.get(record.name) is record:
                self._look(record, now, since)
        if due or removed:
            self._shown = self._pictures.copy()
        return self._shown

    def invalidate(self) -> None:
        """Look at all of them again the next time."""
        self._reached = ()

    def _look(self, record: QueueRecord, now: float, since: float) -> None:
        queue = picture(record, self._who, self._held, self._tasks, now, since)
        self.tally.change(self._pictures.get(record.name), queue)
        self._pictures[record.name] = queue
        workers = self._who.by_queue.get(record.name, ())
        record.settled_until = settled_until(record, queue, workers, now, since)
        if record.settled_until <= now:
            self._always.append(record)
        elif record.settled_until < float("inf"):
            self._ticking.append(record)

    def _due(self, now: float, reach: Reach) -> list[QueueRecord]:
        touched, reached = self._queues.touched, (reach.events_since, reach.cut_off())
        if reached != self._reached or now < self._at:
            due = list(self._queues.records.values())
            self._ticking = []
        else:
            ripe = [record for record in self._ticking if record.settled_until <= now]
            due = list(dict.fromkeys((*touched, *self._always, *ripe)))
            again = set(due)
            self._ticking = [record for record in self._ticking if record not in again]
        self._always = []
        touched.clear()
        self._reached, self._at = reached, now
        return due

    def _consumers(self, everyone: bool, fresh: bool) -> None:
        """Who consumes what; the queues of whom that has changed are looked at again."""
        records = self._queues.records
        for node in self._seen.turned:
            for consumed in node.queues or ():
                if (record := records.get(consumed.name)) is not None:
                    record.touch()
        self._seen.turned.clear()
        who_of = (self._seen.version, everyone, fresh)
        if who_of == self._who_of:
            return
        before = self._who
        self._who_of = who_of
        self._who = who = consumers(self._workers.nodes.values(), self._seen.states, asked=everyone, fresh=fresh)
        if (before.complete, before.fresh) != (who.complete, who.fresh):
            self.invalidate()
            return
        for name in before.by_queue.keys() | who.by_queue.keys():
            if before.by_queue.get(name) != who.by_queue.get(name) and (record := records.get(name)) is not None:
                record.touch()

    def _unacked_now(self, unacked: Unacked | None) -> None:
        if unacked is self._unacked:
            return
        before, held = self._held, by_queue(unacked)
        self._unacked, self._held = unacked, held
        if before is None or held is None:
            if before is not held:
                self.invalidate()
            return
        for name in before.keys() | held.keys():
            if before.get(name) != held.get(name) and (record := self._queues.records.get(name)) is not None:
                record.touch()


class Consumers(msgspec.Struct, frozen=True):
    """Who consumes, as far as workers have told."""

    by_queue: Mapping[str, list[Node]]
    complete: bool
    """Every worker that may consume has told which queues; only then nobody means nobody."""
    fresh: bool = True
    """``False`` while we are cut off: what was known last is shown."""


def consumers(nodes: Iterable[Node], states: Mapping[str, str], asked: bool, fresh: bool) -> Consumers:
    """Put the workers' ``active_queues`` together. ``asked``: a round that asked everyone is over and all told."""
    by_queue: dict[str, list[Node]] = {}
    complete = asked
    for node in nodes:
        state = states.get(node.nodename)
        if state == "gone":
            continue
        if node.queues is None or state not in CONSUMING:
            complete = False
        if state in CONSUMING:
            for queue in node.queues or ():
                by_queue.setdefault(queue.name, []).append(node)
    return Consumers(by_queue, complete, fresh)


def picture(
    record: QueueRecord,
    who: Consumers,
    unacked: Mapping[str, int] | None,
    tasks: Mapping[str, Task],
    now: float,
    since: float,
) -> Queue:
    """One queue as a value."""
    queue = record.merged(now)
    workers = who.by_queue.get(record.name, [])
    number = _consumers(record, queue, workers, who)
    if number != 0:
        record.lengths.may_have_shrunk()
    net = record.lengths.net()
    coming, going = _rates(record, queue, workers, number, net, now, since)
    oldest, at_least = _oldest(record, queue, number, tasks, now)
    traffic = max((rate for rate in (coming, going) if rate is not None), default=None)
    held = _held(queue, workers, unacked, now)
    return msgspec.structs.replace(
        queue,
        unacked=held,
        consumers=number,
        workers=tuple(record.consumed_by or ()),
        in_rate=coming,
        out_rate=going,
        net_rate=net,
        drains_in=drains_in(queue.messages, net),
        oldest_age=oldest,
        oldest_at_least=at_least,
        trend=record.lengths.history.series(),
        state=state_word(queue.messages, number, queue.exists, net, traffic, held),
        started=record.started,
    )


def _held(queue: Queue, workers: list[Node], unacked: Mapping[str, int] | None, now: float) -> int | None:
    """Unacked messages. The API's 0 is none while a worker has just listed some it has not begun with."""
    if queue.unacked is None:
        return None if unacked is None else unacked.get(queue.name, 0)
    if queue.unacked == 0 and any(node.has_reserved_of(queue.name, now - API_LAG) for node in workers):
        return None
    return queue.unacked


def _consumers(record: QueueRecord, queue: Queue, workers: list[Node], who: Consumers) -> int | None:
    """By the broker; else by what workers told, or had told when we were cut off."""
    if who.fresh:
        record.consumed_by = [node.nodename for node in workers] if workers or who.complete else None
    if queue.consumers is not None or record.consumed_by is None:
        return queue.consumers
    return len(record.consumed_by)


def _rates(
    record: QueueRecord,
    queue: Queue,
    workers: list[Node],
    consumers: int | None,
    net: float | None,
    now: float,
    since: float,
) -> tuple[float | None, float | None]:
    """(in, out) a second. By the management API; else out by what workers say they took, and in = net + out."""
    if queue.publish_rate is not None or queue.deliver_rate is not None:
        return queue.publish_rate, queue.deliver_rate
    going = _taken(record, workers, consumers, now, since)
    if going is not None and net is not None:
        return max(0.0, net + going), going
    sent = record.sent.rate(now, since) if record.sent.total else None
    return sent, going


def _taken(record: QueueRecord, workers: list[Node], consumers: int | None, now: float, since: float) -> float | None:
    """Messages taken a second; ``None`` when a worker that takes them says nothing about it."""
    if consumers == 0:
        return 0.0
    if not workers:
        return None
    if all(node.tells for node in workers):
        return record.taken.rate(now, since)
    rates = [node.accepts(now) if node.only_queue == record.name else None for node in workers]
    return None if None in rates else sum(rate for rate in rates if rate is not None)


def _oldest(
    record: QueueRecord, queue: Queue, consumers: int | None, tasks: Mapping[str, Task], now: float
) -> tuple[float | None, bool]:
    """(age of what waits longest, whether it may be more)."""
    if not queue.messages:
        return None, False
    head: Message | None = queue.head
    task = tasks.get(head.task_id) if head is not None and head.task_id is not None else None
    if task is not None and task.sent_at is not None:
        return max(0.0, now - task.sent_at), False
    age = record.lengths.same_head_for(now)
    if age is None and consumers == 0:
        age = record.lengths.never_shrank_for(now)
    return age, age is not None


def by_queue(unacked: Unacked | None) -> dict[str, int] | None:
    """Unacked messages by queue; ``None`` unless all of them were seen."""
    if unacked is None or not unacked.complete:
        return None
    found: dict[str, int] = {}
    for message in unacked.messages:
        if message.queue is not None:
            found[message.queue] = found.get(message.queue, 0) + 1
    return found


def settled_until(record: QueueRecord, queue: Queue, workers: Iterable[Node], now: float, since: float) -> float:
    """From when on its picture may be another one though nothing is heard of it; ``now``: with every moment."""
    if queue.oldest_age is not None or (queue.unacked is None and _told_of(record) == 0):
        return now
    if not all(node.tells for node in workers):
        return now  # by what they accept, which is counted second by second
    until = record.merged_until()
    if record.taken.count(now) or record.sent.count(now):
        return now if now - since < WINDOW else min(until, float(int(now) + 1))
    return min(until, since + 1.0) if now - since < 1.0 else until


def _told_of(record: QueueRecord) -> int | None:
    """Unacked messages by the API: 0 may be hidden for some seconds."""
    return record.extra.unacked if record.extra is not None else None

"""All queues: measurements of several sources put together, and what follows from them, the workers and the events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from celerytop.cluster.lengths import Lengths, drains_in, state_word
from celerytop.cluster.node import Node
from celerytop.cluster.statistics import Rate
from celerytop.model.observation import QueuesMeasured
from celerytop.model.queue import Message, Queue, Unacked
from celerytop.model.task import Task

MOST = 10_000
EXTRA_FOR = 90.0
"""Seconds for which what only the management API tells counts."""
GONE_FOR = 600.0
"""Seconds a deleted queue, or one nobody but us still knows, is shown."""
API_LAG = 8.0
"""Seconds the management API's counters may be behind: queues tell them every five, and it reads them now and then."""
CONSUMING = ("alive", "busy-solo", "frozen")

_FIELDS = tuple(field for field in Queue.__struct_fields__ if field not in ("name", "known_by", "by_priority"))


class QueueRecord:
    """One queue."""

    __slots__ = (
        "_extra_at",
        "_merged",
        "consumed_by",
        "exact",
        "extra",
        "gone_since",
        "known_at",
        "known_by",
        "lengths",
        "name",
        "sent",
        "started",
        "taken",
    )

    def __init__(self, name: str, at: float) -> None:
        self.name = name
        self.known_at = at
        self.known_by: dict[str, None] = {}
        self.exact: Queue | None = None
        """By the broker itself: lengths as of now."""
        self.extra: Queue | None = None
        """By the management API: what the broker's protocol does not tell, some seconds old."""
        self.lengths = Lengths()
        self.taken = Rate()
        """Messages that workers took (task-received)."""
        self.sent = Rate()
        self.started = 0
        self.consumed_by: list[str] | None = None
        """Last known consumers, kept while we are cut off."""
        self.gone_since: float | None = None
        self._extra_at = 0.0
        self._merged: Queue | None = None

    def measured(self, queue: Queue, at: float) -> None:
        """One source has looked at it."""
        self._merged = None
        if queue.messages is None and queue.exists is None:
            self.extra, self._extra_at = queue, at
            return
        self.exact = queue
        if queue.messages is not None:
            self.lengths.add(at, queue.messages, queue.head)
        if queue.exists is not False:
            self.gone_since = None
        elif self.gone_since is None:
            self.gone_since = at

    def learn(self, how: str) -> None:
        """One more way by which we know of it."""
        if how not in self.known_by:
            self.known_by[how] = None
            self._merged = None

    def merged(self, now: float) -> Queue:
        """Both looks in one: field by field, the exact one first."""
        if self.extra is not None and now - self._extra_at > EXTRA_FOR:
            self.extra = self._merged = None
        if self._merged is None:
            self._merged = self._merge()
        return self._merged

    def _merge(self) -> Queue:
        looks = [look for look in (self.exact, self.extra) if look is not None]
        known = dict.fromkeys([*self.known_by, *(how for look in looks for how in look.known_by)])
        fields: dict[str, Any] = {}
        for look in reversed(looks):
            fields |= {field: value for field in _FIELDS if (value := getattr(look, field)) is not None}
        steps = self.exact.by_priority if self.exact is not None else ()
        return Queue(self.name, known_by=tuple(known), by_priority=steps, **fields)

    def forgettable(self, now: float) -> bool:
        """Deleted long ago; or empty, and nobody but ourselves still speaks of it."""
        if self.gone_since is not None:
            return now - self.gone_since > GONE_FOR
        exact = self.exact
        if exact is None:
            return now - self.known_at > GONE_FOR and self.extra is None
        known = bool(exact.known_by) or "conf" in self.known_by or bool(self.consumed_by)
        return not known and exact.messages == 0 and now - self.known_at > GONE_FOR


class Queues:
    """Records by name."""

    def __init__(self) -> None:
        self.records: dict[str, QueueRecord] = {}
        self.note: str | None = None
        self.leftovers: int | None = None

    def record(self, name: str, at: float, how: str | None = None) -> QueueRecord | None:
        """The one of ``name``, known from now on; ``None`` when there are too many."""
        found = self.records.get(name)
        if found is None:
            if len(self.records) >= MOST:
                return None
            found = self.records[name] = QueueRecord(name, at)
        if how is not None:
            found.learn(how)
        return found

    def measured(self, observation: QueuesMeasured) -> None:
        """Fold one look."""
        exact = False
        for queue in observation.queues:
            record = self.record(queue.name, observation.at)
            if record is not None:
                record.measured(queue, observation.at)
                exact = exact or record.exact is queue
        if exact or observation.note is not None or not observation.queues:
            self.note = observation.note
        self.leftovers = observation.leftovers if observation.leftovers is not None else self.leftovers

    def forget(self, now: float) -> None:
        """Drop what is over."""
        for name in [name for name, record in self.records.items() if record.forgettable(now)]:
            del self.records[name]


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
    return msgspec.structs.replace(
        queue,
        unacked=_held(queue, workers, unacked, now),
        consumers=number,
        workers=tuple(record.consumed_by or ()),
        in_rate=coming,
        out_rate=going,
        net_rate=net,
        drains_in=drains_in(queue.messages, net),
        oldest_age=oldest,
        oldest_at_least=at_least,
        trend=record.lengths.history.series(),
        state=state_word(queue.messages, number, queue.exists, net, traffic),
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
    if all(node.tells_what_it_takes(now) for node in workers):
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

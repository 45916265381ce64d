"""All queues: measurements of several sources put together, and what follows from them, the workers and the events."""

from __future__ import annotations

from typing import Any

from celerytop.cluster.lengths import Lengths
from celerytop.cluster.statistics import Rate
from celerytop.model.observation import QueuesMeasured, TasksListed
from celerytop.model.queue import Queue

MOST = 10_000
EXTRA_FOR = 90.0
"""Seconds for which what only the management API tells counts."""
GONE_FOR = 600.0
"""Seconds a deleted queue, or one nobody but us still knows, is shown."""

_FIELDS = tuple(field for field in Queue.__struct_fields__ if field not in ("name", "known_by", "by_priority"))


class QueueRecord:
    """One queue."""

    __slots__ = (
        "_all_touched",
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
        "settled_until",
        "started",
        "taken",
        "touched",
    )

    def __init__(self, name: str, at: float, touched: list[QueueRecord] | None = None) -> None:
        self.name = name
        self.touched = False
        self.settled_until = 0.0
        """From when on its picture may be another one though nothing is heard of it."""
        self._all_touched = touched if touched is not None else []
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

    def touch(self) -> None:
        """Something was heard of it: its picture is made anew."""
        if not self.touched:
            self.touched = True
            self._all_touched.append(self)

    def takes(self, at: float) -> None:
        """A worker took a message."""
        self.taken.add(at)
        self.touch()

    def starts(self) -> None:
        """A task of it was started."""
        self.started += 1
        self.touch()

    def sends(self, at: float) -> None:
        """Somebody told that they sent a message to it."""
        self.sent.add(at)
        self.touch()

    def measured(self, queue: Queue, at: float) -> None:
        """One source has looked at it."""
        self._merged = None
        self.touch()
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
            self.touch()

    def merged_until(self) -> float:
        """When the management API's word will not count any more."""
        return self._extra_at + EXTRA_FOR if self.extra is not None else float("inf")

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
        self.touched: list[QueueRecord] = []
        """Of which something was heard since the last picture."""
        self.removed: list[QueueRecord] = []
        self.note: str | None = None
        self.leftovers: int | None = None

    def record(self, name: str, at: float, how: str | None = None) -> QueueRecord | None:
        """The one of ``name``, known from now on; ``None`` when there are too many."""
        found = self.records.get(name)
        if found is None:
            if len(self.records) >= MOST:
                return None
            found = self.records[name] = QueueRecord(name, at, self.touched)
            found.touch()
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

    def listed(self, reply: TasksListed) -> None:
        """A worker told what it holds, which may be of what the management API does not count yet."""
        for item in reply.tasks:
            if item.queue is not None and (record := self.records.get(item.queue)) is not None:
                record.touch()

    def forget(self, now: float) -> None:
        """Drop what is over."""
        for name in [name for name, record in self.records.items() if record.forgettable(now)]:
            self.removed.append(self.records.pop(name))

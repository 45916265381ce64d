"""Queue lengths when the broker is Redis: every list of every queue in one round trip."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from math import inf
from operator import itemgetter
from typing import Any

import msgspec

from celerytop.model.address import BrokerSettings
from celerytop.model.observation import Observation, QueueSampled, QueuesMeasured
from celerytop.model.queue import Message, Queue
from celerytop.sources.base import Interest
from celerytop.sources.redis.lengths import ListLengths, Measured, Waiting
from celerytop.sources.redis.names import Known, QueueNames, list_key
from celerytop.sources.redis.pipeline import Command, Pipeline, whole
from celerytop.sources.redis.sample import QueueSampler
from celerytop.sources.redis.unacked import EVERY, EVERY_ELSEWHERE, UnackedHash
from celerytop.sources.wire_message import decode_message

LOOKS_PER_POLL = 4
"""Queues whose first and last message are read in a poll, about 8 kB; new ones first, then the longest not seen."""
FIRST_LOOKS = 1000
BYTES_A_SECOND = 20_000
"""A queue with big messages is looked into so seldom that it does not cost more than this."""
ENDS_A_SECOND, LENGTHS_A_SECOND, UNUSED_A_SECOND = 5_000, 6_000, 3_000
"""Bytes for all queues together: first and last messages; lengths; asking which of the other priorities' lists exist.
With 1,000 queues the lengths of all are asked every six seconds, and every list has been asked for after 24."""
SLOWEST = 6.0
"""Seconds between two looks, however many queues there are: after eight without news the page is called stale."""
ENDS_SLOWEST = 30.0
"""The same for their messages, however big."""
WEIGH_EVERY = 10.0
MESSAGE_LIMIT = 1 << 20
"""Messages bigger than this on average are left alone."""
SAMPLE_EVERY = 2.0
JITTER = 0.1
"""Seconds by which a poll may come early."""


class _Ends(msgspec.Struct):
    """What was seen at a queue's ends."""

    head: Message | None = None
    tail: Message | None = None
    memory: int | None = None
    weighed_at: float = 0.0
    looked_at: float = -1.0
    due_at: float = 0.0


class RedisQueues:
    """Satisfies ``Probe``."""

    name = "queues"

    def __init__(self, settings: BrokerSettings, pipeline: Pipeline) -> None:
        self.every = 1.0
        self._settings = settings
        self._pipeline = pipeline
        self._interest = Interest()
        self._sampler = QueueSampler(settings, pipeline)
        self._sampled_at = 0.0
        self._ends: dict[str, _Ends] = {}
        self._first = True
        self._spacing = 1.0
        """Seconds between two looks at all lengths."""
        self._measured_at = self._ends_due_at = 0.0
        self._waited = 0.0
        self.names = QueueNames(settings, pipeline)
        self._unacked = UnackedHash(settings, pipeline, self.names)
        self._lengths = ListLengths(settings, pipeline, self.names)

    @property
    def took(self) -> float:
        """See ``Probe``."""
        return self._pipeline.waited - self._waited

    def attend(self, interest: Interest) -> None:
        """Slower when nobody looks at queues, and with very many of them."""
        if (interest.queue, interest.peek_from) != (self._interest.queue, self._interest.peek_from):
            self._sampled_at = 0.0  # another page, or another queue, is looked at: at once
        self._interest = interest
        base = 1.0 if interest.page in ("queues", "all") or interest.queue else 2.0
        self._spacing = min(base * max(1.0, self._lengths.weight / LENGTHS_A_SECOND), SLOWEST)
        self.every = base if interest.queue else self._spacing  # its messages are looked at meanwhile

    def reset(self) -> None:
        """Look for everything anew: after a connect."""
        self.names.reset()
        self._lengths.reset()
        self._first = True

    def poll(self) -> Iterator[Observation]:
        """All queues; and one queue's messages when somebody looks into it."""
        now, self._waited = time.time(), self._pipeline.waited
        self.names.hint(self._interest.queues, now)
        if self._interest.queue is not None:
            self.names.hint((self._interest.queue,), now)
        self.names.look(now, once=self._interest.page == "all", steps=round(self.every))
        queue = self._interest.queue
        if self.every == self._spacing or not 0 <= now - self._measured_at < self._spacing - JITTER:
            self._measured_at = now
            yield self._measure(now)
        if queue is not None and not 0 <= now - self._sampled_at < SAMPLE_EVERY:
            self._sampled_at = now
            key = self.names.find(queue) or queue
            steps, begin = self.names.steps, self._interest.peek_from
            yield QueueSampled(now, self._sampler.sample(key, queue, steps, time.time(), begin))

    # ------------------------------------------------------------------------------------------------ inside
    def _measure(self, now: float) -> QueuesMeasured:
        room = inf if self._interest.page == "all" else UNUSED_A_SECOND * self._spacing
        seen = self._lengths.measure(self._unacked.lengths(), now, room)
        measured_at = time.time()
        # what has emptied is looked at anew as soon as anything waits in it
        self._ends = {key: self._ends.get(key) or _Ends() for key in seen.waiting}
        self._look_at_ends(seen.waiting, now)
        every = EVERY if self._interest.page in ("queues", "all") else EVERY_ELSEWHERE
        count, oldest = seen.also
        unacked = self._unacked.measure(count, oldest, now, every)
        held = self._unacked.by_queue() if unacked is not None else None
        queues = tuple([self._queue(known, seen, held, measured_at) for known, _ in self._lengths.queues])
        self._first = False
        return QueuesMeasured(measured_at, queues, unacked, self.names.leftovers, self._note())

    def _queue(self, known: Known, seen: Measured, held: Mapping[str, int] | None, at: float) -> Queue:
        unacked = held.get(known.name, 0) if held is not None else None
        waiting = seen.waiting.get(known.key)
        if waiting is None:
            messages = None if known.key in seen.refused else 0
            return Queue(
                name=known.name,
                messages=messages,
                unacked=unacked,
                type="list",
                memory=messages,
                known_by=known.by,
                measured_at=at,
            )
        known.seen_at = at  # messages wait in it: it is not forgotten
        ends = self._ends[known.key]
        return Queue(
            name=known.name,
            messages=waiting[0][1] if len(waiting) == 1 else sum(length for _, length in waiting),
            unacked=unacked,
            by_priority=waiting,
            type="list",
            memory=ends.memory,
            head=ends.head,
            tail=ends.tail,
            known_by=known.by,
            measured_at=at,
        )

    def _look_at_ends(self, filled: Waiting, now: float) -> None:
        """Read the first and last message of the queues that are due, the size of their lists first."""
        chosen = self._due(filled, now)
        if not chosen:
            return
        lists = {key: self._lists(key, filled[key]) for key in chosen}
        sizes = self._sizes({key: longest for key, (_, longest, _) in lists.items()}, now)
        commands: list[Command] = []
        for key, (urgent, longest, length) in lists.items():
            if (sizes[key].memory or 0) <= MESSAGE_LIMIT * length:
                alone = longest == urgent and length == 1
                commands += [("LINDEX", urgent, -1), *([] if alone else [("LINDEX", longest, 0)])]
        found = self._pipeline.ask(*commands)
        if not self._first:
            size = sum(len(entry) for entry in found if isinstance(entry, bytes))
            self._ends_due_at = now + min(size / ENDS_A_SECOND, ENDS_SLOWEST)
        replies = dict(zip(commands, found, strict=True))
        for key, (urgent, longest, _) in lists.items():
            head = replies.get(("LINDEX", urgent, -1))
            tail = replies.get(("LINDEX", longest, 0), head)
            _see(sizes[key], self.names[key].name, head, tail, now)

    def _due(self, filled: Iterable[str], now: float) -> list[str]:
        """Queues whose ends are read now, new ones first."""
        if not self._first and self._ends_due_at - ENDS_SLOWEST <= now < self._ends_due_at:
            return []
        due = [key for key in filled if self._ends[key].due_at <= now]
        due.sort(key=lambda key: self._ends[key].looked_at)
        return due[: FIRST_LOOKS if self._first else LOOKS_PER_POLL]

    def _sizes(self, lists: dict[str, bytes], now: float) -> dict[str, _Ends]:
        """MEMORY USAGE of lists not weighed lately: it says whether their messages can be read at all."""
        ends = {key: self._ends[key] for key in lists}
        due = [key for key, seen in ends.items() if now - seen.weighed_at >= WEIGH_EVERY]
        replies = self._pipeline.ask(*(("MEMORY", "USAGE", lists[key]) for key in due))
        for key, reply in zip(due, replies, strict=True):
            ends[key].memory, ends[key].weighed_at = whole(reply), now
        return ends

    def _lists(self, key: str, waiting: tuple[tuple[int, int], ...]) -> tuple[bytes, bytes, int]:
        """(the most urgent list that has any, the longest one, its length)."""
        longest, length = max(waiting, key=itemgetter(1))
        prefix, sep = self._settings.global_keyprefix, self._settings.sep
        return list_key(key, waiting[0][0], prefix, sep), list_key(key, longest, prefix, sep), length

    def _note(self) -> str | None:
        missing = [
            f"+{right}" for right in ("llen", "lindex", "hlen", "zrange", "hget") if not self._pipeline.may(right)
        ]
        told = [f"not allowed: needs {', '.join(missing)}" if missing else None, self.names.note()]
        return "; ".join(sentence for sentence in told if sentence) or None


def _see(ends: _Ends, name: str, head: Any, tail: Any, now: float) -> None:
    """Take in what was read; big messages are read again the later."""
    raw = [entry if isinstance(entry, bytes) else None for entry in (head, tail)]
    ends.head, ends.tail = (decode_message(entry, name) if entry is not None else None for entry in raw)
    ends.looked_at = now
    ends.due_at = now + sum(len(entry) for entry in raw if entry is not None) / BYTES_A_SECOND

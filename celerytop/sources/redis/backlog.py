"""What was read and not looked at yet: bounded, so that a storm is thinned here and never by Redis' output buffer.

Redis cuts a subscriber off that lets more than 32 MB wait, or 8 MB for a minute; so the socket is always emptied first,
which costs a tenth of folding. What then waits here is looked at oldest first. When it is too much, what only says that
a task has come or begun goes first, then what ends a task, oldest first. What workers say of themselves goes last: one
event in a hundred, without which all of them would be called silent.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import redis

ROOM = 16 << 20
"""Bytes that may wait: some 30,000 events, a fifth of a second of folding."""
SLICE = 256 * 1024
"""Bytes that are folded at once: about 450 events, some milliseconds."""
_TELLS = 256
"""Events of workers that are folded at once, of those that were spared when all around them was dropped."""
_BEGIN, _END, _WORKER = range(3)
"""What goes first, later and last."""
_KINDS = {
    **dict.fromkeys(("sent", "received", "started"), _BEGIN),
    **dict.fromkeys(("succeeded", "failed", "retried", "revoked", "rejected", "cancelled"), _END),
}
UNREAD, OTHER = "unread", "other"
"""Stand for the kinds of what lies in a list that was never opened, and of types that are not Celery's."""
_USUAL_SIZE = 600.0
_CHANNELS = 4096


class _Kind(NamedTuple):
    """What comes over one channel."""

    name: str
    goes: int
    many: bool
    """Lists of events, which may be of any kind but a worker's."""


class Taken(NamedTuple):
    """The oldest of what waits."""

    payloads: list[bytes]
    thin: bool
    """Of these, only what ends a task or shows a worker should be kept."""
    kinds: Counter[str]
    """Events that were dropped unread: of single ones the true number, of lists as many as have their size."""

    @property
    def dropped(self) -> int:
        """How many in all."""
        return self.kinds.total()


class Backlog:
    """Reads that wait."""

    def __init__(self, bases: Sequence[bytes], room: int = ROOM) -> None:
        """Begin with nothing. ``bases``: the channels, to which Celery adds a routing key."""
        self._bases = tuple(bases)
        self._inside = tuple(base + b"/" for base in bases)
        self._room = room
        self._reads: deque[tuple[int, Sequence[Any]]] = deque()
        self._size = 0
        self._dropped: Counter[str] = Counter()
        self._in_lists = 0.0
        """The part of an event that is left of those dropped in lists."""
        self._spared: deque[tuple[bytes, _Kind]] = deque()
        """Older than all reads."""
        self._spared_size = 0
        self._known: dict[bytes, _Kind | None] = {}
        self._size_of_one = _USUAL_SIZE

    def __len__(self) -> int:
        return len(self._reads) + bool(self._spared)

    @property
    def full(self) -> bool:
        """Some of what waits will be dropped."""
        return self._size > self._room

    @property
    def roomy(self) -> bool:
        """Most of what was read has been looked at."""
        return self._size <= self._room // 2

    @property
    def bare(self) -> bool:
        """Events come over a channel that does not tell of which kind they are (``fanout_patterns=False``)."""
        return any(base in self._known for base in self._bases)

    def add(self, size: int, messages: Sequence[Any]) -> None:
        """Keep what one read of so many bytes has brought."""
        if not messages:
            return
        slices = 1 + size // SLICE
        step = 1 + len(messages) // slices
        for first in range(0, len(messages), step):
            part = messages[first : first + step]
            self._reads.append((size * len(part) // len(messages), part))
            self._size += self._reads[-1][0]
        while self._size > 2 * self._room:
            self._spare(self._pop()[1])

    def take(self) -> Taken:
        """The oldest read. Empty when nothing in it is an event.

        Raises:
            redis.ResponseError: one of the messages is an error.
        """
        if self._spared:
            return Taken(self._some_spared(), False, self._told())
        over = self._size / self._room
        size, messages = self._pop()
        while self._reads and size + self._reads[0][0] <= SLICE:
            more, others = self._pop()
            size, messages = size + more, [*messages, *others]
        if over <= 1.0:
            return Taken(self._payloads(messages), False, self._told())
        payloads = [payload for payload, _ in self._thinned(messages, over)]
        return Taken(payloads, True, self._told())

    def _told(self) -> Counter[str]:
        dropped, self._dropped = self._dropped, Counter()
        return dropped

    def _spare(self, messages: Sequence[Any]) -> None:
        """There is no room for these: all goes but what workers say of themselves, as long as that is little."""
        for payload, kind in self._thinned(messages, 2.0):
            self._spared.append((payload, kind))
            self._spared_size += len(payload)
        while self._spared_size > self._room // 4:
            payload, kind = self._spared.popleft()
            self._spared_size -= len(payload)
            self._dropped[kind.name] += 1

    def _some_spared(self) -> list[bytes]:
        found = [self._spared.popleft()[0] for _ in range(min(_TELLS, len(self._spared)))]
        self._spared_size -= sum(map(len, found))
        return found

    def _pop(self) -> tuple[int, Sequence[Any]]:
        size, messages = self._reads.popleft()
        self._size -= size
        return size, messages

    def learn(self, size: int, events: int) -> None:
        """Of how many events so many bytes were made."""
        if events:
            self._size_of_one = 0.9 * self._size_of_one + 0.1 * size / events

    def _payloads(self, messages: Sequence[Any]) -> list[bytes]:
        known = self._known
        found: list[bytes] = []
        for message in messages:
            if isinstance(message, list) and len(message) == 4:
                channel = message[2]
                if (known[channel] if channel in known else self._look(channel)) is not None:
                    found.append(message[3])
            elif isinstance(message, redis.RedisError):
                raise message
        return found

    def _thinned(self, messages: Sequence[Any], over: float) -> list[tuple[bytes, _Kind]]:
        """What may go goes unread, by its channel; lists too when even thinning them would take too long."""
        found: list[tuple[bytes, _Kind]] = []
        dropped = self._dropped
        for message in messages:
            if isinstance(message, list) and len(message) == 4:
                channel, payload = message[2], message[3]
                kind = self._look(channel)
                if kind is None:
                    continue
                if kind.goes == _WORKER or (over <= 1.5 and kind.many) or (over < 2.0 and kind.goes == _END):
                    found.append((payload, kind))
                elif kind.many:
                    self._count_list(payload)
                else:
                    dropped[kind.name] += 1
            elif isinstance(message, redis.RedisError):
                raise message
        return found

    def _count_list(self, payload: bytes) -> None:
        events = max(1.0, len(payload) / self._size_of_one) + self._in_lists
        self._dropped[UNREAD] += int(events)
        self._in_lists = events % 1.0

    def _look(self, channel: bytes) -> _Kind | None:
        """What it brings; ``None``: another exchange's, whose name ours begins with."""
        if channel not in self._known:
            if len(self._known) >= _CHANNELS:
                self._known.clear()
            ours = channel.startswith(self._inside) or channel in self._bases
            self._known[channel] = _kind(channel, channel in self._bases) if ours else None
        return self._known[channel]


def _kind(channel: bytes, bare: bool) -> _Kind:
    """By the routing key; a channel without one may bring anything.

    >>> _kind(b"/0.celeryev/task.failed", False)
    _Kind(name='task-failed', goes=1, many=False)
    """
    about, _, what = channel.rpartition(b"/")[2].decode("utf-8", "replace").partition(".")
    if bare or (about, what) == ("task", "multi"):
        return _Kind(UNREAD, _BEGIN, True)
    if about == "worker":
        return _Kind(f"worker-{what}" if what in ("heartbeat", "online", "offline") else OTHER, _WORKER, False)
    return _Kind(f"task-{what}" if about == "task" and what in _KINDS else OTHER, _KINDS.get(what, _BEGIN), False)

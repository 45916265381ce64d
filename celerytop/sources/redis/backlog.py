"""What was read and not looked at yet: bounded, so that a storm is thinned here and never by Redis' output buffer.

Redis cuts a subscriber off that lets more than 32 MB wait, or 8 MB for a minute; so the socket is always emptied first,
which costs a tenth of folding. What then waits here is looked at oldest first. When it is too much, what only says that
a task has come or begun goes first; heartbeats and events that end a task go last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import redis

ROOM = 16 << 20
"""Bytes that may wait: some 30,000 events, a fifth of a second of folding."""
SLICE = 256 * 1024
"""Bytes that are folded at once: about 450 events, some milliseconds."""
_ENDS = (b"succeeded", b"failed", b"retried", b"revoked", b"rejected", b"cancelled", b"multi")
_USUAL_SIZE = 600.0
_CHANNELS = 4096


class Taken(NamedTuple):
    """The oldest of what waits."""

    payloads: list[bytes]
    thin: bool
    """Of these, only what ends a task or shows a worker should be kept."""
    dropped: int
    """Events that were dropped unread: of single ones the true number, of lists as many as have their size."""


class Backlog:
    """Reads that wait."""

    def __init__(self, bases: Sequence[bytes], room: int = ROOM) -> None:
        """Begin with nothing. ``bases``: the channels, to which Celery adds a routing key."""
        self._bases = tuple(bases)
        self._inside = tuple(base + b"/" for base in bases)
        self._room = room
        self._reads: deque[tuple[int, Sequence[Any]]] = deque()
        self._size = 0
        self._dropped = 0
        self._known: dict[bytes, bool | None] = {}
        self._size_of_one = _USUAL_SIZE

    def __len__(self) -> int:
        return len(self._reads)

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
            self._dropped += self._thinned(self._pop()[1], 2.0).dropped

    def take(self) -> Taken:
        """The oldest read. Empty when there is none, or nothing in it is an event.

        Raises:
            redis.ResponseError: one of the messages is an error.
        """
        over = self._size / self._room
        size, messages = self._pop()
        while self._reads and size + self._reads[0][0] <= SLICE:
            more, others = self._pop()
            size, messages = size + more, [*messages, *others]
        before, self._dropped = self._dropped, 0
        if over <= 1.0:
            return Taken(self._payloads(messages), False, before)
        payloads, thin, dropped = self._thinned(messages, over)
        return Taken(payloads, thin, dropped + before)

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

    def _thinned(self, messages: Sequence[Any], over: float) -> Taken:
        """What may go goes unread, by its channel; lists too when even thinning them would take too long."""
        found: list[bytes] = []
        dropped = 0.0
        for message in messages:
            if isinstance(message, list) and len(message) == 4:
                channel, payload = message[2], message[3]
                spared = self._look(channel)
                if spared is None:
                    continue
                many = channel.endswith(b"/task.multi") or channel in self._bases
                if over >= 2.0 or (many and over > 1.5):
                    dropped += max(1.0, len(payload) / self._size_of_one) if many else 1.0
                elif spared:
                    found.append(payload)
                else:
                    dropped += 1.0
            elif isinstance(message, redis.RedisError):
                raise message
        return Taken(found, True, round(dropped))

    def _look(self, channel: bytes) -> bool | None:
        """Whether its events are spared for long; ``None``: another exchange's, whose name ours begins with."""
        if channel not in self._known:
            if len(self._known) >= _CHANNELS:
                self._known.clear()
            ours = channel.startswith(self._inside) or channel in self._bases
            key = channel.rpartition(b"/")[2]
            spared = channel in self._bases or key.startswith(b"worker.") or key.endswith(_ENDS)
            self._known[channel] = spared if ours else None
        return self._known[channel]

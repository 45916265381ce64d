"""Celery's events when the broker is Redis: a plain PSUBSCRIBE, which leaves nothing behind and touches no key."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import msgspec
import redis

from celerytop.errors import DeniedError
from celerytop.model.address import BrokerSettings
from celerytop.model.observation import EventsReceived
from celerytop.sources.redis.backlog import ROOM, Backlog
from celerytop.sources.redis.channels import channels, literal
from celerytop.sources.redis.connection import connect, db_of, translated
from celerytop.sources.redis.failure import mute, place, user_of
from celerytop.sources.redis.stream import Stream
from celerytop.sources.wire import Decoder

QUIET = 1.5
"""Seconds of silence after which the server is asked for a sign of life."""
PATIENCE = 6.0
"""Seconds of silence after which it is called frozen."""
GATHER, LONGEST = 0.003, 0.03
"""Seconds to let events gather, in a storm and in a slow stream: every wake-up costs as much as 20 events."""
_TOGETHER = 50
"""Events that are worth a wake-up."""
TELL_EVERY = 0.2
"""Seconds between two words on what was dropped."""
FULL = 64 * 1024
"""Bytes: a read that brings less has nearly emptied the socket."""
_AT_ONCE = 0.001
"""Seconds to wait for what is there already: TLS may hold a part of a record only."""
DRAIN = 64
"""Reads in a row, at most, before some of it is folded: 64 MB."""


class RedisEvents:
    """The stream of events of one cluster."""

    name = "events"

    def __init__(self, settings: BrokerSettings, clock: Callable[[], float] = time.time, room: int = ROOM) -> None:
        """Nothing is opened yet; ``clock`` gives Unix seconds; ``room`` bytes may wait before events are dropped."""
        self._settings = settings
        self._clock = clock
        self._room = room
        self._dropped = 0
        """Events dropped that nobody was told of yet."""
        self._tell_at = 0.0
        self._where = place(settings.address)
        self._bases: tuple[bytes, ...] = ()
        self._stream: Stream | None = None
        self._backlog = Backlog(self._bases, room)

    def observe(self) -> Iterator[EventsReceived | None]:
        """Subscribe and yield batches; ``None`` is a sign of life of the server.

        Raises:
            DeniedError: this account may not listen.
            BrokerError: the server cannot be reached, has hung up, or is silent.
        """
        client = connect(self._settings.address)
        stream = self._stream = Stream(client)
        named = channels(self._settings, self._settings.event_exchange, db_of(client))
        self._bases = tuple(name.encode() for name in named)
        try:
            with translated(self._settings.address):
                self._backlog = self._subscribe(stream)
                yield None
                yield from self._batches(stream, self._backlog)
        finally:
            self._stream = None
            stream.close()

    def drain(self) -> None:
        """Empty the socket, so that Redis does not cut us off while a picture is made."""
        stream = self._stream
        if stream is not None:
            with contextlib.suppress(redis.RedisError, OSError):  # comes again with the next read
                self._empty(stream, self._backlog)

    def hang_up(self) -> None:
        """End a wait for events at once: whoever quits should not wait for the next one."""
        stream = self._stream
        if stream is not None:
            stream.hang_up()

    def _subscribe(self, stream: Stream) -> Backlog:
        """Subscribe; what came meanwhile.

        An ACL compares patterns as strings: ``&/0.celeryev*`` allows that very pattern and no narrower one.
        """
        for ending in ("*", "/*"):
            patterns = [literal(base.decode()) + ending for base in self._bases]
            try:
                return self._confirmed(stream, patterns)
            except redis.exceptions.NoPermissionError:
                continue
        needs = " ".join(f"&{base.decode()}*" for base in self._bases)
        who = user_of(self._settings.address)
        raise DeniedError(f"user {who} may not listen to events. Needs: +psubscribe {needs}")

    def _confirmed(self, stream: Stream, patterns: list[str]) -> Backlog:
        stream.send("PSUBSCRIBE", *patterns)
        confirmed, backlog = 0, Backlog(self._bases, self._room)
        until = time.monotonic() + PATIENCE
        while confirmed < len(patterns):
            messages = stream.read(max(0.01, until - time.monotonic()))
            if not messages and time.monotonic() >= until:
                raise mute(self._where)
            for one in messages:
                if isinstance(one, redis.RedisError):
                    raise one
                confirmed += isinstance(one, list) and one[0] == b"psubscribe"
            backlog.add(stream.size, [one for one in messages if isinstance(one, list) and len(one) == 4])
        return backlog

    def _batches(self, stream: Stream, backlog: Backlog) -> Iterator[EventsReceived | None]:
        decoder = Decoder()
        wait, gathered = GATHER, 0
        while True:
            if backlog:
                received = self._next(decoder, backlog)
                gathered += len(received.events) if received is not None else 0
                yield received
                if not backlog and not stream.more:
                    wait, gathered = gather(wait, gathered), 0
                    time.sleep(wait)
            if backlog and not stream.more:
                continue
            messages = stream.read(QUIET)
            if stream.size:  # perhaps of a part of a message only
                backlog.add(stream.size, messages)
                self._empty(stream, backlog)
            elif not backlog:
                if time.monotonic() - stream.heard_at >= PATIENCE:
                    raise mute(self._where)
                stream.send("PING")

    def _empty(self, stream: Stream, backlog: Backlog) -> None:
        """Empty the socket before anything is folded: that is what keeps Redis from cutting us off."""
        for _ in range(DRAIN):
            if not stream.more:
                return
            messages = stream.read(_AT_ONCE)
            backlog.add(stream.size, messages)
            if stream.size < FULL:
                return

    def _next(self, decoder: Decoder, backlog: Backlog) -> EventsReceived | None:
        """Decode what has waited longest. Losses are told a few times a second: each time all workers are looked at."""
        payloads, thin, dropped = backlog.take()
        received = decoder.feed_redis(payloads, self._clock(), thin=thin)
        backlog.learn(sum(map(len, payloads)), len(received.events) + received.dropped)
        self._dropped += dropped + received.dropped
        now = time.monotonic()
        if self._dropped and (now >= self._tell_at or not backlog):
            self._tell_at = now + TELL_EVERY
            told, self._dropped = self._dropped, 0
            return msgspec.structs.replace(received, dropped=told)
        if not (received.events or received.bad or received.other):
            return None
        return msgspec.structs.replace(received, dropped=0) if received.dropped else received


def gather(before: float, events: int) -> float:
    """Seconds to wait now that ``events`` came after the last wait of ``before`` seconds.

    1,000 events/s are read 33 times a second instead of 290, for a third of the CPU; a picture is taken twice a second.

    >>> gather(0.003, 10), gather(0.02, 10), gather(0.02, 100), gather(0.02, 10_000)
    (0.006, 0.03, 0.01, 0.003)
    """
    return max(GATHER, min(LONGEST, 2 * before, before * _TOGETHER / max(1, events)))

"""Celery's events when the broker is Redis: a plain PSUBSCRIBE, which leaves nothing behind and touches no key."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec
import redis

from celerytop.errors import DeniedError
from celerytop.model.address import BrokerSettings
from celerytop.model.observation import EventsReceived
from celerytop.sources.lull import SHORTEST, lull
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
TELL_EVERY = 0.2
"""Seconds between two words on what was dropped."""
FULL = 64 * 1024
"""Bytes: a read that brings less has nearly emptied the socket."""
_AT_ONCE = 0.001
"""Seconds to wait for what is there already: TLS may hold a part of a record only."""
_PART = 0.25
"""Of the time that folding takes, spent on reading when too much comes."""
_LISTS = 1.5
"""Events a message, when most messages are lists."""
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
        self._dropped: Counter[str] = Counter()
        """Events dropped that nobody was told of yet, by kind."""
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
        wait, gathered = SHORTEST, 0
        while True:
            if backlog:
                began = time.monotonic()
                received = self._next(decoder, backlog)
                gathered += len(received.events) if received is not None else 0
                yield received
                self._catch_up(stream, backlog, time.monotonic() - began)
                if not backlog and not stream.more:
                    wait, gathered = lull(wait, gathered), 0
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

    def _catch_up(self, stream: Stream, backlog: Backlog, patience: float) -> None:
        """When too much comes, read on for a part of the time that folding took; 1 ms of silence ends it.

        To empty the socket is not enough then: it holds a few MB, Redis fills it up again 64 KB at a time, and what has
        found no room in it is what cuts us off. Rejected: to do so for as long as the folding took (fewer were cut off
        on a starved machine, and half as many events folded on a quiet one).
        """
        until = time.monotonic() + _PART * patience
        while backlog.full and time.monotonic() < until and stream.arrives(_AT_ONCE):
            messages = stream.read(_AT_ONCE)
            backlog.add(stream.size, messages)

    def _next(self, decoder: Decoder, backlog: Backlog) -> EventsReceived | None:
        """Decode what has waited longest. Losses are told a few times a second: each time all workers are looked at."""
        payloads, thin, unread = backlog.take()
        received = decoder.feed_redis(payloads, self._clock(), thin=thin)
        events = len(received.events) + received.dropped
        if events > _LISTS * len(payloads):  # a heartbeat comes alone, and its envelope would count as its own
            backlog.learn(sum(map(len, payloads)), events)
        self._dropped.update(unread)
        self._dropped.update(received.dropped_by_kind)
        now = time.monotonic()
        if self._dropped and (now >= self._tell_at or not backlog):
            self._tell_at = now + TELL_EVERY
            told, self._dropped = self._dropped, Counter()
            return msgspec.structs.replace(received, dropped=told.total(), dropped_by_kind=told)
        if not (received.events or received.bad or received.other):
            return None
        return msgspec.structs.replace(received, dropped=0, dropped_by_kind={}) if received.dropped else received

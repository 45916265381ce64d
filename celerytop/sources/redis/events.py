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
from celerytop.sources.redis.narrow import Subscription
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
        self._not_read = 0.0
        """Seconds in which task events were not asked for, that nobody was told of yet."""
        self._tell_at = 0.0
        self._flooded = False
        """More came than could be read when the last stream ended."""
        self._where = place(settings.address)
        self._bases: tuple[bytes, ...] = ()
        self._stream: Stream | None = None
        self._asked: Subscription | None = None
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
                asked, self._backlog = self._subscribe(stream)
                self._asked = asked
                if self._flooded:  # whoever was cut off would be so again
                    asked.narrow()
                yield None
                yield from self._batches(asked, self._backlog)
        finally:
            self._flooded = self._asked is not None and (self._asked.behind or self._backlog.full)
            self._stream = self._asked = None
            stream.close()

    def drain(self) -> None:
        """Empty the socket, so that Redis does not cut us off while a picture is made."""
        asked = self._asked
        if asked is not None:
            with contextlib.suppress(redis.RedisError, OSError):  # comes again with the next read
                self._empty(asked, self._backlog)

    def hang_up(self) -> None:
        """End a wait for events at once: whoever quits should not wait for the next one."""
        stream = self._stream
        if stream is not None:
            stream.hang_up()

    def _subscribe(self, stream: Stream) -> tuple[Subscription, Backlog]:
        """Subscribe; to what, and what came meanwhile.

        An ACL compares patterns as strings: ``&/0.celeryev*`` allows that very pattern and no narrower one.
        """
        for ending in ("*", "/*"):
            bases = [base.decode() for base in self._bases]
            patterns = [literal(base) + ending for base in bases]
            try:
                backlog = self._confirmed(stream, patterns)
                return Subscription(stream, patterns, bases), backlog
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

    def _batches(self, asked: Subscription, backlog: Backlog) -> Iterator[EventsReceived | None]:
        decoder, stream = Decoder(), asked.stream
        wait, gathered = SHORTEST, 0
        while True:
            if asked.drained and backlog.roomy:
                asked.look()
            if backlog:
                began = time.monotonic()
                received = self._next(decoder, asked, backlog)
                gathered += len(received.events) if received is not None else 0
                yield received
                self._catch_up(asked, backlog, time.monotonic() - began)
                if not backlog and not stream.more:
                    wait, gathered = lull(wait, gathered), 0
                    time.sleep(wait)
            if not backlog or stream.more:
                self._hear(asked, backlog)
            if not backlog and (lost := self._told(EventsReceived(self._clock(), []), asked, backlog)):
                yield lost

    def _hear(self, asked: Subscription, backlog: Backlog) -> None:
        """Wait for events when there is nothing else to do; ask for a sign of life when none come."""
        stream = asked.stream
        self._take_in(asked, backlog, TELL_EVERY if self._not_read else QUIET)
        if stream.size:  # perhaps of a part of a message only
            self._empty(asked, backlog)
        elif not backlog:
            if time.monotonic() - stream.heard_at >= PATIENCE:
                raise mute(self._where)
            stream.send("PING")

    def _take_in(self, asked: Subscription, backlog: Backlog, timeout: float) -> None:
        messages = asked.read(timeout)
        backlog.add(asked.stream.size, messages)

    def _empty(self, asked: Subscription, backlog: Backlog) -> None:
        """Empty the socket before anything is folded: that is what keeps Redis from cutting us off."""
        for _ in range(DRAIN):
            if not asked.stream.more:
                return
            self._take_in(asked, backlog, _AT_ONCE)
            if asked.stream.size < FULL:
                return

    def _catch_up(self, asked: Subscription, backlog: Backlog, patience: float) -> None:
        """When too much comes, read on for a part of the time that folding took; 1 ms of silence ends it.

        To empty the socket is not enough then: it holds a few MB, Redis fills it up again 64 KB at a time, and what has
        found no room in it is what cuts us off. Rejected: to do so for as long as the folding took (fewer were cut off
        on a starved machine, and half as many events folded on a quiet one).
        """
        until = time.monotonic() + _PART * patience
        while backlog.full and time.monotonic() < until and asked.stream.arrives(_AT_ONCE):
            self._take_in(asked, backlog, _AT_ONCE)

    def _next(self, decoder: Decoder, asked: Subscription, backlog: Backlog) -> EventsReceived | None:
        """Decode what has waited longest."""
        payloads, thin, unread = backlog.take()
        received = decoder.feed_redis(payloads, self._clock(), thin=thin)
        events = len(received.events) + received.dropped
        if events > _LISTS * len(payloads):  # a heartbeat comes alone, and its envelope would count as its own
            backlog.learn(sum(map(len, payloads)), events)
        self._dropped.update(unread)
        self._dropped.update(received.dropped_by_kind)
        return self._told(received, asked, backlog)

    def _told(self, received: EventsReceived, asked: Subscription, backlog: Backlog) -> EventsReceived | None:
        """With what was lost. That is told a few times a second: each time all workers are looked at."""
        told, not_read, now = Counter[str](), 0.0, time.monotonic()
        deaf = asked.deaf or (backlog.bare and not asked.wide)
        self._not_read += asked.not_read()
        if (self._dropped or self._not_read) and (now >= self._tell_at or not (backlog or self._not_read)):
            self._tell_at = now + TELL_EVERY
            told, self._dropped = self._dropped, told
            not_read, self._not_read = self._not_read, not_read
        if not (received.events or received.bad or received.other or told or not_read):
            return None
        if not (told or not_read or received.dropped or deaf):
            return received
        kinds = dict(told)
        lost = {"dropped": told.total(), "dropped_by_kind": kinds, "not_read": not_read, "deaf": deaf}
        return msgspec.structs.replace(received, **lost)

"""Celery's events when the broker is Redis: a plain PSUBSCRIBE, which leaves nothing behind and touches no key."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import redis

from celerytop.errors import DeniedError
from celerytop.model.address import BrokerSettings
from celerytop.model.observation import EventsReceived
from celerytop.sources.redis.channels import channels, literal
from celerytop.sources.redis.connection import connect, db_of, translated
from celerytop.sources.redis.failure import mute, place, user_of
from celerytop.sources.redis.stream import Stream
from celerytop.sources.wire import Decoder

QUIET = 1.5
"""Seconds of silence after which the server is asked for a sign of life."""
PATIENCE = 6.0
"""Seconds of silence after which it is called frozen."""
GATHER = 0.003
"""Seconds to let single events gather, so that a busy stream costs few wake-ups."""


class RedisEvents:
    """The stream of events of one cluster."""

    name = "events"

    def __init__(self, settings: BrokerSettings, clock: Callable[[], float] = time.time) -> None:
        """Nothing is opened yet; ``clock`` gives Unix seconds."""
        self._settings = settings
        self._clock = clock
        self._where = place(settings.address)
        self._bases: tuple[bytes, ...] = ()
        self._inside: tuple[bytes, ...] = ()
        self._stream: Stream | None = None

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
        self._inside = tuple(base + b"/" for base in self._bases)
        try:
            with translated(self._settings.address):
                first = self._subscribe(stream)
                yield None
                yield from self._batches(stream, first)
        finally:
            self._stream = None
            stream.close()

    def hang_up(self) -> None:
        """End a wait for events at once: whoever quits should not wait for the next one."""
        stream = self._stream
        if stream is not None:
            stream.hang_up()

    def _subscribe(self, stream: Stream) -> list[bytes]:
        """Subscribe; events that came meanwhile.

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

    def _confirmed(self, stream: Stream, patterns: list[str]) -> list[bytes]:
        stream.send("PSUBSCRIBE", *patterns)
        confirmed, payloads = 0, list[bytes]()
        until = time.monotonic() + PATIENCE
        while confirmed < len(patterns):
            messages = stream.read(max(0.01, until - time.monotonic()))
            if not messages and time.monotonic() >= until:
                raise mute(self._where)
            confirmed += sum(1 for one in messages if isinstance(one, list) and one[0] == b"psubscribe")
            payloads += self._payloads(messages)
        return payloads

    def _batches(self, stream: Stream, payloads: list[bytes]) -> Iterator[EventsReceived | None]:
        decoder = Decoder()
        heard = time.monotonic()
        while True:
            if payloads:
                yield decoder.feed_redis(payloads, self._clock())
                if not stream.more:
                    time.sleep(GATHER)
            messages = stream.read(QUIET)
            now = time.monotonic()
            if messages:
                heard = now
                payloads = self._payloads(messages)
                if not payloads:
                    yield None
                continue
            payloads = []
            if now - heard >= PATIENCE:
                raise mute(self._where)
            stream.send("PING")

    def _payloads(self, messages: Sequence[Any]) -> list[bytes]:
        """Bodies of those messages that are events; ``/0.celeryev*`` could match a longer name, too.

        Raises:
            redis.ResponseError: one of them is an error.
        """
        found: list[bytes] = []
        for message in messages:
            if isinstance(message, list) and len(message) == 4:
                channel = message[2]
                if channel.startswith(self._inside) or channel in self._bases:
                    found.append(message[3])
            elif isinstance(message, Exception):
                raise message
        return found

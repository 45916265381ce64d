"""Celery's events from RabbitMQ: an exclusive queue of our own on the workers' exchange, which we never declare.

The queue is bounded and short-lived, so that a stopped or killed celerytop can never fill the broker: five seconds of
events, ten thousand of them, 16 MB; it goes with the connection.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec
from pika.exceptions import ChannelClosed

from celerytop.errors import BrokerError
from celerytop.model.address import BrokerSettings
from celerytop.model.observation import EventsReceived
from celerytop.sources.lull import SHORTEST, lull
from celerytop.sources.rabbitmq.connection import ANSWER_TIMEOUT, Channel, Link, connect, translated
from celerytop.sources.rabbitmq.failure import NOT_FOUND, frozen
from celerytop.sources.rabbitmq.frames import Deliveries
from celerytop.sources.wire import Decoder

TTL = 5.0
LENGTH, LENGTH_BYTES = 10_000, 16 << 20
ARGUMENTS = {
    "x-message-ttl": int(TTL * 1000),
    "x-expires": 60_000,
    "x-max-length": LENGTH,
    "x-max-length-bytes": LENGTH_BYTES,
    "x-overflow": "drop-head",
}
PLENTY = 64 << 10
"""Bytes read at once that are worth a batch of their own, and a sign of a flood."""
PULSE = 0.5
"""Seconds after which something is yielded even if nothing has come."""
CHECK_EVERY, CHECK_BUSY = 2.0, 0.25
"""Seconds between two looks at our own queue; the answer proves that the broker lives. More often in a flood."""
HEAD_START = 0.02
"""Seconds between asking for our queue after a standstill and reading again, which empties it within a tenth of one."""
FULL = 0.9
"""Part of the queue's limits from which on it counts as full."""
REBIND_EVERY = 30.0
"""Seconds between two bindings: should somebody delete the exchange and a worker declare it anew, ours is gone."""
RETRY_EXCHANGE = 2.0
"""Seconds between two looks for the exchange, which the first worker declares."""
HUNG_UP = "celerytop has hung up"


class RabbitEvents:
    """Every event of the cluster."""

    name = "events"

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self._link: Link | None = None

    def observe(self) -> Iterator[EventsReceived | None]:
        """Connect and yield batches."""
        link = self._link = connect(self._settings)
        try:
            with translated(self._settings.address, link.place, final=True):
                stream = _Stream(link, self._settings)
                while not stream.subscribe():
                    yield from _pause(link, RETRY_EXCHANGE)
                yield None
                while True:
                    yield stream.batch()
        finally:
            self._link = None
            link.close()

    def drain(self) -> None:
        """Nothing to do: what we do not read waits in our queue, which is bounded and drops its oldest."""

    def hang_up(self) -> None:
        """End a wait for events at once: whoever quits should not wait for the next pulse."""
        link = self._link
        if link is not None:
            link.interrupt()


def _pause(link: Link, seconds: float) -> Iterator[None]:
    """Wait, and go on saying that we are here."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        yield None
        link.wait(lambda: link.interrupted, min(left, PULSE))
        if link.interrupted:
            raise BrokerError(HUNG_UP)


class _Stream:
    """One subscription: its queue, its consumer, its watchdog."""

    def __init__(self, link: Link, settings: BrokerSettings) -> None:
        self._link = link
        self._exchange = settings.event_exchange
        self._queue = f"{settings.event_exchange}.ctop.{uuid.uuid4().hex}"
        self._decoder = Decoder()
        self._arrived = Deliveries()
        self._mean = 0.0
        """Bytes of a message in the last batch."""
        self._lull = SHORTEST
        """Seconds to let events gather."""
        self._channel: Channel | None = None
        self._cancelled = False
        self._heard_at = self._turned_at = time.monotonic()
        self._bytes = 0
        self._asked_at: float | None = None
        self._checked_at = self._bound_at = 0.0
        self._overflowed = 0
        self._stood_still = False

    # ------------------------------------------------------------------------------------------- subscribing
    def subscribe(self) -> bool:
        """Consume from now on; ``False`` while there is no exchange, that is: no worker has ever connected."""
        channel = self._link.channel()
        try:
            channel.call(channel.impl.exchange_declare, exchange=self._exchange, passive=True)
        except ChannelClosed as error:
            if error.reply_code != NOT_FOUND:
                raise
            return False
        channel.call(
            channel.impl.queue_declare,
            queue=self._queue,
            exclusive=True,
            auto_delete=True,
            arguments=ARGUMENTS,
        )
        channel.call(channel.impl.queue_bind, queue=self._queue, exchange=self._exchange, routing_key="#")
        channel.impl.add_on_cancel_callback(self._on_cancel)
        channel.call(
            channel.impl.basic_consume,
            queue=self._queue,
            on_message_callback=self._on_event,
            auto_ack=True,
            exclusive=True,
        )
        channel.show(self._arrived)
        self._channel = channel
        self._heard_at = self._turned_at = self._checked_at = self._bound_at = time.monotonic()
        return True

    def _on_event(self, _channel: Any, _method: Any, _properties: Any, body: bytes) -> None:
        self._arrived.add(body)

    def _on_cancel(self, _frame: Any) -> None:
        self._cancelled = True

    # ------------------------------------------------------------------------------------------------ reading
    def batch(self) -> EventsReceived | None:
        """What has come since the last call, or ``None`` after half a second of silence.

        Raises:
            BrokerError: frozen, cut, or our queue was taken away.
        """
        still = time.monotonic() - self._turned_at
        if still > CHECK_BUSY:  # starved, or stopped by Ctrl-Z
            self._stood_still |= still > TTL
            self._check(time.monotonic())
            self._link.flush()
            time.sleep(HEAD_START)
        if self._link.wait(lambda: self._arrived.bodies or self._broken(), PULSE) and not self._plenty():
            time.sleep(self._lull)  # in the kernel less than plenty gathers: larger batches cost less
            self._link.pump()
        self._watch()
        bodies, size = self._arrived.bodies, self._arrived.size
        if not (bodies or self._overflowed):
            return None
        self._arrived.bodies, self._arrived.size = [], 0
        self._mean = size / len(bodies) if bodies else self._mean
        received = self._decoder.feed_amqp(bodies, time.time())
        self._lull = lull(self._lull, len(received.events))
        if self._overflowed:
            received = msgspec.structs.replace(received, dropped=self._overflowed)
            self._overflowed = 0
        return received

    def _plenty(self) -> bool:
        return self._arrived.size >= PLENTY or self._broken()

    def _broken(self) -> bool:
        ended = self._cancelled or self._link.interrupted
        return ended or (self._channel is not None and self._channel.closed)

    # ------------------------------------------------------------------------------------------------ watchdog
    def _watch(self) -> None:
        now = time.monotonic()
        self._turned_at = now
        if self._link.interrupted:
            raise BrokerError(HUNG_UP)
        if self._cancelled:
            raise BrokerError(f"{self._link.place} has taken our event queue away")
        if self._channel is not None:
            self._channel.check()
        if self._link.bytes_in != self._bytes:
            self._bytes, self._heard_at = self._link.bytes_in, now
        if self._asked_at is not None and now - max(self._asked_at, self._heard_at) > ANSWER_TIMEOUT:
            raise frozen(self._link.place)
        pause = CHECK_BUSY if self._plenty() else CHECK_EVERY
        if self._asked_at is None and now - self._checked_at > pause:
            self._check(now)
        if self._asked_at is None and now - self._bound_at > REBIND_EVERY and self._channel is not None:
            self._bound_at = now
            self._link.commands += 1
            self._channel.impl.queue_bind(self._queue, self._exchange, "#", callback=lambda _frame: None)

    def _check(self, now: float) -> None:
        """Ask how long our queue is. The answer comes as soon as the broker lives, in line with the events."""
        if self._channel is None:
            return
        self._asked_at = self._checked_at = now
        self._link.commands += 1
        self._channel.impl.queue_declare(self._queue, passive=True, callback=self._on_checked)

    def _on_checked(self, frame: Any) -> None:
        """A full queue throws its oldest away, so does the time limit: at least one is lost. How many, nobody knows."""
        waiting = frame.method.message_count
        late = self._stood_still or (self._asked_at is not None and time.monotonic() - self._asked_at > TTL)
        full = waiting >= FULL * LENGTH or waiting * self._mean >= FULL * LENGTH_BYTES
        if full or (late and waiting):
            self._overflowed += 1
        self._asked_at, self._stood_still = None, False

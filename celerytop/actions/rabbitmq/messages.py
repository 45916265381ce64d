"""Messages in RabbitMQ's queues: borrowed one by one, and acknowledged only when the dump is on disk.

AMQP cannot remove from the middle, nor look without borrowing. So what is looked at is fetched with manual
acknowledgement: if we die, the broker puts everything back where it was, marked as redelivered. What is meant is then
acknowledged (removed), or published elsewhere and acknowledged in one transaction; the rest is given back, which keeps
its order. Meanwhile no worker sees what we hold.
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pika
from pika.exceptions import AMQPError, ChannelClosed

from celerytop.actions.dump import Kept
from celerytop.actions.messages import MOVED, REMOVED, Found, Original, Post, UnsentError
from celerytop.actions.rabbitmq.content import Gets, Got, get_frame, publish_frames
from celerytop.errors import BrokerError, DeniedError
from celerytop.model.address import BrokerSettings
from celerytop.model.queue import Message
from celerytop.model.text import clean
from celerytop.sources.rabbitmq.connection import ANSWER_TIMEOUT, Channel, Link, translated
from celerytop.sources.rabbitmq.failure import NOT_FOUND, frozen
from celerytop.sources.wire_message import decode_message

HOLD, HOLD_BYTES = 5000, 64 << 20
"""Most that is borrowed at a time."""
PAGE, CHUNK = 100, 100
SHOWN_AGAIN = 1.0
"""Seconds; taking 2,400 back takes RabbitMQ 0.1 to 0.5. Workers may be faster than our look."""
_UNREADABLE = (AMQPError, struct.error, ValueError, TypeError, LookupError, OverflowError, RecursionError)


class RabbitMessages:
    """Satisfies ``Messages`` over a connection it does not own."""

    oldest_first = True
    at_once: int | None = HOLD
    remembers = False

    def __init__(self, settings: BrokerSettings, link: Link) -> None:
        """Nothing is opened yet."""
        self._settings = settings
        self._link = link
        self._channel: Channel | None = None
        self._gets = Gets()
        self._returned = 0
        self._queue, self._lent = "", 0
        """What was borrowed from where."""

    def identity(self) -> tuple[str, str | None]:
        """See ``Messages``."""
        return self._settings.address.url, None

    def count(self, queue: str) -> int | None:
        """See ``Messages``: ready ones."""
        with translated(self._settings.address, self._link.place):
            channel = self._link.channel()
            try:
                return int(channel.call(channel.impl.queue_declare, queue=queue, passive=True).message_count)
            except ChannelClosed as error:
                if error.reply_code == NOT_FOUND:
                    return None
                raise
            finally:
                channel.close()

    def walk(self, queue: str, most: int | None = None) -> Iterator[list[Found]]:
        """See ``Messages``: oldest first; no more than may be held."""
        left, size = min(HOLD if most is None else most, HOLD), 0
        self._queue, self._lent = queue, 0
        with translated(self._settings.address, self._link.place):
            channel = self._opened()
        while left > 0 and size < HOLD_BYTES:
            page = self._get(channel, queue, min(left, PAGE))
            if not page:
                return
            left -= len(page)
            size += sum(len(got.body) for got in page)
            self._lent += len(page)
            yield [_found(got, queue) for got in page]
            if self._gets.empty:
                return

    def _get(self, channel: Channel, queue: str, count: int) -> list[Got]:
        """Borrow so many, asked for at once."""
        gets = self._gets = Gets()
        channel.show(gets)
        channel.impl._on_getok_callback = self._on_big  # what is too big for the taker
        channel.send(get_frame(channel.number, queue) * count, count)
        with translated(self._settings.address, self._link.place):
            before = -1
            while len(gets.got) + gets.empty < count:
                if len(gets.got) == before:
                    raise frozen(self._link.place)
                before = len(gets.got)
                self._link.wait(
                    lambda: len(gets.got) + gets.empty >= count or channel.closed,
                    ANSWER_TIMEOUT,
                )
                channel.check()
        return gets.got

    def _on_big(self, channel: Any, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        channel._on_getok_callback = self._on_big
        self._gets.got.append(Got(method.delivery_tag, _encoded(properties), body))

    def take_out(
        self, dump_id: str, queue: str, kept: Sequence[tuple[Kept, int]], to: str | None
    ) -> Iterator[tuple[int, str]]:
        """See ``Messages``: in transactions, so that a kill leaves each message in one place."""
        channel = self._opened()
        for at in range(0, len(kept), CHUNK):
            chunk = kept[at : at + CHUNK]
            self._returned = 0
            for one, _ in chunk:
                if to is not None:
                    self._send(channel, to, one.properties or b"\x00\x00", one.raw)
                channel.impl.basic_ack(one.tag)
                self._link.commands += 1
            self._commit(channel)
            self._lent -= len(chunk)
            if self._returned:  # the target vanished meanwhile: they are in the dump alone
                yield len(chunk), REMOVED * len(chunk)
                raise BrokerError(f"the queue {clean(to or '', 200)} has vanished; restore puts the last ones back")
            yield len(chunk), (REMOVED if to is None else MOVED) * len(chunk)

    def release(self) -> None:
        """See ``Messages``; returns when the queue shows them again, or a moment has passed."""
        channel, self._channel = self._channel, None
        if channel is None or not channel.open:
            return
        channel.impl.basic_nack(delivery_tag=0, multiple=True, requeue=True)  # 0: all that are left
        self._link.commands += 1
        self._commit(channel)
        channel.close()
        lent, self._lent = self._lent, 0
        until, before = time.monotonic() + SHOWN_AGAIN, -1
        # a queue answers this question before it has taken all of them back
        while lent > 0 and time.monotonic() < until:
            there = self.count(self._queue) or 0
            if there >= lent or there == before > 0:
                break
            before = there
            self._link.wait(lambda: False, 0.05)

    def last_fate(self, dump_id: str) -> tuple[int, str] | None:
        """A RabbitMQ remembers nothing for us."""
        return None

    def last_put_back(self, dump_id: str) -> int | None:
        """A RabbitMQ remembers nothing for us."""
        return None

    def forget(self, dump_id: str) -> None:
        """Nothing was remembered."""

    def put_back(self, dump_id: str, queue: str, kept: Sequence[Kept]) -> None:
        """See ``Messages``: at the end of the queue; AMQP knows no other place."""
        self._returned = 0
        try:
            channel = self._opened()
            for one in kept:
                self._send(channel, queue, one.properties or b"\x00\x00", one.raw)
        except BrokerError as error:  # a transaction without its commit: whoever ends it, the broker forgets it
            raise UnsentError(str(error)) from error
        try:
            self._commit(channel)
        except DeniedError as error:  # with the channel the broker has closed what was to be committed
            raise UnsentError(str(error)) from error
        if self._returned:
            raise UnsentError(f"the queue {clean(queue, 200)} has vanished")

    def publish(self, queue: str, post: Post) -> None:
        """See ``Messages``."""
        known = {name: value for name, value in post.properties.items() if name in ("reply_to", "expiration", "type")}
        properties = pika.BasicProperties(
            content_type=post.content_type,
            content_encoding=post.content_encoding,
            headers=post.headers,
            delivery_mode=2,
            priority=post.priority,
            correlation_id=post.task_id,
            **known,
        )
        channel = self._opened()
        self._returned = 0
        self._send(channel, queue, _encoded(properties), post.body)
        self._commit(channel)
        if self._returned:
            raise BrokerError(f"there is no queue {clean(queue, 200)}")

    def read(self, raw: bytes, properties: bytes | None, queue: str | None, source: str) -> Original | None:
        """See ``Messages``."""
        try:
            found = pika.BasicProperties().decode(properties or b"\x00\x00")
        except _UNREADABLE:
            return None
        known = {"reply_to": found.reply_to} if found.reply_to else {}
        kind, coding = str(found.content_type), str(found.content_encoding)
        return Original(dict(found.headers or {}), raw, kind, coding, source, queue, found.priority, known)

    def find(self, task_id: str, queues: Sequence[str], patience: float) -> Original | None:
        """Nothing can be looked at without borrowing it."""
        return None

    def holds(self, queue: str, task_id: str) -> bool | None:
        """Cannot be seen; but the commit of ``publish`` says that the queue has it."""
        return None

    # ------------------------------------------------------------------------------------------------ inside
    def _opened(self) -> Channel:
        """The channel of transactions, opened when needed."""
        if self._channel is None or not self._channel.open:
            with translated(self._settings.address, self._link.place):
                self._channel = channel = self._link.channel()
                channel.call(channel.impl.tx_select)
                channel.impl.add_on_return_callback(self._on_return)
        return self._channel

    def _send(self, channel: Channel, queue: str, properties: bytes, body: bytes) -> None:
        if self._link.blocked:
            reason = clean(self._link.blocked, 64)
            raise BrokerError(f"{self._link.place} has an alarm and takes no messages ({reason})")
        frame_max = int(self._link.impl.params.frame_max)
        channel.send(publish_frames(channel.number, queue, properties, body, frame_max), 1)

    def _commit(self, channel: Channel) -> None:
        with translated(self._settings.address, self._link.place):
            channel.call(channel.impl.tx_commit)

    def _on_return(self, *_: Any) -> None:
        self._returned += 1


def _found(got: Got, queue: str) -> Found:
    return Found(got.body, _message(got, queue), properties=got.properties, tag=got.tag)


def _message(got: Got, queue: str) -> Message | None:
    """Its headers, read as those of a Redis message are: typed and clean."""
    try:
        properties = pika.BasicProperties().decode(got.properties)
    except _UNREADABLE:  # hostile bytes: pika raises whatever it stumbles over
        return None
    try:
        raw = msgspec.json.encode(
            {
                "headers": _plain(properties.headers or {}),
                "properties": {"correlation_id": properties.correlation_id, "priority": properties.priority},
            },
            enc_hook=_known,
        )
    except (TypeError, ValueError, RecursionError):
        return None
    message = decode_message(raw, clean(queue))
    return msgspec.structs.replace(message, size=len(got.body)) if message is not None else None


def _known(value: object) -> object:
    """pika has a kind of int of its own."""
    return int(value) if isinstance(value, int) else str(value)


def _plain(headers: dict[str, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in headers.items() if re.fullmatch(r"\w{1,40}", str(key))}


def _encoded(properties: pika.BasicProperties) -> bytes:
    return b"".join(properties.encode())

"""What RabbitMQ sends by the thousand, read past pika: events, and the lengths of queues.

pika connects, logs in, speaks TLS, beats, opens and closes, and decodes whatever is seldom. For a message it makes
some ten objects in 15 us, half of all that an event costs; a walk over the bytes needs one. So where a channel has a
``Taker``, that is shown the bytes first, and pika gets what it leaves: a message in several body frames or none, a
frame of another channel, a heartbeat, a close. Only whole messages are taken, so pika's own assembling of messages
never sees a part of one.
"""

from __future__ import annotations

import struct
from typing import Any, Protocol

from pika.adapters.select_connection import SelectConnection
from pika.exceptions import InvalidFrameError
from pika.frame import decode_frame

METHOD, HEADER, BODY, END = 1, 2, 3, 0xCE
DELIVER, DECLARE, DECLARE_OK = 0x003C003C, 0x0032000A, 0x0032000B
"""Class and method as one number."""
READ, READ_AT_ONCE = 64 << 10, 256 << 10
"""Bytes of one ``recv``, and of all before the loop looks at its timers again; pika's are 4 and 100 KB."""
_SMALLEST = 8
_frame = struct.Struct(">BHL").unpack_from
"""Kind, channel, size of what follows without the end mark."""
_method = struct.Struct(">BHLL").unpack_from
"""The same and which method."""
_header = struct.Struct(">BHL4xQ").unpack_from
"""The same as the first, and the size of the body; class and weight are skipped, properties follow."""
_two = struct.Struct(">LL").unpack_from
_declare_begin = struct.Struct(">BHLLHB").pack
_DECLARE_END = b"\x01" + bytes(4) + bytes([END])
"""The bits, of which only ``passive`` is set, and an empty table."""


class Taker(Protocol):
    """Takes what it knows from the bytes of one channel."""

    def take(self, data: bytes, at: int, channel: int) -> tuple[int, bool]:
        """Take from ``at`` on, where a method frame of ``channel`` begins.

        Where it stopped; and whether a message begins there whose rest is yet to come.
        """
        ...


class Deliveries:
    """The bodies of messages delivered to a channel's one consumer; nothing else about them matters."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.size = 0
        """Bytes of them."""

    def add(self, body: bytes) -> None:
        """One that pika has put together."""
        self.bodies.append(body)
        self.size += len(body)

    def take(self, data: bytes, at: int, channel: int) -> tuple[int, bool]:
        """Take whole messages with one body frame each. 0.9 us a message."""
        append, size = self.bodies.append, 0
        try:
            while True:
                kind, number, length, method = _method(data, at)
                if method != DELIVER or number != channel or kind != METHOD:
                    return at, False
                header = at + length + 8
                kind, number, length, whole = _header(data, header)
                body = header + length + 8
                if kind != HEADER or number != channel or data[header - 1] != END or not whole:
                    return at, False
                kind, number, length = _frame(data, body)
                if length != whole or kind != BODY or number != channel or data[body - 1] != END:
                    return at, False
                body += 7
                if data[body + length] != END:
                    return at, False
                append(data[body : body + length])
                size += length
                at = body + length + 1
        except (struct.error, IndexError):
            return at, len(data) - at > _SMALLEST + 2 and _method(data, at)[3] == DELIVER
        finally:
            self.size += size


class Lengths:
    """The figures of ``queue.declare-ok``; whose they are follows from the order in which was asked."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []
        """Ready messages, consumers."""

    def take(self, data: bytes, at: int, channel: int) -> tuple[int, bool]:
        """Take whole answers."""
        try:
            while True:
                kind, number, length, method = _method(data, at)
                end = at + length + 7
                if method != DECLARE_OK or number != channel or kind != METHOD or data[end] != END:
                    return at, False
                if length != data[at + 11] + 13:  # a name of some length, and two numbers
                    return at, False
                self.told.append(_two(data, end - 8))
                at = end + 1
        except (struct.error, IndexError):
            return at, False


def passive_declare(channel: int, name: str) -> bytes:
    """Ask for the length of a queue; pika makes the same frame in 12 us.

    >>> passive_declare(1, "mail").hex(" ")
    '01 00 01 00 00 00 10 00 32 00 0a 00 00 04 6d 61 69 6c 01 00 00 00 00 ce'
    """
    named = name.encode("utf-8", "surrogatepass")
    return _declare_begin(METHOD, channel, len(named) + 12, DECLARE, 0, len(named)) + named + _DECLARE_END


class Connection(SelectConnection):  # type: ignore[misc]  # pika has no types
    """pika's connection, with takers."""

    _frame_buffer: bytes
    """pika's: what has arrived of a frame that is not whole."""

    def __init__(self, *args: Any, **words: Any) -> None:
        self.takers: dict[int, Taker] = {}
        """By number of the channel."""
        super().__init__(*args, **words)

    def read_more_at_once(self) -> None:
        """Read events by the hundred, not by the five."""
        if self._transport is not None:  # lost already
            self._transport._MAX_RECV_BYTES, self._transport._MAX_CONSUME_BYTES = READ, READ_AT_ONCE

    def _on_data_available(self, data_in: bytes) -> None:
        """Called by pika with what has arrived.

        Raises:
            InvalidFrameError: no AMQP; pika closes the connection and tells.
        """
        if not self.takers:
            super()._on_data_available(data_in)
            return
        data = self._frame_buffer + data_in
        at = self._walk(data)
        self._frame_buffer = data[at:]
        self.bytes_received += at

    def _walk(self, data: bytes) -> int:
        """Handle every frame that is whole; where the first begins that is not."""
        at, whole, largest = 0, len(data), self.params.frame_max
        while whole - at >= _SMALLEST:
            kind, channel, size = _frame(data, at)
            taker = self.takers.get(channel) if kind == METHOD else None
            if taker is not None:
                begun = at
                at, split = taker.take(data, at, channel)
                if split and _frame(data, at)[2] <= largest and whole - at < 3 * largest:
                    break
                if at > begun:
                    continue
            if size > largest:
                raise InvalidFrameError(f"a frame of {size} bytes, where {largest} were agreed upon")
            end = at + size + _SMALLEST
            if end > whole:
                break
            self._process_frame(decode_frame(data[at:end])[1])
            at = end
        return at

"""Whole messages as AMQP frames: body and properties byte for byte, which pika cannot promise (it encodes no float)."""

from __future__ import annotations

import struct

import msgspec

from celerytop.sources.rabbitmq.frames import BODY, END, HEADER, METHOD

BASIC = 60
GET, PUBLISH = 0x003C0046, 0x003C0028
GET_OK, GET_EMPTY = 0x003C0047, 0x003C0048
_MANDATORY = 1
_frame = struct.Struct(">BHL")
_method = struct.Struct(">BHLL")
_header = struct.Struct(">HHQ")
_tag = struct.Struct(">Q")
_TAIL = bytes([END])


class Got(msgspec.Struct, frozen=True, gc=False):
    """One message that was lent to us."""

    tag: int
    properties: bytes
    body: bytes


class Gets:
    """Takes the answers to ``basic.get`` on one channel."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.empty = 0
        """How often the queue had nothing."""

    def take(self, data: bytes, at: int, channel: int) -> tuple[int, bool]:
        """See ``Taker``: whole messages only."""
        try:
            while True:
                kind, number, size, method = _method.unpack_from(data, at)
                if kind != METHOD or number != channel or method not in (GET_OK, GET_EMPTY):
                    return at, False
                after = at + 8 + size
                if after > len(data):
                    return at, True
                if method == GET_EMPTY:
                    self.empty += 1
                    at = after
                    continue
                content = _content(data, after)
                if content is None:
                    return at, True
                properties, body, end = content
                self.got.append(Got(_tag.unpack_from(data, at + 11)[0], properties, body))
                at = end
        except struct.error:
            return at, False


def _content(data: bytes, at: int) -> tuple[bytes, bytes, int] | None:
    """(properties, body, where the next frame begins); ``None``: not all of it is here yet."""
    if len(data) < at + 19:
        return None
    kind, _, size = _frame.unpack_from(data, at)
    end = at + 8 + size
    if kind != HEADER or len(data) < end:
        return None
    left = _header.unpack_from(data, at + 7)[2]
    properties, parts = data[at + 19 : end - 1], []
    while left > 0:
        if len(data) < end + 7:
            return None
        kind, _, size = _frame.unpack_from(data, end)
        if kind != BODY or len(data) < end + 8 + size:
            return None
        parts.append(data[end + 7 : end + 7 + size])
        left -= size
        end += 8 + size
    return properties, b"".join(parts), end


def get_frame(channel: int, queue: str) -> bytes:
    """Borrow the next message.

    >>> get_frame(1, "q").hex(" ")
    '01 00 01 00 00 00 09 00 3c 00 46 00 00 01 71 00 ce'
    """
    name = queue.encode()
    return _method_frame(channel, GET, b"\x00\x00" + bytes([len(name)]) + name + b"\x00")


def publish_frames(channel: int, queue: str, properties: bytes, body: bytes, frame_max: int) -> bytes:
    """Publish to a queue by the default exchange; it comes back when there is no such queue."""
    name = queue.encode()
    frames = [_method_frame(channel, PUBLISH, b"\x00\x00\x00" + bytes([len(name)]) + name + bytes([_MANDATORY]))]
    header = _header.pack(BASIC, 0, len(body)) + properties
    frames.append(_frame.pack(HEADER, channel, len(header)) + header + _TAIL)
    most = (frame_max or 131072) - 8
    for at in range(0, len(body), most):
        part = body[at : at + most]
        frames.append(_frame.pack(BODY, channel, len(part)) + part + _TAIL)
    return b"".join(frames)


def _method_frame(channel: int, method: int, arguments: bytes) -> bytes:
    return _method.pack(METHOD, channel, 4 + len(arguments), method) + arguments + _TAIL

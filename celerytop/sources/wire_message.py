"""A task message as it lies in a Redis list or in ``unacked``: its headers, and of a small body what comes after it.

The body may be pickled, compressed or megabytes of arguments, and is skipped as a string; what is shown of
the arguments is ``argsrepr`` and ``kwargsrepr``, which the producer has cut already.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from celerytop.model.queue import Message
from celerytop.sources.wire_fields import decode, flag, integer, is_mapping, moment, name, number, text


class _Headers(msgspec.Struct):
    id: Any = None
    task: Any = None
    root_id: Any = None
    parent_id: Any = None
    group: Any = None
    retries: Any = None
    eta: Any = None
    expires: Any = None
    argsrepr: Any = None
    kwargsrepr: Any = None
    origin: Any = None
    redelivered: Any = None


class _Properties(msgspec.Struct):
    correlation_id: Any = None
    priority: Any = None
    delivery_info: Any = None


class _Message(msgspec.Struct):
    headers: _Headers = msgspec.field(default_factory=_Headers)
    properties: _Properties = msgspec.field(default_factory=_Properties)


class _Properties64(_Properties):
    body_encoding: Any = None


class _Whole(msgspec.Struct):
    headers: _Headers = msgspec.field(default_factory=_Headers)
    properties: _Properties64 = msgspec.field(default_factory=_Properties64)
    body: Any = None


class _Signature(msgspec.Struct):
    task: Any = None
    options: Any = None


class _Embed(msgspec.Struct):
    chain: list[_Signature] | None = None
    chord: _Signature | None = None


SMALL = 16_384
"""Bytes of a message whose body is opened."""
STEPS = 20
"""Further steps that are named."""
_message = msgspec.json.Decoder(_Message)
_whole = msgspec.json.Decoder(_Whole)
_unacked = msgspec.json.Decoder(tuple[_Message, Any, Any])
_unacked_whole = msgspec.json.Decoder(tuple[_Whole, Any, Any])
_body = msgspec.json.Decoder(tuple[msgspec.Raw, msgspec.Raw, _Embed])


def decode_message(raw: bytes, queue: str | None = None, *, whole: bool = False) -> Message | None:
    """Read one entry of a queue list; ``None`` when it is no message of Celery's.

    Args:
        raw: the list entry (LINDEX, LRANGE).
        queue: the queue it lies in, clean.
        whole: open a small body too.
    """
    opened = whole and len(raw) <= SMALL
    message: _Message | _Whole | None = decode(_whole, raw) if opened else decode(_message, raw)
    return None if message is None else _typed(message, queue, len(raw))


def decode_unacked(raw: bytes, reserved_at: float | None = None) -> Message | None:
    """Read one value of ``unacked``, ``[message, exchange, routing_key]``; ``None`` when it is none.

    Args:
        raw: the value (HSCAN, HMGET).
        reserved_at: its score in ``unacked_index``.
    """
    small = len(raw) <= SMALL
    entry: tuple[_Message | _Whole, Any, Any] | None = decode(_unacked_whole, raw) if small else decode(_unacked, raw)
    if entry is None:
        return None
    message, _exchange, routing_key = entry
    return _typed(message, name(routing_key), len(raw), reserved_at)


def _ahead(message: _Whole) -> tuple[tuple[str, ...] | None, str | None]:
    """Steps after it, and the body of its chord: Celery puts both into the third part of a JSON body."""
    body = message.body
    if not isinstance(body, str):
        return None, None
    content = body.encode("utf-8", "replace")
    if message.properties.body_encoding == "base64":
        try:
            content = base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError):
            return None, None
    opened = decode(_body, content)
    if opened is None:
        return None, None
    embed = opened[2]
    steps = (embed.chain or [])[: -STEPS - 1 : -1]  # the last is the next step
    return tuple(name(step.task) or "?" for step in steps), _chord_body(embed)


def _chord_body(embed: _Embed) -> str | None:
    """Of a chain in a chord's header its last step has the body."""
    if embed.chord is not None:
        return name(embed.chord.task)
    for step in embed.chain or ():
        chord = step.options.get("chord") if is_mapping(step.options) else None
        if is_mapping(chord):
            return name(chord.get("task"))
    return None


def _typed(
    message: _Message | _Whole, queue: str | None, size: int, reserved_at: float | None = None
) -> Message | None:
    headers, properties = message.headers, message.properties
    task_id = name(headers.id) or name(properties.correlation_id)  # protocol 1 has its id in the body only
    if task_id is None and not headers.task:
        return None
    route = properties.delivery_info if is_mapping(properties.delivery_info) else {}
    redelivered = flag(headers.redelivered)
    steps, chord_body = _ahead(message) if isinstance(message, _Whole) else (None, None)
    return Message(
        task_id=task_id,
        name=name(headers.task),
        queue=queue or name(route.get("routing_key")),
        root_id=name(headers.root_id),
        parent_id=name(headers.parent_id),
        group=name(headers.group),
        retries=integer(headers.retries),
        eta_at=moment(headers.eta),
        expires_at=moment(headers.expires),
        args=text(headers.argsrepr),
        kwargs=text(headers.kwargsrepr),
        origin=name(headers.origin),
        priority=integer(properties.priority),
        redelivered=flag(route.get("redelivered")) if redelivered is None else redelivered,
        size=size,
        reserved_at=number(reserved_at),
        steps=steps,
        chord_body=chord_body,
    )

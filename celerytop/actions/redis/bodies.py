"""The bodies of certain tasks' messages, where they lie in a Redis: in their queue, or unacked. Nothing is taken."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import redis

from celerytop.model.address import BrokerSettings
from celerytop.sources.redis.connection import translated
from celerytop.sources.wire_fields import decode, is_mapping

UNACKED_LIMIT = 5000
"""Messages of ``unacked`` that are looked at, the newest."""
QUEUE_LIMIT = 10_000
"""Messages of each priority step of a queue that are looked at."""
AT_ONCE = 200
BYTES_LIMIT = 64 * 1024 * 1024
"""Bytes read in all."""


class _Headers(msgspec.Struct):
    id: Any = None


class _Properties(msgspec.Struct):
    body_encoding: Any = None


class _Message(msgspec.Struct):
    body: str = ""
    headers: _Headers = msgspec.field(default_factory=_Headers)
    properties: _Properties = msgspec.field(default_factory=_Properties)


_message = msgspec.json.Decoder(_Message)
_anything: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def bodies(
    client: redis.Redis, settings: BrokerSettings, task_ids: Iterable[str], queues: Iterable[str]
) -> Iterator[tuple[str, bytes]]:
    """(task id, body) of those that were found.

    Raises:
        BrokerError: Redis does not answer, or does not let us look.
    """
    wanted = {task_id.encode(): task_id for task_id in task_ids}
    spent = 0
    with translated(settings.address):
        for raw in _everything(client, settings, queues):
            spent += len(raw)
            if spent > BYTES_LIMIT:
                return
            for marker, task_id in wanted.items():
                if marker in raw and (body := _body(raw, task_id)) is not None:
                    yield task_id, body


def _everything(client: redis.Redis, settings: BrokerSettings, queues: Iterable[str]) -> Iterator[bytes]:
    prefix = settings.global_keyprefix
    index, hash_ = prefix + settings.unacked_index_key, prefix + settings.unacked_key
    tags: Any = client.zrange(index, -UNACKED_LIMIT, -1)
    for at in range(0, len(tags), AT_ONCE):
        found: Any = client.hmget(hash_, tags[at : at + AT_ONCE])
        yield from (raw for raw in found if raw is not None)
    for queue in queues:
        for step in settings.priority_steps:
            key = prefix + (f"{queue}{settings.sep}{step}" if step else queue)
            for at in range(0, QUEUE_LIMIT, AT_ONCE):
                page: Any = client.lrange(key, at, at + AT_ONCE - 1)
                yield from page
                if len(page) < AT_ONCE:
                    break


def _body(raw: bytes, task_id: str) -> bytes | None:
    """Of this message, if it is this task's; in ``unacked`` it is the first of three."""
    if raw[:1] == b"[":
        entry = decode(_anything, raw)
        content = msgspec.json.encode(entry[0]) if isinstance(entry, list) and entry and is_mapping(entry[0]) else b""
    else:
        content = raw
    message = decode(_message, content)
    if message is None or message.headers.id != task_id:
        return None
    if message.properties.body_encoding != "base64":
        return message.body.encode("utf-8", "replace")
    try:
        return base64.b64decode(message.body, validate=True)
    except (binascii.Error, ValueError):
        return None

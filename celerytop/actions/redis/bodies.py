"""The bodies of certain tasks' messages, where they lie in a Redis: in their queue, or unacked. Nothing is taken."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import redis

from celerytop.model.address import BrokerSettings
from celerytop.sources.redis.connection import translated
from celerytop.sources.wire_fields import decode, is_mapping, name

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


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a task's message is."""

    queue: str
    """It lies there, or came from there."""
    taken: bool
    """A worker has it, unacknowledged."""


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
        for _, raw in _everything(client, settings, queues):
            spent += len(raw)
            if spent > BYTES_LIMIT:
                return
            for marker, task_id in wanted.items():
                if marker in raw and (body := _body(raw, task_id)) is not None:
                    yield task_id, body


def located(
    client: redis.Redis, settings: BrokerSettings, task_ids: Iterable[str], queues: Sequence[str], seconds: float
) -> tuple[dict[str, Place], bool]:
    """Task id to where its message is; and whether all messages were looked at.

    Raises:
        BrokerError: Redis does not answer, or does not let us look.
    """
    wanted, ends_at, spent = set(task_ids), time.monotonic() + seconds, 0
    found: dict[str, Place] = {}
    with translated(settings.address):
        whole = _few(client, settings, queues)
        for queue, raw in _everything(client, settings, queues):
            spent += len(raw)
            if spent > BYTES_LIMIT or time.monotonic() > ends_at:
                return found, False
            message, came_from = _message_in(raw)
            if message is not None and isinstance(message.headers.id, str) and message.headers.id in wanted:
                found[message.headers.id] = Place(queue or came_from or "?", taken=queue is None)
    return found, whole


def _few(client: redis.Redis, settings: BrokerSettings, queues: Iterable[str]) -> bool:
    """No more than we look at."""
    pipeline = client.pipeline(transaction=False)
    pipeline.zcard(settings.global_keyprefix + settings.unacked_index_key)
    for queue in queues:
        for step in settings.priority_steps:
            pipeline.llen(_key(settings, queue, step))
    unacked, *lengths = pipeline.execute(raise_on_error=False)
    whole = isinstance(unacked, int) and unacked <= UNACKED_LIMIT
    return whole and all(isinstance(length, int) and length <= QUEUE_LIMIT for length in lengths)


def _key(settings: BrokerSettings, queue: str, step: int) -> str:
    return settings.global_keyprefix + (f"{queue}{settings.sep}{step}" if step else queue)


def _everything(
    client: redis.Redis, settings: BrokerSettings, queues: Iterable[str]
) -> Iterator[tuple[str | None, bytes]]:
    """(queue, message); the queue is ``None`` for what is unacked."""
    prefix = settings.global_keyprefix
    index, hash_ = prefix + settings.unacked_index_key, prefix + settings.unacked_key
    tags: Any = client.zrange(index, -UNACKED_LIMIT, -1)
    for at in range(0, len(tags), AT_ONCE):
        found: Any = client.hmget(hash_, tags[at : at + AT_ONCE])
        yield from ((None, raw) for raw in found if raw is not None)
    for queue in queues:
        for step in settings.priority_steps:
            key = _key(settings, queue, step)
            for at in range(0, QUEUE_LIMIT, AT_ONCE):
                page: Any = client.lrange(key, at, at + AT_ONCE - 1)
                yield from ((queue, raw) for raw in page)
                if len(page) < AT_ONCE:
                    break


def _body(raw: bytes, task_id: str) -> bytes | None:
    """Of this message, if it is this task's; in ``unacked`` it is the first of three."""
    message, _ = _message_in(raw)
    if message is None or message.headers.id != task_id:
        return None
    if message.properties.body_encoding != "base64":
        return message.body.encode("utf-8", "replace")
    try:
        return base64.b64decode(message.body, validate=True)
    except (binascii.Error, ValueError):
        return None


def _message_in(raw: bytes) -> tuple[_Message | None, str | None]:
    """The message, and the routing key that stands beside it where it is unacked: the queue, as Celery routes."""
    if raw[:1] != b"[":
        return decode(_message, raw), None
    entry = decode(_anything, raw)
    if not isinstance(entry, list) or not entry or not is_mapping(entry[0]):
        return None, None
    message = decode(_message, msgspec.json.encode(entry[0]))
    return message, name(entry[2]) if len(entry) > 2 else None

"""What workers have taken and not acknowledged, when the broker is Redis.

``unacked`` holds whole messages and may be huge, so it is never read as a whole: its tags come from ``unacked_index``,
oldest first, and only messages not seen before are fetched. Their order and moment are the index's scores.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from celerytop.model.address import BrokerSettings
from celerytop.model.queue import Message, Unacked
from celerytop.model.text import clean
from celerytop.sources.redis.names import QueueNames
from celerytop.sources.redis.pipeline import Command, Pipeline, answered, whole
from celerytop.sources.wire_message import decode_unacked

LIMIT = 1000
"""Messages looked at, the oldest."""
BYTES_PER_LOOK = 1 << 20
SMALL = 100
"""So few are looked at in every poll."""
EVERY, EVERY_ELSEWHERE = 2.0, 5.0

_route = msgspec.json.Decoder(tuple[msgspec.Raw, str, str])


class UnackedHash:
    """``unacked`` and ``unacked_index`` of this database."""

    def __init__(self, settings: BrokerSettings, pipeline: Pipeline, names: QueueNames) -> None:
        self._pipeline = pipeline
        self._names = names
        self._hash = (settings.global_keyprefix + settings.unacked_key).encode()
        self._index = (settings.global_keyprefix + settings.unacked_index_key).encode()
        self._timeout = settings.visibility_timeout
        self._messages: dict[bytes, Message] = {}
        self._complete = False
        self._looked_at = 0.0

    def lengths(self) -> tuple[Command, Command]:
        """Asked in every poll, with the queues' lengths: how many, and the oldest."""
        return ("HLEN", self._hash), ("ZRANGE", self._index, 0, 0, "WITHSCORES")

    def measure(self, count: Any, oldest: Any, now: float, every: float) -> Unacked | None:
        """Fold the replies to ``lengths``; look into the hash when that is due. ``None``: not allowed to."""
        held = whole(count)
        if held is None:
            return None
        if held == 0:
            self._messages, self._complete = {}, True
        elif held <= SMALL or not 0 <= now - self._looked_at < every:
            self._look(held)
            self._looked_at = now
        scored = _scores(oldest)
        return Unacked(
            count=held,
            oldest_at=scored[0][1] if scored and held else None,
            messages=tuple(self._messages.values()),
            complete=self._complete,
            visibility_timeout=self._timeout,
        )

    def by_queue(self) -> Counter[str] | None:
        """Messages by queue name; ``None`` unless all of them were seen."""
        return Counter(message.queue or "?" for message in self._messages.values()) if self._complete else None

    # ------------------------------------------------------------------------------------------------ inside
    def _look(self, held: int) -> None:
        index, after, size = self._pipeline.ask(
            ("ZRANGE", self._index, 0, LIMIT - 1, "WITHSCORES"),
            ("HLEN", self._hash),
            ("MEMORY", "USAGE", self._hash),
        )
        scores = dict(_scores(index))
        average = (whole(size) or 0) / held
        affordable = min(LIMIT, int(BYTES_PER_LOOK / average)) if average else LIMIT
        new = [tag for tag in scores if tag not in self._messages][:affordable]
        fetched = dict(zip(new, self._pipeline.ask(*(("HGET", self._hash, tag) for tag in new)), strict=True))
        looked: dict[bytes, Message] = {}
        for tag, reserved_at in scores.items():
            if message := self._message(tag, fetched.get(tag), reserved_at):
                looked[tag] = message
        read = all(tag in self._messages or tag in fetched for tag in scores)
        whole_index = len(scores) < LIMIT and min(held, whole(after) or 0) <= len(scores)
        self._complete = read and whole_index and all(answered(value) for value in fetched.values())
        self._messages = looked

    def _message(self, tag: bytes, raw: Any, reserved_at: float) -> Message | None:
        known = self._messages.get(tag)
        if known is not None:  # restored and taken again, it keeps its tag and gets another moment
            moved = known.reserved_at != reserved_at
            return msgspec.structs.replace(known, reserved_at=reserved_at) if moved else known
        if not isinstance(raw, bytes):  # acknowledged meanwhile
            return None
        message = decode_unacked(raw, reserved_at)
        if message is None:
            return None
        queue = self._queue(message.queue, raw)
        return message if queue == message.queue else msgspec.structs.replace(message, queue=queue)

    def _queue(self, routing_key: str | None, raw: bytes) -> str | None:
        """The queue behind an exchange; with Celery's defaults the routing key is the queue."""
        if routing_key is None or self._names.find(routing_key):
            return routing_key
        try:
            _, exchange, key = _route.decode(raw)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return routing_key
        found = self._names.routes.get((exchange, key))
        return clean(found) if found else routing_key


def _scores(reply: Any) -> list[tuple[bytes, float]]:
    """(member, score) of ZRANGE WITHSCORES: pairs in RESP3, flat in RESP2."""
    if not isinstance(reply, list) or not reply:
        return []
    if isinstance(reply[0], list):
        return [(member, float(score)) for member, score in reply]
    return [(member, float(score)) for member, score in zip(reply[::2], reply[1::2], strict=True)]

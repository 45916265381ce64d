"""Give a message of Redis' ``unacked`` hash back to its queue, exactly as a worker of its own would (kombu's QoS)."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import redis

from celerytop.actions.redis.envelope import step_of
from celerytop.actions.redis.scripts import GIVE_BACK
from celerytop.actions.redis.steps import steps_read
from celerytop.errors import BrokerError, DeniedError
from celerytop.model.address import BrokerSettings
from celerytop.model.queue import Message
from celerytop.sources.redis.connection import translated
from celerytop.sources.redis.names import list_key
from celerytop.sources.wire_fields import UNREADABLE, is_mapping
from celerytop.sources.wire_message import decode_unacked

LIMIT = 5000
"""Messages looked at, the oldest."""
PAGE = 100
LOCKED = 60
"""Seconds after which workers may restore again though we were killed. kombu's own lock is called the same."""


class Unacked(msgspec.Struct, frozen=True, eq=False):
    """One message of the hash."""

    tag: bytes
    score: bytes
    raw: bytes
    message: Message
    queues: tuple[str, ...]
    """Where it came from; empty when nothing says so."""


class UnackedMessages:
    """The hash and its index, over a connection it does not own."""

    def __init__(self, settings: BrokerSettings, client: redis.Redis) -> None:
        self._settings = settings
        self._client: Any = client
        prefix = settings.global_keyprefix
        self._hash = (prefix + settings.unacked_key).encode()
        self._index = (prefix + settings.unacked_index_key).encode()
        self._mutex = (prefix + "unacked_mutex").encode()
        self._routes: dict[str, list[tuple[str, str]]] = {}
        self._scripts = True

    def walk(self) -> Iterator[list[Unacked]]:
        """The oldest, page by page."""
        scored = self._ask("ZRANGE", self._index, 0, LIMIT - 1, "WITHSCORES")
        pairs = list(zip(scored[::2], scored[1::2], strict=True))
        for at in range(0, len(pairs), PAGE):
            page = pairs[at : at + PAGE]
            raws = self._ask("HMGET", self._hash, *(tag for tag, _ in page))
            yield [one for (tag, score), raw in zip(page, raws, strict=True) if (one := self._one(tag, score, raw))]

    def _one(self, tag: bytes, score: bytes, raw: bytes | None) -> Unacked | None:
        message = decode_unacked(raw, float(score)) if raw is not None else None
        if message is None or raw is None:
            return None
        try:
            _, exchange, routing_key = json.loads(raw)
        except UNREADABLE:
            return None
        return Unacked(tag, score, raw, message, self._queues(str(exchange or ""), str(routing_key or "")))

    def _queues(self, exchange: str, routing_key: str) -> tuple[str, ...]:
        """As kombu looks it up; of a topic exchange only what is bound by the key itself."""
        if not exchange:
            return (routing_key,) if routing_key else ()
        if exchange not in self._routes:
            key = f"{self._settings.global_keyprefix}_kombu.binding.{exchange}"
            members = [one.decode("utf-8", "replace").split(self._settings.sep) for one in self._ask("SMEMBERS", key)]
            self._routes[exchange] = [(parts[0], parts[-1]) for parts in members if len(parts) == 3]
        return tuple(queue for key, queue in self._routes[exchange] if key == routing_key)

    def bound_nodes(self) -> tuple[str, ...]:
        """Every worker that ever listened to remote control here and did not say goodbye, dead ones too."""
        key = f"{self._settings.global_keyprefix}_kombu.binding.{self._settings.control_exchange}.pidbox"
        found = []
        for member in self._ask("SMEMBERS", key):
            queue = member.decode("utf-8", "replace").split(self._settings.sep)[-1]
            if queue.endswith(suffix := f".{self._settings.control_exchange}.pidbox"):
                found.append(queue.removesuffix(suffix))
        return tuple(found)

    def waiting_clients(self) -> int | None:
        """Connections to this database blocked in BRPOP; one a worker. ``None``: not allowed to look.

        A worker without remote control shows there. Not counted are those whose last command was BRPOP and that do not
        wait now: Flower and others that have asked workers keep such connections.
        """
        try:
            return max(self._blocked(pause) for pause in (0.0, 0.03, 0.05))  # between two BRPOPs it waits for nothing
        except DeniedError:
            return None

    def _blocked(self, pause: float) -> int:
        time.sleep(pause)
        with translated(self._settings.address):
            listed = self._client.client_list()
        db, ours = str(self._settings.address.db), "celerytop"
        waiting = [one for one in listed if one.get("cmd") == "brpop" and "b" in str(one.get("flags"))]
        return len([one for one in waiting if one.get("db") == db and not str(one.get("name", "")).startswith(ours)])

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Keep workers from restoring meanwhile; ``False``: one of them is just doing so."""
        token = uuid.uuid4().hex.encode()
        held = bool(self._ask("SET", self._mutex, token, "NX", "EX", LOCKED))
        try:
            yield held
        finally:
            if held and self._ask("GET", self._mutex) == token:
                self._ask("DEL", self._mutex)

    def give_back(self, one: Unacked) -> bool:
        """Put it where it runs next; ``False``: it was acknowledged, or taken again, meanwhile."""
        payload, priority = _redelivered(one.raw)
        prefix, sep = self._settings.global_keyprefix, self._settings.sep
        steps = {queue: steps_read(self._ask, self._settings, queue) for queue in one.queues}
        lists = [list_key(queue, step_of(priority, steps[queue]), prefix, sep) for queue in one.queues]
        if self._scripts:
            keys = [self._hash, self._index, *lists]
            try:
                return bool(self._ask("EVAL", GIVE_BACK, len(keys), *keys, one.tag, one.raw, one.score, payload))
            except DeniedError:
                self._scripts = False
        return self._watched(one, lists, payload)

    def _watched(self, one: Unacked, lists: Sequence[bytes], payload: bytes) -> bool:
        with translated(self._settings.address), self._client.pipeline(transaction=True) as pipe:
            pipe.hlen(self._hash).execute()  # where MULTI is denied, what follows would be done without it
            for _ in range(100):
                try:
                    pipe.watch(self._hash, self._index)
                    if pipe.hget(self._hash, one.tag) != one.raw or pipe.zscore(self._index, one.tag) is None:
                        return False
                    pipe.multi()
                    pipe.zrem(self._index, one.tag)
                    pipe.hdel(self._hash, one.tag)
                    for key in lists:
                        pipe.rpush(key, payload)
                    pipe.execute()
                    return True
                except redis.WatchError:
                    continue
        raise BrokerError("the hash changes too fast for an account without the right to run scripts. Needs: +eval")

    def holds(self, one: Unacked) -> bool:
        """Whether it is there still."""
        return bool(self._ask("HEXISTS", self._hash, one.tag))

    def _ask(self, *words: Any) -> Any:
        with translated(self._settings.address):
            return self._client.execute_command(*words)


def _redelivered(raw: bytes) -> tuple[bytes, int]:
    """(the message as kombu puts it back, its priority)."""
    payload = json.loads(raw)[0]
    with contextlib.suppress(KeyError, TypeError):
        payload["headers"]["redelivered"] = True
        payload["properties"]["delivery_info"]["redelivered"] = True
    properties = payload.get("properties")
    try:
        priority = int(properties["priority"]) if is_mapping(properties) else 0
    except (KeyError, TypeError, ValueError):
        priority = 0
    return json.dumps(payload).encode(), priority

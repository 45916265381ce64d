"""Messages in Redis lists: looked through without popping, removed by their exact bytes, moved in one step.

A queue is one list for each priority step; kombu pushes on the left and pops on the right. Counted from the left, what
is there only moves further right when something is pushed, so one walk from left to right misses nothing that is there
from begin to end. A message is removed only where its exact bytes are found, or, when a worker was faster, not at all.

So that a kill between the removal and the dump's line about it leaves no doubt, the script that removes writes down, in
the same step, what it removed: ``celerytop.removed.<dump>``, gone when the dump has it, or after a week.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, TypeVar, cast

import redis

from celerytop.actions.dump import Kept
from celerytop.actions.messages import MOVED, REMEMBERED, REMOVED, TAKEN, Found, Original, Post
from celerytop.actions.redis.envelope import envelope, opened, step_of
from celerytop.actions.redis.scripts import PROBE, PUT_BACK, TAKE_OUT
from celerytop.actions.redis.steps import steps_read
from celerytop.errors import BrokerError, DeniedError
from celerytop.model.address import BrokerSettings
from celerytop.model.text import clean
from celerytop.sources.redis.connection import translated
from celerytop.sources.redis.names import list_key
from celerytop.sources.wire_message import decode_message, decode_unacked

PAGE, BYTES_PER_PAGE = 500, 4 << 20
CHUNK = 500
FIRST_BUDGET, BUDGETS, CHUNK_TIME = 100_000, (10_000, 400_000), 0.004
"""Entries passed in one script, 10-90 ns each; so many that the server is held about this long (seconds)."""
CHUNK_BYTES = 1 << 20
TRIES = 200
"""Of a watched transaction: a busy queue changes all the time."""
NEWEST = 200
"""Messages looked at to see one that was just published."""

T = TypeVar("T")


class RedisMessages:
    """Satisfies ``Messages`` over a connection it does not own."""

    oldest_first = False
    at_once = None

    def __init__(self, settings: BrokerSettings, client: redis.Redis) -> None:
        """Nothing is asked yet."""
        self._settings = settings
        self._client: Any = client
        self.steps = tuple(sorted({*range(10), *settings.priority_steps}))
        """Where messages may lie: a cluster's own steps may not be known here, and kombu has ten at most."""
        self._scripts = True
        self._marks: bool | None = None
        self._budget = FIRST_BUDGET

    @property
    def remembers(self) -> bool:
        """See ``Messages``; not where the right to write it down is missing, or the server is full."""
        if self._marks is None:
            try:
                self._marks = bool(self._ask("EVAL", PROBE, 1, self._marker("probe", "")))
            except BrokerError:
                self._marks = False
        return self._marks

    # ------------------------------------------------------------------------------------------------ looking
    def identity(self) -> tuple[str, str | None]:
        """See ``Messages``."""
        with contextlib.suppress(BrokerError):
            server = self._do(lambda client: client.info("server")).get("run_id")
            # another database of the same server, or another prefix, is another broker
            return self._settings.address.url, f"{server}/{self._settings.address.db}/{self._settings.global_keyprefix}"
        return self._settings.address.url, None

    def count(self, queue: str) -> int | None:
        """See ``Messages``; a list that does not exist is an empty one."""
        return sum(cast(int, self._ask("LLEN", self.key(queue, step))) for step in self.steps)

    def key(self, queue: str, step: int) -> bytes:
        """The list of one step."""
        return list_key(queue, step, self._settings.global_keyprefix, self._settings.sep)

    def walk(self, queue: str, most: int | None = None) -> Iterator[list[Found]]:
        """See ``Messages``: newest first, one step after the other."""
        for step in self.steps:
            yield from self._walk(self.key(queue, step), queue, step)

    def _walk(self, key: bytes, queue: str, step: int) -> Iterator[list[Found]]:
        length = cast(int, self._ask("LLEN", key))
        if not length:
            return
        page, start, before = self._page(key, length), 0, list[bytes]()
        while True:
            raws = self._ask("LRANGE", key, start, start + page - 1)
            new = _overlap(before, raws)
            yield [
                Found(raw, decode_message(raw, clean(queue)), step, start + at)
                for at, raw in enumerate(raws[new:], new)
            ]
            if len(raws) < page:
                return
            start, before = start + len(raws), raws
            page = max(1, min(PAGE, BYTES_PER_PAGE * len(raws) // max(1, sum(map(len, raws)))))

    def _page(self, key: bytes, length: int) -> int:
        try:
            size = self._ask("MEMORY", "USAGE", key) or 0
        except DeniedError:
            return 5
        return max(1, min(PAGE, BYTES_PER_PAGE * length // max(1, size)))

    def release(self) -> None:
        """Nothing was lent."""

    # ------------------------------------------------------------------------------------------------ removing
    def take_out(
        self, dump_id: str, queue: str, kept: Sequence[tuple[Kept, int]], to: str | None
    ) -> Iterator[tuple[int, str]]:
        """See ``Messages``."""
        for step, group in groupby(kept, key=lambda one: one[0].step):
            source, target = self.key(queue, step), self.key(to, step) if to is not None else None
            rest = list(group)
            while rest:
                was = self._take_out(dump_id, _chunk(rest), source, target)
                del rest[: len(was)]
                yield len(was), was

    def _take_out(self, dump_id: str, chunk: list[tuple[Kept, int]], source: bytes, target: bytes | None) -> str:
        """The fates of the first of them, one at least."""
        if self._scripts:
            try:
                return self._by_script(dump_id, chunk, source, target)
            except DeniedError:
                self._scripts = False
            except BrokerError as error:
                if "is full" not in str(error) or target is not None:
                    raise
                self._scripts = False  # to remove needs no room, to take note of it does
        if target is not None:
            return "".join(self._watched(one.raw, source, target) for one, _ in chunk)
        with translated(self._settings.address), self._client.pipeline(transaction=False) as pipe:
            for one, depth in chunk:
                pipe.lrem(source, -1 if depth < 0 else 1, cast(Any, one.raw))
            return "".join(REMOVED if count else TAKEN for count in pipe.execute())

    def _by_script(self, dump_id: str, chunk: list[tuple[Kept, int]], source: bytes, target: bytes | None) -> str:
        keys = [source, self._marker("removed", dump_id), *([target] if target is not None else [])]
        grave = b"celerytop.removed." + uuid.uuid4().bytes
        words: list[Any] = [chunk[0][0].n, REMEMBERED, self._budget, grave]
        for one, depth in chunk:
            words += [depth, one.raw]
        begun = time.monotonic()
        was = self._ask("EVAL", TAKE_OUT, len(keys), *keys, *words)
        took = time.monotonic() - begun
        if took > 2 * CHUNK_TIME:
            self._budget = max(BUDGETS[0], self._budget // 2)
        elif took < CHUNK_TIME:
            self._budget = min(BUDGETS[1], self._budget * 2)
        return str(was.decode())

    def _watched(self, raw: bytes, source: bytes, target: bytes) -> str:
        """Move one without a script: nothing happens when the queue has changed between the look and the move."""
        with translated(self._settings.address), self._client.pipeline(transaction=True) as pipe:
            pipe.llen(source).execute()  # where MULTI is denied, what follows would be done without it
            for _ in range(TRIES):
                try:
                    pipe.watch(source)
                    if pipe.execute_command("LPOS", source, raw) is None:
                        return TAKEN
                    pipe.multi()
                    pipe.lrem(source, -1, raw)
                    pipe.lpush(target, raw)
                    pipe.execute()
                    return MOVED
                except redis.WatchError:
                    continue
        raise BrokerError("the queue changes too fast to move anything without the right to run scripts. Needs: +eval")

    def last_fate(self, dump_id: str) -> tuple[int, str] | None:
        """See ``Messages``."""
        found = self._remembered("removed", dump_id)
        first, colon, was = found.partition(":")
        return (int(first), was) if colon else None

    # ------------------------------------------------------------------------------------------------ putting
    def put_back(self, dump_id: str, queue: str, kept: Sequence[Kept]) -> None:
        """See ``Messages``: on the right, where workers pop; remembered where that is allowed.

        Without MULTI: where that is denied, Redis runs what was meant to be inside of it all the same.
        """
        marker = self._marker("restored", dump_id)
        for step, group in groupby(kept, key=lambda one: one.step):
            rest = list(group)
            key, raws = self.key(queue, step), [one.raw for one in rest]
            if self.remembers:
                self._ask("EVAL", PUT_BACK, 2, key, marker, rest[-1].n, REMEMBERED, *raws)
            else:
                self._ask("RPUSH", key, *raws)

    def last_put_back(self, dump_id: str) -> int | None:
        """See ``Messages``."""
        found = self._remembered("restored", dump_id)
        return int(found) if found else None

    def forget(self, dump_id: str) -> None:
        """See ``Messages``."""
        with contextlib.suppress(DeniedError):
            self._ask("DEL", self._marker("removed", dump_id), self._marker("restored", dump_id))

    def _remembered(self, what: str, dump_id: str) -> str:
        try:
            found = self._ask("GET", self._marker(what, dump_id))
        except DeniedError:
            return ""
        return found.decode("ascii", "replace") if found else ""

    def _marker(self, what: str, dump_id: str) -> bytes:
        return f"{self._settings.global_keyprefix}celerytop.{what}.{dump_id}".encode()

    # ------------------------------------------------------------------------------------------------ publishing
    def publish(self, queue: str, post: Post) -> None:
        """See ``Messages``."""
        step = step_of(post.priority or 0, steps_read(self._ask, self._settings, queue))
        self._ask("LPUSH", self.key(queue, step), envelope(queue, post))

    def read(self, raw: bytes, properties: bytes | None, queue: str | None, source: str) -> Original | None:
        """See ``Messages``."""
        return opened(raw, queue, source)

    def find(self, task_id: str, queues: Sequence[str], patience: float) -> Original | None:
        """See ``Messages``."""
        until = time.monotonic() + patience
        for queue in queues:
            for page in self.walk(queue):
                for found in page:
                    if found.message is not None and found.message.task_id == task_id:
                        return opened(found.raw, queue, f"in {clean(queue, 200)}")
                if time.monotonic() > until:
                    return None
        return self._find_unacked(task_id, until)

    def _find_unacked(self, task_id: str, until: float) -> Original | None:
        key, cursor = self._settings.global_keyprefix + self._settings.unacked_key, 0
        while time.monotonic() < until:
            cursor, pairs = self._ask("HSCAN", key, cursor, "COUNT", 50)
            for raw in pairs.values():
                message = decode_unacked(raw)
                if message is not None and message.task_id == task_id:
                    entry, _exchange, routing_key = json.loads(raw)
                    return opened(json.dumps(entry).encode(), routing_key, "unacknowledged: a worker has it, or had it")
            if cursor == 0:
                break
        return None

    def holds(self, queue: str, task_id: str) -> bool | None:
        """See ``Messages``."""
        for step in self.steps:
            for raw in self._ask("LRANGE", self.key(queue, step), 0, NEWEST - 1):
                message = decode_message(raw)
                if message is not None and message.task_id == task_id:
                    return True
        return False

    def _ask(self, *words: Any) -> Any:
        return self._do(lambda client: client.execute_command(*words))

    def _do(self, what: Callable[[Any], T]) -> T:
        with translated(self._settings.address):
            return what(self._client)


def _chunk(rest: list[tuple[Kept, int]]) -> list[tuple[Kept, int]]:
    size, count = 0, 0
    for one, _ in rest[:CHUNK]:
        size += len(one.raw)
        if count and size > CHUNK_BYTES:
            break
        count += 1
    return rest[:count]


def _overlap(before: list[bytes], now: list[bytes]) -> int:
    """How many at the begin of this page were at the end of the one before: so many were pushed in between.

    >>> _overlap([b"a", b"b", b"c"], [b"b", b"c", b"d"]), _overlap([b"a"], [b"b"]), _overlap([b"a", b"a"], [b"a", b"a"])
    (2, 0, 0)
    """
    if not before or not now:
        return 0
    for count in range(min(len(before), len(now)), 0, -1):
        if before[-1] == now[count - 1] and before[-count:] == now[:count]:
            return count if len(set(now[:count])) == count else 0
    return 0

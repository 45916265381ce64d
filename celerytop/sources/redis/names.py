"""Which queues there are on a Redis: also those no worker consumes and nobody told us of.

Redis has no list of queues. A name comes from the settings, from workers and events (``hint``), from kombu's
binding tables ``_kombu.binding.<exchange>``, or from a list that holds task messages. Tables and lists nobody named
are found by a bounded walk over the keys (SCAN, never KEYS), a step per poll; what was found once is remembered.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from celerytop.model.address import BrokerSettings
from celerytop.model.text import clean
from celerytop.sources.redis.pipeline import Command, Pipeline, answered, raise_if_ill, whole
from celerytop.sources.wire_message import decode_message

SCAN_COUNT = 500
"""Keys per SCAN: 0.1-0.4 ms of the server's time on a million keys."""
FIRST_STEPS, FIRST_STEPS_ONCE = 40, 200
"""SCAN calls of the first look, and of the only look of a one-time report."""
FIRST_PATIENCE = 0.4
"""Seconds of a first look, however many steps are left."""
WALK_EVERY = 40.0
TABLE_EVERY = 30.0
TABLES_A_SECOND = 5.0
"""With a thousand of them each is read every 200 s; one that is new, when it is met."""
SHARED, SHARED_EVERY = "celery", 10.0
"""The default exchange: queues of all apps are bound to it, so a new one shows there first."""
TABLES_PER_LOOK = 100
CANDIDATES_PER_LOOK = 20
FORGET_AFTER = 300.0
NAMES_LIMIT = 10_000
MESSAGE_LIMIT = 1 << 20
"""Lists whose entries are bigger on average are not opened."""

TABLES, LISTS = "tables", "lists"


class Known(msgspec.Struct):
    """A queue's name and how we know of it."""

    key: str
    """As Redis has it (undecodable bytes as surrogates), without prefix and priority."""
    name: str
    """Clean, for people."""
    by: tuple[str, ...]
    """In order."""
    seen_at: float


class _Walk(msgspec.Struct):
    kind: str
    cursor: int = 0
    begun: bool = False
    scanned: int = 0
    finished_at: float | None = None
    leftovers: set[bytes] = msgspec.field(default_factory=set)
    own_lists: set[bytes] = msgspec.field(default_factory=set)

    def due(self, now: float) -> bool:
        return self.begun or self.finished_at is None or now - self.finished_at >= WALK_EVERY


class QueueNames:
    """The queues known so far; ``look`` learns more of them."""

    def __init__(self, settings: BrokerSettings, pipeline: Pipeline) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._prefix = settings.global_keyprefix.encode()
        self._sep = settings.sep.encode()
        self._table = f"{settings.global_keyprefix}_kombu.binding."
        self._known: dict[str, Known] = {}
        self._by_name: dict[str, str] = {}
        self._tables: dict[str, float] = {}
        self._candidates: dict[str, None] = {}
        self._refused: dict[str, float] = {}
        self._first = True
        self._walks = (_Walk(TABLES), _Walk(LISTS))
        self._walkable = {TABLES, LISTS}
        self._total: int | None = None
        self.steps: tuple[int, ...] = settings.priority_steps
        self.routes: dict[tuple[str, str], str] = {}
        """(exchange, routing key) to queue, as bound."""
        self._own_lists: set[bytes] = set()
        """Reply lists of celerytops, this one's too, that were there a whole walk ago."""
        self.leftovers: int | None = None
        """Reply queues left by dead clients; ``None`` until the walk has seen all lists."""
        self.changed = True
        """Set when a name or step is added or goes; whoever packs commands by name resets it."""
        self._tables[settings.control_exchange] = self._tables["celery"] = 0.0
        for queue in settings.queues:
            self._learn(queue, "settings", 0.0)

    def __iter__(self) -> Iterator[Known]:
        return iter(self._known.values())

    def __getitem__(self, key: str) -> Known:
        return self._known[key]

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __len__(self) -> int:
        return len(self._known)

    def find(self, name: str) -> str | None:
        """The key of a queue by its clean name."""
        return self._by_name.get(name)

    def reset(self) -> None:
        """Walk anew: another server, or the same one after a restart. Names are kept."""
        self._walks = (_Walk(TABLES), _Walk(LISTS))
        self._walkable = {TABLES, LISTS}
        self._tables = dict.fromkeys(self._tables, 0.0)
        self._first = True

    def hint(self, names: Iterable[str], now: float) -> None:
        """Learn names that workers, events or the settings know."""
        for name in names:
            if key := self._by_name.get(name):
                self._known[key].seen_at = now
            else:
                self._learn(name, "", now)

    def look(self, now: float, once: bool = False, steps: int = 1) -> None:
        """Read the binding tables that are due and walk on, so many SCAN calls if this is not the first look."""
        if self._first:
            steps = FIRST_STEPS_ONCE if once else FIRST_STEPS
        until = time.monotonic() + FIRST_PATIENCE
        commands = [*self._due_tables(now), *self._due_walk(now)]
        while commands:
            self._read(commands, now)
            self._open_candidates(now)
            steps -= 1
            over = steps <= 0 or time.monotonic() > until
            commands = self._due_tables(now) if self._first else []
            commands += [] if over else self._due_walk(now)
            if over and not self._first:
                break
        self._first = False
        self._forget(now)

    def note(self) -> str | None:
        """What could not be looked for, or how far the walk has come; ``None`` when all was seen."""
        missing = [right for right in ("scan", "smembers") if not self._pipeline.may(right)]
        if missing:
            return "queues nobody consumes may be missing: needs +" + ", +".join(missing)
        if any(right.startswith("~") for right in self._pipeline.denied):
            return "some keys may not be read: queues and unacked messages may be missing. Needs: ~*"
        walk = next((walk for walk in self._walks if walk.finished_at is None), None)
        if walk is None or walk.kind not in self._walkable or not self._total:
            return None
        part = min(99, round(100 * walk.scanned / self._total))
        return f"still looking for queues nobody consumes: {part} % of {self._total:,} keys"

    # ------------------------------------------------------------------------------------------------ inside
    def _due_tables(self, now: float) -> list[Command]:
        due = [exchange for exchange, due_at in self._tables.items() if due_at <= now][:TABLES_PER_LOOK]
        every = max(TABLE_EVERY, len(self._tables) / TABLES_A_SECOND)
        for exchange in due:
            self._tables[exchange] = now + (SHARED_EVERY if exchange == SHARED else every)
        return [("SMEMBERS", _raw(self._table + exchange)) for exchange in due]

    def _due_walk(self, now: float) -> list[Command]:
        if not self._pipeline.may("scan"):
            return []
        walk = next((walk for walk in self._walks if walk.due(now) and walk.kind in self._walkable), None)
        if walk is None:
            return []
        what: Command = ("MATCH", _glob(self._table) + "*") if walk.kind == TABLES else ("TYPE", "list")
        size: tuple[Command, ...] = () if walk.begun else (("DBSIZE",),)
        return [*size, ("SCAN", walk.cursor, *what, "COUNT", SCAN_COUNT)]

    def _read(self, commands: list[Command], now: float) -> None:
        if not commands:
            return
        replies = self._pipeline.ask(*commands)
        raise_if_ill(replies)
        for command, reply in zip(commands, replies, strict=True):
            if command[0] == "SMEMBERS":
                self._bound(_text(_bytes(command[1])).removeprefix(self._table), reply, now)
            elif command[0] == "DBSIZE":
                self._total = whole(reply)
            else:
                self._walked(TABLES if command[2] == "MATCH" else LISTS, reply, now)

    def _bound(self, exchange: str, members: Any, now: float) -> None:
        if not answered(members):
            return
        for member in members:
            parts = member.split(self._sep)
            if len(parts) < 3 or not parts[-1] or _hidden(parts[-1], self._settings):
                continue
            queue = _text(parts[-1])
            self.routes[exchange, _text(parts[0])] = queue
            self._learn(queue, "binding", now)

    def _walked(self, kind: str, reply: Any, now: float) -> None:
        if not answered(reply):  # TYPE is Redis 6's; NOPERM is remembered by the pipeline
            self._walkable.discard(kind)
            return
        walk = self._walks[0] if kind == TABLES else self._walks[1]
        walk.cursor, walk.begun = int(reply[0]), True
        walk.scanned += SCAN_COUNT
        for key in reply[1]:
            if kind == TABLES:
                self._met_table(_text(key).removeprefix(self._table))
            else:
                self._met_list(key, walk, now)
        if walk.cursor == 0:
            if kind == LISTS:
                self.leftovers, self._own_lists = len(walk.leftovers), walk.own_lists
            walk.begun, walk.finished_at, walk.scanned = False, now, 0
            walk.leftovers, walk.own_lists = set(), set()

    def _met_table(self, exchange: str) -> None:
        if not (exchange.endswith(".pidbox") or exchange.startswith(self._settings.event_exchange)):
            self._tables.setdefault(exchange, 0.0)

    def _met_list(self, key: bytes, walk: _Walk, now: float) -> None:
        if not key.startswith(self._prefix):
            return
        bare = key.removeprefix(self._prefix)
        if bare.endswith(b".reply.celery.pidbox"):
            mine = bare.startswith(b"celerytop-")  # comes and goes while workers answer: seen twice, nobody reads it
            if not mine or bare in self._own_lists:
                walk.leftovers.add(bare)
            if mine:
                walk.own_lists.add(bare)
            return
        queue, _, step = bare.partition(self._sep)
        if _hidden(queue, self._settings):
            return
        if step and step.isdigit() and len(step) < 4 and int(step) not in self.steps:
            self.steps = tuple(sorted({*self.steps, int(step)}))  # this cluster's own priority_steps
            self.changed = True
        if _text(queue) not in self._known and now >= self._refused.get(_text(bare), 0.0):
            self._candidates[_text(bare)] = None

    def _open_candidates(self, now: float) -> None:
        """Which of the lists met hold task messages? Looks at one entry each, if entries are small."""
        met = list(self._candidates)[:CANDIDATES_PER_LOOK]
        if not met:
            return
        for bare in met:
            del self._candidates[bare]
        keys = [self._prefix + _bytes(bare) for bare in met]
        sizes = self._pipeline.ask(*_interleave(keys))
        small = [
            (bare, key)
            for bare, key, size, length in zip(met, keys, sizes[::2], sizes[1::2], strict=True)
            if (whole(size) or 0) <= MESSAGE_LIMIT * (whole(length) or 1)
        ]
        entries = self._pipeline.ask(*(("LINDEX", key, -1) for _, key in small))
        for (bare, _), entry in zip(small, entries, strict=True):
            message = decode_message(entry) if isinstance(entry, bytes) else None
            if message is not None and message.name is not None:
                self._learn(_text(_bytes(bare).partition(self._sep)[0]), "list", now)
            else:
                self._refused[bare] = now + 10 * WALK_EVERY

    def _learn(self, key: str, by: str, now: float) -> None:
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= NAMES_LIMIT or not key:
                return
            known = self._known[key] = Known(key, clean(key), (), now)
            if by and known.name != key:  # until now hinted by its clean name only
                self._known.pop(known.name, None)
            self._by_name[known.name] = key
            self._tables.setdefault(key, 0.0)  # Celery's default: the exchange is called like the queue
            self.changed = True
        known.seen_at = max(known.seen_at, now)
        if by and by not in known.by:
            known.by = tuple(sorted((*known.by, by)))

    def _forget(self, now: float) -> None:
        over = [k for k in self._known.values() if now - k.seen_at > FORGET_AFTER and "settings" not in k.by]
        for known in over:
            del self._known[known.key]
            self._by_name.pop(known.name, None)
            self._tables.pop(known.key, None)
            self.changed = True
        if len(self._refused) > NAMES_LIMIT:
            self._refused.clear()


def _hidden(queue: bytes, settings: BrokerSettings) -> bool:
    """Celery's own plumbing, which is no queue of tasks."""
    events = settings.event_exchange.encode() + b"."
    return queue.endswith(b".pidbox") or queue.startswith((events, b"_kombu."))


def _interleave(keys: list[bytes]) -> list[Command]:
    return [command for key in keys for command in (("MEMORY", "USAGE", key), ("LLEN", key))]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _bytes(text: str | bytes | int) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogateescape")


_raw = _bytes


def _glob(text: str) -> str:
    r"""Quote ``MATCH``'s own characters.

    >>> _glob("a[1]*")
    'a\\[1\\]\\*'
    """
    return "".join(f"\\{char}" if char in "*?[]\\^" else char for char in text)


def list_key(queue: str, step: int, prefix: str, sep: str) -> bytes:
    r"""The list of one priority step, as kombu names it.

    >>> list_key("celery", 3, "px:", "|"), list_key("celery", 0, "", "|")
    (b'px:celery|3', b'celery')
    """
    return (prefix + (f"{queue}{sep}{step}" if step else queue)).encode("utf-8", "surrogateescape")

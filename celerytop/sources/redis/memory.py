"""Where a Redis' memory is, by class of keys: a bounded walk, only while somebody looks at that page."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec

from celerytop.model.address import BrokerSettings
from celerytop.model.broker import KeyClass, KeyWalk
from celerytop.model.observation import KeysWalked, Observation
from celerytop.model.text import clean
from celerytop.sources.base import Interest
from celerytop.sources.redis.info import parse_info, real
from celerytop.sources.redis.names import QueueNames
from celerytop.sources.redis.pipeline import Command, Pipeline, answered, raise_if_ill, whole

COUNT = 100
STEPS_PER_POLL, POLL_EVERY = 10, 0.5
"""20 SCAN calls a second."""
KEYS_LIMIT = 100_000
AGAIN_AFTER, SMALL_AGAIN_AFTER = 300.0, 30.0
"""Seconds until the next walk; the second: of so few keys that one poll sees them all."""
CPU_LIMIT = 0.5
"""Part of a core: busier than this, Redis is left in peace."""
SAMPLE = 10
"""One of so many keys is measured, where there are many of a kind."""

RESULTS, GROUPS, QUEUES, UNACKED = "results", "groups", "queues", "unacked"
REPLIES, BINDINGS, OTHER = "reply queues", "bindings", "other"


class _Class(msgspec.Struct):
    what: str
    pattern: str
    sampled: bool = True
    """Only one of ten is measured."""
    keys: int = 0
    measured: int = 0
    weight: int = 0
    asked_ttl: int = 0
    forever: int = 0
    biggest: bytes | None = None
    biggest_size: int = 0

    def value(self) -> KeyClass:
        """Extrapolated from the keys that were measured."""
        return KeyClass(
            what=self.what,
            pattern=self.pattern,
            keys=self.keys,
            size=round(self.weight * self.keys / self.measured) if self.measured else 0,
            biggest=clean(self.biggest.decode("utf-8", "replace"), 128) if self.biggest is not None else None,
            biggest_size=self.biggest_size,
            without_ttl=round(self.forever * self.keys / self.asked_ttl) if self.asked_ttl else 0,
        )


class KeyWalkProbe:
    """Satisfies ``Probe``."""

    name = "broker"

    def __init__(self, settings: BrokerSettings, pipeline: Pipeline, names: QueueNames) -> None:
        self.every = 1.0
        self._waited = 0.0
        self._settings = settings
        self._pipeline = pipeline
        self._names = names
        self._watched = False
        self._cpu: tuple[float, float] | None = None
        self._begin()
        self._finished_at: float | None = None

    @property
    def took(self) -> float:
        """See ``Probe``."""
        return self._pipeline.waited - self._waited

    def attend(self, interest: Interest) -> None:
        """Walk only while the page is open."""
        self._watched = interest.page == "broker"
        self.every = POLL_EVERY if self._watched and self._finished_at is None else 1.0

    def reset(self) -> None:
        """Another server, or another life of the same: its cursors mean nothing any more."""
        self._begin()
        self._finished_at = self._cpu = None

    def poll(self) -> Iterator[Observation]:
        """Some steps of the walk."""
        now, self._waited = time.time(), self._pipeline.waited
        if not self._watched:
            return
        if self._finished_at is not None:
            if 0 <= now - self._finished_at < self._rest():
                return
            self._begin()
        yield KeysWalked(now, self._walk(now))

    # ------------------------------------------------------------------------------------------------ inside
    def _begin(self) -> None:
        prefix, settings = self._settings.global_keyprefix, self._settings
        self._classes = {
            RESULTS: _Class(RESULTS, settings.result_prefix + "*"),
            GROUPS: _Class(GROUPS, "celery-taskset-meta-*"),
            QUEUES: _Class(QUEUES, "", sampled=False),
            UNACKED: _Class(UNACKED, f"{prefix}{settings.unacked_key}*", sampled=False),
            REPLIES: _Class(REPLIES, "*.reply.celery.pidbox", sampled=False),
            BINDINGS: _Class(BINDINGS, f"{prefix}_kombu.binding*", sampled=False),
            OTHER: _Class(OTHER, ""),
        }
        self._cursor = 0
        self._scanned = 0
        self._total: int | None = None
        self._finished_at = None

    def _rest(self) -> float:
        """Seconds between two walks."""
        return min(AGAIN_AFTER, SMALL_AGAIN_AFTER) if self._scanned <= STEPS_PER_POLL * COUNT else AGAIN_AFTER

    def _walk(self, now: float) -> KeyWalk:
        info, size = self._pipeline.ask(("INFO", "cpu"), ("DBSIZE",))
        self._total = whole(size)
        busy = self._busy(info, now)
        if busy is not None and busy > CPU_LIMIT:
            return self._value(now, f"waiting: Redis uses {busy:.0%} of a core")
        refusal = None
        for _ in range(STEPS_PER_POLL):
            refusal = self._step()
            if refusal is not None or self._cursor == 0 or self._scanned >= KEYS_LIMIT:
                self._finished_at = now
                break
        return self._value(now, refusal or self._limits())

    def _step(self) -> str | None:
        """100 keys further; a sentence when that is not allowed."""
        (reply,) = self._pipeline.ask(("SCAN", self._cursor, "COUNT", COUNT))
        if isinstance(reply, Exception):
            raise_if_ill([reply])
            return "keys cannot be walked: needs +scan"
        self._cursor = int(reply[0])
        self._scanned += len(reply[1])
        chosen = [(kind, key) for key in reply[1] if (kind := self._met(key)) is not None]
        commands: list[Command] = []
        for _, key in chosen:
            commands += [("MEMORY", "USAGE", key), ("PTTL", key)]
        replies = self._pipeline.ask(*commands)
        for (kind, key), used, ttl in zip(chosen, replies[::2], replies[1::2], strict=True):
            _measured(kind, key, used, ttl)
        return None

    def _met(self, key: bytes) -> _Class | None:
        """Count a key in its class; the class when this key shall be measured."""
        kind = self._classes[self._kind(key)]
        kind.keys += 1
        return kind if not kind.sampled or kind.keys % SAMPLE == 1 else None

    def _kind(self, key: bytes) -> str:
        settings = self._settings
        if settings.result_prefix.encode() in key:  # the backend may have a prefix of its own in front
            return RESULTS
        if b"celery-taskset-meta-" in key:
            return GROUPS
        if key.endswith(b".reply.celery.pidbox"):
            return REPLIES
        prefix = settings.global_keyprefix.encode()
        bare = key.removeprefix(prefix) if key.startswith(prefix) else b""
        if bare.startswith(b"_kombu.binding"):
            return BINDINGS
        unacked = settings.unacked_key.encode()
        if bare in (unacked, settings.unacked_index_key.encode(), unacked + b"_mutex"):
            return UNACKED
        queue = bare.partition(settings.sep.encode())[0].decode("utf-8", "surrogateescape")
        return QUEUES if queue and queue in self._names else OTHER

    def _busy(self, reply: Any, now: float) -> float | None:
        """Part of a core Redis has used since the last poll."""
        if not answered(reply):
            return None
        info = parse_info(reply)
        used = (real(info.get("used_cpu_sys")) or 0.0) + (real(info.get("used_cpu_user")) or 0.0)
        before, self._cpu = self._cpu, (now, used)
        if before is None or now - before[0] < 0.2:
            return None
        return (used - before[1]) / (now - before[0])

    def _limits(self) -> str | None:
        missing = [f"+{right}" for right in ("memory|usage", "pttl") if not self._pipeline.may(*right.split("|"))]
        if missing:
            return f"sizes are not known: needs {', '.join(missing)}"
        if self._finished_at is not None and self._cursor:
            return f"sampled: {self._scanned:,} of {self._total or 0:,} keys"
        return None

    def _value(self, now: float, note: str | None) -> KeyWalk:
        classes = tuple(kind.value() for kind in self._classes.values() if kind.keys)
        done = self._finished_at is not None and self._cursor == 0
        return KeyWalk(now, classes, self._scanned, self._total, done, note)


def _measured(kind: _Class, key: bytes, used: Any, ttl: Any) -> None:
    taken, left = whole(used), whole(ttl)
    if taken is not None:
        kind.measured += 1
        kind.weight += taken
        if taken > kind.biggest_size:
            kind.biggest, kind.biggest_size = key, taken
    if left is not None and left != -2:  # -2: it is gone meanwhile
        kind.asked_ttl += 1
        kind.forever += left == -1

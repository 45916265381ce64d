"""How long every list of every queue is, in one round trip.

A queue is one list for each priority step, and most of them never exist: one EXISTS asks for a thousand of those at
once, and only what exists is asked for its length. Of 20 queues with the usual four steps that is 21 commands instead
of 80, and as exact. Of a thousand queues the names alone are 66 kB: then a part of them is asked for in each look.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from math import inf
from typing import Any

from redis.exceptions import NoPermissionError

from celerytop.model.address import BrokerSettings
from celerytop.sources.redis.names import Known, QueueNames, list_key
from celerytop.sources.redis.pipeline import Command, Packed, Pipeline, answered, raise_if_ill, whole

AT_ONCE = 1000
"""Keys in one EXISTS: 0.1 ms of the server."""
ANSWER = 5
"""Bytes of one: ``:12``."""
REMEMBERED = 60.0
"""Seconds for which a list that has become empty is asked for by itself: it will be filled again."""

Keys = tuple[tuple[int, bytes], ...]
"""(priority step, list) of one queue, the one without a priority first."""


class ListLengths:
    """Asks for them; packs the commands anew only when a name, a right, or what exists has changed."""

    def __init__(self, settings: BrokerSettings, pipeline: Pipeline, names: QueueNames) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._names = names
        self.queues: list[tuple[Known, Keys]] = []
        """What the last ``measure`` asked for."""
        self._filled: dict[bytes, float] = {}
        """Lists of a priority that are asked for by themselves, and when they last held anything."""
        self._packed: Packed | None = None
        self.weight = 0
        """Bytes of the last look both ways, the lists left aside that do not exist."""
        self._room = 0.0
        self._parts: list[tuple[list[bytes], Packed]] = []
        """The lists that are not asked for by themselves, and the EXISTS for them; one part a look."""
        self._part = 0
        self._each = False
        """EXISTS was refused, perhaps for one key of many: every list is asked for by itself."""
        self._single: list[bytes] = []

    def reset(self) -> None:
        """After a connect: what was packed was for another connection."""
        self._packed = None
        self._each = False
        self._names.changed = True

    def measure(
        self, also: Sequence[Command], now: float, room: float = inf
    ) -> tuple[list[Any], dict[str, list[int | None]]]:
        """Ask for ``also`` too, in the same round trip; returns the replies to it, and lengths by key of the queue.

        Args:
            also: other commands.
            now: Unix seconds.
            room: bytes for asking which of the lists exist that are not known to. Names that are new are all asked.

        Raises:
            BrokerError: the connection broke, or the server as a whole is ill.
        """
        everything = self._names.changed or room == inf
        if self._packed is None or everything or room != self._room:
            self._room = room
            self._pack(also)
        assert self._packed is not None
        parts = self._parts if everything else self._turn()
        asked = [self._packed, *(packed for _, packed in parts)]
        sent = Packed(sum(one.count for one in asked), [chunk for one in asked for chunk in one.chunks])
        found = iter(self._pipeline.send(sent))
        held = [next(found) if self._pipeline.may(*command[:1]) else None for command in also]
        lengths = list(islice(found, len(self._single)))
        there = list(found)
        raise_if_ill((*held, *lengths[:1], *there[:1]))
        self._note_denied([*zip(also, held, strict=True), *_first("LLEN", lengths), *_first("EXISTS", there)])
        known = dict(zip(self._single, lengths, strict=False))
        if any(reply != 0 for reply in there):
            known.update(self._look([key for keys, _ in parts for key in keys]))
        if not all(answered(reply) for reply in there):
            self._each, self._packed = True, None
        self._remember(known, now)
        return held, {one.key: _of(known, keys, lengths) for one, keys in self.queues}

    def _pack(self, also: Sequence[Command]) -> None:
        if self._names.changed:
            self._names.changed = False
            prefix, sep = self._settings.global_keyprefix, self._settings.sep
            self.queues = [
                (known, tuple((step, list_key(known.key, step, prefix, sep)) for step in self._names.steps))
                for known in self._names
            ]
        may = self._pipeline.may
        others = [key for _, keys in self.queues for _, key in keys[1:]]
        alone = [key for key in others if key in self._filled] if not self._each else others
        self._single = [*(keys[0][1] for _, keys in self.queues), *alone] if may("LLEN") else []
        seldom = [key for key in others if key not in self._filled] if self._single and not self._each else []
        commands = [command for command in also if may(*command[:1])]
        commands += [("LLEN", key) for key in self._single]
        self._packed = self._pipeline.pack(commands)
        self.weight = sum(map(len, self._packed.chunks)) + ANSWER * len(commands)
        each = _at_once(seldom, self._room)
        parts = [seldom[at : at + each] for at in range(0, len(seldom), each)]
        self._parts = [(part, self._pipeline.pack([("EXISTS", *part)])) for part in parts]

    def _turn(self) -> list[tuple[list[bytes], Packed]]:
        """The part whose turn it is; several, where one is less than what there is room for."""
        many = max(1, int(self._room // (sum(map(len, self._parts[0][1].chunks)) + 1))) if self._parts else 0
        if many >= len(self._parts):
            return self._parts
        self._part = (self._part + many) % len(self._parts)
        return [self._parts[(self._part + more) % len(self._parts)] for more in range(many)]

    def _look(self, keys: list[bytes]) -> dict[bytes, Any]:
        """Lengths of all those lists of which some exist now."""
        return dict(zip(keys, self._pipeline.ask(*(("LLEN", key) for key in keys)), strict=True))

    def _remember(self, known: dict[bytes, Any], now: float) -> None:
        """Ask for what is filled by itself from now on; for what has been empty for a minute no more."""
        usual = {keys[0][1] for _, keys in self.queues}
        fresh = [key for key, length in known.items() if length and whole(length) and key not in usual]
        if any(key not in self._filled for key in fresh):
            self._packed = None
        self._filled.update(dict.fromkeys(fresh, now))
        over = [key for key, at in self._filled.items() if now - at > REMEMBERED]
        for key in over:
            del self._filled[key]
            self._packed = None

    def _note_denied(self, told: Sequence[tuple[Command, Any]]) -> None:
        for command, reply in told:
            if isinstance(reply, NoPermissionError):
                self._pipeline.deny(command, reply)
                self._packed = None  # without it from now on


def _at_once(keys: list[bytes], room: float) -> int:
    """So many keys in one EXISTS: a thousand, or as many as there is room for."""
    size = sum(map(len, keys)) / len(keys) + 7 if keys else 1.0  # $11\r\n and \r\n around each
    return int(max(1.0, min(AT_ONCE, room // size)))


def _first(command: str, replies: list[Any]) -> list[tuple[Command, Any]]:
    return [((command,), replies[0])] if replies else []


def _of(known: dict[bytes, Any], keys: Keys, lengths: list[Any]) -> list[int | None]:
    """Of one queue; a list that was not named by itself does not exist. Nothing at all: not allowed to ask."""
    if not lengths:
        return []
    return [whole(known.get(key, 0)) for _, key in keys]

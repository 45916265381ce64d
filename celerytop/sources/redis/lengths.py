"""How long every list of every queue is, in one round trip.

A queue is one list for each priority step, and most of them never exist: one EXISTS asks for a thousand of those at
once, and only what exists is asked for its length. Of 20 queues with the usual four steps that is 21 commands instead
of 80, and as exact. Of a thousand queues the names alone are 66 kB: then a part of them is asked for in each look.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from math import inf
from typing import Any

import msgspec
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

_LLEN = b"*2\r\n$4\r\nLLEN\r\n"
"""What goes before each key."""

Keys = tuple[tuple[int, bytes], ...]
"""(priority step, list) of one queue, the one without a priority first."""

Waiting = dict[str, tuple[tuple[int, int], ...]]
"""(priority step, messages) of every list that holds any, most urgent first, by key of the queue."""


class Measured(msgspec.Struct, frozen=True):
    """One look at all lists."""

    also: list[Any]
    """Replies to the other commands."""
    waiting: Waiting
    refused: frozenset[str]
    """Keys of the queues of which nothing is known: not allowed to ask."""


class ListLengths:
    """Asks for them; packs the commands anew only when a name, a right, or what exists has changed."""

    def __init__(self, settings: BrokerSettings, pipeline: Pipeline, names: QueueNames) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._names = names
        self.queues: list[tuple[Known, Keys]] = []
        """What the last ``measure`` asked for."""
        self._wire: dict[bytes, bytes] = {}
        """Every list's name as it is sent: with it 1,750 commands are packed in 0.1 ms, by redis-py in 4."""
        self._places: dict[bytes, tuple[str, int]] = {}
        """(key of the queue, priority step) of every list of a priority."""
        self._filled: dict[bytes, float] = {}
        """Lists of a priority that are asked for by themselves, and when they last held anything."""
        self._packed: Packed | None = None
        self.weight = 0
        """Bytes of the last look both ways, the lists left aside that do not exist."""
        self._also: list[Command] = []
        self._room = 0.0
        self._parts: list[tuple[list[bytes], Packed]] = []
        """The lists that are not asked for by themselves, and the EXISTS for them; one part a look."""
        self._part = 0
        self._each = False
        """EXISTS was refused, perhaps for one key of many: every list is asked for by itself."""
        self._alone: list[bytes] = []
        """The lists of a priority that were packed, after the first list of every queue."""

    def reset(self) -> None:
        """After a connect: perhaps other rights."""
        self._packed = None
        self._each = False
        self._names.changed = True

    def measure(self, also: Sequence[Command], now: float, room: float = inf) -> Measured:
        """Ask for ``also`` too, in the same round trip.

        Args:
            also: other commands.
            now: Unix seconds.
            room: bytes for asking which of the lists exist that are not known to. Names that are new are all asked.

        Raises:
            BrokerError: the connection broke, or the server as a whole is ill.
        """
        everything = self._names.changed or room == inf
        allowed = [command for command in also if self._pipeline.may(*command[:1])]
        if self._packed is None or self._names.changed or (allowed, room) != (self._also, self._room):
            self._also, self._room = allowed, room
            self._pack()
        assert self._packed is not None
        parts = self._parts if everything else self._turn()
        found = self._pipeline.send(_joined([self._packed, *(packed for _, packed in parts)]))
        answers = dict(zip(allowed, found, strict=False))
        there = found[self._packed.count :]
        lengths = found[len(allowed) : self._packed.count]
        raise_if_ill((*answers.values(), *lengths[:1], *there[:1]))
        self._note_denied([*answers.items(), *_first("LLEN", lengths), *_first("EXISTS", there)])
        waiting = self._told(lengths, now)
        if any(reply != 0 for reply in there):
            self._look([key for keys, _ in parts for key in keys], waiting, now)
        if not all(answered(reply) for reply in there):
            self._each, self._packed = True, None
        self._forget(now)
        return Measured([answers.get(command) for command in also], waiting, self._refused(lengths))

    def _pack(self) -> None:
        if self._names.changed:
            self._names.changed = False
            self._name()
        may = self._pipeline.may
        self._alone = [key for key in self._places if key in self._filled or self._each]
        single = [*(keys[0][1] for _, keys in self.queues), *self._alone] if may("LLEN") else []
        seldom = [key for key in self._places if key not in self._filled] if single and not self._each else []
        self._packed = _joined([self._pipeline.pack(self._also), self._lengths(single)])
        self.weight = len(self._packed.raw) + ANSWER * self._packed.count
        each = _at_once(seldom, self._room)
        parts = [seldom[at : at + each] for at in range(0, len(seldom), each)]
        self._parts = [(part, self._exists(part)) for part in parts]

    def _name(self) -> None:
        """Name the lists of all queues."""
        prefix, sep, steps = self._settings.global_keyprefix, self._settings.sep, self._names.steps
        self.queues = [
            (known, tuple((step, list_key(known.key, step, prefix, sep)) for step in steps)) for known in self._names
        ]
        self._wire = {key: b"$%d\r\n%b\r\n" % (len(key), key) for _, keys in self.queues for _, key in keys}
        self._places = {key: (known.key, step) for known, keys in self.queues for step, key in keys[1:]}

    def _lengths(self, keys: Sequence[bytes]) -> Packed:
        return Packed(len(keys), b"".join([_LLEN + self._wire[key] for key in keys]))

    def _exists(self, keys: Sequence[bytes]) -> Packed:
        names = b"".join([self._wire[key] for key in keys])
        return Packed(1, b"*%d\r\n$6\r\nEXISTS\r\n%b" % (len(keys) + 1, names))

    def _turn(self) -> list[tuple[list[bytes], Packed]]:
        """The part whose turn it is; several, where one is less than what there is room for."""
        many = max(1, int(self._room // (len(self._parts[0][1].raw) + 1))) if self._parts else 0
        if many >= len(self._parts):
            return self._parts
        self._part = (self._part + many) % len(self._parts)
        return [self._parts[(self._part + more) % len(self._parts)] for more in range(many)]

    def _told(self, lengths: list[Any], now: float) -> Waiting:
        """What was asked for list by list: the first one of every queue, then those of ``_alone``."""
        first = self._names.steps[0]
        waiting: Waiting = {
            known.key: ((first, length),)
            for (known, _), length in zip(self.queues, lengths, strict=False)
            if length and whole(length)
        }
        self._note(self._alone, lengths[len(self.queues) :], waiting, now)
        return waiting

    def _look(self, keys: list[bytes], waiting: Waiting, now: float) -> None:
        """Lengths of all those lists of which some exist now: those are asked for by themselves from now on."""
        self._note(keys, self._pipeline.send(self._lengths(keys)), waiting, now)
        if not self._filled.keys() <= set(self._alone):
            self._packed = None

    def _note(self, keys: list[bytes], lengths: list[Any], waiting: Waiting, now: float) -> None:
        """Put the lengths of lists of a priority to their queues, and remember which hold anything."""
        for key, length in zip(keys, lengths, strict=False):
            if length and whole(length):
                queue, step = self._places[key]
                others = waiting.get(queue)
                waiting[queue] = tuple(sorted((*others, (step, length)))) if others else ((step, length),)
                self._filled[key] = now

    def _refused(self, lengths: list[Any]) -> frozenset[str]:
        told = lengths[: len(self.queues)]
        if told and all(map(answered, told)):
            return frozenset()
        return frozenset(known.key for (known, _), length in zip_longest(self.queues, told) if whole(length) is None)

    def _forget(self, now: float) -> None:
        """Ask no more by itself for what has been empty for a minute."""
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


def _joined(parts: Sequence[Packed]) -> Packed:
    return Packed(sum(part.count for part in parts), b"".join([part.raw for part in parts]))

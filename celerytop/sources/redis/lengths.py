"""How long every list of every queue is, in one round trip.

A queue is one list for each priority step, and most of them never exist: one EXISTS asks for a thousand of those at
once, and only what exists is asked for its length. Of 20 queues with the usual four steps that is 21 commands instead
of 80, and as exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from redis.exceptions import NoPermissionError

from celerytop.model.address import BrokerSettings
from celerytop.sources.redis.names import Known, QueueNames, list_key
from celerytop.sources.redis.pipeline import Command, Packed, Pipeline, answered, raise_if_ill, whole

AT_ONCE = 1000
"""Keys in one EXISTS: 0.1 ms of the server."""
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
        self._each = False
        """EXISTS was refused, perhaps for one key of many: every list is asked for by itself."""
        self._single: list[bytes] = []
        self._others: list[bytes] = []

    def reset(self) -> None:
        """After a connect: what was packed was for another connection."""
        self._packed = None
        self._each = False

    def measure(self, also: Sequence[Command], now: float) -> tuple[list[Any], dict[str, list[int | None]]]:
        """Ask for ``also`` too, in the same round trip; returns the replies to it, and lengths by key of the queue.

        Raises:
            BrokerError: the connection broke, or the server as a whole is ill.
        """
        if self._packed is None or self._names.changed:
            self._pack(also)
        assert self._packed is not None
        found = iter(self._pipeline.send(self._packed))
        held = [next(found) if self._pipeline.may(*command[:1]) else None for command in also]
        lengths = list(islice(found, len(self._single)))
        there = list(found)
        raise_if_ill((*held, *lengths[:1], *there[:1]))
        self._note_denied([*zip(also, held, strict=True), *_first("LLEN", lengths), *_first("EXISTS", there)])
        known = dict(zip(self._single, lengths, strict=False))
        if any(reply != 0 for reply in there):
            known.update(self._look())
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
        self._others = [key for key in others if key not in self._filled] if not self._each else []
        self._single = [*(keys[0][1] for _, keys in self.queues), *alone] if may("LLEN") else []
        if not self._single:
            self._others = []
        chunks = [self._others[at : at + AT_ONCE] for at in range(0, len(self._others), AT_ONCE)]
        commands = [command for command in also if may(*command[:1])]
        commands += [("LLEN", key) for key in self._single]
        commands += [("EXISTS", *chunk) for chunk in chunks]
        self._packed = self._pipeline.pack(commands)

    def _look(self) -> dict[bytes, Any]:
        """Lengths of all those lists of which some exist now."""
        return dict(zip(self._others, self._pipeline.ask(*(("LLEN", key) for key in self._others)), strict=True))

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


def _first(command: str, replies: list[Any]) -> list[tuple[Command, Any]]:
    return [((command,), replies[0])] if replies else []


def _of(known: dict[bytes, Any], keys: Keys, lengths: list[Any]) -> list[int | None]:
    """Of one queue; a list that was not named by itself does not exist. Nothing at all: not allowed to ask."""
    if not lengths:
        return []
    return [whole(known.get(key, 0)) for _, key in keys]

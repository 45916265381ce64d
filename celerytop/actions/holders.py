"""Who could hold an unacknowledged message: asked of every worker that listens, at this moment.

That nobody lists it is not enough: a task held back by a rate limit is listed nowhere, and nor is what a worker holds
that does not answer. So whoever listens must answer, and a worker that was there when the message was taken must have
no rate limit for tasks of its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from celerytop.actions.deed import Deed
from celerytop.actions.link import Answer, Control
from celerytop.errors import CelerytopError
from celerytop.model.queue import Message
from celerytop.model.worker import ALIVE, GONE
from celerytop.sources.wire_fields import is_mapping, name, number

PATIENCE = 1.5
"""Seconds a worker has to answer."""
MARGIN = 3.0
"""Seconds by which clocks and whole-second uptimes may be off."""
SETTLED = 5.0
"""A message taken so lately may be on its way into a worker's lists."""
_LIMITED = re.compile(r"^(?P<name>\S+) \[(?P<info>.*)\]$")


class NoProof(CelerytopError):
    """Somebody may hold messages who cannot be asked."""


class Holder(msgspec.Struct, frozen=True, eq=False):
    """One living worker."""

    nodename: str
    began_at: float
    listed: frozenset[str]
    """Ids in active, reserved and scheduled."""
    limited: frozenset[str] | None
    """Task names with a rate limit; ``None``: it did not tell."""


class Holders:
    """All of them, at ``asked_at``."""

    def __init__(self, holders: Iterable[Holder], asked_at: float) -> None:
        self.holders = tuple(holders)
        self.asked_at = asked_at

    def objection(self, message: Message) -> str | None:
        """Why a living worker holds this message, or might; ``None``: certainly none does."""
        for holder in self.holders:
            if message.task_id is None or message.task_id in holder.listed:
                return f"{holder.nodename} has it"
        reserved_at = message.reserved_at
        if reserved_at is None:
            return "nothing says when it was taken"
        for holder in self.holders:
            if reserved_at < holder.began_at - MARGIN:
                continue  # it was taken before this worker began
            if holder.limited is None or message.name is None or message.name in holder.limited:
                return f"{holder.nodename} may hold it unseen: it has a rate limit for {message.name or 'such tasks'}"
            if reserved_at > self.asked_at - SETTLED:
                return f"it was taken {max(0.0, self.asked_at - reserved_at):.0f} s ago: wait a moment"
        return None


def ask_holders(deed: Deed, bound: Iterable[str], waiting: int | None) -> Holders:
    """Ask everybody.

    Args:
        deed: for its link and the snapshot's workers.
        bound: node names the broker knows.
        waiting: connections that wait for messages; ``None``: not known.

    Raises:
        NoProof: somebody listens or lives who did not answer.
        BrokerError: the broker does not answer.
    """
    known = deed.see().workers
    names = tuple(dict.fromkeys([*bound, *(one.nodename for one in known.values() if one.state != GONE)]))
    asked_at = deed.now()
    if not names:
        if waiting:
            raise NoProof(f"{waiting} connections wait for messages here, and no worker is known to ask.")
        return Holders((), asked_at)
    pong = deed.link.control.ask("ping", {}, names, PATIENCE)
    alive = tuple(pong.by_worker)
    silent = [one.nodename for one in known.values() if one.state == ALIVE and one.nodename not in alive]
    doubtful = [one for one in known.values() if one.state not in (ALIVE, GONE) and one.nodename not in alive]
    if pong.listening is not None and pong.listening > len(alive):
        raise NoProof(f"{pong.listening} listen to remote control, and only {len(alive)} of them answer.")
    if silent or doubtful:
        who = ", ".join([*silent, *(one.nodename for one in doubtful)][:5])
        raise NoProof(f"{who} may be alive and did not answer.")
    if waiting is not None and waiting > len(alive):
        raise NoProof(f"{waiting} connections wait for messages here, and only {len(alive)} workers answer.")
    return Holders(_holders(deed.link.control, alive, asked_at), asked_at)


def _holders(control: Control, alive: tuple[str, ...], asked_at: float) -> list[Holder]:
    if not alive:
        return []
    told = {
        method: control.ask(method, arguments, alive, PATIENCE).by_worker
        for method, arguments in (
            ("stats", {}),
            ("active", {"safe": True}),
            ("reserved", {}),
            ("scheduled", {}),
            ("registered", {"taskinfoitems": ["rate_limit"]}),
        )
    }
    # the lists once more: a task may have gone from one to another between the questions
    again = [control.ask(method, {}, alive, PATIENCE).by_worker for method in ("reserved", "active")]
    holders = []
    for nodename in alive:
        listed: set[str] = set()
        for answers in (told["active"], told["reserved"], told["scheduled"], *again):
            listed |= _ids(nodename, answers)
        stats = answered(nodename, told["stats"]).body
        uptime = number(stats.get("uptime")) if is_mapping(stats) else None
        began_at = asked_at - uptime if uptime is not None else 0.0
        holders.append(Holder(nodename, began_at, frozenset(listed), _limited(told["registered"].get(nodename))))
    return holders


def answered(nodename: str, answers: Mapping[str, Answer]) -> Answer:
    """What it said.

    Raises:
        NoProof: nothing, or nothing that could be read.
    """
    answer = answers.get(nodename)
    if answer is None or answer.error is not None:
        raise NoProof(f"{nodename} did not tell what it holds{f': {answer.error}' if answer is not None else ''}.")
    return answer


def _ids(nodename: str, answers: Mapping[str, Answer]) -> set[str]:
    body = answered(nodename, answers).body
    if not isinstance(body, list):
        raise NoProof(f"{nodename} did not tell what it holds.")
    return {task_id for entry in body if (task_id := _id(entry)) is not None}


def _id(entry: Any) -> str | None:
    if not is_mapping(entry):
        return None
    request = entry.get("request")
    return name(request.get("id") if is_mapping(request) else entry.get("id"))


def _limited(answer: Answer | None) -> frozenset[str] | None:
    """Names of tasks whose rate limit is not None: ``rig.add [rate_limit=1/m]``."""
    body = answer.body if answer is not None else None
    if not isinstance(body, list):
        return None
    found = (_LIMITED.match(entry) for entry in body if isinstance(entry, str))
    return frozenset(one["name"] for one in found if one is not None)

"""What all judgements are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from celerytop.format import ago
from celerytop.model import worker as states
from celerytop.model.snapshot import Snapshot
from celerytop.model.text import some

MANY = 10
"""More tasks than this, and the cluster's name has to be typed."""
DEAF = (states.SILENT, states.FROZEN, states.GONE)
"""A worker that will not read a command now."""


class Said(NamedTuple):
    """One line of text and its tone: ``bad``, ``warn``, ``dim`` or none."""

    text: str
    tone: str = ""


class Judgement(msgspec.Struct, frozen=True):
    """Everything a box says of an action."""

    title: str
    """E.g. ``TERMINATE 2 running tasks``."""
    verb: str
    """What Enter or ``y`` does, e.g. ``terminate``."""
    subjects: tuple[Said, ...] = ()
    """What it is done to, one line each."""
    does: tuple[Said, ...] = ()
    """What it does and does not do, most important first."""
    sends: str = ""
    """What is sent, and to whom."""
    typed: str | None = None
    """What has to be typed first, because many are hit; ``None``: ``y`` is enough."""
    barred: str | None = None
    """Why it cannot be done (any more); nothing may be sent then."""


def age_of(snapshot: Snapshot, *names: str) -> float | None:
    """Seconds since the newest of these sources was heard; ``None``: never."""
    seen = [one.seen_at for one in snapshot.sources if one.name in names and one.seen_at is not None]
    return max(0.0, snapshot.at - max(seen)) if seen else None


def checked(snapshot: Snapshot, *names: str) -> str:
    """How old the facts are, e.g. ``checked 0.3s ago``."""
    age = age_of(snapshot, *(names or ("events", "control")))
    return "not checked: nothing has been heard" if age is None else f"checked {ago(age)}"


def number(count: int, one: str, many: str | None = None) -> str:
    """A number and its noun.

    >>> number(1, "task"), number(12, "task"), number(2, "process", "processes")
    ('1 task', '12 tasks', '2 processes')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def names(words: Iterable[str], most: int = 3) -> str:
    """A list of names, not endless.

    >>> names(["a"]), names(["a", "b"]), names("abcde"), names([])
    ('a', 'a and b', 'a, b, c and 2 more', 'nobody')
    """
    known = list(words)
    if not known:
        return "nobody"
    if len(known) > most:
        return some(known, most)
    return " and ".join([", ".join(known[:-1]), known[-1]] if len(known) > 2 else known)


def condition(snapshot: Snapshot, nodename: str) -> Said | None:
    """What a worker's state means for a command to it; ``None``: it listens."""
    worker = snapshot.workers.get(nodename)
    if worker is None:
        return Said(f"{nodename} is not known here: whether it is alive is not known", "warn")
    match worker.state:
        case states.ALIVE:
            return None
        case states.BUSY_SOLO:
            return Said(f"{nodename} runs the solo pool and is busy: it reads the command after its task", "warn")
        case states.GONE:
            return Said(f"{nodename} is gone: nobody reads the command", "bad")
        case states.FROZEN:
            return Said(f"{nodename} is frozen: it reads the command only when it goes on", "bad")
        case states.SILENT:
            return Said(f"{nodename} is silent: whether it reads the command is not known", "bad")
        case _:
            return Said(f"{nodename}: whether it is alive is not known now", "warn")


def conditions(snapshot: Snapshot, nodenames: Sequence[str], most: int = 4) -> list[Said]:
    """Of those that do not simply listen."""
    found = [said for name in nodenames[:50] if (said := condition(snapshot, name)) is not None]
    if len(found) > most:
        return [*found[:most], Said(f"and {len(found) - most} more workers that do not simply listen", "warn")]
    return found


def cut_off(snapshot: Snapshot) -> list[Said]:
    """When nothing reaches us, nothing shown is of now."""
    if not snapshot.cut_off():
        return []
    return [Said("The broker does not answer: what stands here may be over, and nothing can be sent", "bad")]

"""What a task leaves behind: those it has sent, the next steps of its chain, the body of its chord."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from celerytop.consequences.said import Said, number
from celerytop.consequences.subjects import Subject
from celerytop.model.snapshot import Snapshot, message_of
from celerytop.model.task import READY_STATES

_MOST = 1000
"""Descendants looked at."""


def family(snapshot: Snapshot, left: Sequence[Subject], descendants: str) -> Iterator[Said]:
    """What happens to the rest of their workflows. ``descendants``: ``no``, ``with``, ``only``."""
    if descendants != "no":
        what = "only what was sent by it" if descendants == "only" else "with all that was sent by it"
        yield Said(f"{what}, as far as it is known; what is sent meanwhile is not among it", "warn")
        yield Said("steps not sent yet are read from its message, where that can be seen, and revoked too")
    elif left:
        yield from _sent(snapshot, {one.target.task_id for one in left})
        yield from _ahead(snapshot, left)


def _sent(snapshot: Snapshot, here: set[str]) -> Iterator[Said]:
    below = [task_id for task_id in known_below(snapshot, here) if task_id not in here]
    states = [task.state for task_id in below if (task := snapshot.tasks.get(task_id)) is not None]
    alive = sum(state not in READY_STATES for state in states)
    if alive:
        yield Said(f"{number(alive, 'task')} that it has sent run or wait on (x: with descendants)", "warn")


def known_below(snapshot: Snapshot, roots: set[str]) -> list[str]:
    """Ids below these, children first; at most a thousand."""
    seen, front = set(roots), list(roots)
    found: list[str] = []
    while front and len(found) < _MOST:
        front = [child for parent in front for child in snapshot.children.get(parent, ()) if child not in seen]
        seen.update(front)
        found += front
    return found[:_MOST]


def _ahead(snapshot: Snapshot, left: Sequence[Subject]) -> Iterator[Said]:
    """Steps that are sent only when this one succeeds stand in its message, and nowhere else."""
    messages = [message_of(snapshot, one.target.task_id) for one in left]
    known = [message for message in messages if message is not None]
    steps = Counter(step for message in known for step in message.steps or ())
    if steps:
        yield Said(f"never run: the next steps of its chain ({_named(steps)})", "bad")
    bodies = Counter(message.chord_body for message in known if message.chord_body is not None)
    if bodies:
        yield Said(f"never runs: the body of its chord ({_named(bodies)})", "bad")
    groups = {message.group for message in known if message.group is not None and message.chord_body is None}
    if groups:
        which = f"group {next(iter(groups))[:8]}" if len(groups) == 1 else number(len(groups), "group")
        yield Said(f"part of {which}: if a chord waits for it, its body will never run", "warn")
    if any(message is None or message.steps is None for message in messages) and not groups:
        yield Said(
            "next steps of a chain and the body of a chord: not known; if there are any, they will never run", "dim"
        )


def _named(names: Counter[str]) -> str:
    """The first, with how often."""
    shown = [name if count == 1 else f"{name} x{count:,}" for name, count in list(names.items())[:4]]
    return ", ".join([*shown, *([f"{len(names) - 4} more"] if len(names) > 4 else [])])

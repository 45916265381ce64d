"""What became of an action: what was seen, not what was answered."""

from __future__ import annotations

import msgspec

from celerytop.model.action import AnyAction

STOPPED = "STOPPED"
"""Its process is gone, or the same process now runs something else; or it never began and cannot begin any more."""
NOT_STOPPED = "NOT_STOPPED"
"""The process that runs it was seen to run on after the deadline."""
FLAGGED_ONLY = "FLAGGED_ONLY"
"""Not running yet: workers hold its id as revoked, in their memory."""
CANNOT = "CANNOT"
"""This pool, or this broker, has no way to do it."""
WILL_APPLY_LATER = "WILL_APPLY_LATER"
"""A busy solo worker, or a hung one, finds the command when it comes back."""
REFUSED = "REFUSED"
"""Nothing was sent: read-only, the audit file cannot be written, or what was seen is not so any more."""
UNKNOWN = "UNKNOWN"
"""It was sent, and nothing that could prove its effect can be seen from here."""
DONE = "DONE"
"""Of actions that stop nothing: the effect was seen."""
NOT_DONE = "NOT_DONE"
"""Of actions that stop nothing: the effect did not come about."""

WORDS = (STOPPED, NOT_STOPPED, FLAGGED_ONLY, CANNOT, WILL_APPLY_LATER, REFUSED, UNKNOWN, DONE, NOT_DONE)


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """One thing that was seen or answered."""

    at: float
    source: str
    """``host``, ``events``, ``inspect``, ``stats``, ``broker``, ``reply``, ``backend``, ``sent``, ``audit``."""
    text: str
    """One phrase, clean, no secret."""
    strength: int = 9
    """1 is the strongest (a process that is gone), 5 the backend's word; 9 proves nothing by itself."""


class Outcome(msgspec.Struct, frozen=True, eq=False):
    """The verdict on one task, one worker or one queue."""

    command: str
    """The action's class as snake_case: ``revoke``, ``kill_tree``, ``pool_grow``, ``purge_queue``..."""
    outcome: str
    """One of ``WORDS``."""
    at: float
    """When it was settled."""
    task_id: str | None = None
    worker: str | None = None
    queue: str | None = None
    evidence: tuple[Evidence, ...] = ()
    """Strongest first."""
    sentence: str = ""
    """What this means and what can be done, one sentence for a person."""
    next: str | None = None
    """The next rung, when one is offered: ``SIGUSR1``, ``SIGTERM``, ``SIGKILL``, ``tree``, ``kill_worker``."""


class ActionReport(msgspec.Struct, frozen=True, eq=False):
    """One action from the moment it was asked for."""

    number: int
    """1, 2, 3...: of this run of celerytop."""
    action: AnyAction
    began_at: float
    deadline_at: float
    """When every verdict is there at the latest."""
    settled_at: float | None = None
    """``None``: still being watched."""
    outcomes: tuple[Outcome, ...] = ()
    """So far."""
    steps: tuple[Evidence, ...] = ()
    """What was done and seen, in order of time: the story for the screen."""
    audit_line: int | None = None
    """Line of the audit file; ``None``: not written (then nothing was sent)."""
    dump: str | None = None
    """The file that holds what was removed."""
    new_id: str | None = None
    """Id of the task that was sent."""


def word(outcome: str) -> str:
    """As the screen writes it.

    >>> word("NOT_STOPPED")
    'NOT STOPPED'
    """
    return outcome.replace("_", " ")

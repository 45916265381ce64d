"""What was done from here: columns of the page of actions, and the words for actions and verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

from celerytop import format as fmt
from celerytop.columns.column import Column
from celerytop.model import action as act
from celerytop.model import outcome as words
from celerytop.model.action import AnyAction, command_of
from celerytop.model.outcome import ActionReport
from celerytop.model.snapshot import Snapshot

FRESH = 600.0
"""Seconds that a verdict stands in its task's row."""
TONES = {
    words.STOPPED: "note",
    words.DONE: "note",
    words.NOT_STOPPED: "bad",
    words.NOT_DONE: "bad",
    words.CANNOT: "bad",
    words.REFUSED: "warn",
    words.UNKNOWN: "warn",
    words.FLAGGED_ONLY: "warn",
    words.WILL_APPLY_LATER: "warn",
}
_SIGNALS = {"SIGUSR1": "interrupt", "SIGINT": "interrupt", "SIGTERM": "terminate", "SIGKILL": "kill"}
_PHRASES = {
    words.STOPPED: "stopped",
    words.NOT_STOPPED: "not stopped",
    words.FLAGGED_ONLY: "flagged only",
    words.CANNOT: "cannot be done",
    words.WILL_APPLY_LATER: "will apply later",
    words.REFUSED: "refused",
    words.UNKNOWN: "not known",
    words.DONE: "done",
    words.NOT_DONE: "not done",
}


def what(action: AnyAction) -> str:
    """What is done, in a word or two.

    >>> what(act.Revoke(targets=(), signal="SIGTERM")), what(act.PoolGrow(workers=("w",), n=2))
    ('terminate (SIGTERM)', 'pool grow by 2')
    """
    match action:
        case act.Revoke(signal=None):
            return "revoke"
        case act.Revoke():
            return f"{_SIGNALS.get(action.signal or '', 'revoke')} ({action.signal})"
        case act.PurgeQueue(dry_run=True) | act.MoveMessages(dry_run=True):
            return f"only count: {_plain(action)}"
        case act.PoolGrow() | act.PoolShrink():
            return f"{_plain(action)} by {action.n}"
        case act.Autoscale():
            return f"autoscale {action.min} to {action.max}"
        case act.AddConsumer() | act.CancelConsumer():
            return f"{'resume' if isinstance(action, act.AddConsumer) else 'pause'} {action.queue}"
        case act.RateLimit() | act.TimeLimit():
            rate = f" {action.rate_limit}" if isinstance(action, act.RateLimit) else ""
            return f"{_plain(action)}{rate} {action.task_name}"
        case _:
            return _plain(action)


def _plain(action: AnyAction) -> str:
    return command_of(action).replace("_", " ")


def whom(action: AnyAction) -> str:
    """To what it is done.

    >>> whom(act.Shutdown(workers=("w1@h", "w2@h"))), whom(act.SendTask(name="app.add"))
    ('w1@h and 1 more', 'app.add')
    """
    match action:
        case act.Revoke() | act.KillTree():
            return _several([f"{one.task_id[:8]} {one.name or '?'}" for one in action.targets])
        case act.RevokeStamped():
            return f"{action.header}={_several(action.values)}"
        case act.KillWorker():
            return f"{action.worker} pid {action.pid}"
        case act.PurgeQueue() | act.MoveMessages():
            to = f" to {action.to}" if isinstance(action, act.MoveMessages) else ""
            return f"{action.queue}{to} {action.filter}".rstrip()
        case act.RestoreDump():
            return action.path
        case act.RestoreUnacked():
            return action.queue or "unacked"
        case _:
            return _rest(action)


def _rest(action: AnyAction) -> str:
    match action:
        case act.Resend():
            return action.task_id[:8]
        case act.SendTask():
            return action.name
        case _:
            return _several(getattr(action, "workers", ()))


def _several(names: list[str] | tuple[str, ...]) -> str:
    return "-" if not names else names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def result(report: ActionReport, now: float) -> str:
    """What became of it so far, in a few words.

    >>> stop = act.Revoke(targets=(act.Target("a"), act.Target("b")), signal="SIGTERM")
    >>> seen = tuple(words.Outcome("revoke", word, 2.0) for word in (words.STOPPED, words.NOT_STOPPED))
    >>> result(ActionReport(1, stop, 0.0, 10.0, 10.0, seen), 12.0), result(ActionReport(1, stop, 0.0, 10.0), 3.0)
    ('1 of 2 stopped, 1 ignores SIGTERM', 'being done: 3.0s of 10s')
    """
    if report.settled_at is None:
        length = fmt.duration(report.deadline_at - report.began_at)
        done = f"{len(report.outcomes)} settled, " if report.outcomes else ""
        return f"being done: {done}{fmt.duration(max(0.0, now - report.began_at))} of {length}"
    found = Counter(outcome.outcome for outcome in report.outcomes)
    if not found:
        return "nothing was found to do it to"
    total = sum(found.values())
    parts: list[str] = []
    for word, number in sorted(found.items(), key=lambda item: words.WORDS.index(item[0])):
        phrase = _ignores(report.action, number) if word == words.NOT_STOPPED else _PHRASES[word]
        first = f"{number} of {total}" if not parts and total > 1 else str(number)
        parts.append(phrase if total == 1 else f"{first} {phrase}")
    return ", ".join(parts) + (_meaning(report.outcomes[0]) if total == 1 else "")


def _meaning(outcome: words.Outcome) -> str:
    """What the one verdict means, where its word alone says little."""
    if outcome.outcome in (words.STOPPED, words.NOT_STOPPED) or not outcome.sentence:
        return ""
    return f": {outcome.sentence.rstrip('.')}"


def _ignores(action: AnyAction, number: int) -> str:
    signal = action.signal if isinstance(action, act.Revoke) else None
    return f"ignore{'s' if number == 1 else ''} {signal}" if signal is not None else "not stopped"


def report_tone(report: ActionReport, snapshot: Snapshot | None = None) -> str:
    """The worst of its verdicts."""
    if report.settled_at is None:
        return "warn"
    tones = {TONES.get(outcome.outcome, "warn") for outcome in report.outcomes}
    return next((tone for tone in ("bad", "warn") if tone in tones), "")


# ------------------------------------------------------------------------------------------- in a task's row
@lru_cache(maxsize=1)
def verdicts(snapshot: Snapshot) -> Mapping[str, str]:
    """Task id to the word that stands in its row: the newest verdict while it is fresh, or that one is awaited."""
    found = {
        task_id: outcome.outcome for task_id, outcome in snapshot.outcomes.items() if snapshot.at - outcome.at < FRESH
    }
    for report in snapshot.actions:
        if report.settled_at is None and isinstance(report.action, act.Revoke | act.KillTree):
            settled = {outcome.task_id for outcome in report.outcomes}
            found |= {one.task_id: AWAITED for one in report.action.targets if one.task_id not in settled}
    return found


AWAITED = "..."
"""An action on it is being watched."""


def verdict_text(task_id: str, snapshot: Snapshot) -> str:
    """The word, or ``-``."""
    return words.word(verdicts(snapshot).get(task_id, fmt.NONE))


def verdict_tone(task_id: str, snapshot: Snapshot) -> str:
    """Its tone."""
    return TONES.get(verdicts(snapshot).get(task_id, ""), "note")


def _took(report: ActionReport, snapshot: Snapshot) -> float:
    return max(0.0, (report.settled_at or snapshot.at) - report.began_at)


# fmt: off
ACTIONS: tuple[Column, ...] = (
    Column("number", "NO", 4, "right", lambda r, s: r.number, lambda r, s, k: str(r.number), "number of this run"),
    Column("at", "AT", 8, "left", lambda r, s: r.began_at, lambda r, s, k: fmt.clock(r.began_at, k.utc),
           "when it was asked for"),
    Column("what", "ACTION", 12, "left", lambda r, s: what(r.action), lambda r, s, k: what(r.action),
           "what was done", flexible=True, most=30),
    Column("whom", "TO", 10, "left", lambda r, s: whom(r.action), lambda r, s, k: whom(r.action),
           "to which tasks, workers or queue", flexible=True, most=60),
    Column("result", "RESULT", 36, "left", lambda r, s: result(r, s.at), lambda r, s, k: result(r, s.at),
           "what was seen of it; enter: how that is known", tone=report_tone, flexible=True, weight=2),
    Column("took", "TOOK", 6, "right", _took, lambda r, s, k: fmt.duration(_took(r, s)),
           "from asked to settled", drop=10),
    Column("audit", "AUDIT", 6, "right", lambda r, s: r.audit_line,
           lambda r, s, k: fmt.NONE if r.audit_line is None else str(r.audit_line),
           "line of the audit file; - is: nothing was sent", drop=20),
)
# fmt: on

"""What is not shown, in words: refused, shed and forgotten, for the screen and for the text report."""

from __future__ import annotations

from celerytop.format import ago, count
from celerytop.model.event import BadEvent
from celerytop.model.snapshot import Snapshot


def losses(snapshot: Snapshot) -> tuple[str, ...]:
    """One sentence for each kind of loss there is."""
    lost = snapshot.losses
    unfinished = f", {count(lost.forgotten_unfinished)} of them unfinished" if lost.forgotten_unfinished else ""
    told = (
        (lost.bad, "bad events refused"),
        (lost.dropped, "events dropped: more came than could be read"),
        (lost.forgotten, f"tasks forgotten to make room{unfinished}"),
        (lost.other, "events of types that are not Celery's own"),
        (lost.capped_replies, "replies of workers cut: too many tasks to read"),
        (lost.late_replies, "replies of workers came too late, or belong to no question"),
    )
    return tuple(f"{count(number)} {words}" for number, words in told if number)


def last_bad(event: BadEvent, now: float) -> str:
    """One refused event: why, whose, when.

    >>> last_bad(BadEvent(5.0, "timestamp is not a number", "w1@h", "{}"), 8.0)
    'timestamp is not a number, from w1@h, 3.0s ago'
    """
    return f"{event.reason}, from {event.hostname or 'somebody who does not say'}, {ago(now - event.at)}"

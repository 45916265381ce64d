"""What is not shown, in words: refused, shed and forgotten, for the screen and for the text report."""

from __future__ import annotations

from celerytop.format import ago, count, duration
from celerytop.model.event import BadEvent
from celerytop.model.snapshot import Losses, Snapshot
from celerytop.model.text import some


def losses(snapshot: Snapshot) -> tuple[str, ...]:
    """One sentence for each kind of loss there is."""
    lost = snapshot.losses
    unfinished = f", {count(lost.forgotten_unfinished)} of them unfinished" if lost.forgotten_unfinished else ""
    told = (
        (lost.bad, "bad events refused"),
        (lost.dropped, f"events dropped: more came than could be read{by_kind(lost)}"),
        (lost.forgotten, f"tasks forgotten to make room{unfinished}"),
        (lost.other, "events of types that are not Celery's own"),
        (lost.capped_replies, "replies of workers cut: too many tasks to read"),
        (lost.late_replies, "replies of workers came too late, or belong to no question"),
    )
    counted = [f"{count(number)} {words}" for number, words in told if number]
    return tuple([*not_read(lost), *counted])


def not_read(lost: Losses) -> tuple[str, ...]:
    """That task events were not even read; nothing when they were.

    >>> not_read(Losses(not_read_for=3.21)), not_read(Losses())
    (('task events not read for 3.2s: more came than could be read',), ())
    """
    if not lost.not_read_for:
        return ()
    return (f"task events not read for {duration(lost.not_read_for)}: more came than could be read",)


def by_kind(lost: Losses, most: int = 20) -> str:
    """Of which kinds the dropped events were, the most frequent first, in brackets; nothing when nobody knows.

    >>> by_kind(Losses(dropped=1205, dropped_by_kind={"unread": 5, "task-received": 1200}))
    ' (1,200 task-received, 5 unread)'
    """
    kinds = sorted(lost.dropped_by_kind.items(), key=lambda pair: -pair[1])
    words = some([f"{count(number)} {kind}" for kind, number in kinds if number], most)
    return f" ({words})" if words else ""


def last_bad(event: BadEvent, now: float) -> str:
    """One refused event: why, whose, when.

    >>> last_bad(BadEvent(5.0, "timestamp is not a number", "w1@h", "{}"), 8.0)
    'timestamp is not a number, from w1@h, 3.0s ago'
    """
    return f"{event.reason}, from {event.hostname or 'somebody who does not say'}, {ago(now - event.at)}"

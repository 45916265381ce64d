"""What was refused, shed or forgotten, and the last events that were refused."""

from __future__ import annotations

from celerytop import columns
from celerytop.model.snapshot import Snapshot
from celerytop.ui.details.line import BLANK, Line, line, ruler


def lost_lines(snapshot: Snapshot, width: int) -> list[Line]:
    """Nothing when nothing is lost."""
    told = columns.losses(snapshot)
    if not told and not snapshot.bad_events:
        return []
    out = [BLANK, ruler("what is not shown", width), *(line(f" {sentence}") for sentence in told)]
    for event in reversed(snapshot.bad_events):
        out.append(line((f" bad: {columns.last_bad(event, snapshot.at)}", "warn")))
        out.append(line((f"   {event.excerpt}", "dim")))
    return out

"""Messages as lines: the few at a queue's ends, and all of them, page by page."""

from __future__ import annotations

from collections.abc import Iterator

from celerytop import format as fmt
from celerytop.columns import Look
from celerytop.columns.tasks import call_text
from celerytop.model.queue import Message, QueueSample
from celerytop.model.snapshot import Snapshot
from celerytop.ui.details.line import BLANK, Col, Line, Span, Target, heading, line, row, ruler

ENDS = 10
"""Messages of each end."""
PAGED_BY = "[ ]"
"""The keys that turn the pages."""


def columns(when: str, width: int) -> list[Col]:
    """Of a table of messages; ``when`` is the title of its time."""
    return [
        Col("ID", 8),
        Col("TASK", 20 if width < 100 else 28),
        Col("SIZE", 7, "right"),
        Col("RETRY", 5, "right"),
        Col(when, 12, "right"),
        Col("ARGS", 10),
    ]


def message_line(table: list[Col], message: Message, when: str | Span, look: Look, width: int) -> Line:
    """One message; Enter opens its task."""
    target = Target("task", message.task_id) if message.task_id else None
    values: list[str | Span] = [
        (message.task_id or "?")[:8],
        message.name or "?",
        fmt.size(message.size) if message.size else "?",
        (fmt.count(message.retries), "note" if message.retries else ""),
        when,
        call_text(message.args, message.kwargs, message.task_id, look),
    ]
    return row(table, values, width, look, target=target)


def waits_for(message: Message, now: float) -> str | Span:
    """Its ETA, or that it has expired."""
    if message.expires_at is not None and message.expires_at <= now:
        return "expired", "warn"
    if message.eta_at is not None and message.eta_at > now:
        return f"ETA {fmt.duration(message.eta_at - now)}", "note"
    return "-"


def end(
    name: str, messages: tuple[Message, ...], snapshot: Snapshot, look: Look, width: int, right: str = ""
) -> Iterator[Line]:
    """The first of one end of a queue."""
    if not messages:
        return
    yield ruler(name, width, right)
    table = columns("WAITS FOR", width)
    yield heading(table, width)
    for message in messages[:ENDS]:
        yield message_line(table, message, waits_for(message, snapshot.at), look, width)


# ------------------------------------------------------------------------------------------------- page by page
def page_lines(snapshot: Snapshot, name: str, begin: int, look: Look, width: int) -> list[Line]:
    """The page that begins after ``begin`` messages, next to run first; nothing is taken out for it."""
    sample = snapshot.samples.get(name)
    if sample is None:
        return [ruler("messages", width), line(("  not looked at yet", "dim"))]
    if not sample.page and not sample.sampled and sample.note is not None:
        return [ruler("messages", width), line((f"  {sample.note}", "warn"))]
    if sample.page_from != begin:
        return [ruler(f"messages from {begin + 1:,}", width), line(("  is being looked at", "dim"))]
    return [*_page(sample, snapshot, look, width)]


def _page(sample: QueueSample, snapshot: Snapshot, look: Look, width: int) -> Iterator[Line]:
    first, last = sample.page_from + 1, sample.page_from + len(sample.page)
    age = fmt.ago(max(0.0, snapshot.at - sample.at))
    if not sample.page:
        yield ruler("messages", width, age)
        gone = f"no message lies so far behind any more: {sample.total:,} wait" if sample.page_from else "nothing waits"
        yield line((f"  {gone}", "dim"))
        return
    yield ruler(f"messages {first:,}-{last:,} of {sample.total:,}, next to run first", width, age)
    table = columns("WAITS FOR", width)
    yield heading(table, width)
    for message in sample.page:
        yield message_line(table, message, waits_for(message, snapshot.at), look, width)
    yield BLANK
    yield line(
        ("  ]: next page" if last < sample.total else "  the last one", "dim"),
        (f"   [: {'previous page' if sample.page_from else 'the overview'}", "dim"),
    )
    if sample.note is not None:
        yield line((f"  {sample.note}", "warn"))

"""What happened, checked and not assumed: an action's verdicts with their evidence, and its story in order of time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from celerytop import format as fmt
from celerytop.columns import Look
from celerytop.columns.actions import TONES, report_tone, result, verdicts, what, whom
from celerytop.columns.tasks import masked
from celerytop.model.action import AnyAction, KillTree, Revoke
from celerytop.model.outcome import ActionReport, Evidence, Outcome, word
from celerytop.model.snapshot import Snapshot
from celerytop.ui.details.line import BLANK, Line, Target, field, fold, line, ruler

_VERDICTS = 50
"""Shown with their evidence."""
_STEPS = 200
_PROVES = "proves nothing by itself"


def lines(report: ActionReport, snapshot: Snapshot, look: Look, width: int) -> list[Line]:
    """The whole report."""
    return [
        *_facts(report, snapshot, look, width),
        *_verdicts(report, look, width),
        *_story(report, snapshot, look, width),
        *_asked(report.action, look, width),
    ]


def waiting(action: AnyAction, look: Look, width: int) -> list[Line]:
    """While nobody has begun with it."""
    return [
        field("action", (what(action), "title")),
        field("to", whom(action)),
        field("result", ("handed over; nothing has been done yet", "warn")),
        *_asked(action, look, width),
    ]


def _facts(report: ActionReport, snapshot: Snapshot, look: Look, width: int) -> Iterator[Line]:
    yield from fold("action", f"{what(report.action)}   {whom(report.action)}", width, look, "title", most=2)
    yield from fold("result", result(report, snapshot.at), width, look, report_tone(report), most=2)
    took = "" if report.settled_at is None else f"   settled after {fmt.duration(report.settled_at - report.began_at)}"
    yield field("asked", fmt.moment(report.began_at, snapshot.at, look.utc), (took, "dim"))
    if report.audit_line is not None:
        yield field("audit", f"line {report.audit_line} of the audit file, written before anything was sent")
    else:
        yield field("audit", ("no line yet: nothing was sent", "warn" if report.settled_at is not None else "dim"))
    if getattr(report.action, "dry_run", False) and report.settled_at is not None:
        yield field("", ("x does it, after the last question: this was only a count", "dim"))
    if report.dump is not None:
        yield from fold("dump", report.dump, width, look, "title")
        yield field("", ("x restores it; what was removed stands in it byte for byte", "dim"))
    if report.new_id is not None:
        yield field("new id", (report.new_id, "title"), target=Target("task", report.new_id))


# --------------------------------------------------------------------------------------------------- verdicts
def _verdicts(report: ActionReport, look: Look, width: int) -> Iterator[Line]:
    if report.outcomes:
        yield ruler("what became of it: checked, not assumed", width, "strongest evidence first")
    for outcome in report.outcomes[:_VERDICTS]:
        yield from verdict(outcome, look, width)
    if len(report.outcomes) > _VERDICTS:
        yield line((f" and {len(report.outcomes) - _VERDICTS} more", "dim"))


def verdict(outcome: Outcome, look: Look, width: int) -> Iterator[Line]:
    """One verdict, what it means, and how it is known."""
    about = outcome.task_id or outcome.worker or outcome.queue or ""
    target: Target | None = None
    if outcome.task_id is not None:
        target = Target("task", outcome.task_id)
    elif outcome.worker is not None:
        target = Target("worker", outcome.worker)
    elif outcome.queue is not None:
        target = Target("queue", outcome.queue)
    shown = fmt.plain(about) if look.ascii else about
    yield line(
        f" {fmt.pad(fmt.cut(shown, 36, look.ascii), 36)}  ",
        (word(outcome.outcome), TONES.get(outcome.outcome, "warn") + " title"),
        (f"   {outcome.worker}" if outcome.task_id is not None and outcome.worker else "", "dim"),
        target=target,
    )
    if outcome.sentence:
        yield from _sentence(outcome.sentence, width, look)
    for evidence in outcome.evidence[:12]:
        yield _evidence(evidence, look, strength=True)
    if outcome.next is not None:
        yield line((f"   next: K {next_words(outcome.next)}   n leave it", "key"))


def next_words(rung: str) -> str:
    """The next rung in words.

    >>> next_words("SIGKILL"), next_words("tree"), next_words("kill_worker")
    ('SIGKILL from this host', 'kill the process tree on this host', "kill the worker's process on this host")
    """
    others = {"tree": "kill the process tree on this host", "kill_worker": "kill the worker's process on this host"}
    if rung == "SIGUSR1":  # the first one after a revoke alone: its worker still lists it
        return "SIGUSR1 through the worker"
    return others.get(rung, f"{rung} from this host")


def _sentence(text: str, width: int, look: Look) -> Iterator[Line]:
    row = "  "
    for piece in (fmt.plain(text) if look.ascii else text).split(" "):
        if fmt.cells(row) + fmt.cells(piece) + 1 > width - 1 and row.strip():
            yield line(row)
            row = "  "
        row += " " + piece
    yield line(row)


def _evidence(evidence: Evidence, look: Look, strength: bool = False) -> Line:
    at = fmt.clock(evidence.at, look.utc) + f".{int(evidence.at * 100) % 100:02d}"
    shown = masked(evidence.text, None, look) or ""
    shown = fmt.plain(shown) if look.ascii else shown
    weak = strength and evidence.strength >= 9
    return line(
        f"   {at}  ",
        (fmt.pad(evidence.source, 8, ascii=look.ascii), "dim"),
        (shown, "dim" if weak else ""),
        (f"   {_PROVES}" if weak else "", "dim"),
    )


def _story(report: ActionReport, snapshot: Snapshot, look: Look, width: int) -> Iterator[Line]:
    if not report.steps:
        return
    yield ruler("what was done and seen, in order of time", width)
    for step in report.steps[-_STEPS:]:
        yield _evidence(step, look)


def _asked(action: AnyAction, look: Look, width: int) -> Iterator[Line]:
    yield ruler("what was asked for", width)
    if isinstance(action, Revoke | KillTree):
        for target in action.targets[:_VERDICTS]:
            pid = f"pid {target.worker_pid}" if target.worker_pid is not None else ""
            name = fmt.pad(target.name or "?", 28, ascii=look.ascii)
            text = f" {target.task_id[:8]}  {name}  {target.state or '?':<9} {target.worker or '-'}  {pid}"
            yield line(fmt.plain(text) if look.ascii else text, target=Target("task", target.task_id))
        if len(action.targets) > _VERDICTS:
            yield line((f" and {len(action.targets) - _VERDICTS} more", "dim"))
        return
    for name in action.__struct_fields__:
        if (value := getattr(action, name)) not in (None, "", ()):
            yield from fold(name.replace("_", " "), _value(value), width, look, most=3)


def _value(value: Any) -> str:
    return ", ".join(str(one) for one in value) if isinstance(value, tuple) else str(value)


# ---------------------------------------------------------------------------------------------- of one task
def of_task(task_id: str, snapshot: Snapshot, look: Look, width: int) -> Iterator[Line]:
    """What was done to this task from here, for its own page."""
    outcome = snapshot.outcomes.get(task_id)
    awaited = verdicts(snapshot).get(task_id) is not None and outcome is None
    if outcome is None and not awaited:
        return
    yield ruler("what was done to it from here: checked, not assumed", width, "[9] Actions")
    if outcome is None:
        yield line((" being watched: no verdict yet", "warn"))
    else:
        yield from verdict(outcome, look, width)
    yield BLANK

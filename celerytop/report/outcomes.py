"""What became of an action, as text or JSON (schema 1), and whether that is what was asked for."""

from __future__ import annotations

import msgspec

from celerytop.format import clock
from celerytop.model.action import Revoke
from celerytop.model.outcome import DONE, FLAGGED_ONLY, STOPPED, ActionReport, Evidence, Outcome, word

SCHEMA = 1


class Printed(msgspec.Struct, frozen=True, eq=False):
    """What ``celerytop revoke --json`` and its like print."""

    schema: int
    outcomes: tuple[Outcome, ...]
    steps: tuple[Evidence, ...] = ()
    """What was done and seen, in order of time."""
    audit_line: int | None = None
    dump: str | None = None
    """The file that holds what was removed."""
    new_id: str | None = None


def as_json(report: ActionReport) -> str:
    """One line. ``outcomes[].outcome`` is a word of ``model.outcome.WORDS``."""
    printed = Printed(SCHEMA, report.outcomes, report.steps, report.audit_line, report.dump, report.new_id)
    return msgspec.json.encode(printed).decode()


def json_schema() -> str:
    """The JSON Schema of ``as_json``."""
    return msgspec.json.encode(msgspec.json.schema(Printed)).decode()


def as_text(report: ActionReport) -> str:
    """Each verdict, what it rests on, and what it means."""
    lines: list[str] = []
    for outcome in report.outcomes:
        subject = outcome.task_id or outcome.worker or outcome.queue or ""
        lines.append(f"{word(outcome.outcome)}  {subject}".rstrip())
        if outcome.sentence:
            lines.append(f"  {outcome.sentence}")
        lines += [f"  {clock(one.at)}  {one.source:<8} {one.text}" for one in outcome.evidence]
    if report.dump:
        lines.append(f"dump: {report.dump}")
    return "\n".join(lines)


def as_asked(report: ActionReport) -> bool:
    """Whether every verdict is what was asked for: stopped, or, when only a revoke was asked for, flagged.

    A flag on an id that nobody has seen anywhere proves nothing: it may be misspelt.
    """
    action = report.action
    flags = isinstance(action, Revoke) and action.signal is None

    def wanted(one: Outcome) -> bool:
        flagged = flags and one.outcome == FLAGGED_ONLY and (one.worker or one.queue) is not None
        return flagged or one.outcome in (STOPPED, DONE)

    return bool(report.outcomes) and all(map(wanted, report.outcomes))

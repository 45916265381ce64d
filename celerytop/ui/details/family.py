"""A task's root, parents, brothers and children, as far as known: the lines a person walks along."""

from __future__ import annotations

from collections.abc import Iterator

from celerytop import format as fmt
from celerytop.columns import Look
from celerytop.columns.tasks import runtime_text, state_tone, task_tone
from celerytop.model.snapshot import Snapshot
from celerytop.model.task import Task
from celerytop.ui.details.line import Col, Line, Span, Target, heading, line, row, ruler

_CHILDREN = 50
_SIBLINGS = 20
_UP = 20
"""Parents followed upwards; a longer way, or a circle in hostile ids, ends there."""


def family(snapshot: Snapshot, task: Task, look: Look, width: int) -> Iterator[Line]:
    """Root, way down to this task, its brothers, its children: each line opens its task."""
    above = ancestors(snapshot, task)
    below = [child for child in snapshot.children.get(task.task_id, ()) if child != task.task_id]
    beside = siblings(snapshot, task)
    if not above and not below and not beside:
        return
    note = f"{len(above)} above, {len(below)} below"
    yield ruler("family", width, f"{note}   enter: go there" if width >= 70 else note)
    columns = (
        Col("WHO", 9),
        Col("TASK", width - 61 if width < 110 else 50),
        Col("ID", 8),
        Col("STATE", 8),
        Col("WORKER", 16),
        Col("RUNTIME", 9, "right"),
    )
    yield heading(columns, width)
    for depth, member in enumerate(above):
        who = "root" if member == task.root_id else "parent" if member == task.parent_id else "above"
        yield _member(columns, who, min(depth, 8), member, snapshot, look, width)
    depth = min(len(above), 8)
    yield _member(columns, "> this", depth, task.task_id, snapshot, look, width, task)
    for member in below[:_CHILDREN]:
        yield _member(columns, "child", depth + 1, member, snapshot, look, width)
    yield from _more(len(below) - _CHILDREN, "children")
    for member in beside[:_SIBLINGS]:
        yield _member(columns, "beside", depth, member, snapshot, look, width)
    yield from _more(len(beside) - _SIBLINGS, "beside it")


def _more(number: int, what: str) -> Iterator[Line]:
    if number > 0:
        yield line((f"  and {fmt.count(number)} more {what}", "dim"))


def ancestors(snapshot: Snapshot, task: Task) -> list[str]:
    """Ids from the root down to its parent; the root stands first even when the way from it is not known."""
    way: list[str] = []
    parent = task.parent_id
    seen = {task.task_id}
    while parent is not None and parent not in seen and len(way) < _UP:
        seen.add(parent)
        way.append(parent)
        known = snapshot.tasks.get(parent)
        parent = known.parent_id if known is not None else None
    if task.root_id is not None and task.root_id not in seen:
        way.append(task.root_id)
    return way[::-1]


def siblings(snapshot: Snapshot, task: Task) -> list[str]:
    """Other children of its parent."""
    if task.parent_id is None:
        return []
    return [other for other in snapshot.children.get(task.parent_id, ()) if other != task.task_id]


def _member(
    columns: tuple[Col, ...],
    who: str,
    depth: int,
    task_id: str,
    snapshot: Snapshot,
    look: Look,
    width: int,
    this: Task | None = None,
) -> Line:
    task = this or snapshot.tasks.get(task_id)
    indent = "  " * depth
    if task is None:
        unknown: list[str | Span] = [who, (indent + "not seen", "dim"), task_id[:8], "?", "?", "?"]
        return row(columns, unknown, width, look, target=Target("task", task_id))
    tone = task_tone(task, snapshot)
    mark = {"failed": "x", "bad": "!", "warn": "~"}.get(tone, " ")
    values: list[str | Span] = [
        (who, "title" if this is not None else "dim"),
        (indent + (task.name or "?"), "title" if this is not None else ""),
        task.task_id[:8],
        (task.state, state_tone(task, snapshot)),
        task.worker or "-",
        runtime_text(task, snapshot),
    ]
    return row(columns, values, width, look, mark, None if this is not None else Target("task", task_id))

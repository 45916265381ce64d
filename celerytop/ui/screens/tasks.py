"""Page 3: tasks: what runs, waits, failed; running time against what is usual for its type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen

from celerytop import columns as col
from celerytop.format import clock, count, duration
from celerytop.model.secret import mask_args
from celerytop.model.snapshot import Snapshot
from celerytop.model.task import Task
from celerytop.ui.screens.page import TablePage
from celerytop.ui.widgets.painted import Span, Spans
from celerytop.ui.widgets.rows import Row
from celerytop.ui.widgets.scroll import ruler

_kind = attrgetter("state", "place")


def view_of(state: str, place: str | None) -> str:
    """The view that a task belongs to, by its state and where its worker lists it.

    >>> view_of("STARTED", "active"), view_of("RECEIVED", "reserved"), view_of("RECEIVED", "scheduled")
    ('active', 'reserved', 'scheduled')
    >>> view_of("FAILURE", None), view_of("SUCCESS", None), view_of("RETRY", None)
    ('failed', '', 'scheduled')
    """
    if state == "FAILURE":
        return "failed"
    if state in ("SUCCESS", "REVOKED", "REJECTED"):
        return ""
    if place is not None:
        return place
    if state == "STARTED":
        return "active"
    if state == "RETRY":
        return "scheduled"
    return "reserved" if state == "RECEIVED" else ""


_MAY_BE_OVER = frozenset({("STARTED", None), ("RECEIVED", None)})


class View:
    """One list of tasks: its letter, its name, how it is ordered at first."""

    def __init__(self, name: str, label: str, sort: tuple[str, bool] | None, key: str) -> None:
        self.name = name
        self.label = label
        self.sort = sort
        self.key = key


VIEWS = (
    View("active", "[a]ctive", ("ratio", True), "a"),
    View("reserved", "[r]eserved", None, "r"),
    View("scheduled", "sc[h]eduled", ("eta", False), "h"),
    View("failed", "[f]ailed", None, "f"),
    View("all", "a[l]l", None, "l"),
)
"""``all`` is newest first."""


class TasksPage(TablePage):
    """Page 3."""

    page = "tasks"
    title = "Tasks"
    needs = ("events", "control")
    columns = col.TASKS
    nothing = "no task here"
    lower_height = 6
    WORDS: ClassVar[tuple[tuple[str, str], ...]] = (
        ("!", "runs more than ten times as long as P95 of its type"),
        ("~", "runs longer than P95 of its type, or is retried or rejected"),
        ("x", "failed"),
        ("-", "RATIO: fewer than 20 finished runs, never marked"),
        ("active", "a worker's slot runs it now"),
        ("reserved", "a worker has taken it and not started"),
        ("scheduled", "a worker holds it until its ETA, or until it is tried again"),
        ("failed", "FAILURE, newest first"),
        ("all", "every task in memory, newest first"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "view('active')", "Active tasks", show=False),
        Binding("r", "view('reserved')", "Reserved tasks", show=False),
        Binding("h", "view('scheduled')", "Scheduled tasks", show=False),
        Binding("f", "view('failed')", "Failed tasks", show=False),
        Binding("l", "view('all')", "All tasks, newest first", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.view = VIEWS[0]
        self.counts: dict[str, int] = {}
        self._listed: tuple[Snapshot | None, View | None, Sequence[str]] = (None, None, ())

    def action_view(self, name: str) -> None:
        """Show another list."""
        self.view = next(view for view in VIEWS if view.name == name)
        self.sort = self.view.sort
        self.table.forget()
        self.redraw(anew=True)
        self.top.main.draw_aside()

    def items(self, snapshot: Snapshot) -> Mapping[str, Any]:
        """See ``TablePage``."""
        return snapshot.tasks

    def ids(self, snapshot: Snapshot) -> Sequence[str]:
        """Those of this list. Found once for each picture: two passes over all tasks, most of them in C."""
        if self._listed[0] is not snapshot or self._listed[1] is not self.view:
            self._listed = (snapshot, self.view, self._list(snapshot.tasks))
        return self._listed[2]

    def _list(self, tasks: Mapping[str, Task]) -> Sequence[str]:
        kinds = list(map(_kind, tasks.values()))
        found = Counter(kinds)
        self.counts = dict.fromkeys((view.name for view in VIEWS), 0)
        for (state, place), number in found.items():
            name = view_of(state, place)
            if name in self.counts:
                self.counts[name] += number
        self.counts["all"] = len(tasks)
        over = self._over(tasks, kinds)
        if self.view.name == "all":
            return list(tasks)[::-1]
        wanted = {kind for kind in found if view_of(*kind) == self.view.name}
        listed = [task_id for task_id, kind in zip(tasks, kinds, strict=True) if kind in wanted and task_id not in over]
        return listed[::-1] if self.view.name == "failed" else listed

    def _over(self, tasks: Mapping[str, Task], kinds: Sequence[tuple[str, str | None]]) -> set[str]:
        """Tasks that have ended though nobody said how: their worker sends no events, or is gone."""
        over = set()
        for (task_id, task), kind in zip(tasks.items(), kinds, strict=True):
            if kind in _MAY_BE_OVER and task.finished_at is not None:
                over.add(task_id)
                self.counts[view_of(*kind)] -= 1
        return over

    def tone(self, item: Task, snapshot: Snapshot) -> str:
        """See ``TablePage``."""
        return col.task_tone(item, snapshot)

    def above(self, snapshot: Snapshot) -> Sequence[Spans]:
        """The lists, and how long each is."""
        spans: list[Span] = [(" ", "")]
        for view in VIEWS:
            here = view is self.view
            spans += [(f" {view.label} {count(self.counts.get(view.name))} ", "cursor" if here else ""), (" ", "")]
        if self.sift.text:
            spans.append((f"  filter: {self.sift.text}", "note"))
        return [spans]

    def details(self, row: Row) -> Screen[None] | None:
        """See ``TablePage``."""
        from celerytop.ui.screens.task_detail import TaskDetail

        return TaskDetail(row.id)

    def keys(self) -> Sequence[tuple[str, str]]:
        """See ``Page``."""
        return (
            ("up/dn", "move"), ("enter", "detail"), ("a r h f l", "lists"), ("/", "filter"), ("s", "sort"),
            ("c", "columns"), ("space", "pause"), ("y", "copy id"), ("?", "help"), ("q", "quit"),
        )  # fmt: skip

    def aside(self) -> str:
        """Newest first is an order too."""
        return super().aside() or ("newest first" if self.view.name in ("failed", "all") else "")

    def lower(self, row: Row, snapshot: Snapshot, width: int) -> Sequence[Spans]:
        """What is known of one task."""
        task: Task = row.item
        utc = self.top.utc
        masked = task.task_id not in self.top.columns_look.unmasked
        args = ", ".join(part for part in (task.args, task.kwargs) if part and part not in ("()", "{}"))
        call = f"{task.name or '?'}  {mask_args(args) if masked else args}"
        times = [
            f"{word} {clock(at, utc)}"
            for word, at in (
                ("sent", task.sent_at), ("received", task.received_at), ("started", task.started_at),
                ("finished", task.finished_at), ("retried", task.retried_at), ("eta", task.eta_at),
            )
            if at is not None
        ]  # fmt: skip
        family = [
            f"{word} {other[:8]}" for word, other in (("root", task.root_id), ("parent", task.parent_id)) if other
        ]
        children = snapshot.children.get(task.task_id)
        if children:
            family.append(f"children {len(children)}")
        return [
            ruler(task.task_id, width, "enter: full page"),
            [(f" {call}", "")],
            [(f" queue {task.queue or '?'}   worker {task.worker or '?'}   retries {count(task.retries)}   "
              f"waited {duration(task.waited())}", "")],
            [(" " + "   ".join(times), "")],
            [(" " + ("   ".join(family) or "no root, parent or children known"), "" if family else "dim")],
            [(f" {mask_args(task.exception)}" if task.exception else "", "bad")],
        ]  # fmt: skip

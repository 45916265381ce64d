"""Page 3: tasks: what runs, waits, failed; running time against what is usual for its type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from textual.binding import Binding, BindingType
from textual.screen import Screen

from celerytop import columns as col
from celerytop.columns.actions import verdicts
from celerytop.format import clock, count, duration
from celerytop.model.secret import mask_args
from celerytop.model.snapshot import Snapshot
from celerytop.model.task import Task
from celerytop.select import views
from celerytop.select.views import RECENT, Views
from celerytop.ui.acting import Offer
from celerytop.ui.screens.acting_page import MANY_AT_ONCE, ActingPage
from celerytop.ui.widgets.painted import Span, Spans
from celerytop.ui.widgets.rows import Row
from celerytop.ui.widgets.scroll import ruler


class View(NamedTuple):
    """One list of tasks."""

    name: str
    label: str
    """With its key in brackets."""
    short: str
    """The same in a narrow window."""
    sort: tuple[str, bool] | None
    """How it is ordered at first; ``None``: ``failed`` and ``recent`` newest first, ``reserved`` oldest first."""
    less: frozenset[str] = frozenset()
    """Usual columns that say nothing about such tasks."""
    more: frozenset[str] = frozenset()
    """Columns that matter for such tasks alone."""


_RUN = frozenset({"pid", "runtime", "usual", "ratio"})
VIEWS = (
    View("active", "[a]ctive", "[a]ct", ("ratio", True)),
    View("reserved", "[r]eserved", "[r]es", None, _RUN, frozenset({"queue", "age"})),
    View("scheduled", "sc[h]eduled", "sc[h]ed", ("eta", False), _RUN, frozenset({"eta", "queue"})),
    View("failed", "[f]ailed", "[f]ail", None, _RUN, frozenset({"age", "exception"})),
    View("recent", "recent [l]", "rec[l]", None),
)


class TasksPage(ActingPage):
    """Page 3."""

    page = "tasks"
    title = "Tasks"
    needs = ("events", "control")
    columns = col.TASKS
    nothing = "no task here"
    lower_height = 6
    brief_height = 3
    WORDS: ClassVar[tuple[tuple[str, str], ...]] = (
        ("!", "runs more than ten times as long as P95 of its type"),
        ("~", "runs longer than P95 of its type, or is retried or rejected"),
        ("x", "failed"),
        ("*", "tagged"),
        ("-", "RATIO: fewer than 20 finished runs, never marked"),
        ("active", "a worker's slot runs it now"),
        ("reserved", "a worker has taken it and not started"),
        ("scheduled", "a worker holds it until its ETA, or until it is tried again"),
        ("failed", "FAILURE, newest first"),
        ("recent", "every task in memory, finished ones too, newest first"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        *MANY_AT_ONCE,
        Binding("a", "view('active')", "Active tasks", show=False),
        Binding("r", "view('reserved')", "Reserved tasks", show=False),
        Binding("h", "view('scheduled')", "Scheduled tasks", show=False),
        Binding("f", "view('failed')", "Failed tasks", show=False),
        Binding("l", "view('recent')", "Recent tasks: all of them, newest first", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.view = VIEWS[0]
        self.counts: Mapping[str, int] = {}
        self._listed: tuple[Snapshot | None, View | None, Views] = (None, None, Views((), {}))

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
        """Those of this list. Found once for each picture; the very same ones while no task has changed."""
        before, view, known = self._listed
        if before is not snapshot or view is not self.view:
            same = before is not None and before.tasks is snapshot.tasks and view is self.view
            found = views(snapshot, self.view.name, known if same else None)
            self._listed, self.counts = (snapshot, self.view, found), found.counts
        return self._listed[2].ids

    def read(self, ids: Sequence[str]) -> list[Any]:
        """See ``TablePage``. All tasks are known in that order: to look up 100,000 takes 25 ms."""
        every = self.view.name == RECENT and len(ids) == len(self.known)
        return list(self.known.values())[::-1] if every else super().read(ids)

    def tone(self, item: Task, snapshot: Snapshot) -> str:
        """See ``TablePage``."""
        return col.task_tone(item, snapshot)

    def above(self, snapshot: Snapshot) -> Sequence[Spans]:
        """The lists, and how long each is."""
        known = bool(snapshot.tasks) or self.heard(snapshot)
        numbers = {view.name: count(self.counts.get(view.name) if known else None) for view in VIEWS}
        narrow = self.size.width <= sum(len(f" {view.label} {numbers[view.name]}  ") for view in VIEWS)
        spans: list[Span] = [("" if narrow else " ", "")]
        for view in VIEWS:
            tone = "cursor" if view is self.view else ""
            label = view.short if narrow else view.label
            spans += [(f" {label} {numbers[view.name]} ", tone), ("" if narrow else " ", "")]
        return [spans]

    @property
    def usual(self) -> frozenset[str]:
        """Each list has its own: a failed task has an exception, a scheduled one an ETA."""
        now = self.snapshot
        acted = {"verdict"} if now is not None and (now.outcomes or now.actions) and verdicts(now) else set()
        return super().usual - self.view.less | self.view.more | acted

    def details(self, row: Row) -> Screen[None] | None:
        """See ``TablePage``."""
        from celerytop.ui.screens.task_detail import TaskDetail

        return TaskDetail(row.id)

    def tasks_under(self) -> Sequence[str]:
        """See ``ActingPage``."""
        return self.chosen_rows

    def offers(self, ids: Sequence[str]) -> tuple[str, list[Offer]]:
        """See ``ActingPage``."""
        from celerytop.ui.offers import tasks

        if not ids:
            return "Act", tasks.others_offers()
        return tasks.title(ids, self.top.newest), tasks.offers(ids, self.matching, self.sift.text)

    def keys(self) -> Sequence[tuple[str, str]]:
        """See ``Page``."""
        return (
            ("up/dn", "move"), ("enter", "detail"), ("a r h f l", "lists"), ("K", "stop"), ("x", "act"),
            ("/", "filter"), ("s", "sort"), ("v", "tag"), ("c", "columns"), ("space", "pause"), ("y", "copy id"),
            ("?", "help"), ("q", "quit"),
        )  # fmt: skip

    def aside(self) -> str:
        """Newest first is an order too."""
        newest = self.sort is None and self.view.name in ("failed", "recent")
        return "  ".join(part for part in (super().aside(), "newest first" if newest else "") if part)

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

"""Page 2: workers, their processes, and what each runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual import on
from textual.binding import BindingType
from textual.screen import Screen

from celerytop import columns as col
from celerytop.columns.tasks import ratio, times_text
from celerytop.columns.workers import processes_of, why_of
from celerytop.format import count, duration, pad, rate, size
from celerytop.model.host import Process
from celerytop.model.snapshot import Snapshot
from celerytop.model.task import Task
from celerytop.model.worker import Worker
from celerytop.ui.acting import Offer
from celerytop.ui.screens.acting_page import MANY_AT_ONCE, ActingPage
from celerytop.ui.widgets.painted import Span, Spans
from celerytop.ui.widgets.rows import OPEN, SHUT, Row, Rows, Tree
from celerytop.ui.widgets.scroll import ruler
from celerytop.ui.widgets.table import Table

_MOST = 64
"""Lines below one worker."""


class WorkersPage(ActingPage):
    """Page 2."""

    page = "workers"
    title = "Workers"
    needs = ("events", "control")
    columns = col.WORKERS
    nothing = "no worker has been heard"
    lower_height = 5
    brief_height = 2
    foldable = True
    """Its rows fold."""
    WORDS: ClassVar[tuple[tuple[str, str], ...]] = (
        ("!", "frozen, silent, or two processes use one name"),
        ("x", "gone: it said goodbye, or its process or connection is not there any more"),
        ("~", "solo pool busy (it cannot answer while a task runs), or its clock is off"),
        ("?", "not known: we are cut off from the broker since the time shown"),
        ("> v", "folded, unfolded: right and left"),
        ("*", "tagged"),
    )

    BINDINGS: ClassVar[list[BindingType]] = [*MANY_AT_ONCE]

    def __init__(self) -> None:
        super().__init__()
        self.unfolded: set[str] = set()
        self._runs: tuple[Snapshot | None, dict[str, list[Task]]] = (None, {})

    def items(self, snapshot: Snapshot) -> Mapping[str, Any]:
        """See ``TablePage``."""
        return snapshot.workers

    def ids(self, snapshot: Snapshot) -> Sequence[str]:
        """By name, where the order does not tell them apart."""
        return sorted(self.known)

    def tone(self, item: Worker, snapshot: Snapshot) -> str:
        """See ``TablePage``."""
        return col.worker_tone(item, snapshot)

    def details(self, row: Row) -> Screen[None] | None:
        """The task of a process; else the worker."""
        from celerytop.ui.screens.task_detail import TaskDetail
        from celerytop.ui.screens.worker_detail import WorkerDetail

        if isinstance(row.item, Task):
            return TaskDetail(row.item.task_id)
        if isinstance(row.item, Process) and row.item.task_id is not None:
            return TaskDetail(row.item.task_id)
        return WorkerDetail(row.parent or row.id)

    def keys(self) -> Sequence[tuple[str, str]]:
        """See ``Page``."""
        return (
            ("up/dn", "move"), ("right/left", "fold"), ("enter", "open"), ("x", "act"), ("/", "filter"), ("s", "sort"),
            ("K", "stop task"), ("c", "columns"), ("space", "pause"), ("y", "copy"), ("?", "help"), ("q", "quit"),
        )  # fmt: skip

    def tag_of(self, row: Row) -> str:
        """The worker."""
        return row.parent or row.id

    def tasks_under(self) -> Sequence[str]:
        """The task that the process under the cursor runs."""
        row = self.table.current
        task_id = getattr(row.item, "task_id", None) if row is not None else None
        return (task_id,) if task_id is not None else ()

    def offers(self, ids: Sequence[str]) -> tuple[str, list[Offer]]:
        """Of the task under the cursor, or of the workers."""
        from celerytop.ui.offers import tasks, workers

        under = self.tasks_under()
        if under and not self.tagged:
            return tasks.title(under, self.top.newest), tasks.offers(under)
        return workers.title(ids) if ids else "", workers.offers(ids, self.top.newest) if ids else []

    def copied(self) -> str | None:
        """Node name, pid or task id."""
        row = self.table.current
        if row is None or isinstance(row.item, Worker):
            return super().copied()
        return row.item.task_id if isinstance(row.item, Task) else str(row.item.pid)

    @on(Table.Folded)
    def folded(self, event: Table.Folded) -> None:
        """Right and left."""
        event.stop()
        (self.unfolded.add if event.open else self.unfolded.discard)(event.row.id)
        self.redraw()

    # -------------------------------------------------------------------------------------------------- tree
    def rows(self, snapshot: Snapshot, order: Sequence[str], items: Mapping[str, Any]) -> Rows:
        """Each worker, and below it what is known of its processes."""
        rows: list[Row] = []
        for nodename in order:
            open = nodename in self.unfolded
            rows.append(Row(nodename, items[nodename], fold=OPEN if open else SHUT))
            if open:
                rows.extend(self._below(items[nodename], snapshot))
        return _Partial(rows, len(self.matching) - len(order))

    def _below(self, worker: Worker, snapshot: Snapshot) -> list[Row]:
        processes = processes_of(worker, snapshot)
        tasks = {task.worker_pid: task for task in self._tasks(worker, snapshot) if task.worker_pid is not None}
        if processes:
            rows = [self._process(worker, process, tasks.get(process.pid), snapshot) for process in processes[:_MOST]]
        else:
            rows = self._unseen(worker, snapshot)
        loose = [task for task in self._tasks(worker, snapshot) if task.worker_pid is None or not processes]
        return rows + [self._loose(worker, task, snapshot) for task in loose[:_MOST]]

    def _tasks(self, worker: Worker, snapshot: Snapshot) -> list[Task]:
        """What it runs now; found once for each picture."""
        if self._runs[0] is not snapshot:
            found: dict[str, list[Task]] = {}
            for task in snapshot.tasks.values():
                if task.state == "STARTED" and task.finished_at is None and task.worker is not None:
                    found.setdefault(task.worker, []).append(task)
            self._runs = (snapshot, found)
        return self._runs[1].get(worker.nodename, [])

    def _process(self, worker: Worker, process: Process, task: Task | None, snapshot: Snapshot) -> Row:
        what = _task_words(task, snapshot) if task is not None else (process.task_name or "-")
        bad = process.status in ("stopped", "zombie", "dead")
        spans: list[Span] = [
            (pad(f"{process.role} {process.pid}", 14), ""),
            (pad(process.status or "?", 9), "bad" if bad else "dim"),
            (f"{rate(process.cpu_percent):>5}% {size(process.rss):>7}  ", ""),
            (what, ""),
            (f"  in {process.wait_channel}" if process.wait_channel else "", "dim"),
        ]
        depth = 1 if process.role == "main" else 2 if process.role == "child" else 3
        return Row(f"{worker.nodename}/{process.pid}", process, depth, text=spans, parent=worker.nodename)

    def _loose(self, worker: Worker, task: Task, snapshot: Snapshot) -> Row:
        where = f"pid {task.worker_pid}" if task.worker_pid is not None else "task"
        spans: list[Span] = [(pad(where, 14), ""), (_task_words(task, snapshot), "")]
        return Row(f"{worker.nodename}/{task.task_id}", task, 2, text=spans, parent=worker.nodename)

    def _unseen(self, worker: Worker, snapshot: Snapshot) -> list[Row]:
        """A worker elsewhere: only what it says itself."""
        usage = worker.rusage
        words = f"main {worker.pid or '?'}"
        if usage is not None:
            cpu = duration((usage.utime or 0) + (usage.stime or 0))
            words += f"   by its own word: cpu time {cpu}, rss at most {size(usage.maxrss)}"
        children = f"{len(worker.processes)} children" if worker.processes else "children not known"
        spans: list[Span] = [(f"{words}   {children}", "dim")]
        return [Row(f"{worker.nodename}/main", worker, 1, text=spans, parent=worker.nodename)]

    # ------------------------------------------------------------------------------------------------- below
    def lower(self, row: Row, snapshot: Snapshot, width: int) -> Sequence[Spans]:
        """Why a worker is what it is."""
        worker = snapshot.workers.get(row.parent or row.id)
        if worker is None:
            return ()
        tone = {"failed": "bad", "unknown": "dim"}.get(tone := col.worker_tone(worker, snapshot), tone)
        queues = ", ".join(queue.name for queue in worker.queues) if worker.queues is not None else "?"
        events = {True: "yes", False: "no (started without -E)", None: "?"}[worker.task_events]
        clock = duration(worker.skew) if worker.skew is not None else "agrees with ours"
        facts = (
            f" {worker.software or '?'}   pid {worker.pid or '?'}   up {duration(worker.uptime)}   "
            f"ping {duration(worker.latency)}   prefetch {count(worker.prefetch_count)}",
            f" queues {queues}",
            f" task events {events}   heartbeat every {duration(worker.heartbeat_every)}   clock {clock}",
        )
        return [
            ruler(worker.nodename, width, "enter: full page"),
            [(f" {worker.state}", tone), (f"   {why_of(worker)}", "")],
            *([(fact, "")] for fact in facts),
        ]


class _Partial(Tree):
    """A tree whose last parents are not yet in order."""

    def __init__(self, rows: Sequence[Row], missing: int) -> None:
        super().__init__(rows)
        self.total = len(rows) + missing


def _task_words(task: Task, snapshot: Snapshot) -> str:
    """Name, id and how long it has been running against its type's P95."""
    times = ratio(task, snapshot)
    return f"{task.name or '?'} {task.task_id[:8]} {duration(task.ran(snapshot.at))}" + (
        f" {times_text(times)} P95" if times is not None and times > 1 else ""
    )

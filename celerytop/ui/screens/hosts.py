"""Page 6: machines and the workers' processes on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual import on
from textual.screen import Screen

from celerytop import columns as col
from celerytop.format import count, duration, rate, size
from celerytop.model.host import Host, Process
from celerytop.model.snapshot import Snapshot
from celerytop.model.worker import GONE, Worker
from celerytop.ui.screens.page import TablePage
from celerytop.ui.widgets.painted import Span, Spans
from celerytop.ui.widgets.rows import OPEN, SHUT, Row, Rows, Tree
from celerytop.ui.widgets.scroll import ruler
from celerytop.ui.widgets.table import Table

_LEVEL = {"main": 1, "child": 2, "descendant": 3}


class HostsPage(TablePage):
    """Page 6."""

    page = "hosts"
    title = "Hosts"
    needs = ("host",)
    columns = col.PROCESSES
    nothing = "no process of a worker was found on this machine"
    lower_height = 5
    foldable = True
    """Its rows fold."""
    WORDS: ClassVar[tuple[tuple[str, str], ...]] = (
        ("!", "stopped: it cannot do anything until it gets SIGCONT"),
        ("x", "zombie or dead"),
        ("~", "waits for a disk"),
        ("> v", "folded, unfolded: right and left"),
        ("others", "workers of other clusters on this machine stand here too: they share its memory and cores"),
        ("elsewhere", "workers on other machines are known by their own word (stats) only"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.shut: set[str] = set()

    def items(self, snapshot: Snapshot) -> Mapping[str, Any]:
        """Processes by pid; the tree is made of them."""
        return {_key(host, process): process for host in snapshot.hosts.values() for process in host.processes}

    def tone(self, item: Process, snapshot: Snapshot) -> str:
        """See ``TablePage``."""
        return col.process_tone(item, snapshot)

    def details(self, row: Row) -> Screen[None] | None:
        """The task it runs; else its worker."""
        from celerytop.ui.screens.task_detail import TaskDetail
        from celerytop.ui.screens.worker_detail import WorkerDetail

        item = row.item
        if isinstance(item, Worker):
            return WorkerDetail(item.nodename)
        if not isinstance(item, Process):
            return None
        if item.task_id is not None:
            return TaskDetail(item.task_id)
        return WorkerDetail(item.nodename) if item.nodename is not None else None

    def keys(self) -> Sequence[tuple[str, str]]:
        """See ``Page``."""
        return (
            ("up/dn", "move"), ("right/left", "fold"), ("enter", "open"), ("/", "filter"), ("s", "sort"),
            ("c", "columns"), ("space", "pause"), ("y", "copy pid"), ("?", "help"), ("q", "quit"),
        )  # fmt: skip

    def copied(self) -> str | None:
        """The pid."""
        row = self.table.current
        return str(row.item.pid) if row is not None and isinstance(row.item, Process) else super().copied()

    @on(Table.Folded)
    def folded(self, event: Table.Folded) -> None:
        """Right and left."""
        event.stop()
        (self.shut.discard if event.open else self.shut.add)(event.row.id)
        self.redraw()

    # -------------------------------------------------------------------------------------------------- tree
    def rows(self, snapshot: Snapshot, order: Sequence[str], items: Mapping[str, Any]) -> Rows:
        """Machine, its workers' main processes, their children."""
        rows: list[Row] = []
        for host in snapshot.hosts.values():
            open = host.name not in self.shut
            rows.append(Row(host.name, host, 0, OPEN if open else SHUT, self._host(host)))
            if open:
                rows.extend(self._mains(host, order, items))
        rows.extend(self._elsewhere(snapshot))
        return Tree(rows)

    def _mains(self, host: Host, order: Sequence[str], items: Mapping[str, Any]) -> list[Row]:
        """Mains in the order chosen, each with what hangs below it in the same order."""
        below: dict[int, list[tuple[str, Process]]] = {}
        mains: list[tuple[str, Process | None]] = []
        named = {process.main_pid for process in host.processes if process.role == "main"}
        for row_id in order:
            process = items[row_id]
            if row_id != _key(host, process):
                continue
            if process.role == "main":
                mains.append((row_id, process))
            else:
                below.setdefault(process.main_pid, []).append((row_id, process))
        kept = {process.pid for _, process in mains if process is not None}
        rows: list[Row] = []
        for row_id, main in mains:
            assert main is not None
            rows.extend(self._main(host, row_id, main, below.get(main.pid, [])))
        for pid in (pid for pid in below if pid not in kept):  # the filter has taken the main away
            rows.extend(Row(key, process, _LEVEL[process.role], parent=host.name) for key, process in below[pid])
        return rows if named or rows else []

    def _main(self, host: Host, row_id: str, main: Process, below: list[tuple[str, Process]]) -> list[Row]:
        open = row_id not in self.shut
        rows = [Row(row_id, main, 1, (OPEN if open else SHUT) if below else "", parent=host.name)]
        if open:
            rows.extend(Row(key, process, _LEVEL.get(process.role, 2), parent=row_id) for key, process in below)
        return rows

    def _host(self, host: Host) -> Spans:
        memory = f"memory {size(_used(host))} of {size(host.memory_total)}"
        load = " ".join(f"{value:.2f}" for value in host.load) if host.load is not None else "?"
        spans: list[Span] = [
            (host.name, "title"),
            (f"   cpu {rate(host.cpu_percent)}% of {host.cpus or '?'} cores   load {load}   {memory}", ""),
        ]
        if host.swap_used:
            spans.append((f"   swap {size(host.swap_used)}", "warn"))
        if host.note:
            spans.append((f"   {host.note}", "dim"))
        return spans

    def _elsewhere(self, snapshot: Snapshot) -> list[Row]:
        """Workers on machines that are not measured, by their own word."""
        mine = set(snapshot.hosts)
        far = [worker for worker in snapshot.workers.values() if worker.host not in mine and worker.state != GONE]
        seen = {process.nodename for host in snapshot.hosts.values() for process in host.processes}
        far = [worker for worker in far if worker.nodename not in seen]
        if not far or self.sift.text:
            return []
        open = "elsewhere" not in self.shut
        title: Spans = [
            ("elsewhere", "title"),
            (f"   {len(far)} workers, by their own word: no access to their machines", "dim"),
        ]
        rows = [Row("elsewhere", None, 0, OPEN if open else SHUT, title)]
        if open:
            far.sort(key=lambda worker: worker.nodename)
            rows.extend(
                Row(f"elsewhere/{worker.nodename}", worker, 1, text=_own_word(worker), parent="elsewhere")
                for worker in far
            )
        return rows

    # ------------------------------------------------------------------------------------------------- below
    def lower(self, row: Row, snapshot: Snapshot, width: int) -> Sequence[Spans]:
        """One process in words."""
        process = row.item
        if not isinstance(process, Process):
            return ()
        up = duration(snapshot.at - process.created_at)
        runs = (
            f" runs {process.task_name or '?'} {process.task_id}" if process.task_id else " runs no task that is known"
        )
        facts = (
            f" worker {process.nodename or '?'}   status {process.status or '?'}   "
            f"waits in {process.wait_channel or '?'}   up {up}",
            f" cpu {rate(process.cpu_percent)}% ({duration(process.cpu_time)} in all)   rss {size(process.rss)}   "
            f"threads {count(process.threads)}   fds {count(process.fds)}",
        )
        return [
            ruler(f"{process.role} {process.pid}", width, "enter: open"),
            [(f" {process.command or '?'}", "")],
            *([(fact, "")] for fact in facts),
            [(runs, "" if process.task_id else "dim")],
        ]


def _key(host: Host, process: Process) -> str:
    return f"{host.name}/{process.pid}"


def _used(host: Host) -> int | None:
    if host.memory_total is None or host.memory_available is None:
        return None
    return host.memory_total - host.memory_available


def _own_word(worker: Worker) -> Spans:
    usage = worker.rusage
    if usage is None:
        words = "says nothing about its processes"
    else:
        cpu = duration((usage.utime or 0) + (usage.stime or 0))
        words = f"main {worker.pid or '?'}   cpu time {cpu}   rss at most {size(usage.maxrss)}"
    return [(f"{worker.nodename}   ", ""), (words, "dim")]

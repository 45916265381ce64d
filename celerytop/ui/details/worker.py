"""A worker in full: its state and why, what it runs, what it is set to."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from celerytop import format as fmt
from celerytop.columns import Look
from celerytop.columns.processes import process_tone, task_time
from celerytop.columns.tasks import call_text, ratio, runtime_text, task_tone, times_text
from celerytop.columns.workers import beat_age, processes_of, state_word, worker_tone
from celerytop.model.host import Process
from celerytop.model.snapshot import Snapshot
from celerytop.model.task import Task
from celerytop.model.worker import Worker
from celerytop.ui.details.line import (
    BLANK,
    Col,
    Line,
    Span,
    Target,
    field,
    fold,
    heading,
    line,
    pairs,
    row,
    ruler,
    shares,
)

_TASKS = 20


def lines(snapshot: Snapshot, nodename: str, look: Look, width: int) -> list[Line]:
    """The whole page."""
    worker = snapshot.workers.get(nodename)
    if worker is None:
        return [BLANK, line((" This worker is not known (any more).", "dim"))]
    return [
        *_facts(worker, snapshot, look, width),
        *_processes(worker, snapshot, look, width),
        *_tasks(worker, snapshot, look, width),
        *_queues(worker, snapshot, look, width),
        *_totals(worker, look, width),
        *_registered(worker, look, width),
        *_settings(worker, look, width),
    ]


def title(snapshot: Snapshot, nodename: str) -> list[Span]:
    """Its state, for the line above the page."""
    worker = snapshot.workers.get(nodename)
    if worker is None:
        return []
    tone = worker_tone(worker, snapshot)
    return [(state_word(worker), {"unknown": "dim", "failed": "bad"}.get(tone, tone))]


# ------------------------------------------------------------------------------------------------------ facts
def _facts(worker: Worker, snapshot: Snapshot, look: Look, width: int) -> Iterator[Line]:
    tone = worker_tone(worker, snapshot)
    why = f": {worker.why}" if worker.why else ""
    yield from fold("state", worker.state + why, width, look, "dim" if tone == "unknown" else tone, most=2)
    if len(worker.pids) > 1:
        pids = ", ".join(str(pid) for pid in worker.pids)
        yield field("", (f"{len(worker.pids)} main processes use this name: {pids}", "bad"))
    yield field(
        "slots",
        *pairs(
            (worker.pool or "?", f"{fmt.count(worker.active)} busy of {fmt.count(worker.concurrency)}"),
            ("reserved", fmt.count(worker.reserved)),
            ("scheduled", fmt.count(worker.scheduled)),
            ("prefetch", fmt.count(worker.prefetch_count)),
        ),
    )
    yield field("signs", *_signs(worker, snapshot))
    yield from _counts(worker)
    yield field(
        "process",
        *pairs(
            ("", f"{fmt.UNKNOWN if worker.pid is None else worker.pid} on {worker.host or fmt.UNKNOWN}"),
            ("up", fmt.duration(worker.uptime)),
            ("", worker.software or "?"),
            ("task events", {True: "yes", False: "no (-E)", None: "?"}[worker.task_events]),
        ),
    )
    yield from _own_word(worker)


def _counts(worker: Worker) -> Iterator[Line]:
    yield field(
        "tasks",
        *pairs(
            ("done", f"{fmt.rate(worker.done_rate)}/s"),
            ("failed", f"{fmt.rate(worker.failed_rate)}/s"),
            ("seen here: finished", fmt.count(worker.finished)),
            ("failed", fmt.count(worker.failed)),
        ),
    )
    revoked = ("revoked ids held", fmt.count(worker.revoked))
    yield field("", *pairs(("accepted since its start", fmt.count(worker.processed)), revoked))


def _own_word(worker: Worker) -> Iterator[Line]:
    usage = worker.rusage
    if usage is not None:
        yield field(
            "own word",
            *pairs(
                ("main process only: user", fmt.duration(usage.utime)),
                ("system", fmt.duration(usage.stime)),
                ("rss at most", fmt.size(usage.maxrss)),
            ),
        )


def _signs(worker: Worker, snapshot: Snapshot) -> list[Span]:
    every = worker.heartbeat_every
    beat = fmt.ago(beat_age(worker, snapshot))
    answered = None if worker.answered_at is None else max(0.0, snapshot.at - worker.answered_at)
    skew = worker.skew
    return [
        *pairs(
            ("heartbeat", beat + (f" (every {fmt.duration(every)})" if every is not None else "")),
            ("answered", fmt.ago(answered)),
            ("ping", fmt.duration(worker.latency)),
        ),
        *([] if skew is None else [(f"   clock {fmt.rate(skew, signed=True)} s off", "warn")]),
    ]


# -------------------------------------------------------------------------------------------------- processes
def _processes(worker: Worker, snapshot: Snapshot, look: Look, width: int) -> Iterator[Line]:
    processes = processes_of(worker, snapshot)
    if not processes:
        pids = ", ".join(str(pid) for pid in worker.processes) if worker.processes else ""
        yield ruler("processes", width, "by its own word" if pids else "")
        where = f"{worker.host or 'its machine'} is not this machine: nothing is measured there"
        yield from fold("pool", pids, width, look, most=3) if pids else ()
        yield line((f"  {where}", "dim"))
        return
    host = next((host for host in snapshot.hosts.values() if processes[0] in host.processes), None)
    age = f"measured {fmt.ago(max(0.0, snapshot.at - host.measured_at))}" if host is not None else ""
    yield ruler("processes", width, age)
    columns = process_columns(width)
    yield heading(columns, width)
    for process in processes:
        yield process_row(columns, process, snapshot, look, width)


def process_columns(width: int) -> list[Col]:
    """Columns of a small table of processes; more of them in a wide window."""
    columns = [Col("PROCESS", 16), Col("STATUS", 8), Col("CPU%", 5, "right"), Col("RSS", 7, "right")]
    if width >= 100:
        columns += [Col("GROW/h", 8, "right"), Col("THR", 3, "right"), Col("FDS", 4, "right")]
    return [*columns, Col("TIME", 6, "right"), Col("TASK", 12)]


def process_row(columns: list[Col], process: Process, snapshot: Snapshot, look: Look, width: int) -> Line:
    """One process and what it runs."""
    tone = process_tone(process, snapshot)
    shown = "bad" if tone == "failed" else tone
    indent = {"child": "  ", "descendant": "    "}.get(process.role, "")
    growth = process.rss_growth
    more: list[str | Span] = [
        fmt.size(growth * 3600, signed=True) if growth is not None else "?",
        fmt.count(process.threads),
        fmt.count(process.fds),
    ]
    values: list[str | Span] = [
        f"{indent}{process.role} {process.pid}",
        (process.status or "?", shown),
        fmt.rate(process.cpu_percent),
        fmt.size(process.rss),
        *(more if width >= 100 else ()),
        "-" if process.task_id is None else fmt.duration(task_time(process, snapshot)),
        "-" if process.task_id is None else f"{process.task_id[:8]} {process.task_name or '?'}",
    ]
    target = None if process.task_id is None else Target("task", process.task_id)
    return row(columns, values, width, look, "!" if shown == "bad" else " ", target)


# ------------------------------------------------------------------------------------------------------ tasks
@lru_cache(maxsize=1)
def tasks_at(snapshot: Snapshot, nodename: str) -> tuple[Task, ...]:
    """Unfinished tasks at a worker, running ones first, longest first; kept for one picture."""
    mine = [
        task
        for task in snapshot.tasks.values()
        if task.worker == nodename
        and (task.place is not None or (task.state in ("STARTED", "RECEIVED") and task.finished_at is None))
    ]
    return tuple(sorted(mine, key=lambda task: (task.state != "STARTED", task.started_at or snapshot.at)))


def _tasks(worker: Worker, snapshot: Snapshot, look: Look, width: int) -> Iterator[Line]:
    tasks = tasks_at(snapshot, worker.nodename)
    if not tasks:
        return
    yield ruler("tasks it has", width, f"{fmt.count(len(tasks))} known")
    columns = [Col("ID", 8), Col("TASK", 20 if width < 100 else 28), Col("STATE", 9), Col("RUNTIME", 8, "right")]
    columns += [Col("RATIO", 7, "right"), Col("ARGS", 10)]
    yield heading(columns, width)
    for task in tasks[:_TASKS]:
        tone = task_tone(task, snapshot)
        values: list[str | Span] = [
            task.task_id[:8],
            task.name or "?",
            task.state if task.state == "STARTED" else task.place or task.state,
            (runtime_text(task, snapshot), tone),
            times_text(ratio(task, snapshot) if task.state == "STARTED" else None),
            call_text(task.args, task.kwargs, task.task_id, look),
        ]
        mark = {"bad": "!", "warn": "~"}.get(tone, " ")
        yield row(columns, values, width, look, mark, Target("task", task.task_id))
    if len(tasks) > _TASKS:
        yield line((f"  and {fmt.count(len(tasks) - _TASKS)} more", "dim"))


# ----------------------------------------------------------------------------------------- what it is made of
def _queues(worker: Worker, snapshot: Snapshot, look: Look, width: int) -> Iterator[Line]:
    yield ruler("queues it consumes", width)
    if not worker.queues:
        yield line(("  it has not told which" if worker.queues is None else "  none", "dim"))
        return
    columns = (
        Col("QUEUE", 24),
        Col("READY", 9, "right"),
        Col("EXCHANGE", 18),
        Col("ROUTING KEY", 16),
        Col("TYPE", 8),
    )
    yield heading(columns, width)
    for consumed in worker.queues:
        queue = snapshot.queues.get(consumed.name)
        exchange = consumed.exchange or "?"
        if consumed.exchange_type:
            exchange += f" ({consumed.exchange_type})"
        kind = consumed.queue_type or (queue.type if queue is not None else None) or "?"
        if consumed.max_priority is not None:
            kind += f" 0-{consumed.max_priority}"
        ready = fmt.count(queue.messages if queue is not None else None)
        target = Target("queue", consumed.name)
        values = (consumed.name, ready, exchange, consumed.routing_key or "?", kind)
        yield row(columns, values, width, look, target=target)


def _totals(worker: Worker, look: Look, width: int) -> Iterator[Line]:
    if not worker.totals:
        return
    yield ruler("accepted since its start", width)
    counts = sorted(worker.totals.items(), key=lambda item: -item[1])
    yield from shares(counts, sum(worker.totals.values()), width, look, most=12, noun="names")


def _registered(worker: Worker, look: Look, width: int) -> Iterator[Line]:
    if worker.registered is None:
        return
    yield ruler("tasks it knows", width, f"{len(worker.registered)}")
    each = max(20, (width - 2) // (3 if width >= 100 else 2))
    across = max(1, (width - 2) // each)
    names = [fmt.plain(name) if look.ascii else name for name in worker.registered]
    for start in range(0, len(names), across):
        part = names[start : start + across]
        yield line("  " + "".join(fmt.pad(name, each - 1, ascii=look.ascii) + " " for name in part))


def _settings(worker: Worker, look: Look, width: int) -> Iterator[Line]:
    if worker.settings is None:
        return
    yield ruler("settings that are not the default", width)
    room = min(40, max((len(key) for key in worker.settings), default=0))
    for key, value in sorted(worker.settings.items()):
        yield line((f"  {fmt.pad(key, room, ascii=look.ascii)}  ", "dim"), fmt.plain(value) if look.ascii else value)

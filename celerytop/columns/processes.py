"""Columns of the hosts page: the workers' processes on this machine."""

from __future__ import annotations

from celerytop import format as fmt
from celerytop.columns.column import Column, Look
from celerytop.model.host import Process
from celerytop.model.snapshot import Snapshot

_TONES = {"zombie": "failed", "dead": "failed", "stopped": "bad", "tracing-stop": "bad", "disk-sleep": "warn"}
_DEPTH = {"main": 0, "child": 1, "descendant": 2}


def process_tone(process: Process, snapshot: Snapshot) -> str:
    """How a process is: stopped and zombie are bad; waiting for a disk is worth a look."""
    return _TONES.get(process.status or "", "")


def _tone(process: Process, snapshot: Snapshot) -> str:
    tone = process_tone(process, snapshot)
    return "bad" if tone == "failed" else tone


def process_task(process: Process, snapshot: Snapshot) -> str:
    """What it runs; ``-`` for nothing and for what runs no tasks."""
    if process.task_id is None:
        return fmt.NONE
    return f"{process.task_id[:8]} {process.task_name or fmt.UNKNOWN}"


def task_time(process: Process, snapshot: Snapshot) -> float | None:
    """Seconds its task has been running."""
    task = snapshot.tasks.get(process.task_id) if process.task_id is not None else None
    return task.ran(snapshot.at) if task is not None else None


def _time(process: Process, snapshot: Snapshot, look: Look) -> str:
    return fmt.NONE if process.task_id is None else fmt.duration(task_time(process, snapshot))


def _role(process: Process, snapshot: Snapshot, look: Look) -> str:
    return "  " * _DEPTH.get(process.role, 0) + f"{process.role} {process.pid}"


def _growth(process: Process, snapshot: Snapshot, look: Look) -> str:
    return fmt.UNKNOWN if process.rss_growth is None else fmt.size(process.rss_growth * 3600, signed=True)


def _growth_tone(process: Process, snapshot: Snapshot) -> str:
    return "warn" if process.rss_growth is not None and process.rss_growth * 3600 > 100 * 2**20 else ""


# fmt: off
PROCESSES: tuple[Column, ...] = (
    Column("process", "PROCESS", 16, "left", lambda p, s: p.pid, _role,
           "main, child (a pool slot) or descendant (what a task has started), and its pid", tone=_tone),
    Column("worker", "WORKER", 10, "left", lambda p, s: p.nodename, lambda p, s, k: p.nodename or fmt.UNKNOWN,
           "worker it belongs to", drop=20, flexible=True, most=32),
    Column("status", "STATUS", 8, "left", lambda p, s: p.status, lambda p, s, k: p.status or fmt.UNKNOWN,
           "running, sleeping, disk-sleep, stopped, zombie", tone=_tone),
    Column("cpu", "CPU%", 5, "right", lambda p, s: p.cpu_percent, lambda p, s, k: fmt.rate(p.cpu_percent),
           "of one core"),
    Column("rss", "RSS", 7, "right", lambda p, s: p.rss, lambda p, s, k: fmt.size(p.rss),
           "memory it holds"),
    Column("growth", "GROW/h", 8, "right", lambda p, s: p.rss_growth, _growth,
           "change of RSS in an hour at this pace", tone=_growth_tone, drop=40),
    Column("threads", "THR", 3, "right", lambda p, s: p.threads, lambda p, s, k: fmt.count(p.threads),
           "threads", drop=30),
    Column("fds", "FDS", 5, "right", lambda p, s: p.fds, lambda p, s, k: fmt.count(p.fds),
           "open files and sockets", drop=35),
    Column("cputime", "CPUTIME", 7, "right", lambda p, s: p.cpu_time,
           lambda p, s, k: fmt.duration(p.cpu_time), "processor time it has used", drop=70, optional=True),
    Column("children", "CHLD", 4, "right", lambda p, s: p.children, lambda p, s, k: fmt.count(p.children),
           "processes it has started", drop=71, optional=True),
    Column("task", "TASK", 12, "left", lambda p, s: p.task_name, lambda p, s, k: process_task(p, s),
           "what it runs", flexible=True, most=44),
    Column("time", "TIME", 6, "right", task_time, _time,
           "how long its task has been running"),
    Column("wchan", "WCHAN", 12, "left", lambda p, s: p.wait_channel,
           lambda p, s, k: p.wait_channel or fmt.UNKNOWN,
           "where the kernel lets it sleep", drop=50, flexible=True, most=24),
    Column("command", "COMMAND", 20, "left", lambda p, s: p.command, lambda p, s, k: p.command or fmt.UNKNOWN,
           "its command line, secrets masked", drop=72, flexible=True, optional=True),
)
# fmt: on

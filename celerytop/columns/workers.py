"""Columns of the workers page."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from celerytop import format as fmt
from celerytop.columns.column import Column, Look
from celerytop.model import worker as states
from celerytop.model.host import Process
from celerytop.model.snapshot import Snapshot
from celerytop.model.worker import Worker

POOLS: Mapping[str, str] = {
    "prefork": "pref",
    "threads": "thrd",
    "gevent": "gevt",
    "eventlet": "evnt",
    "solo": "solo",
}
ELSEWHERE = "~"
"""Marks the worker's own word (``stats.rusage``), which is of its main process alone."""

_WORDS = {
    states.SILENT: "SILENT",
    states.BUSY_SOLO: "BUSY SOLO",
    states.FROZEN: "FROZEN",
    states.GONE: "GONE",
    states.UNKNOWN: fmt.UNKNOWN,
}
_TONES = {
    states.SILENT: "bad",
    states.BUSY_SOLO: "warn",
    states.FROZEN: "bad",
    states.GONE: "failed",
    states.UNKNOWN: "unknown",
}
_ORDER = (states.ALIVE, "clock", states.BUSY_SOLO, states.UNKNOWN, states.GONE, states.SILENT, "twice", states.FROZEN)
"""From well to ill."""


@lru_cache(maxsize=1)
def _by_worker(snapshot: Snapshot) -> Mapping[str, tuple[Process, ...]]:
    """Processes by node name; kept for one picture, for every row of it asks."""
    mains = {(worker.host, worker.pid): worker.nodename for worker in snapshot.workers.values() if worker.pid}
    found: dict[str, list[Process]] = {}
    for host in snapshot.hosts.values():
        for process in host.processes:
            nodename = process.nodename or mains.get((host.name, process.main_pid))
            if nodename is not None:
                found.setdefault(nodename, []).append(process)
    return {nodename: tuple(processes) for nodename, processes in found.items()}


def processes_of(worker: Worker, snapshot: Snapshot) -> tuple[Process, ...]:
    """The processes of a worker that were measured; empty when it runs on a machine we do not see.

    A worker of another cluster on this host may have the same node name: then the main process tells them apart.
    """
    found = _by_worker(snapshot).get(worker.nodename, ())
    mains = {worker.pid, *worker.pids}
    return tuple(one for one in found if one.main_pid in mains) if mains != {None} else found


def worker_cpu(worker: Worker, snapshot: Snapshot) -> float | None:
    """Percent of one core, of all its processes; elsewhere of its main process, on average."""
    known = [p.cpu_percent for p in processes_of(worker, snapshot) if p.cpu_percent is not None]
    if known:
        return sum(known)
    usage = worker.rusage
    if usage is None or usage.utime is None or not worker.uptime:
        return None
    return (usage.utime + (usage.stime or 0.0)) / worker.uptime * 100


def worker_rss(worker: Worker, snapshot: Snapshot) -> int | None:
    """Bytes of all its processes; elsewhere the high-water mark of the main process."""
    known = [p.rss for p in processes_of(worker, snapshot) if p.rss is not None]
    if known:
        return sum(known)
    return worker.rusage.maxrss if worker.rusage is not None else None


def worker_growth(worker: Worker, snapshot: Snapshot) -> float | None:
    """Bytes a second; only of workers on this machine."""
    known = [p.rss_growth for p in processes_of(worker, snapshot) if p.rss_growth is not None]
    return sum(known) if known else None


def beat_age(worker: Worker, snapshot: Snapshot) -> float | None:
    """Seconds since its last heartbeat, by this clock."""
    return max(0.0, snapshot.at - worker.heartbeat_at) if worker.heartbeat_at is not None else None


def worker_tone(worker: Worker, snapshot: Snapshot) -> str:
    """How a worker is."""
    if len(worker.pids) > 1 and worker.state != states.GONE:
        return "bad"
    if worker.state == states.ALIVE:
        return "warn" if worker.skew is not None else ""
    return _TONES.get(worker.state, "")


def state_word(worker: Worker) -> str:
    """The one word of the STATE column."""
    if worker.state == states.GONE:
        return "GONE"
    if len(worker.pids) > 1:
        return "TWO NAMES"
    if worker.state != states.ALIVE:
        return _WORDS.get(worker.state, worker.state)
    if worker.skew is not None:
        return "CLK " + ("+" if worker.skew > 0 else "") + fmt.duration(worker.skew)
    return "no -E" if worker.task_events is False else "ok"


def severity(worker: Worker, snapshot: Snapshot) -> int | None:
    """How ill it is, to sort by; what is read first in STATE counts."""
    state = worker.state
    if len(worker.pids) > 1 and state != states.GONE:
        state = "twice"
    elif state == states.ALIVE and worker.skew is not None:
        state = "clock"
    return _ORDER.index(state) if state in _ORDER else None


def why_of(worker: Worker) -> str:
    """What its state was concluded from, and what else is wrong with it."""
    parts = [worker.why] if worker.why else []
    if len(worker.pids) > 1:
        parts.append(f"{len(worker.pids)} processes use this name: pid {_numbers(worker)}")
    if worker.skew is not None:
        parts.append(f"its clock is {fmt.duration(abs(worker.skew))} {'ahead' if worker.skew > 0 else 'behind'}")
    return "; ".join(parts)


def _why(worker: Worker, snapshot: Snapshot, look: Look) -> str:
    return why_of(worker) if worker_tone(worker, snapshot) else ""


def _tone(worker: Worker, snapshot: Snapshot) -> str:
    tone = worker_tone(worker, snapshot)
    return {"unknown": "dim", "failed": "bad"}.get(tone, tone)


def _measured(worker: Worker, snapshot: Snapshot) -> bool:
    return bool(processes_of(worker, snapshot))


def _own_word(worker: Worker, snapshot: Snapshot, text: str) -> str:
    return text if text == fmt.UNKNOWN or _measured(worker, snapshot) else ELSEWHERE + text


def _growth(worker: Worker, snapshot: Snapshot, look: Look) -> str:
    growth = worker_growth(worker, snapshot)
    if growth is None:
        return fmt.UNKNOWN if _measured(worker, snapshot) else fmt.NONE
    return fmt.size(growth * 3600, signed=True)


def _growth_tone(worker: Worker, snapshot: Snapshot) -> str:
    growth = worker_growth(worker, snapshot)
    return "warn" if growth is not None and growth * 3600 > 100 * 2**20 else ""


def slots(worker: Worker) -> str:
    """Busy slots of all.

    >>> slots(Worker("a", active=3, concurrency=8)), slots(Worker("a"))
    ('3/8', '?/?')
    """
    return f"{fmt.count(worker.active)}/{fmt.count(worker.concurrency)}"


def _busy(worker: Worker, snapshot: Snapshot) -> float | None:
    return worker.active / worker.concurrency if worker.active is not None and worker.concurrency else None


def _busy_tone(worker: Worker, snapshot: Snapshot) -> str:
    return "note" if (_busy(worker, snapshot) or 0) >= 1 else ""


def _failed(worker: Worker) -> int | None:
    """None seen to fail is not none failed where no events tell."""
    return None if worker.task_events is False and not worker.failed else worker.failed


def _queues(worker: Worker, snapshot: Snapshot, look: Look) -> str:
    if worker.queues is None:
        return fmt.UNKNOWN
    return ",".join(queue.name for queue in worker.queues) or fmt.NONE


def _numbers(worker: Worker) -> str:
    return "+".join(str(pid) for pid in worker.pids or (worker.pid,) if pid is not None) or fmt.UNKNOWN


def _pids(worker: Worker, snapshot: Snapshot, look: Look) -> str:
    return _numbers(worker)


# fmt: off
WORKERS: tuple[Column, ...] = (
    Column("worker", "WORKER", 18, "left", lambda w, s: w.nodename, lambda w, s, k: w.nodename,
           "node name", tone=_tone, flexible=True, most=48, weight=2),
    Column("pid", "PID", 7, "right", lambda w, s: w.pid, _pids,
           "main process", drop=70, optional=True),
    Column("pool", "POOL", 4, "left", lambda w, s: w.pool,
           lambda w, s, k: POOLS.get(w.pool, w.pool) if w.pool else fmt.UNKNOWN,
           "prefork, threads, solo, gevent, eventlet", drop=45),
    Column("busy", "BUSY", 7, "right", _busy, lambda w, s, k: slots(w),
           "slots that run a task, of all", tone=_busy_tone),
    Column("reserved", "RESV", 5, "right", lambda w, s: w.reserved, lambda w, s, k: fmt.count(w.reserved),
           "tasks it has taken and not started", drop=15),
    Column("prefetch", "PREF", 5, "right", lambda w, s: w.prefetch_count,
           lambda w, s, k: fmt.count(w.prefetch_count),
           "how many messages it takes at once", drop=71, optional=True),
    Column("done", "DONE/s", 6, "right", lambda w, s: w.done_rate, lambda w, s, k: fmt.rate(w.done_rate),
           "tasks finished a second, last minute"),
    Column("failed", "FAIL", 4, "right", lambda w, s: _failed(w), lambda w, s, k: fmt.count(_failed(w)),
           "tasks failed since celerytop started", tone=lambda w, s: "warn" if w.failed else "", drop=10),
    Column("processed", "TOTAL", 9, "right", lambda w, s: w.processed, lambda w, s, k: fmt.count(w.processed),
           "tasks accepted since it started", drop=72, optional=True),
    Column("cpu", "CPU%", 6, "right", worker_cpu,
           lambda w, s, k: _own_word(w, s, fmt.rate(worker_cpu(w, s))),
           "of one core, all its processes; ~ its own word: main process, average", drop=20),
    Column("rss", "RSS", 8, "right", worker_rss,
           lambda w, s, k: _own_word(w, s, fmt.size(worker_rss(w, s))),
           "memory of all its processes; ~ its own word: most its main process had", drop=5),
    Column("growth", "GROW/h", 8, "right", worker_growth, _growth,
           "change of RSS in an hour at this pace", tone=_growth_tone, drop=50),
    Column("beat", "BEAT", 6, "right", beat_age,
           lambda w, s, k: fmt.duration(beat_age(w, s)),
           "age of its last heartbeat by this clock", tone=_tone),
    Column("ping", "PING", 6, "right", lambda w, s: w.latency, lambda w, s, k: fmt.duration(w.latency),
           "from question to answer", drop=73, optional=True),
    Column("uptime", "UP", 6, "right", lambda w, s: w.uptime, lambda w, s, k: fmt.duration(w.uptime),
           "since it started", drop=74, optional=True),
    Column("software", "SOFTWARE", 16, "left", lambda w, s: w.software,
           lambda w, s, k: w.software or fmt.UNKNOWN, "what it says it is", drop=75, optional=True),
    Column("queues", "QUEUES", 8, "left", lambda w, s: None if w.queues is None else len(w.queues), _queues,
           "queues it consumes", drop=40, flexible=True, most=40),
    Column("state", "STATE", 9, "left", severity, lambda w, s, k: state_word(w),
           "ok, SILENT, BUSY SOLO, FROZEN, GONE, TWO NAMES, CLK (clock off), no -E (no task events)",
           tone=_tone),
    Column("why", "WHY", 20, "left", lambda w, s: w.why, _why,
           "what is wrong with it, and from what that was concluded", tone=_tone, drop=60, flexible=True, weight=3),
)
# fmt: on

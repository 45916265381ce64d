"""What a process is and does: from ``/proc``, and from psutil where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import psutil

from celerytop.sources import procfs

T = TypeVar("T")


def stat(pid: int) -> procfs.Stat | None:
    """How it is; ``None``: it is gone.

    Raises:
        psutil.NoSuchProcess: it is gone.
    """
    told = procfs.stat(pid)
    if told is not None or procfs.PROC.exists():
        return told
    process = psutil.Process(pid)
    with process.oneshot():
        times, memory, state = ask(process.cpu_times), ask(process.memory_info), ask(process.status)
        return procfs.Stat(
            state=str(state) if state is not None else None,
            ppid=ask(process.ppid),
            cpu_time=times.user + times.system if times is not None else None,
            started=process.create_time(),
            rss=memory.rss if memory is not None else None,
        )


def booted_at() -> float:
    """Unix seconds that ``started`` counts from."""
    return psutil.boot_time() if procfs.PROC.exists() else 0.0


def ask(question: Callable[[], T]) -> T | None:
    """The answer; ``None`` when it is not ours to know, or a zombie has none."""
    try:
        return question()
    except (psutil.AccessDenied, psutil.ZombieProcess):
        return None

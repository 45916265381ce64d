"""This machine: its load, and the processes of the workers on it."""

from __future__ import annotations

import msgspec


class Process(msgspec.Struct, frozen=True, eq=False):
    """One process of a worker, by psutil. ``None``: not allowed to see, or not measured twice yet."""

    pid: int
    ppid: int | None
    created_at: float
    """Start time; with the pid it names the process for ever."""
    role: str
    """``main``, ``child`` (a pool slot) or ``descendant`` (what a task has started)."""
    main_pid: int
    """Main process of the worker it belongs to."""
    nodename: str | None = None
    """As its command line says (``-n``, expanded), or joined from ``stats``."""
    status: str | None = None
    """psutil's word: running, sleeping, disk-sleep, stopped, zombie."""
    cpu_percent: float | None = None
    """Of one core, since the last look."""
    cpu_time: float | None = None
    rss: int | None = None
    rss_growth: float | None = None
    """Bytes a second, over what has been watched (at least a minute)."""
    threads: int | None = None
    fds: int | None = None
    children: int | None = None
    command: str | None = None
    """Clean, secrets masked."""
    wait_channel: str | None = None
    """``/proc/PID/wchan``: where the kernel lets it sleep."""
    sockets: tuple[str, ...] | None = None
    """Own ends of its TCP connections, ``ip:port``; ``None``: not looked at (only while the broker's page is open)."""
    task_id: str | None = None
    """What it runs. Joined from ``active`` by worker_pid."""
    task_name: str | None = None


class Host(msgspec.Struct, frozen=True, eq=False):
    """One machine. Only this one is measured; workers elsewhere are known by ``Worker.rusage``."""

    name: str
    measured_at: float
    cpus: int | None = None
    cpu_percent: float | None = None
    """Of all cores together, 0 to 100."""
    load: tuple[float, float, float] | None = None
    memory_total: int | None = None
    memory_available: int | None = None
    swap_used: int | None = None
    swap_total: int | None = None
    processes: tuple[Process, ...] = ()
    """Workers' mains, each followed by its children and their descendants."""
    note: str | None = None
    """One sentence when part of it may not be seen."""


def same_host(one: str | None, two: str) -> bool:
    """Whether two names mean the same machine; a short name matches its long one.

    >>> same_host("DB-7", "db-7.lan"), same_host("db-7.lan", "db-7.wan"), same_host(None, "db-7")
    (True, False, False)
    """
    if not one:
        return False
    one, two = one.lower(), two.lower()
    if "." in one and "." in two:
        return one == two
    return one.partition(".")[0] == two.partition(".")[0]

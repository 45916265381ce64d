"""This machine: its load, and what each process of the Celery workers on it does.

Looks at Celery's processes alone and never at anybody's environment. A look through all processes happens every ten
seconds; in between only the known trees are measured.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

import msgspec
import psutil

from celerytop.errors import HostError
from celerytop.model.host import Host, Process, same_host
from celerytop.model.observation import HostMeasured, Observation
from celerytop.model.secret import mask_args
from celerytop.model.text import clean
from celerytop.sources import procfs
from celerytop.sources.base import Interest
from celerytop.sources.process import ask as _ask
from celerytop.sources.process import booted_at, stat
from celerytop.sources.sockets import own_ends
from celerytop.sources.worker_process import MAIN, Main, Member, find_mains, members

SCAN_EVERY = 10.0
"""Seconds between two looks through all processes of the machine."""
BEGINNING = 15.0
"""Seconds in which connections are looked at whatever is on screen: they tell which mute workers use this broker."""
SOCKETS_EVERY = 10.0
"""Seconds between two looks at who holds which connection."""
COMMAND_LIMIT = 400
TICKS_TELL = 0.1
"""Seconds below which CPU time says nothing: the last percentage stays."""
RSS_EVERY, RSS_KEPT, RSS_SPAN = 5.0, 120, 60.0
"""Memory samples: seconds between two, how many are kept (ten minutes), and over how long they must reach to tell."""
WARM_UP = 60.0
"""Seconds of a process's life in which it grows whatever it does: an hour of that would be a false alarm."""


class _Past:
    """What was measured of one process before."""

    def __init__(self) -> None:
        self.at: float | None = None
        self.cpu_time: float | None = None
        self.percent: float | None = None
        self.rss: deque[tuple[float, int]] = deque(maxlen=RSS_KEPT)

    def cpu_percent(self, at: float, cpu_time: float | None) -> float | None:
        """Of one core since the last look; ``None`` on the first. The kernel counts in steps of 10 ms."""
        if self.at is not None and at - self.at < TICKS_TELL:
            return self.percent
        if self.at is None or self.cpu_time is None or cpu_time is None:
            self.percent = None
        else:
            self.percent = max(0.0, (cpu_time - self.cpu_time) / (at - self.at) * 100)
        self.at, self.cpu_time = at, cpu_time
        return self.percent

    def growth(self, at: float, rss: int | None) -> float | None:
        """Bytes a second between the oldest and the newest sample; ``None`` before they are a minute apart."""
        if rss is None:
            return None
        if not self.rss or at - self.rss[-1][0] >= RSS_EVERY:
            self.rss.append((at, rss))
        since, before = self.rss[0]
        return (rss - before) / (at - since) if at - since >= RSS_SPAN else None


class _Known(NamedTuple):
    """A process that was seen before: its psutil object, which alone costs a third of a look, and its past."""

    process: psutil.Process
    past: _Past


class HostProbe:
    """Satisfies ``Probe``. Every figure that we may not see is ``None``, and the host's note says how many."""

    name = "host"
    every = 2.0
    took = 0.0

    def __init__(self, only_pids: Collection[int] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """``only_pids`` restricts the look to these processes and what is below them."""
        self._only = only_pids
        self._clock = clock
        self._mains: Mapping[int, Main] = {}
        self._scan_at = float("-inf")
        self._named: frozenset[int] = frozenset()
        self._known: dict[tuple[int, float], _Known] = {}
        """By pid and start."""
        self._booted_at = 0.0
        self._machine: tuple[float, float] | None = None
        self._denied = 0
        self._broker_page = False
        self._began = clock()
        self._sockets: Mapping[int, tuple[str, ...]] = {}
        self._sockets_at = float("-inf")

    def attend(self, interest: Interest) -> None:
        """Pids that workers name as theirs: a new one of this machine is looked for at once."""
        self._broker_page = interest.page in ("broker", "all")
        name_here = socket.gethostname()
        here = any(same_host(name.partition("@")[2], name_here) for name in (*interest.workers, *interest.quiet))
        named = frozenset(interest.pids if here else ())
        if any(pid not in self._mains and psutil.pid_exists(pid) for pid in named - self._named):
            self._scan_at = float("-inf")
        self._named = named

    def poll(self) -> Iterator[Observation]:
        """Measure this machine and the workers' processes.

        Raises:
            HostError: the list of processes cannot be read.
        """
        try:
            host = self._host(time.time(), self._clock())
        except (psutil.Error, OSError) as error:
            raise HostError(f"This machine's processes cannot be read: {type(error).__name__}.") from error
        yield HostMeasured(at=host.measured_at, host=host)

    # -------------------------------------------------------------------------------------------- the machine
    def _host(self, at: float, clock: float) -> Host:
        memory, swap = psutil.virtual_memory(), _swap()
        processes = self._processes(clock)
        return Host(
            name=clean(socket.gethostname()),
            measured_at=at,
            cpus=psutil.cpu_count(),
            cpu_percent=self._cpu_percent(),
            load=psutil.getloadavg(),
            memory_total=memory.total,
            memory_available=memory.available,
            swap_used=swap[0],
            swap_total=swap[1],
            processes=processes,
            note=self._note(),
        )

    def _cpu_percent(self) -> float | None:
        """Busy part of all cores since the last look; psutil's own would answer 0.0 on the first."""
        times = psutil.cpu_times()
        # guest time is counted in user time already; waiting for a disk is not work
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        idle = times.idle + getattr(times, "iowait", 0.0)
        before, self._machine = self._machine, (total, idle)
        if before is None or total <= before[0]:
            return None
        return min(100.0, max(0.0, 100 * (1 - (idle - before[1]) / (total - before[0]))))

    def _note(self) -> str | None:
        if not self._denied:
            return None
        return f"{self._denied} worker processes belong to other users: run as root to see their open files."

    # ------------------------------------------------------------------------------------------- the processes
    def _processes(self, clock: float) -> tuple[Process, ...]:
        if clock - self._scan_at >= SCAN_EVERY:
            self._mains = find_mains(self._only, self._named)
            self._scan_at = clock
        self._denied = 0
        self._booted_at = booted_at()
        known: dict[tuple[int, float], _Known] = {}
        measured = [self._measure(member, clock, known) for member in members(self._mains.values())]
        self._known = known
        found = tuple(process for process in measured if process is not None)
        found = self._with_sockets(found, clock)
        gone = set(self._mains) - {process.pid for process in found if process.role == MAIN}
        if gone:
            self._mains = {pid: main for pid, main in self._mains.items() if pid not in gone}
            found = tuple(process for process in found if process.main_pid not in gone)
        return found

    def _with_sockets(self, processes: tuple[Process, ...], clock: float) -> tuple[Process, ...]:
        """Add the processes' ends of connections: at first, and while the broker's clients are on screen."""
        if not self._broker_page and clock - self._began > BEGINNING:
            return processes
        if clock - self._sockets_at >= SOCKETS_EVERY:
            self._sockets_at = clock
            self._sockets = _ask(lambda: own_ends({process.pid for process in processes})) or {}
        return tuple(msgspec.structs.replace(one, sockets=self._sockets.get(one.pid)) for one in processes)

    def _measure(self, member: Member, clock: float, known: dict[tuple[int, float], _Known]) -> Process | None:
        """One process; ``None`` when it is gone, or another one has its number now."""
        try:
            told = stat(member.pid)
            if told is None or (member.role == MAIN and told.started != member.main.started):
                return None
            key = (member.pid, told.started)
            known[key] = self._known.get(key) or _Known(psutil.Process(member.pid), _Past())
            return self._figures(told, member, clock, known[key])
        except psutil.NoSuchProcess:
            return None

    def _figures(self, told: procfs.Stat, member: Member, clock: float, known: _Known) -> Process:
        process, past = known
        created_at = told.started + self._booted_at
        fds = _ask(process.num_fds) if hasattr(process, "num_fds") else None
        self._denied += fds is None and told.state != psutil.STATUS_ZOMBIE and hasattr(process, "num_fds")
        return Process(
            pid=member.pid,
            ppid=told.ppid,
            created_at=created_at,
            role=member.role,
            main_pid=member.main.pid,
            nodename=member.main.nodename,
            status=told.state,
            cpu_percent=past.cpu_percent(clock, told.cpu_time),
            cpu_time=told.cpu_time,
            rss=told.rss,
            rss_growth=past.growth(clock, told.rss) if time.time() - created_at > WARM_UP else None,
            threads=_ask(process.num_threads),
            fds=fds,
            children=member.children,
            command=_command(member.words),
            wait_channel=procfs.wait_channel(member.pid),
        )


class HostLane:
    """Satisfies ``Lane``: one probe, and nothing to connect to."""

    name = "host"

    def __init__(self, only_pids: Collection[int] | None = None) -> None:
        self.probes = (HostProbe(only_pids),)

    def connect(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


def _swap() -> tuple[int | None, int | None]:
    try:
        swap = psutil.swap_memory()
    except (psutil.Error, OSError, RuntimeError):  # a container may hide /proc/vmstat
        return None, None
    return swap.used, swap.total


@lru_cache(maxsize=512)  # masking takes longer than all the rest of a look
def _command(words: tuple[str, ...]) -> str | None:
    return clean(mask_args(" ".join(words)), COMMAND_LIMIT) if words else None

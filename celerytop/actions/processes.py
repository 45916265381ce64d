"""Processes of this host: who they are for ever, what is below them, whether they live, and how they are killed.

A pid alone names nothing: the kernel gives it to somebody else. Here a process is its pid with its start, counted in
clock ticks since boot where there is ``/proc`` (psutil's Unix time moves when the clock is set).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterable
from pathlib import Path

import msgspec
import psutil

from celerytop.model.host import Process as Measured
from celerytop.model.host import same_host
from celerytop.sources import procfs
from celerytop.sources.worker_process import find_mains

SLACK = 1.0
"""Seconds by which two readings of one start time may differ: the kernel's boot time is told in whole seconds."""
ROUNDS = 20
"""Looks for further descendants while a tree is being stopped; one that forks faster than that is killed as it is."""
_DEAD = frozenset("ZXx")
_HAS_PROC = procfs.PROC.exists()


class Proc(msgspec.Struct, frozen=True, gc=False):
    """One process, for ever."""

    pid: int
    started: float
    """Opaque: ticks since boot, or psutil's Unix time."""


class Seen(msgspec.Struct, frozen=True, gc=False):
    """A process at one moment."""

    proc: Proc
    ppid: int
    state: str
    """``/proc``'s letter: R S D T Z X."""
    threads: int = 1
    groups: tuple[int, int] = (0, 0)
    """Process group and session."""

    @property
    def lives(self) -> bool:
        """It can still do something. A zombie cannot: it waits for its parent to read its exit code. One whose first
        thread has ended alone looks like a zombie too, and its other threads run on.
        """
        return self.state not in _DEAD or self.threads > 1


def look_at(pid: int, root: Path = procfs.PROC) -> Seen | None:
    """The process that has this pid now."""
    if not _HAS_PROC:
        return _by_psutil(pid)
    try:
        data = (root / str(pid) / "stat").read_bytes()
        fields = data[data.rindex(b")") + 2 :].split()
        ppid, group, session, threads, started = (int(fields[at]) for at in (1, 2, 3, 17, 19))
        return Seen(Proc(pid, float(started)), ppid, fields[0].decode(), threads, (group, session))
    except (OSError, ValueError, IndexError):
        return None


def lives(proc: Proc) -> bool:
    """It is the same one, and no zombie."""
    seen = look_at(proc.pid)
    return seen is not None and seen.proc == proc and seen.lives


def same_start(proc: Proc, started_at: float | None) -> bool:
    """Whether psutil's start time is this process's; ``None`` was not known and says nothing."""
    if started_at is None:
        return True
    found = created_at(proc)
    return found is not None and abs(found - started_at) <= SLACK


def created_at(proc: Proc) -> float | None:
    """Unix seconds by psutil; ``None`` when it is gone."""
    try:
        at = psutil.Process(proc.pid).create_time()
    except psutil.Error:
        return None
    seen = look_at(proc.pid)
    return at if seen is not None and seen.proc == proc else None


def below(pid: int) -> list[int]:
    """Direct children."""
    found = procfs.children(pid)
    if found is not None:
        return found
    if _HAS_PROC and look_at(pid) is not None:  # a kernel that does not list children
        return procfs.children_of(psutil.pids()).get(pid, [])
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []


class Family:
    """A process and all that was ever seen below it, orphans too: whoever was in it once stays in it."""

    def __init__(self, root: Proc, known: Iterable[Proc] = ()) -> None:
        self.root = root
        self._members: dict[Proc, None] = {root: None, **dict.fromkeys(known)}
        self.grow()

    @property
    def members(self) -> tuple[Proc, ...]:
        """All of them, dead or alive; the root first."""
        return tuple(self._members)

    def grow(self) -> bool:
        """Take in what is below the living ones now; whether there was anybody new."""
        before = len(self._members)
        waiting = [proc for proc in self._members if lives(proc)]
        while waiting:
            for pid in below(waiting.pop().pid):
                seen = look_at(pid)
                if seen is not None and seen.proc not in self._members:
                    self._members[seen.proc] = None
                    waiting.append(seen.proc)
        return len(self._members) > before

    def living(self) -> list[Proc]:
        """Who of them lives."""
        return [proc for proc in self._members if lives(proc)]

    def offspring(self) -> list[Proc]:
        """Who lives, without the root."""
        return [proc for proc in self.living() if proc != self.root]


def kill(procs: Iterable[Proc], spared: frozenset[int]) -> tuple[list[Proc], list[Proc]]:
    """SIGKILL to each that is still the same. Never to ``spared``, ourselves, what we run under, or init.

    Returns:
        Those that got it, and those that belong to somebody else.
    """
    killed: list[Proc] = []
    denied: list[Proc] = []
    forbidden = spared | _ours()
    for proc in procs:
        if proc.pid not in forbidden and proc.pid > 1 and lives(proc):
            try:
                os.kill(proc.pid, signal.SIGKILL)
                killed.append(proc)
            except ProcessLookupError:
                continue
            except PermissionError:
                denied.append(proc)
    return killed, denied


def hold(family: Family, spared: frozenset[int]) -> None:
    """SIGSTOP all of them until no new ones appear, so that nobody is born behind our back while they are killed."""
    forbidden = spared | _ours()
    for _ in range(ROUNDS):
        for proc in family.living():
            if proc.pid not in forbidden and proc.pid > 1:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(proc.pid, signal.SIGSTOP)
        if not family.grow():
            return


def main_here(pid: int | None, nodename: str) -> Proc | None:
    """The main process of this worker, when it runs on this machine and its pid means the same here."""
    if pid is None or pid <= 1:
        return None
    main = find_mains(only=(pid,), named=(pid,)).get(pid)
    if main is None:
        return None
    host = nodename.partition("@")[2]
    told = main.nodename == nodename
    embedded = main.nodename is None and main.command.embedded and same_host(host, socket.gethostname())
    if not told and not (embedded and procfs.same_machine_name(pid)):
        return None
    seen = look_at(pid)
    return seen.proc if seen is not None else None


def known_below(measured: Iterable[Measured], proc: Proc) -> list[Proc]:
    """Of an earlier look at this host: what was below ``proc`` then and lives now, though it may be an orphan."""
    children: dict[int, list[Measured]] = {}
    for one in measured:
        if one.ppid is not None:
            children.setdefault(one.ppid, []).append(one)
    found: list[Proc] = []
    waiting, met = [proc.pid], {proc.pid}
    while waiting:
        for one in children.get(waiting.pop(), ()):
            seen = look_at(one.pid)
            if one.pid not in met and seen is not None and same_start(seen.proc, one.created_at):
                found.append(seen.proc)
            if one.pid not in met:
                met.add(one.pid)
                waiting.append(one.pid)
    return found


def _ours() -> frozenset[int]:
    """Ourselves and all we run under."""
    found = {os.getpid()}
    above: int | None = os.getppid()
    while above and above not in found:
        found.add(above)
        above = procfs.parent(above) if _HAS_PROC else _parent(above)
    return frozenset(found)


def _parent(pid: int) -> int | None:
    try:
        return psutil.Process(pid).ppid()
    except psutil.Error:
        return None


def _by_psutil(pid: int) -> Seen | None:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            state = "Z" if process.status() == psutil.STATUS_ZOMBIE else "S"
            return Seen(Proc(pid, process.create_time()), process.ppid(), state)
    except psutil.Error:
        return None

"""Processes that a pool child has sent away: forked twice, in a session of their own, nobody's children any more.

They are below nothing, so only what they have inherited tells whence they come: the command line of the child (forked),
or its environment with what the worker adds to it (executed). Linux only.
"""

from __future__ import annotations

import os

import msgspec
import psutil

from celerytop.actions.processes import SLACK, Proc, Seen, look_at
from celerytop.model.text import some
from celerytop.sources import procfs

_MARKS = (b"celery_dummy_proxy=set_by_celeryd", b"FORKED_BY_MULTIPROCESSING=1")
"""What a worker puts into its environment, and so into that of all it executes."""
_DEPTH = 50


class Origin(msgspec.Struct, frozen=True, eq=False):
    """What a child's strays have in common, read while it lived."""

    main: Proc
    words: bytes
    environment: frozenset[bytes]
    since: float
    """Ticks since boot: its task began."""
    alone: bool
    """Nothing else ran in this worker: whatever it has sent away is this task's."""


def origin_of(main: Proc, child: Proc, began_at: float | None, *, alone: bool) -> Origin | None:
    """Of the child's task; ``None`` where it cannot be known."""
    words, environment = _read(child.pid, "cmdline"), _read(main.pid, "environ")
    if not words or began_at is None or not procfs.PROC.exists():
        return None
    since = (began_at - psutil.boot_time() - SLACK) * os.sysconf("SC_CLK_TCK")
    return Origin(main, words, frozenset(filter(None, environment.split(b"\0"))), since, alone)


def told(origin: Origin, away: list[Proc], worker: str | None) -> str:
    """What is left, in a sentence."""
    shown = some([proc.pid for proc in away], 5)
    whose = "They are its own" if origin.alone else "Whether they are its own or of a task beside it cannot be seen"
    return (
        f"but processes that came from {worker} while it ran, daemons by now, run on ({shown}). {whose}: end them by "
        "hand if they are not meant to stay."
    )


def strays(origin: Origin) -> list[Proc]:
    """Who lives of them. Looks at every process of this host, some 20 us each."""
    found = []
    for pid in psutil.pids():
        seen = look_at(pid)
        if seen is None or seen.proc.started < origin.since or not seen.lives or pid == os.getpid():
            continue
        if _alike(pid, origin) and not _accounted_for(seen, origin):
            found.append(seen.proc)
    return found


def _alike(pid: int, origin: Origin) -> bool:
    if _read(pid, "cmdline") == origin.words:
        return True
    environment = frozenset(_read(pid, "environ").split(b"\0"))
    return any(mark in environment for mark in _MARKS) and origin.environment <= environment


def _accounted_for(seen: Seen, origin: Origin) -> bool:
    """It is the main process, or below it: others of its pool. Or below another one with the child's command line: a
    second worker that was started with the same words, or a stray that is told itself.
    """
    above: Seen | None = seen
    for _ in range(_DEPTH):
        if above is None or above.ppid == 0:
            return False
        if above.proc == origin.main or (above is not seen and _read(above.proc.pid, "cmdline") == origin.words):
            return True
        above = look_at(above.ppid)
    return False


def _read(pid: int, name: str) -> bytes:
    try:
        return (procfs.PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""

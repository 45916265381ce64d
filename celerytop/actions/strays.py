"""Processes that a pool child has sent away: forked twice, in a session of their own, nobody's children any more.

They are below nothing, so only what they have inherited tells whence they come: the command line of the child (forked),
its environment with what the worker adds to it (executed), or the worker's process group or session (not daemons: what
a shell left in the background). One that keeps none of them is not found. Linux only.
"""

from __future__ import annotations

import os

import msgspec
import psutil

from celerytop.actions.processes import ROUNDS, SLACK, Proc, Seen, look_at
from celerytop.model.outcome import NOT_STOPPED, UNKNOWN
from celerytop.model.text import some
from celerytop.sources import procfs
from celerytop.sources.worker_process import find_mains

_MARKS = frozenset({b"CELERY_LOG_LEVEL", b"_MP_FORK_LOGLEVEL_", b"FORKED_BY_MULTIPROCESSING", b"celery_dummy_proxy"})
"""What a worker puts into its environment, and so into that of all it executes [celery/app/log.py,
concurrency/prefork.py, apps/worker.py]; the last two only with spawned children and on macOS."""
_SHELLS = frozenset({b"PWD", b"OLDPWD", b"SHLVL", b"_"})
"""What each shell on the way writes anew into the environment it was given."""
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
    given = (entry for entry in environment.split(b"\0") if entry and entry.partition(b"=")[0] not in _SHELLS)
    return Origin(main, words, frozenset(given), since, alone)


def verdict(origin: Origin, away: list[Proc], worker: str | None, what: str = "Its process is gone") -> tuple[str, str]:
    """Outcome and sentence of a task that is over, as ``what`` says, while these live."""
    shown = some([proc.pid for proc in away], 5)
    whose = "They are its own" if origin.alone else "Whether they are its own or of a task beside it cannot be seen"
    sentence = (
        f"{what}, but processes that came from {worker} while it ran, daemons by now, run on ({shown}). {whose}: end "
        "them by hand if they are not meant to stay."
    )
    return NOT_STOPPED if origin.alone else UNKNOWN, sentence


def strays(origin: Origin) -> list[Proc]:
    """Who lives of them. Looks at every process of this host, some 20 us each."""
    found: list[Proc] = []
    met = {os.getpid()}
    for _ in range(ROUNDS):  # one that was listed may be gone by now, and have left another one behind
        new = [pid for pid in psutil.pids() if pid not in met]
        if not new:
            break
        found += [seen.proc for pid in new if (seen := look_at(pid)) is not None and _is_stray(seen, origin)]
        met.update(new)
    return found


def _is_stray(seen: Seen, origin: Origin) -> bool:
    late = seen.proc.started >= origin.since
    return late and seen.lives and _alike(seen, origin) and not _accounted_for(seen, origin)


def _alike(seen: Seen, origin: Origin) -> bool:
    if origin.main.pid in seen.groups or _read(seen.proc.pid, "cmdline") == origin.words:
        return True
    environment = frozenset(_read(seen.proc.pid, "environ").split(b"\0"))
    marked = any(entry.partition(b"=")[0] in _MARKS for entry in environment)
    return marked and origin.environment <= environment


def _accounted_for(seen: Seen, origin: Origin) -> bool:
    """It is the main process, or below it: others of its pool. Or below another worker: of the child's command line, a
    second one that was started with the same words, or a stray that is told itself; or of its own, and the environment
    is the same where the unit is. Or below what an earlier task has sent away.
    """
    above: Seen | None = seen
    for _ in range(_DEPTH):
        if above is None or above.ppid == 0:
            return False
        if above.proc == origin.main or (above is not seen and _answers_for(above, origin)):
            return True
        above = look_at(above.ppid)
    return False


def _answers_for(above: Seen, origin: Origin) -> bool:
    """For what is below it."""
    pid = above.proc.pid
    if not above.lives or pid == 1:
        return False
    older = above.proc.started < origin.since and _alike(above, origin)
    return older or _read(pid, "cmdline") == origin.words or pid in find_mains(only=(pid,))


def _read(pid: int, name: str) -> bytes:
    try:
        return (procfs.PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""

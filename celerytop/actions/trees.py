"""Trees that were seen below tasks, so that what a signalled child leaves behind can still be named as its own.

A worker forgets a task as soon as it is told to terminate it: from then on only whoever sent the signal knows which
process that was. It is kept in a file too, for the next celerytop: a runbook climbs the ladder one command a rung.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from functools import cache
from pathlib import Path

import msgspec

from celerytop.actions.audit import state_dir
from celerytop.actions.processes import Family, Proc, lives
from celerytop.actions.strays import Origin
from celerytop.sources import procfs

KEPT = 2000
"""Tasks."""
FOR = 86_400.0
"""Seconds."""
LIMIT = 1 << 20
"""Bytes of a file beyond which it is not ours."""


class Tree(msgspec.Struct, frozen=True, eq=False):
    """What is known of one task's processes."""

    family: Family
    worker: str | None
    size: int
    """How many were known when it was kept."""
    ours: bool = False
    """This run has kept it: not a file, which tells only of what lives."""
    origin: Origin | None = None
    """By what its strays are known; in memory only, for it holds an environment."""


class _Kept(msgspec.Struct):
    """A file."""

    task_id: str
    worker: str | None
    machine: str
    root: Proc
    members: list[Proc]


_decoder = msgspec.json.Decoder(_Kept)


class Trees:
    """By task. Of all actions of this run, and, as far as the state directory can be written, of earlier ones."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, Tree]] = {}
        self._lock = threading.Lock()
        self._swept = False

    def keep(self, task_id: str, family: Family, worker: str | None, origin: Origin | None = None) -> None:
        """Remember; the oldest goes."""
        with self._lock:
            before = self._found.pop(task_id, None)
            self._found[task_id] = (time.monotonic(), Tree(family, worker, len(family.members), True, origin))
            while len(self._found) > KEPT:
                self._found.pop(next(iter(self._found)))
            if before is not None and before[1].family is family and before[1].size == len(family.members):
                return  # it is in its file
            with contextlib.suppress(OSError, RuntimeError):
                self._write(task_id, family, worker)

    def forget(self, task_id: str) -> None:
        """All of it is gone."""
        with self._lock:
            self._found.pop(task_id, None)
            with contextlib.suppress(OSError, RuntimeError):
                _path(task_id).unlink(missing_ok=True)

    def of(self, task_id: str) -> Tree | None:
        """The tree of a task an earlier action was about, if any of it lives."""
        with self._lock:
            kept = self._found.get(task_id)
            if kept is not None and time.monotonic() - kept[0] < FOR:
                return kept[1]
            with contextlib.suppress(OSError, RuntimeError):
                return _read(task_id)
        return None

    def _write(self, task_id: str, family: Family, worker: str | None) -> None:
        path = _path(task_id)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._swept:
            self._swept = True
            _sweep(path.parent)
        kept = _Kept(task_id, worker, _machine(), family.root, list(family.members))
        new = path.with_suffix(f".{os.getpid()}")
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(file, "wb") as opened:
            opened.write(msgspec.json.encode(kept))
        new.rename(path)  # not fsynced: pids mean nothing after the crash that would lose it


def _read(task_id: str) -> Tree | None:
    """Of an earlier run on this machine since it was started; nobody else may have written it."""
    file = os.open(_path(task_id), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(file, "rb") as opened:
        about = os.fstat(file)
        if about.st_uid != os.geteuid() or time.time() - about.st_mtime > FOR:
            return None
        data = opened.read(LIMIT)
    try:
        kept = _decoder.decode(data)
    except msgspec.MsgspecError:
        return None
    if kept.task_id != task_id or kept.machine != _machine() or not any(map(lives, (kept.root, *kept.members))):
        return None
    return Tree(Family(kept.root, kept.members), kept.worker, len(kept.members))


def _path(task_id: str) -> Path:
    return state_dir() / "trees" / hashlib.sha256(task_id.encode("utf-8", "replace")).hexdigest()


def _sweep(folder: Path) -> None:
    """Those of yesterday."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > FOR:
                path.unlink()


@cache
def _machine() -> str:
    """A pid and its start mean the same process as long as this is the same: this boot, this pid namespace."""
    boot = space = ""
    with contextlib.suppress(OSError):
        boot = (procfs.PROC / "sys/kernel/random/boot_id").read_text().strip()
    with contextlib.suppress(OSError):
        space = str((procfs.PROC / "self/ns/pid").stat().st_ino)
    return f"{boot} {space}"


TREES = Trees()

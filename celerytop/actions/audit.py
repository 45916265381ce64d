"""The audit file: a line before anything is sent, a line with what became of it. No line, no action.

JSON lines in ``$XDG_STATE_HOME/celerytop/audit.jsonl`` (else ``~/.local/state``), 0600, appended and fsynced; the same
in short to syslog, as far as there is one.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import socket
import stat
import syslog
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psutil

from celerytop.errors import CelerytopError
from celerytop.model.action import AnyAction, command_of
from celerytop.model.outcome import ActionReport
from celerytop.model.secret import mask_args
from celerytop.model.text import clean, some
from celerytop.sources.wire_fields import pid

NAME = "audit.jsonl"
LOCK_PATIENCE = 1.0
"""Seconds to wait while another celerytop writes its line."""
SYSLOG_IDS = 5
TAIL = 256 << 10
"""Bytes of the file that are read again."""
_FREE = frozenset({"args", "kwargs", "filter", "values"})
"""Fields that may hold what people typed, or a task's arguments."""


class AuditError(CelerytopError):
    """The audit file cannot be written: nothing may be done."""


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """``$XDG_STATE_HOME/celerytop``, else ``~/.local/state/celerytop``; a relative one does not count (XDG)."""
    base = environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "state") / "celerytop"


class Audit:
    """Appends. Opens the file anew for each line: it may be rotated away in between."""

    def __init__(self, cluster: str, folder: Path | None = None) -> None:
        """``folder``: ``None`` is ``state_dir()``, looked up when it is needed."""
        self._cluster = cluster
        self._folder = folder

    @property
    def path(self) -> Path:
        """The file.

        Raises:
            AuditError: it is not known where it would be.
        """
        try:
            return (self._folder or state_dir()) / NAME
        except RuntimeError as error:  # no HOME, and no entry in the password file
            raise AuditError("There is no home directory for the audit file: set XDG_STATE_HOME.") from error

    def before(self, number: int, action: AnyAction) -> int:
        """Write what is about to be done, by whom; the number of its line.

        Raises:
            AuditError: it is not on disk.
        """
        command, ids = command_of(action), _ids(action)
        line = {
            "at": _moment(time.time()),
            "event": "begin",
            "number": number,
            "user": _user(),
            "uid": os.getuid(),
            "ssh_client": _ssh_client(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "cluster": self._cluster,
            "command": command,
            "ids": ids,
            "action": _masked(msgspec.to_builtins(action)),
        }
        _to_syslog(f"{line['user']} on {self._cluster}: {_named(action)} {some(ids, SYSLOG_IDS, ' ')}")
        return self._append(line)

    def after(self, report: ActionReport) -> None:
        """Write what became of it.

        Raises:
            AuditError: it is not on disk.
        """
        outcomes = [_masked(msgspec.to_builtins(outcome)) for outcome in report.outcomes]
        line = {
            "at": _moment(time.time()),
            "event": "end",
            "number": report.number,
            "pid": os.getpid(),
            "cluster": self._cluster,
            "line": report.audit_line,
            "command": command_of(report.action),
            "outcomes": outcomes,
            "dump": report.dump,
            "new_id": report.new_id,
        }
        words = some([f"{_subject(one)} {one['outcome']}" for one in outcomes], SYSLOG_IDS)
        _to_syslog(f"{_named(report.action)} on {self._cluster}: {words}")
        self._append(line)

    def cut_off(self) -> str | None:
        """The action before this one, when its celerytop was killed in the middle of it: one sentence."""
        lines = _tail(self.path)
        begun = [one for one in lines if one.get("event") == "begin" and one.get("pid") != os.getpid()]
        if not begun or begun[-1].get("host") != socket.gethostname():
            return None
        last = begun[-1]
        number = pid(last.get("pid"))
        if number is None or psutil.pid_exists(number):
            return None
        after = lines[lines.index(last) + 1 : -1]  # but ours
        if any(one.get("event") == "begin" or _ends(one, last) for one in after):
            return None  # it came to its end, or has been told
        ids = last.get("ids")
        what = f"{last.get('command')} {some(ids if isinstance(ids, list) else [], SYSLOG_IDS, ' ')}".rstrip()
        by = f"on {last.get('cluster')} by {last.get('user')} at {last.get('at')}"
        return (
            f"the action before this one, {what} {by}, has no outcome: its celerytop was killed. What it took out of a "
            f"queue stands in its dump ({self.path.parent / 'dumps'})"
        )

    def _append(self, line: Mapping[str, Any]) -> int:
        content = msgspec.json.encode(line) + b"\n"
        path = self.path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _opened(path) as (file, fresh):
                count, whole = _lines(file)
                content = content if whole else b"\n" + content
                if os.write(file, content) != len(content):
                    raise OSError(None, "only a part of the line could be written")
                os.fsync(file)
                if fresh:
                    sync_folder(path.parent)
                return count + 1
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise AuditError(f"The audit file {clean(str(path), 300)} cannot be written ({why}).") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[int, bool]]:
    """The file, ours alone and locked; and whether it was made just now. A link is followed only when it is ours."""
    with contextlib.suppress(FileNotFoundError):
        there = os.lstat(path)
        if stat.S_ISLNK(there.st_mode):
            if there.st_uid != os.geteuid():
                raise OSError(None, "it is a link that belongs to somebody else")
            path = path.resolve()
    fresh = not path.exists()
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    file = os.open(path, flags, 0o600)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise OSError(None, "it is not a file of ours")
        if stat.S_IMODE(found.st_mode) != 0o600:
            os.fchmod(file, 0o600)
        _lock(file)
        yield file, fresh
    finally:
        os.close(file)


def _lock(file: int) -> None:
    """Wait a moment for another one's line; then write all the same: O_APPEND keeps lines apart."""
    deadline = time.monotonic() + LOCK_PATIENCE
    while time.monotonic() < deadline:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.01)
        except OSError:  # a file system without locks
            return


def _lines(file: int) -> tuple[int, bool]:
    """How many lines it has, and whether the last one is whole (a full disk may have cut it)."""
    count, last, at = 0, b"\n", 0
    while chunk := os.pread(file, 1 << 20, at):
        count += chunk.count(b"\n")
        last = chunk[-1:]
        at += len(chunk)
    whole = last == b"\n"
    return count + (not whole), whole


def _tail(path: Path) -> list[dict[str, Any]]:
    """The last lines, as far as they can be read."""
    found = []
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        for line in file.read().splitlines():
            with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
                found.append(msgspec.json.decode(line, type=dict[str, Any]))
    return found


def _ends(line: Mapping[str, Any], begin: Mapping[str, Any]) -> bool:
    return line.get("event") == "end" and all(line.get(key) == begin.get(key) for key in ("pid", "number"))


def sync_folder(folder: Path) -> None:
    """So that the file's name is on disk too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _ids(action: AnyAction) -> list[str]:
    """What it is done to: tasks, workers, queues."""
    found = msgspec.to_builtins(action)
    ids = [target["task_id"] for target in found.get("targets", ())]
    ids += found.get("task_ids", ())
    ids += found.get("workers", ())
    ids += [found[key] for key in ("task_id", "worker", "queue", "to", "path") if isinstance(found.get(key), str)]
    return ids


def _masked(found: Any, key: str = "") -> Any:
    if isinstance(found, dict):
        return {name: _masked(value, name) for name, value in found.items()}
    if isinstance(found, list | tuple):
        return [_masked(value, key) for value in found]
    return mask_args(found) if isinstance(found, str) and key in _FREE else found


def _named(action: AnyAction) -> str:
    """Whoever reads syslog shall not take a count for a purge."""
    return command_of(action) + (" (only counts)" if getattr(action, "dry_run", False) else "")


def _subject(outcome: Mapping[str, Any]) -> str:
    return str(outcome.get("task_id") or outcome.get("worker") or outcome.get("queue") or "it")


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _user() -> str:
    """Who asked: behind sudo the one who typed it, with what he has become."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's uid without a name
        name = str(os.getuid())
    sudo = os.environ.get("SUDO_USER")
    return clean(f"{sudo} as {name}" if sudo and sudo != name else name, 100)


def _ssh_client() -> str | None:
    found = os.environ.get("SSH_CLIENT")
    return clean(found, 100) if found else None


def _to_syslog(words: str) -> None:
    """Best effort: a machine without syslog is no reason not to act."""
    with contextlib.suppress(OSError, ValueError):
        syslog.openlog("celerytop", syslog.LOG_PID, syslog.LOG_USER)
        syslog.syslog(syslog.LOG_NOTICE, clean(words, 900))

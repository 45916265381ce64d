"""A child process with verbs: start, stop, kill, freeze, thaw; and waiting for a condition."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import psutil

ROOT = Path(__file__).resolve().parents[2]
"""The repository: what a worker's PYTHONPATH must contain to import ``tests.rig.app``."""

T = TypeVar("T")

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
_random = random.Random()
_given: set[int] = set()
_ledger = (Path(tempfile.gettempdir()) / f"rig-ports-{os.getuid()}").open("ab")
"""Byte N is locked as long as a test run that lives has been given port N. One lock, one file: it is never closed."""


class Missing(Exception):
    """A server this test needs is not installed. Skips locally, fails under CI."""


def free_port() -> int:
    """A loopback TCP port nobody listens on, below the range the kernel gives to outgoing connections.

    It is ours as long as this process lives: no other test run gets it before our server listens there, while that
    is restarted, or while a test relies on nobody listening.
    """
    for _ in range(500):
        port = _random.randrange(20_000, 32_000)
        if port in _given or not _reserved(port):
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError("no free port between 20000 and 32000")


def _reserved(port: int) -> bool:
    """Nobody else has it; a process loses what it has locked when it ends, however it ends."""
    try:
        fcntl.lockf(_ledger, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def wait_until(predicate: Callable[[], T | None], timeout: float = 30.0, message: str = "") -> T:
    """The first true result of ``predicate``, which is asked once more when the time is over: we may have stood still.

    Raises:
        TimeoutError: still false after ``timeout``; says ``message`` and the last result.
    """
    deadline = time.monotonic() + timeout
    pause, over = 0.005, False
    while not (result := predicate()):
        if over:
            raise TimeoutError(f"{message or 'condition'}: still {result!r} after {timeout} s")
        time.sleep(pause)
        pause, over = min(pause * 1.5, 0.1), time.monotonic() > deadline
    return result


def eventually(check: Callable[[], T], timeout: float = 60.0) -> T:
    """What ``check`` returns as soon as none of its assertions fails.

    Raises:
        AssertionError: the last one, after ``timeout``.
    """
    failures: list[AssertionError] = []
    found: list[T] = []

    def passes() -> bool:
        try:
            found.append(check())
        except AssertionError as error:
            failures.append(error)
        return bool(found)

    try:
        wait_until(passes, timeout)
    except TimeoutError as late:
        raise failures[-1] from late
    return found[0]


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Somebody listens on this TCP port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0


def stands_still(pid: int) -> bool:
    """Every thread of it is stopped (each stops by itself), or it is gone."""
    try:
        stats = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/stat")]
        if not stats:  # a system without /proc
            return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except (psutil.NoSuchProcess, ProcessLookupError):
        return True
    except FileNotFoundError:  # a thread has just ended
        return False
    return all(stat.rpartition(")")[2].split()[0] in "TtZX" for stat in stats)


def _die_with_parent() -> None:
    """Linux: SIGKILL me when the thread that started me is gone, so that a killed test run leaves nothing."""
    with contextlib.suppress(AttributeError):
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Child:
    """A process group of our own, its output in a log file, gone at the end of the block."""

    kill_order = signal.SIGTERM
    patience = 10.0
    """How long :meth:`stop` waits before it kills."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix=f"rig-{name}-", ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name)
        self.log_file = self.folder / f"{name}.log"

    def command(self) -> Sequence[str]:
        """What to run."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """What to add to our own environment."""
        return {}

    def ready(self) -> bool:
        """Is it up? Asked again and again by :meth:`start`."""
        return True

    # ------------------------------------------------------------------------------------------------ verbs
    def launch(self) -> Self:
        """Start the process and return at once."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already")
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                env={**os.environ, **self.environment()},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, no lock
            )
        return self

    def start(self, timeout: float = 90.0) -> Self:
        """Start the process and wait until it is ready."""
        self.launch()
        return self.wait_ready(timeout)

    def wait_ready(self, timeout: float = 90.0) -> Self:
        """Wait until :meth:`ready`; a process that ends meanwhile is an error that shows its log."""

        def ready_or_dead() -> bool:
            if not self.running:
                raise RuntimeError(f"{self.name} ended with {self.exit_code}:\n{self.log[-3000:]}")
            return self.ready()

        try:
            wait_until(ready_or_dead, timeout, f"{self.name} is up")
        except BaseException as error:
            error.add_note(self.log[-3000:])
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Ask it to end; kill it when it does not, and whatever it started."""
        if self.process is not None and self.process.poll() is None:
            self.thaw()
            self._signal_main(self.kill_order)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(self.patience)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the whole group, and wait for it. No goodbye, no cleaning up."""
        if self.process is None:
            return
        family = self.children()
        self._signal_group(signal.SIGKILL)
        self.process.wait(60)
        for relative in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                relative.kill()
        psutil.wait_procs(family, timeout=30)

    def kill_main(self) -> None:
        """SIGKILL to the main process alone: what a real ``kill -9 PID`` does to its children is theirs."""
        if self.process is not None:
            self._signal_main(signal.SIGKILL)
            self.process.wait(60)

    def freeze(self) -> None:
        """SIGSTOP: sockets stay open, nobody answers. Returns when it stands still."""
        self._signal_group(signal.SIGSTOP)
        wait_until(lambda: all(map(stands_still, self._group())), message=f"{self.name} stands still")

    def thaw(self) -> None:
        """SIGCONT: on it goes as if nothing had been."""
        self._signal_group(signal.SIGCONT)

    def restart(self, timeout: float = 90.0) -> Self:
        """Stop and start again: same ports, same folder."""
        self.stop()
        return self.start(timeout)

    # ------------------------------------------------------------------------------------------------ facts
    @property
    def running(self) -> bool:
        """The main process exists (frozen counts)."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """The main process."""
        if self.process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; -9 when it was killed."""
        return None if self.process is None else self.process.poll()

    @property
    def log(self) -> str:
        """What it has printed so far, over all its starts."""
        try:
            return self.log_file.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def children(self) -> list[psutil.Process]:
        """Every living descendant of the main process."""
        if not self.running:
            return []
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    # ------------------------------------------------------------------------------------------------ inside
    def _signal_main(self, number: int) -> None:
        if self.running:
            os.kill(self.pid, number)

    def _group(self) -> list[int]:
        """The main process and those below it that get the group's signals; a daemon has gone its own way."""
        with contextlib.suppress(ProcessLookupError):
            return [self.pid, *(one.pid for one in self.children() if os.getpgid(one.pid) == self.pid)]
        return [self.pid]

    def _signal_group(self, number: int) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)

    def close(self) -> None:
        """Kill it and remove the folder: nobody will miss a clean goodbye."""
        self.kill()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        try:
            return self if self.running else self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""A program on a pseudo-terminal that is typed into: when was the last byte painted that a key has changed?"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tests.rig.process import ROOT

QUIET = 0.03
"""Seconds without a byte after which a painting is over; the second part of a key comes 8 or 16 ms after the first."""
PATIENCE = 10.0


class Typed:
    """The program; killed at the end."""

    def __init__(self, command: Sequence[str], columns: int = 100, rows: int = 30) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.chdir(ROOT)
            env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
            os.execve(command[0], list(command), {**env, "TERM": "xterm-256color", "COLORTERM": "truecolor"})
        self.bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        os.close(self.master)

    def read(self, seconds: float) -> bytes:
        """What comes within so many seconds; returns with the first bytes."""
        if not select.select([self.master], [], [], max(0.0, seconds))[0]:
            return b""
        data = os.read(self.master, 65536)
        self.bytes += len(data)
        return data

    def read_at_most(self, count: int, seconds: float) -> bytes:
        """The same, but leave the rest to the terminal's own buffer."""
        return os.read(self.master, count) if select.select([self.master], [], [], seconds)[0] else b""

    def wait_for(self, mark: bytes) -> None:
        """Until it has written this."""
        seen = b""
        deadline = time.perf_counter() + PATIENCE
        while mark not in seen:
            if time.perf_counter() > deadline:
                raise TimeoutError(f"{mark!r} was not written: {seen[-500:]!r}")
            seen = seen[-65536:] + self.read(0.1)

    def rest(self, seconds: float) -> None:
        """Read on, for so long."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            self.read(left)

    def press(self, key: str) -> None:
        """Type it."""
        os.write(self.master, key.encode())

    def timed(self, key: str, quiet: float = QUIET) -> float:
        """Milliseconds from a key to the last byte of what it has painted."""
        while self.read(0.0):
            pass
        begun = last = time.perf_counter()
        self.press(key)
        if not self.read(PATIENCE):
            raise TimeoutError(f"{key!r} paints nothing")
        last = time.perf_counter()
        while self.read(quiet):
            last = time.perf_counter()
        return 1000 * (last - begun)

    def cpu(self) -> float:
        """CPU seconds it has used."""
        fields = open(f"/proc/{self.pid}/stat").read().rpartition(")")[2].split()  # noqa: SIM115
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

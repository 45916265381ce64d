"""A program in a real pseudo-terminal: send keys, read the screen, look at the raw bytes."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyte

from tests.rig.process import wait_until

# pyte prints the tail of what it does not know: private CSI with <, = or >, intermediates such as $p, APC, DCS.
_UNKNOWN = re.compile(r"\x1b\[[<=>][0-9;:]*[ -/]*[@-~]|\x1b\[\??[0-9;:]*[ -/]+[@-~]|\x1b[_P^X].*?\x1b\\", re.DOTALL)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[_P^X][^\x1b]*\x1b?|\][^\x07\x1b]*\x1b?)?$", re.DOTALL)

_OUR_SIZE = ("COLUMNS", "LINES")
"""Variables that a program believes more than its own terminal."""

KEYS = {
    "enter": "\r",
    "escape": "\x1b",
    "tab": "\t",
    "shift+tab": "\x1b[Z",
    "backspace": "\x7f",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "pageup": "\x1b[5~",
    "pagedown": "\x1b[6~",
    "delete": "\x1b[3~",
    "f1": "\x1bOP",
    "ctrl+c": "\x03",
    "ctrl+d": "\x04",
    "ctrl+z": "\x1a",
}


def _as_from_a_shell() -> None:
    """The terminal is the controlling one, and its signals are heard: a test run under ``nohup`` hears no SIGHUP."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """Run ``command`` on a screen of ``columns`` x ``rows``; SIGHUP, then SIGKILL, when the block ends."""

    def __init__(
        self,
        command: Sequence[str],
        columns: int = 100,
        rows: int = 30,
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
    ) -> None:
        """Choose the program; ``env`` is added to ours, with TERM=xterm-256color and a UTF-8 LANG unless told."""
        self._command = list(command)
        self._env = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", **(env or {})}
        self._cwd = cwd
        self.raw = bytearray()
        """Every byte the program has written."""
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self._screen)
        self._lock = threading.Lock()
        self._pending = ""
        self._master = -1
        self._wake = (-1, -1)
        self._reader: threading.Thread | None = None
        self.process: subprocess.Popen[bytes] | None = None

    # ------------------------------------------------------------------------------------------------ life
    def start(self) -> Self:
        """Start the program with the terminal as its controlling one."""
        self._master, slave = pty.openpty()
        self._wake = os.pipe()
        self._set_size(self._screen.columns, self._screen.lines)
        self.process = subprocess.Popen(
            self._command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**{name: value for name, value in os.environ.items() if name not in _OUR_SIZE}, **self._env},
            cwd=self._cwd,
            start_new_session=True,
            preexec_fn=_as_from_a_shell,  # noqa: PLW1509 - three system calls, no lock
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        master, wake = self._master, self._wake[0]
        # EIO: the program and all its children have closed the terminal. A reader blocked in read() would keep
        # our end open and so put off the hang-up; hence select and a pipe to wake it.
        with contextlib.suppress(OSError):
            while wake not in select.select([master, wake], [], [])[0]:
                data = os.read(master, 65536)
                with self._lock:
                    self.raw += data
                    self._feed(decoder.decode(data))

    def _feed(self, text: str) -> None:
        text = self._pending + text
        cut = _UNFINISHED.search(text)
        end = cut.start() if cut else len(text)
        self._pending = text[end:]
        self._stream.feed(_UNKNOWN.sub("", text[:end]))

    def close(self) -> None:
        """Hang up, as a lost SSH session does; SIGKILL after 3 s."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.signal(signal.SIGHUP)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(3)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        self.hang_up()

    def hang_up(self) -> None:
        """Close our end: the kernel sends SIGHUP and the program's next read or write fails."""
        if self._master < 0 or self._reader is None:
            return
        os.write(self._wake[1], b"x")
        self._reader.join(30)
        for descriptor in (self._master, *self._wake):
            os.close(descriptor)
        self._master = -1

    # ------------------------------------------------------------------------------------------------ verbs
    def write(self, text: str) -> None:
        """Type ``text`` as it is."""
        os.write(self._master, text.encode())

    def keys(self, *names: str) -> None:
        """Press keys: a name from ``KEYS`` or the character itself."""
        for name in names:
            self.write(KEYS.get(name, name))

    def resize(self, columns: int, rows: int) -> None:
        """Another window size; the program gets SIGWINCH."""
        with self._lock:
            self._screen.resize(rows, columns)
        self._set_size(columns, rows)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def signal(self, number: int) -> None:
        """Send a signal to the program alone."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)

    # ------------------------------------------------------------------------------------------------ facts
    @property
    def pid(self) -> int:
        """The program."""
        if self.process is None:
            raise RuntimeError("the terminal was never started")
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return None if self.process is None else self.process.poll()

    @property
    def lines(self) -> list[str]:
        """The screen, row by row, without trailing blanks."""
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """The screen as one string."""
        return "\n".join(self.lines)

    @property
    def cursor(self) -> tuple[int, int]:
        """Column and row, from 0."""
        with self._lock:
            return self._screen.cursor.x, self._screen.cursor.y

    def cell(self, column: int, row: int) -> Any:
        """pyte's Char: ``.data .fg .bg .bold .reverse``."""
        with self._lock:
            return self._screen.buffer[row][column]

    def settings(self) -> list[Any]:
        """termios attributes: to prove that the terminal was given back as it was."""
        return termios.tcgetattr(self._master)

    def wait_for(self, words: str, timeout: float = 30.0) -> str:
        """Wait until ``words`` stand on the screen; the whole screen."""
        try:
            wait_until(lambda: words in self.text, timeout, f"{words!r} on the screen")
        except TimeoutError as error:
            error.add_note(self.text)
            raise
        return self.text

    def wait_exit(self, timeout: float = 30.0) -> int:
        """Wait for the end; the exit code."""
        if self.process is None:
            raise RuntimeError("the terminal was never started")
        return self.process.wait(timeout)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""From the start of the process to the first full screen, and from the shell to one picture."""

from __future__ import annotations

import compileall
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.table import Row, middle, report, times
from tests.rig import RedisServer, Worker
from tests.rig.process import ROOT

ROUNDS = 7
PATIENCE = 8.0
"""Seconds until a screen that does not come is an error."""
BIN = Path(sys.executable).parent
_NOT_OURS = ("COLUMNS", "LINES", "PYTHONDONTWRITEBYTECODE")
"""Variables of this session that no user's terminal has."""


def first_screen(command: Sequence[str], mark: bytes, columns: int = 100, rows: int = 30) -> tuple[float, float]:
    """Milliseconds until ``mark`` has been written to a terminal, and of CPU till then; the program is then killed."""
    begun = time.perf_counter()
    pid, master = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.chdir(ROOT)
        env = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
        os.execve(command[0], list(command), {**env, "TERM": "xterm-256color", "COLORTERM": "truecolor"})
    seen = b""
    try:
        while mark not in seen:
            left = PATIENCE - (time.perf_counter() - begun)
            if left < 0 or not select.select([master], [], [], left)[0]:
                raise TimeoutError(f"{command} has not written {mark!r}: {seen[-500:]!r}")
            seen += os.read(master, 65536)
        return 1000 * (time.perf_counter() - begun), _cpu(pid)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(master)


def _cpu(pid: int) -> float:
    """Milliseconds that all its threads have run."""
    ran = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):  # a thread that has just ended
            ran += int(path.read_text().split()[0])
    return ran / 1e6


def whole(command: Sequence[str], check: Callable[[str], None]) -> float:
    """Seconds of a command, from its start to its end."""
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    took = time.perf_counter() - begun
    check(done.stdout)
    return took


def _complete(text: str) -> None:
    """Every source has answered and every worker is there."""
    told = json.loads(text)
    states = {source["name"]: source["state"] for source in told["sources"]}
    assert set(states.values()) == {"UP"}, states
    assert [worker["state"] for worker in told["workers"]] == ["alive"] * 3, told["workers"]


def _rows(screens: Sequence[tuple[float, ...]], once: Sequence[tuple[float, float]]) -> list[Row]:
    """Medians of all rounds."""
    ours, our_cpu, least, least_cpu, curses, _ = (middle(column) for column in zip(*screens, strict=True))
    print_, inspect = (middle(column) for column in zip(*once, strict=True))
    return [
        Row("first full screen", f"{ours:.0f} ms", f"minimal Textual app {least:.0f} ms", f"{ours / least:.2f} x"),
        Row(
            "",
            f"{our_cpu:.0f} ms of CPU",
            f"minimal Textual app {least_cpu:.0f} ms",
            f"{our_cpu / least_cpu:.2f} x",
            shown=False,
        ),
        Row("", "", f"`celery events` {curses:.0f} ms", times(ours, curses), shown=False),
        Row(
            "one picture from the shell",
            f"{print_:.2f} s, every source",
            f"`inspect active` {inspect:.2f} s, that alone",
            times(inspect, print_),
        ),
    ]


def main() -> None:
    """Measure, print, keep."""
    for package in ("celerytop", "benchmarks"):  # as pip leaves it: without, each start compiles 100 ms of source
        compileall.compile_dir(str(ROOT / package), quiet=1)
    with RedisServer() as server:
        url = server.url()
        workers = [Worker(url, pool="threads", nodename=f"w{number}@bench").launch() for number in range(3)]
        for worker in workers:
            worker.wait_ready()
        top = [str(BIN / "celerytop"), "-b", url]
        minimal = [sys.executable, "-m", "benchmarks.minimal"]
        events = [str(BIN / "celery"), "-b", url, "events"]
        screens: list[tuple[float, ...]] = []
        once: list[tuple[float, float]] = []
        for _ in range(ROUNDS):  # in turns: whatever else runs here slows all of them
            first = first_screen(top, b"help"), first_screen(minimal, b"it is here"), first_screen(events, b"UUID")
            screens.append(tuple(part for both in first for part in both))
            inspect = whole([str(BIN / "celery"), "-b", url, "inspect", "active", "--json"], lambda text: None)
            once.append((whole([*top[:1], "once", "--json", *top[1:]], _complete), inspect))
        for worker in workers:
            worker.close()
    report("start", "start", _rows(screens, once))


if __name__ == "__main__":
    main()

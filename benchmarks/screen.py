"""The screen: from a key to its paint while events storm in, sorting and filtering 100,000 rows, a slow line, the CPU.

``python -m benchmarks.screen publish PORT RATE SECONDS`` is the publisher, a process of its own.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks import stream
from benchmarks.publish import for_redis
from benchmarks.table import Row, middle, report, share
from benchmarks.terminal import Typed
from tests.rig import RedisServer
from tests.rig.process import ROOT

TOP = str(Path(sys.executable).parent / "celerytop")
MINIMAL = [sys.executable, "-m", "benchmarks.minimal"]
PER_TASK = 3.37
"""Events of a task of the stream."""
KEYS = 150
WORDS = ("customer-99", "search index", "worker-17 orders")
_SLICE = 0.005
"""Seconds between two sendings: the storm comes evenly."""
_ONE_PAINTING = 0.012
"""Seconds of quiet after a moved cursor, longer than the 8 ms between two paintings: with 30 ms, 3 of 100 keys were
charged with the clock of the picture that came next too."""
_DOWN, _UP = "\x1b[B", "\x1b[A"
SLOW, DELAY = 50_000, 0.2
"""A bad SSH line: bytes a second, seconds each way."""


def publish(port: int, rate: int, seconds: float) -> None:
    """``rate`` events a second, on an absolute schedule; says when it begins."""
    stream.SPAN = seconds
    batch = 24 if rate > 5000 else 2
    chunks = for_redis(stream.messages(int(rate * seconds / PER_TASK), batch, time.time() + 1.0), chunk=4096)
    with socket.create_connection(("127.0.0.1", port)) as publisher:
        print("begin", flush=True)
        begun, sent = time.perf_counter(), 0
        for chunk in chunks:
            if (ahead := begun + sent / rate - time.perf_counter()) > 0:
                time.sleep(max(ahead, _SLICE))
            publisher.sendall(chunk.data)
            with suppress(BlockingIOError):
                publisher.recv(1 << 20, socket.MSG_DONTWAIT)
            sent += chunk.events


@contextmanager
def storm(server: RedisServer, rate: int, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    """A publisher that runs meanwhile."""
    command = [sys.executable, "-m", "benchmarks.screen", "publish", str(server.port), str(rate), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def latencies(program: Typed, keys: int = KEYS) -> list[float]:
    """Milliseconds of keys at irregular moments."""
    chance = random.Random(3)
    found = []
    for number in range(keys):
        program.rest(0.02 + chance.random() / 10)
        found.append(program.timed(_DOWN if number % 20 < 10 else _UP, _ONE_PAINTING))
    return found


def pressed(server: RedisServer) -> list[Row]:
    """Keys: with 20,000 events a second, without any, and in the smallest program, in one run."""
    with Typed([TOP, "-b", server.url(), "--page", "tasks", "--interval", "1"]) as top, Typed(MINIMAL) as least:
        top.wait_for(b"help")
        least.wait_for(b"it is here")
        with storm(server, 20_000, KEYS * 0.2) as _:
            top.rest(2.0)
            top.press("l")
            top.rest(1.0)
            busy = latencies(top)
            beside = latencies(least, KEYS // 2)
        top.rest(2.0)
        calm = latencies(top, KEYS // 2)
        floor = latencies(least, KEYS // 2)
    return [
        Row("a key's paint at 20,000 events/s", _parts(busy), f"minimal Textual app beside it {_parts(beside)}"),
        Row("", f"without events {_parts(calm)}", f"minimal Textual app {_parts(floor)}", shown=False),
    ]


def _parts(values: list[float]) -> str:
    return f"p50 {share(values, 0.5):.1f}, p95 {share(values, 0.95):.0f}, p99 {share(values, 0.99):.0f} ms"


def sifted(server: RedisServer) -> list[Row]:
    """100,000 rows: sorted, and filtered letter by letter."""
    with Typed([TOP, "-b", server.url(), "--page", "tasks"], 200, 50) as top:
        top.wait_for(b"LIVE")
        with storm(server, 40_000, 100_000 * PER_TASK / 40_000 * 1.05) as publisher:
            while publisher.poll() is None:
                top.rest(0.2)
        top.press("l")
        top.rest(3.0)
        sorts = []
        for word in ("runtime", "ratio", "worker"):
            top.press("s")
            top.rest(0.3)
            top.press(word)
            top.rest(0.5)
            sorts.append(top.timed("\r"))
            top.rest(0.5)
        letters: list[float] = []
        for word in WORDS:
            top.press("/")
            top.rest(0.5)
            for letter in word:
                top.rest(0.15)
                letters.append(top.timed(letter))
            top.press("\x1b")
            top.rest(1.0)
    told = f"median {middle(letters):.0f} ms, worst {max(letters):.0f} ms"
    return [
        Row("100,000 rows filtered, a letter", told),
        Row("100,000 rows sorted anew", f"{middle(sorts):.0f} ms, worst {max(sorts):.0f} ms", shown=False),
    ]


def slow_line(server: RedisServer) -> Row:
    """A key held down on a line of 50 kB/s that takes 200 ms each way, while events come."""
    with Typed([TOP, "-b", server.url(), "--page", "tasks"], 200, 50) as top, storm(server, 1000, 30):
        top.wait_for(b"help")
        top.press("l")
        top.rest(3.0)
        held = _Line(top)
        begun = time.perf_counter()
        number = 0
        while (now := time.perf_counter()) < begun + 8.0:
            if now >= begun + number / 20:
                held.press(_DOWN if number % 40 < 20 else _UP)
                number += 1
            held.carry()
        last = held.press("?")
        while b"Help" not in held.shown[-20000:]:
            held.carry()
            if time.perf_counter() > last + 8:
                raise TimeoutError("the line has piled up")
        answered = time.perf_counter() - last
    told = (
        f"{1000 * answered:.0f} ms to the next page after 8 s of a held key, {held.most / 1000:.1f} kB waited at most"
    )
    return Row("a line of 50 kB/s, 200 ms each way", told, f"the line itself {2000 * DELAY:.0f} ms")


class _Line:
    """Carries keys up and bytes down, late and slowly."""

    def __init__(self, program: Typed) -> None:
        self._program = program
        self._up: deque[tuple[float, str]] = deque()
        self._down: deque[tuple[float, bytes]] = deque()
        self._free_at = 0.0
        self.shown = b""
        self.most = 0
        """Most bytes that were on their way at one moment."""

    def press(self, key: str) -> float:
        """Type it at the far end."""
        now = time.perf_counter()
        self._up.append((now + DELAY, key))
        return now

    def carry(self) -> None:
        """What is due."""
        now = time.perf_counter()
        while self._up and self._up[0][0] <= now:
            self._program.press(self._up.popleft()[1])
        if now >= self._free_at:  # the line takes no more than it carries
            wait = min(0.002, max(0.0, self._up[0][0] - now) if self._up else 0.002)
            data = self._read(wait)
            self._free_at = max(now, self._free_at) + len(data) / SLOW
            if data:
                self._down.append((self._free_at + DELAY, data))
        else:
            time.sleep(min(0.002, self._free_at - now))
        while self._down and self._down[0][0] <= time.perf_counter():
            self.shown += self._down.popleft()[1]
        self.most = max(self.most, sum(len(data) for _, data in self._down))

    def _read(self, wait: float) -> bytes:
        return self._program.read_at_most(512, wait)


def used(server: RedisServer) -> list[Row]:
    """CPU of a core: with nothing to do, and at 1,000 events a second with two pictures a second."""
    with Typed([TOP, "-b", server.url()], 200, 50) as top:
        top.wait_for(b"LIVE")
        top.rest(4.0)
        idle = _cpu(top, 15.0)
    with Typed([TOP, "-b", server.url(), "--interval", "0.5"], 200, 50) as top, storm(server, 1000, 40):
        top.wait_for(b"LIVE")
        top.rest(6.0)
        top.bytes = 0
        busy = _cpu(top, 15.0)
        each = top.bytes / 30
    return [
        Row("CPU of a core, idle", f"{idle:.1%}"),
        Row("CPU of a core, 1,000 events/s, 2 Hz", f"{busy:.1%}, {each:.0f} bytes a refresh at 200x50"),
    ]


def _cpu(program: Typed, seconds: float) -> float:
    before, begun = program.cpu(), time.perf_counter()
    program.rest(seconds)
    return (program.cpu() - before) / (time.perf_counter() - begun)


def main() -> None:
    """Measure, print, keep."""
    os.environ.setdefault("LANG", "C.UTF-8")
    rows: list[Row] = []
    for part in (pressed, sifted, slow_line, used):
        with RedisServer() as server:
            found = part(server)
        rows += found if isinstance(found, list) else [found]
    report("screen", "screen", rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["publish"]:
        publish(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    else:
        main()

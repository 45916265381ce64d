"""A steady stream of 100,000 events a second on Redis: what is lost, and how far behind the pictures' state is. And a
flood: what is dropped of more than can be folded, and is the reader cut off?

The schedule is absolute: each 64 KB are published when their time has come, however late those before were. Behind is
an event from that moment until it is folded. The stream is made before and lies in a file: making it takes as long as
reading it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, NamedTuple

import psutil

from benchmarks.flood import PUBLISHERS, Flooded, flood
from benchmarks.publish import Chunk, Progress, for_redis, redis_socket
from benchmarks.stream import messages
from benchmarks.table import Row, report, share
from tests.rig import RedisServer
from tests.rig.process import ROOT

RATE = 100_000
SECONDS = 60.0
BATCH = 24
TICK = 0.0005
PATIENCE = 20.0
EVENTS_OF_A_TASK = 3.37
_AT_ONCE = 5_000
FLOOD = 400_000


class Steady(NamedTuple):
    """How it went."""

    offered: float
    """Events a second, really published."""
    events: int
    lags: list[float]
    """Seconds from when a chunk was due to when its last event was folded."""
    late: float
    """The longest a chunk was published after its time."""
    dropped: int
    cpu: float
    """Of one core."""


class Spool:
    """The packed stream in a file."""

    def __init__(self, tasks: int, batch: int) -> None:
        self._file: BinaryIO = tempfile.TemporaryFile(prefix="paced-")  # noqa: SIM115
        self._sizes: list[tuple[int, int]] = []
        stream = messages(tasks, batch, time.time())
        while part := list(itertools.islice(stream, _AT_ONCE)):
            for chunk in for_redis(part):
                self._file.write(chunk.data)
                self._sizes.append((len(chunk.data), chunk.events))
        self.events = sum(events for _, events in self._sizes)

    def chunks(self) -> Iterator[Chunk]:
        """All of it, from the start."""
        self._file.seek(0)
        for size, events in self._sizes:
            yield Chunk(self._file.read(size), 0, events)


def paced(spool: Spool, rate: float) -> Steady:
    """Let celerytop read a stream of ``rate`` events a second."""
    progress = Progress()
    words = [sys.executable, "-m", "benchmarks.readers", "celerytop", "", str(spool.events), progress.path]
    with RedisServer() as server, redis_socket(server.port) as publisher:
        words[4] = server.url()
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as reader:
            assert reader.stdout is not None
            try:
                if reader.stdout.readline().strip() != "ready":
                    raise RuntimeError("it did not start")
                own = psutil.Process(reader.pid)
                before, began = sum(own.cpu_times()[:2]), time.perf_counter()
                lags, late, offered = _publish(spool, rate, publisher, progress)
                spent = (sum(own.cpu_times()[:2]) - before) / (time.perf_counter() - began)
                told = json.loads(reader.stdout.readline())
            finally:
                reader.kill()
    return Steady(offered, spool.events, lags, late, told["dropped"], spent)


def _publish(
    spool: Spool, rate: float, publisher: socket.socket, progress: Progress
) -> tuple[list[float], float, float]:
    """(how far behind each chunk was, the longest one was published late, events a second)."""
    waiting: deque[tuple[int, float]] = deque()
    lags: list[float] = []
    published, late, answers = 0, 0.0, bytearray(1 << 20)
    began = now = time.perf_counter()
    for chunk in spool.chunks():
        due = began + published / rate
        while (now := time.perf_counter()) < due:
            time.sleep(min(TICK, due - now))
            _look(progress, waiting, lags)
        publisher.sendall(chunk.data)
        with suppress(BlockingIOError):  # what Redis has answered to each PUBLISH, which nobody asked for
            publisher.recv_into(answers, 0, socket.MSG_DONTWAIT)
        late = max(late, now - due)
        published += chunk.events
        waiting.append((published, due))
        _look(progress, waiting, lags)
    offered = published / (now - began)
    deadline = time.perf_counter() + PATIENCE
    while waiting:
        if time.perf_counter() > deadline:
            missing = published - progress.events
            raise RuntimeError(f"it did not keep up: {missing:,} events are missing, so some were dropped")
        time.sleep(TICK)
        _look(progress, waiting, lags)
    return lags, late, offered


def _look(progress: Progress, waiting: deque[tuple[int, float]], lags: list[float]) -> None:
    done, now = progress.events, time.perf_counter()
    while waiting and waiting[0][0] <= done:
        lags.append(now - waiting.popleft()[1])


def flooded(found: Flooded) -> Row:
    """A flood as a line."""
    dropped = found.dropped.total()
    kinds = ", ".join(f"{kind} {number / dropped:.0%}" for kind, number in found.dropped.most_common(4))
    return Row(
        f"{found.published / found.seconds:,.0f} events/s, a flood by {PUBLISHERS} publishers, {found.seconds:.0f} s",
        f"{found.folded / found.seconds:,.0f} folded, {dropped / found.seconds:,.0f} dropped a second ({kinds}); "
        f"cut off {found.cut_off} times; Redis held {found.buffer / 2**20:.1f} of 32 MB; "
        f"{(found.folded + dropped) / found.published:.1%} accounted for"
        + (f", not read for {found.not_read:.1f} s" if found.not_read else ""),
    )


def main() -> None:
    """Measure, tell and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--no-flood", action="store_true", help="the steady stream alone")
    given = parser.parse_args()
    found = paced(Spool(int(given.rate * given.seconds / EVENTS_OF_A_TASK), given.batch), given.rate)
    lag = ", ".join(f"p{100 * part:.0f} {1000 * share(found.lags, part):.0f}" for part in (0.5, 0.95, 0.99))
    rows = [
        Row(
            f"{found.offered:,.0f} events/s, paced, for {found.events / found.offered:.0f} s",
            f"{found.dropped:,} lost; behind {lag}, at most {1000 * max(found.lags):.0f} ms; {found.cpu:.0%} of a core",
        ),
        Row("the publisher's own delay, at most", f"{1000 * found.late:.0f} ms", shown=False),
    ]
    if not given.no_flood:
        rows += [flooded(flood(rate=FLOOD)), flooded(flood())]
    usual = (given.rate, given.seconds, given.batch) == (RATE, SECONDS, BATCH)
    report("paced" if usual else "trial", "a steady stream", rows)


if __name__ == "__main__":
    main()

"""Events a second, the whole path: socket, decode, fold, statistics, and a picture twice a second.

Every reader gets the same recorded stream, in turns, from the same broker. Flower reads its first part only: it would
need minutes. (kombu's rate falls with what it holds, from 26,000 events/s with 15,000 tasks to 16,000 with 100,000.)
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any, NamedTuple

import psutil

from benchmarks.publish import Chunk, Progress, for_rabbitmq, for_redis, publish, rabbitmq_socket, redis_socket
from benchmarks.stream import Message, messages
from benchmarks.table import Row, report, times
from tests.rig import RabbitServer, RedisServer
from tests.rig.process import ROOT

TASKS = {"celerytop": 100_000, "kombu": 100_000, "flower": 4_000}
ROUNDS = 2


class Case(NamedTuple):
    """One broker, one size of batches."""

    broker: str
    batch: int

    @property
    def name(self) -> str:
        """For the table."""
        return f"{self.broker}, {'singles' if self.batch == 1 else f'batches of {self.batch}'}"


CASES = (Case("Redis", 24), Case("Redis", 2), Case("Redis", 1), Case("RabbitMQ", 2), Case("RabbitMQ", 1))
Pack = Callable[[Iterable[Message]], list[Chunk]]


class Drained(NamedTuple):
    """How one reader did."""

    rate: float
    """Events a second."""
    cpu: float
    """Its CPU seconds for a million events."""
    server: float
    """The broker's for the same."""


def drain(kind: str, url: str, chunks: list[Chunk], server: psutil.Process, connect: Any) -> Drained:
    """Let one reader read everything."""
    progress = Progress()
    wanted = sum(chunk.events for chunk in chunks)
    words = [sys.executable, "-m", "benchmarks.readers", kind, url, str(wanted), progress.path]
    with connect as publisher, subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as reader:
        assert reader.stdout is not None
        try:
            if reader.stdout.readline().strip() != "ready":
                raise RuntimeError(f"{kind} did not start")
            before = sum(server.cpu_times()[:2])
            publish(chunks, publisher, progress, lambda: reader.poll() is None)
            spent = sum(server.cpu_times()[:2]) - before
            told = json.loads(reader.stdout.readline())
        finally:
            reader.kill()
    if told["dropped"]:
        raise RuntimeError(f"{kind} dropped {told['dropped']:,} events")
    return Drained(told["rate"], told["cpu"], 1e6 * spent / wanted)


def measure(case: Case, kinds: list[str], rounds: int, tasks: int) -> dict[str, Drained]:
    """All readers in turns, some rounds; the best of each: whatever else runs here only makes slower."""
    found: dict[str, list[Drained]] = {kind: [] for kind in kinds}
    with RedisServer() if case.broker == "Redis" else RabbitServer() as server:
        pack: Pack = for_redis if case.broker == "Redis" else for_rabbitmq
        for _ in range(rounds):
            for kind in kinds:
                chunks = pack(messages(min(tasks, TASKS[kind]), case.batch, time.time()))
                if isinstance(server, RedisServer):
                    connect = redis_socket(server.port)
                else:
                    connect = rabbitmq_socket(server.url())
                found[kind].append(drain(kind, server.url(), chunks, psutil.Process(server.pid), connect))
    return {kind: max(all_) for kind, all_ in found.items()}


def row(case: Case, found: dict[str, Drained]) -> Row:
    """One case as a line."""
    ours, others = found["celerytop"], {kind: one for kind, one in found.items() if kind != "celerytop"}
    return Row(
        f"events/s, {case.name}",
        f"{ours.rate:,.0f} ({ours.cpu:.1f} s CPU a million; broker {ours.server:.1f})",
        ", ".join(f"{kind} {one.rate:,.0f} ({one.cpu:.0f} s)" for kind, one in others.items()),
        ", ".join(f"{times(ours.rate, one.rate)} (CPU {times(one.cpu, ours.cpu)})" for one in others.values()),
    )


def main() -> None:
    """Measure all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--tasks", type=int, default=max(TASKS.values()), help="fewer flatter kombu")
    parser.add_argument("--only", help="part of a case's name")
    parser.add_argument("--alone", action="store_true", help="celerytop alone")
    given = parser.parse_args()
    kinds = ["celerytop", "kombu", *(["flower"] if find_spec("flower") else [])]
    kinds = kinds[:1] if given.alone else kinds
    cases = [case for case in CASES if not given.only or given.only.lower() in case.name.lower()]
    rows = []
    for case in cases:
        rows.append(row(case, measure(case, kinds, given.rounds, given.tasks)))
        print(*rows[-1][:4], sep="  ", flush=True)
    whole = cases == list(CASES) and not given.alone and given.rounds >= ROUNDS and given.tasks == max(TASKS.values())
    report("ingest" if whole else "trial", "the whole path", rows)


if __name__ == "__main__":
    main()

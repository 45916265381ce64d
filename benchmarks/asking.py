"""What it takes to ask: a thousand queues of either broker, and several workers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import pika
import psutil

from benchmarks.answering import names
from benchmarks.table import Row, middle, report, times
from celerytop.broker_url import parse_url
from celerytop.model.address import BrokerSettings
from celerytop.model.observation import KeysWalked, QueuesMeasured, WorkersAnswered
from celerytop.sources.base import Interest, Lane
from celerytop.sources.redis.connection import connect
from celerytop.sources.redis.control import RedisControl
from celerytop.sources.redis.memory import KEYS_LIMIT
from tests.rig import RabbitServer, RedisServer, Worker, rig_app

QUEUES, WORKERS, ROUNDS = 1000, 50, 9
FIVE = ("ping", "stats", "active", "reserved", "scheduled")
NAMES = tuple(f"queue-{number:04}" for number in range(QUEUES))


def took(ask: Callable[[], Any]) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    ask()
    return 1000 * (time.perf_counter() - begun)


def in_turns(*asks: Callable[[], Any], rounds: int = ROUNDS) -> list[float]:
    """The median of each; the first round is not counted."""
    found = [[took(ask) for ask in asks] for _ in range(rounds + 1)][1:]
    return [middle(column) for column in zip(*found, strict=True)]


def _queues(lane: Lane, interest: Interest) -> None:
    """One poll of the probe that measures queues."""
    probe = next(probe for probe in lane.probes if probe.name == "queues")
    probe.attend(interest)
    told = next(seen for seen in probe.poll() if isinstance(seen, QueuesMeasured))
    assert len(told.queues) == QUEUES and sum(queue.messages or 0 for queue in told.queues) == QUEUES, told


def redis_queues() -> Row:
    """Queues of four priorities, ours against one LLEN after the other in MULTI, as Flower asks."""
    from celerytop.sources.redis.lane import RedisLane

    with RedisServer() as server:
        client = server.client()
        for number, name in enumerate(NAMES):
            client.lpush(name if number % 4 == 0 else f"{name}\x06\x16{3 * (number % 4)}", b"{}")
        lane = RedisLane(BrokerSettings(address=parse_url(server.url()), queues=NAMES), passive=True)
        lane.connect()
        asks: list[Callable[[], Any]] = [lambda: _queues(lane, Interest(page="workers", queues=NAMES))]
        if find_spec("flower"):
            asks.append(_flower(server.url()))
        ours, *others = in_turns(*asks)
        blocked = [_blocked(client, ask) for ask in asks]
        lane.close()
    mine = f"{ours:.1f} ms ({blocked[0]:.1f} ms of the server's commands)"
    other = f"Flower {others[0]:.0f} ms, in MULTI ({blocked[1]:.1f} ms)" if others else ""
    return Row(f"lengths of {QUEUES:,} queues x 4 priorities, Redis", mine, other, _than(others, ours))


def _blocked(client: Any, ask: Callable[[], Any]) -> float:
    """Milliseconds for which one ``ask`` keeps the server at its commands; the least, for what else runs counts too."""
    found: list[float] = []
    for _ in range(ROUNDS):
        before = _lost(client)
        ask()
        found.append(_lost(client) - before)
    return min(found)


def _lost(client: Any) -> float:
    """Milliseconds the server has spent on commands."""
    return 0.001 * sum(int(stats["usec"]) for stats in client.info("commandstats").values())


def _flower(url: str) -> Callable[[], Any]:
    from flower.utils.broker import Broker

    return lambda: asyncio.run(Broker(url).queues(list(NAMES)))


def _than(others: list[float], ours: float) -> str:
    return times(others[0], ours) if others else ""


def rabbitmq_queues() -> Row:
    """Passive declares, ours pipelined against pika's one by one."""
    from celerytop.sources.rabbitmq.lane import rabbit_lanes

    with RabbitServer() as server:
        connection = pika.BlockingConnection(pika.URLParameters(server.url()))
        channel = connection.channel()
        for name in NAMES:
            channel.queue_declare(name)
            channel.basic_publish("", name, b"{}")
        lane = rabbit_lanes(BrokerSettings(address=parse_url(server.url()), queues=NAMES), passive=True)[0]
        lane.connect()

        def one_by_one() -> None:
            for name in NAMES:
                channel.queue_declare(name, passive=True)

        ours, other = in_turns(lambda: _queues(lane, Interest(queues=NAMES)), one_by_one)
        lane.close()
        connection.close()
    return Row(f"lengths of {QUEUES:,} queues, RabbitMQ", f"{ours:.1f} ms", f"pika {other:.0f} ms", times(other, ours))


def workers_asked() -> list[Row]:
    """Ping, stats, active, reserved and scheduled of fifty workers and a frozen one; ``inspect`` asking the same."""
    with RedisServer() as server:
        workers = _many_workers(server.url())
        workers[-1].freeze()
        nodenames = tuple(worker.nodename for worker in workers[:-1])
        mine, own, theirs = five(server.url(), nodenames, (workers[-1].nodename,), lambda: _cpu(workers))
        its = _inspected(server.url())
        workers[-1].thaw()
        for worker in workers:
            worker.close()
    what = f"five questions to {WORKERS} workers on these cores, one more is frozen"
    real = Row(what, f"{mine:.0f} ms ({theirs:.0f} ms is their CPU)", f"celery inspect {its:,.0f} ms", times(its, mine))
    with RedisServer() as server, player(server.url(), WORKERS):
        mine, own, _ = five(server.url(), tuple(names(WORKERS)), ())
        its = _inspected(server.url())
    what = f"the same, played by one light process: {WORKERS} workers elsewhere"
    ours = f"{mine:.0f} ms ({own:.0f} ms our CPU)"
    return [real, Row(what, ours, f"celery inspect {its:,.0f} ms", times(its, mine))]


def five(
    url: str, nodenames: tuple[str, ...], quiet: tuple[str, ...], their_cpu: Callable[[], float] = time.monotonic
) -> tuple[float, ...]:
    """(milliseconds, our CPU, theirs) of a round of five questions; the median."""
    interest = Interest(page="tasks", workers=nodenames, quiet=quiet)
    began = time.perf_counter()
    line = _Line(BrokerSettings(address=parse_url(url)))
    control = RedisControl(line.settings, line, clock=lambda: line.jump + time.perf_counter() - began)
    found: list[tuple[float, float, float]] = []
    while len(found) < ROUNDS:
        line.jump += 10.3  # the five are due every ten seconds, active_queues every fifteen
        control.attend(interest)
        theirs, own = their_cpu(), time.process_time()
        wall = took(lambda: line.tell(next(control.poll())))
        if len(line.told.asked) == len(FIVE):
            assert len(line.told.replies) == len(FIVE) * WORKERS, line.told
            found.append((wall, 1000 * (time.process_time() - own), 1000 * (their_cpu() - theirs)))
    control.close()
    return tuple(middle(column) for column in zip(*found, strict=True))


def _inspected(url: str) -> float:
    """Milliseconds of five ``inspect`` calls."""
    inspect = rig_app(url).control.inspect()

    def ask_all() -> None:
        for ask in (inspect.ping, inspect.stats, inspect.active, inspect.reserved, inspect.scheduled):
            assert ask()  # within its second it may miss some of them

    return in_turns(ask_all, rounds=2)[0]


@contextmanager
def player(url: str, number: int) -> Iterator[None]:
    """``benchmarks.answering`` while the block runs."""
    words = [sys.executable, "-m", "benchmarks.answering", url, str(number)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as playing:
        try:
            assert playing.stdout is not None and playing.stdout.readline() == "ready\n"
            yield
        finally:
            playing.terminate()


class _Line:
    """One connection, and the last round over it."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.settings = settings
        self.client = connect(settings.address)
        self.jump = 0.0
        self.told = WorkersAnswered(0.0, (), ())

    def tell(self, told: WorkersAnswered) -> None:
        """Keep it."""
        self.told = told


def _many_workers(url: str) -> list[Worker]:
    """Fifty and one, four starting at a time."""
    workers: list[Worker] = []
    for number in range(WORKERS + 1):
        extra = ("--without-gossip", "--without-mingle")
        workers.append(Worker(url, pool="solo", nodename=f"w{number}@bench", extra=extra).launch())
        if number >= 4:
            workers[number - 4].wait_ready()
    for worker in workers:
        worker.wait_ready()
    return workers


def _cpu(workers: list[Worker]) -> float:
    """Seconds all of them have used."""
    return sum(sum(psutil.Process(worker.pid).cpu_times()[:2]) for worker in workers)


def walked() -> Row:
    """A memory walk over a million keys: what one step costs the server, and that its progress is told."""
    from celerytop.sources.redis.lane import RedisLane

    with RedisServer(args=["--enable-debug-command", "yes"]) as server:
        client = server.client()
        _populate(client)
        client.config_set("slowlog-log-slower-than", 2000)
        lane = RedisLane(BrokerSettings(address=parse_url(server.url())), passive=True)
        lane.connect()
        walk = lane.probes[-1]
        client.config_resetstat()
        client.slowlog_reset()
        steps: list[int] = []
        while not steps or steps[-1] < KEYS_LIMIT:
            walk.attend(Interest(page="broker"))
            for told in walk.poll():
                assert isinstance(told, KeysWalked) and told.walk.total == 1_000_000
                steps.append(told.walk.scanned)
        scan = client.info("commandstats")["cmdstat_scan"]
        slow = [one for one in client.slowlog_get(100) if b"SCAN" in one["command"] or b"MEMORY" in one["command"]]
        lane.close()
    assert steps == sorted(steps) and len(set(steps)) > 10
    what = f"memory walk, 1,000,000 keys: {KEYS_LIMIT:,} of them seen in {len(steps)} reports"
    ours = f"{scan['usec_per_call']:.0f} us of the server a step; above 2 ms: {len(slow)}"
    return Row(what, ours, f"KEYS * holds it for {_keys_all():,.0f} ms")


def _populate(client: Any) -> None:
    client.execute_command("DEBUG", "POPULATE", 1_000_000, "celery-task-meta", 200)


def _keys_all() -> float:
    """Milliseconds for which KEYS * holds a server with a million keys."""
    with RedisServer(args=["--enable-debug-command", "yes"]) as server:
        client = server.client()
        _populate(client)
        client.eval("return #redis.call('KEYS', '*')", 0)
        return float(client.info("commandstats")["cmdstat_keys"]["usec"]) / 1000


def main() -> None:
    """Measure, print, keep."""
    report("asking", "asking", [redis_queues(), rabbitmq_queues(), *workers_asked(), walked()])


if __name__ == "__main__":
    main()

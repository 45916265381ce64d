"""What looking costs the cluster: the servers' own counts with and without celerytop's screen, at default settings."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import pika
import psutil
import redis

from benchmarks.asking import player
from benchmarks.table import Row, report
from tests.rig import RabbitServer, RedisServer, Terminal, Worker

WATCHED = 10.0
"""Seconds with and without, in turns."""
USUAL = (5, 20)
"""The size that is promised for: three turns, so that chance is evened out; the others have one."""
SETTLED = 8.0
"""Seconds after the first screen until everything that is asked once has been asked."""
SIZES = (USUAL, (5, 10), (5, 100), (5, 1000), (200, 100))
"""(workers, queues); five workers are real, two hundred are played."""
REAL = 5


class Spent(NamedTuple):
    """Of the broker, a second."""

    cpu: float
    """Seconds of CPU."""
    calls: float
    """Redis commands; RabbitMQ messages."""
    bytes: float
    connections: float
    log_lines: float = 0.0
    """Of all workers' logs."""


@contextmanager
def screen(url: str, *words: str) -> Iterator[Terminal]:
    """The real program on its first page."""
    command = [sys.executable, "-m", "celerytop", "-b", url, *words]
    with Terminal(command, columns=100, rows=30) as terminal:
        terminal.wait_for("LIVE", 20)
        time.sleep(SETTLED)
        yield terminal


def compare(count: Callable[[], Spent], look: Callable[[], Any], rounds: int) -> tuple[Spent, Spent]:
    """(without, with), each a second; turn by turn."""
    without, looking = [], []
    for _ in range(rounds):
        without.append(_over(count))
        with look():
            looking.append(_over(count))
    return _mean(without), _mean(looking)


def _rounds(workers: int, queues: int) -> int:
    return 3 if (workers, queues) == USUAL else 1


def _over(count: Callable[[], Spent]) -> Spent:
    before, begun = count(), time.monotonic()
    time.sleep(WATCHED)
    after, took = count(), time.monotonic() - begun
    rates = Spent(*((b - a) / took for a, b in zip(before, after, strict=True)))
    return rates._replace(connections=after.connections)


def _mean(found: list[Spent]) -> Spent:
    return Spent(*(sum(column) / len(column) for column in zip(*found, strict=True)))


def _workers(stack: ExitStack, url: str, number: int) -> list[Worker]:
    """Real ones, or one process that plays them."""
    if number > REAL:
        stack.enter_context(player(url, number))
        return []
    started = [Worker(url, nodename=f"w{one}@bench", concurrency=1).launch() for one in range(number)]
    for worker in started:
        stack.callback(worker.close)
    for worker in started:
        worker.wait_ready()
    return started


def _lines(workers: list[Worker]) -> int:
    return sum(worker.log.count("\n") for worker in workers)


def on_redis(workers: int, queues: int) -> tuple[Spent, Spent, int]:
    """Without, with, and how many commands of ours took above a millisecond."""
    with RedisServer() as server, ExitStack() as stack:
        client = server.client()
        for number in range(queues):
            client.sadd(f"_kombu.binding.queue{number}", f"queue{number}\x06\x16\x06\x16queue{number}")
            client.lpush(f"queue{number}", b"{}")
        running = _workers(stack, server.url(), workers)
        client.config_set("slowlog-log-slower-than", 1000)

        def count() -> Spent:
            return _redis_count(client, running)

        spent = compare(count, lambda: screen(server.url()), _rounds(workers, queues))
        ours = [one for one in client.slowlog_get(100) if one["client_name"].startswith(b"celerytop")]
    return (*spent, len(ours))


def _redis_count(client: redis.Redis, workers: list[Worker]) -> Spent:
    everything = client.info("everything")
    calls = sum(row["calls"] for name, row in everything.items() if name.startswith("cmdstat_"))
    traffic = everything["total_net_input_bytes"] + everything["total_net_output_bytes"]
    cpu = everything["used_cpu_user"] + everything["used_cpu_sys"]
    return Spent(cpu, calls, traffic, everything["connected_clients"], _lines(workers))


def on_rabbitmq(workers: int, queues: int) -> tuple[Spent, Spent, int]:
    """Without, with, and how many queues were left behind."""
    with RabbitServer() as server, ExitStack() as stack:
        connection = pika.BlockingConnection(pika.URLParameters(server.url()))
        channel = connection.channel()
        for number in range(queues):
            channel.queue_declare(f"queue{number}", durable=True)
            channel.basic_publish("", f"queue{number}", b"{}")
        connection.close()
        running = _workers(stack, server.url(), workers)
        beam = _beam(psutil.Process(server.pid))

        def count() -> Spent:
            return _rabbit_count(server, beam, running)

        before = _there(server)
        words = ("--management-url", server.management_url)
        spent = compare(count, lambda: screen(server.url(), *words), _rounds(workers, queues))
        left = _there(server) - before
    return (*spent, left)


def _there(server: RabbitServer) -> int:
    """Queues, once the statistics of five seconds are over."""
    time.sleep(6.0)
    return int(server.api("GET", "/overview?columns=object_totals")["object_totals"]["queues"])


def _beam(started: psutil.Process) -> psutil.Process:
    """The Erlang machine among what was started."""
    return next(one for one in (started, *started.children(recursive=True)) if "beam" in one.name())


def _rabbit_count(server: RabbitServer, beam: psutil.Process, workers: list[Worker]) -> Spent:
    cpu = sum(beam.cpu_times()[:2])
    stats = server.api("GET", "/overview?columns=message_stats,object_totals")
    rows = server.api("GET", "/connections?columns=recv_oct,send_oct")
    traffic = sum(row.get("recv_oct", 0) + row.get("send_oct", 0) for row in rows)
    published = stats.get("message_stats", {}).get("publish", 0)
    return Spent(cpu, published, traffic, stats["object_totals"]["connections"], _lines(workers))


def row(broker: str, what: str, workers: int, queues: int, measured: tuple[Spent, Spent, int]) -> Row:
    """One line of the table."""
    without, looking, odd = measured
    more = Spent(*(b - a for a, b in zip(without, looking, strict=True)))
    ours = (
        f"+{100 * more.cpu:.2f} % of a core, +{more.calls:.0f} {what}/s, +{more.bytes / 1000:.1f} kB/s, "
        f"+{more.connections:.0f} connections"
    )
    shown = (workers, queues) in (USUAL, (5, 1000), (200, 100))
    alone = f"alone {100 * without.cpu:.2f} %, {without.calls:.0f} {what}/s"
    note = f"log lines {max(0.0, more.log_lines * WATCHED):.0f}, {'slow' if broker == 'Redis' else 'queues left'} {odd}"
    return Row(f"cost to {broker}: {workers} workers, {queues:,} queues", ours, alone, note, shown)


def main() -> None:
    """Measure, print, keep."""
    rows = [row("Redis", "commands", *size, on_redis(*size)) for size in SIZES]
    rows += [row("RabbitMQ", "messages", *size, on_rabbitmq(*size)) for size in SIZES]
    report("cost", "cost to the cluster", rows)


if __name__ == "__main__":
    main()

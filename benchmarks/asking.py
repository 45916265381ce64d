"""What it takes to ask: a thousand queues of either broker, and several workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pika

from benchmarks.table import Row, middle, report, times
from celerytop.broker_url import parse_url
from celerytop.model.address import BrokerSettings
from celerytop.model.observation import QueuesMeasured, WorkersAnswered
from celerytop.sources.base import Interest, Lane
from tests.rig import RabbitServer, RedisServer, Worker, rig_app

QUEUES, WORKERS, ROUNDS = 1000, 6, 9
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
        before = _lost(client)
        ours, *others = in_turns(*asks)
        blocked = (_lost(client) - before) / (ROUNDS + 1)
        lane.close()
    other = f"Flower {others[0]:.0f} ms" if others else ""
    what = f"lengths of {QUEUES:,} queues x 4 priorities, Redis"
    return Row(
        what, f"{ours:.1f} ms", f"{other} (in MULTI; one of each: {blocked:.1f} ms of the server)", _than(others, ours)
    )


def _lost(client: Any) -> float:
    """Milliseconds of CPU the server has spent on commands."""
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


def workers_asked() -> Row:
    """Ping, stats, active, reserved and scheduled, and four more; against ``inspect`` asking the same."""
    from celerytop.sources.redis.lane import RedisLane

    with RedisServer() as server:
        url = server.url()
        workers = [Worker(url, pool="threads", nodename=f"w{number}@bench").launch() for number in range(WORKERS)]
        for worker in workers:
            worker.wait_ready()
        lane = RedisLane(BrokerSettings(address=parse_url(url)))
        lane.connect()
        names = tuple(worker.nodename for worker in workers)

        def ours() -> None:
            lane.connect()  # everything is due again
            control = lane.probes[0]
            control.attend(Interest(page="all", workers=names))
            told = next(seen for seen in control.poll() if isinstance(seen, WorkersAnswered))
            assert len(told.replies) == len(told.asked) * WORKERS == 9 * WORKERS, told

        inspect = rig_app(url).control.inspect()

        def other() -> None:
            for ask in (inspect.ping, inspect.stats, inspect.active, inspect.reserved, inspect.scheduled):
                assert len(ask() or {}) == WORKERS

        mine, its = in_turns(ours, other, rounds=3)
        lane.close()
        for worker in workers:
            worker.close()
    what = f"ask {WORKERS} workers"
    return Row(what, f"nine things, {mine:.0f} ms", f"celery inspect, five, {its:,.0f} ms", times(its, mine))


def main() -> None:
    """Measure, print, keep."""
    report("asking", "asking", [redis_queues(), rabbitmq_queues(), workers_asked()])


if __name__ == "__main__":
    main()

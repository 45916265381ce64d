"""The two brokers whose expenses are counted, each with its own words for them."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, Protocol

import pika
import psutil

from benchmarks.answering import envelope
from benchmarks.asking import player
from benchmarks.toll import Passed, Toll, amqp_names, http_names, redis_names
from tests.rig import RabbitServer, RedisServer, Worker

REAL = 5
"""So many workers are real. More than that are played by one light process with a subscription each, or a pidbox: two
hundred real ones on a few cores would be mostly their own noise. Played ones write no log."""
_HEADERS = {
    "lang": "py",
    "task": "shop.orders.charge",
    "id": "0" * 36,
    "root_id": "0" * 36,
    "parent_id": None,
    "argsrepr": "(1, 2)",
    "kwargsrepr": "{}",
    "origin": "gen1@web-1",
    "retries": 0,
    "eta": None,
    "expires": None,
}
MESSAGE = envelope([[1, 2], {}, {"callbacks": None, "errbacks": None, "chain": None}], _HEADERS, "", "queue")
"""A task as it waits in a queue, 0.7 kB."""


class Spent(NamedTuple):
    """So far, by the server's own count."""

    cpu: float
    """Seconds."""
    calls: Counter[str]
    """Redis commands by name; messages published on RabbitMQ."""
    traffic: float
    """Bytes both ways, over all connections."""
    connections: int
    log_lines: int
    """Of all workers' logs."""
    took: Counter[str]
    """Microseconds of Redis by command."""


class Broker(Protocol):
    """One of the two, running."""

    name: str
    url: str
    """For workers."""
    words: list[str]
    """What celerytop is told."""

    def hold(self, queues: int) -> None:
        """Have so many queues, a message in each."""
        ...

    def spent(self) -> Spent:
        """Look at its counters."""
        ...

    def passed(self) -> Passed:
        """What celerytop has sent and been sent."""
        ...

    def there(self) -> frozenset[str]:
        """Names of all keys or queues."""
        ...


class _Redis:
    name = "Redis"

    def __init__(self, server: RedisServer, toll: Toll) -> None:
        self.url = server.url()
        self.words = ["-b", self.url.replace(str(server.port), str(toll.port))]
        self.workers: list[Worker] = []
        self.passed = toll.passed
        self._client = server.client()
        self._queues = 0

    def hold(self, queues: int) -> None:
        for number in range(self._queues, queues):
            self._client.sadd(f"_kombu.binding.queue{number}", f"queue{number}\x06\x16\x06\x16queue{number}")
            self._client.lpush(f"queue{number}", MESSAGE)
        self._queues = max(queues, self._queues)

    def spent(self) -> Spent:
        told = self._client.info("everything")
        traffic = told["total_net_input_bytes"] + told["total_net_output_bytes"]
        cpu = told["used_cpu_user"] + told["used_cpu_sys"]
        return Spent(
            cpu, _each(told, "calls"), traffic, told["connected_clients"], _lines(self.workers), _each(told, "usec")
        )

    def there(self) -> frozenset[str]:
        return frozenset(key.decode("utf-8", "replace") for key in self._client.scan_iter(count=1000))


class _Rabbit:
    name = "RabbitMQ"

    def __init__(self, server: RabbitServer, toll: Toll, http: Toll) -> None:
        self.url = server.url()
        management = server.management_url.replace(str(server.management_port), str(http.port))
        self.words = ["-b", self.url.replace(str(server.port), str(toll.port)), "--management-url", management]
        self.workers: list[Worker] = []
        self._server, self._tolls = server, (toll, http)
        started = psutil.Process(server.pid)
        self._beam = next(one for one in (started, *started.children(recursive=True)) if "beam" in one.name())
        self._queues = 0

    def hold(self, queues: int) -> None:
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        channel = connection.channel()
        for number in range(self._queues, queues):
            channel.queue_declare(f"queue{number}", durable=True)
            channel.basic_publish("", f"queue{number}", MESSAGE)
        connection.close()
        self._queues = max(queues, self._queues)

    def spent(self) -> Spent:
        cpu = sum(self._beam.cpu_times()[:2])
        told = self._server.api("GET", "/overview?columns=message_stats,object_totals")
        rows = self._server.api("GET", "/connections?columns=recv_oct,send_oct")
        traffic = sum(row.get("recv_oct", 0) + row.get("send_oct", 0) for row in rows)
        published = Counter(published=told.get("message_stats", {}).get("publish", 0))
        return Spent(cpu, published, traffic, told["object_totals"]["connections"], _lines(self.workers), Counter())

    def passed(self) -> Passed:
        amqp, http = (toll.passed() for toll in self._tolls)
        return Passed(amqp.names + http.names, *(a + b for a, b in zip(amqp[1:], http[1:], strict=True)))

    def there(self) -> frozenset[str]:
        time.sleep(6.0)  # its statistics are five seconds old
        return frozenset(row["name"] for row in self._server.api("GET", "/queues?columns=name"))


@contextmanager
def redis_broker(workers: int) -> Iterator[Broker]:
    """A Redis with so many workers."""
    with RedisServer() as server, Toll(server.port, redis_names).standing() as toll, ExitStack() as stack:
        broker = _Redis(server, toll)
        broker.workers = _workers(stack, broker.url, workers)
        yield broker


@contextmanager
def rabbit_broker(workers: int) -> Iterator[Broker]:
    """A RabbitMQ with so many workers and its management API."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(RabbitServer())
        toll = stack.enter_context(Toll(server.port, amqp_names).standing())
        http = stack.enter_context(Toll(server.management_port, http_names).standing())
        broker = _Rabbit(server, toll, http)
        broker.workers = _workers(stack, broker.url, workers)
        yield broker


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


def _each(told: Mapping[str, Any], what: str) -> Counter[str]:
    """One figure of each command, named as a person types it."""
    stats = {name.removeprefix("cmdstat_"): row[what] for name, row in told.items() if name.startswith("cmdstat_")}
    return Counter({name.replace("|", " ").upper(): value for name, value in stats.items()})


def _lines(workers: list[Worker]) -> int:
    return sum(worker.log.count("\n") for worker in workers)

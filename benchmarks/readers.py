"""Readers of the events, each in a process of its own: ``python -m benchmarks.readers KIND URL EVENTS PROGRESS``.

Prints ``ready`` once it is subscribed, and at the end one line of JSON: events a second, CPU seconds a million.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from benchmarks.publish import Progress

if TYPE_CHECKING:
    from celerytop.model.address import BrokerSettings
    from celerytop.sources.base import Source


class Count:
    """Counts what a reader has handled; the clock runs from its first batch to its last."""

    def __init__(self, wanted: int, progress: Progress) -> None:
        self.done = threading.Event()
        self.dropped = 0
        """Events that were counted and not folded."""
        self._wanted = wanted
        self._progress = progress
        self._events = self._first = 0
        self._began = self._cpu = 0.0
        self._result = ""

    def add(self, events: int) -> None:
        """So many more."""
        if not self._events:
            self._first, self._began, self._cpu = events, time.perf_counter(), _cpu()
        self._events += events
        self._progress.tell(self._events)
        if self._events >= self._wanted and not self.done.is_set():
            events, seconds = self._events - self._first, time.perf_counter() - self._began
            spent = _cpu() - self._cpu
            self._result = json.dumps({"rate": events / seconds, "cpu": 1e6 * spent / events, "dropped": self.dropped})
            self.done.set()

    def told(self) -> str:
        """The line of JSON."""
        return self._result


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _source(settings: BrokerSettings) -> Source:
    if settings.address.transport == "redis":
        from celerytop.sources.redis.events import RedisEvents

        return RedisEvents(settings)
    from celerytop.sources.rabbitmq.events import RabbitEvents

    return RabbitEvents(settings)


def celerytop(url: str, count: Count) -> None:
    """The real thing: its source, its monitor, its cluster, a picture twice a second."""
    from celerytop.broker_url import parse_url
    from celerytop.cluster import Cluster
    from celerytop.model.address import BrokerSettings
    from celerytop.model.observation import EventsReceived, Observation
    from celerytop.model.snapshot import ClusterInfo
    from celerytop.monitor import Monitor

    settings = BrokerSettings(address=parse_url(url))
    source = _source(settings)

    class Counted:
        """The source; what it yielded before has been folded when it is asked for more."""

        name = source.name

        def observe(self) -> Iterator[Observation | None]:
            for item in source.observe():
                yield item
                if item is None:
                    _ready()
                elif isinstance(item, EventsReceived):
                    count.dropped += item.dropped + item.bad
                    count.add(len(item.events) + item.dropped + item.bad)

        def drain(self) -> None:
            source.drain()

        def hang_up(self) -> None:
            source.hang_up()

    cluster = Cluster(ClusterInfo("bench", url, settings.address.transport), ("events",), time.time())
    monitor = Monitor(cluster, [Counted()], [], interval=0.5)
    gc.freeze()
    monitor.start()
    count.done.wait()
    monitor.stop()


def kombu(url: str, count: Count) -> None:
    """What ``celery events`` does: kombu's EventReceiver and Celery's State, no statistics, no pictures."""
    from celery import Celery
    from celery.events.state import State

    state = State(max_tasks_in_memory=100_000)

    def handle(event: dict[str, object]) -> None:
        state.event(event)
        count.add(1)

    app = Celery(broker=url)
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": handle})
        with receiver.consumer_context() as (own, *_):
            with suppress(TimeoutError):  # it subscribes with its first look
                own.drain_events(timeout=0.5)
            _ready()
            while not count.done.is_set():
                own.drain_events(timeout=30)


def flower(url: str, count: Count) -> None:
    """Flower's own thread, its State and its metrics, in its event loop."""
    asyncio.run(_flower(url, count))


async def _flower(url: str, count: Count) -> None:
    from celery import Celery
    from flower.events import Events
    from tornado.ioloop import IOLoop

    events = Events(Celery(broker=url), IOLoop.current(), enable_events=False, max_tasks_in_memory=100_000)
    fold, over = events.state.event, asyncio.Event()

    def handle(event: dict[str, object]) -> None:
        fold(event)
        count.add(1)
        if count.done.is_set():
            over.set()

    events.state.event = handle
    events.start()
    await asyncio.sleep(2.0)  # it does not say when it listens
    _ready()
    await over.wait()


READERS: dict[str, Callable[[str, Count], None]] = {"celerytop": celerytop, "kombu": kombu, "flower": flower}
_said: list[bool] = []


def _ready() -> None:
    if not _said:
        _said.append(True)
        print("ready", flush=True)


def main(kind: str, url: str, wanted: str, path: str) -> None:
    """Read so many events and tell how it went."""
    logging.disable(logging.CRITICAL)
    count = Count(int(wanted), Progress(path))
    READERS[kind](url, count)
    print(count.told(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

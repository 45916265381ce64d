"""What every broker's events must do: inherited by one test class per broker, run on real servers.

A broker gives a ``site`` fixture, and says how its source is made; see ``tests/sources/redis/test_events.py``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Protocol

import pytest

from celerytop.errors import BrokerError, RefusedError
from celerytop.model.address import BrokerSettings
from celerytop.model.event import (
    Event,
    TaskFailed,
    TaskReceived,
    TaskRetried,
    TaskStarted,
    TaskSucceeded,
    WorkerHeartbeat,
)
from celerytop.model.observation import EventsReceived, Observation
from celerytop.sources.base import Source
from tests.rig import Stopwatch, Worker, rig_app, send, wait_until

WRONG = "wr0ng-passw0rd"
SECRET = "s3cret-passw0rd"
"""The right one."""


class Site(Protocol):
    """A broker of a test's own, with verbs to break it."""

    @property
    def url(self) -> str:
        """For workers and producers."""
        ...

    @property
    def settings(self) -> BrokerSettings:
        """For celerytop."""
        ...

    @property
    def refused(self) -> BrokerSettings:
        """The same with the password ``WRONG``."""
        ...

    def publish(self, event: bytes) -> None:
        """Publish the bytes of an event's JSON as a worker would."""
        ...

    def connections(self) -> int:
        """How many connections celerytop has to it."""
        ...

    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    def kill(self) -> None: ...
    def restart(self) -> Any: ...


Watching = Iterator[Observation | None]


def collect(watching: Watching, enough: Callable[[list[Event]], Any], timeout: float = 60.0) -> list[Event]:
    """Events until ``enough`` says so."""
    events: list[Event] = []
    deadline = time.monotonic() + timeout
    while not enough(events):
        assert time.monotonic() < deadline, f"not enough after {timeout} s: {events[-10:]}"
        item = next(watching)
        if isinstance(item, EventsReceived):
            events += item.events
    return events


def time_to_fail(watching: Watching, timeout: float) -> tuple[BrokerError, float]:
    """The error that ends ``watching``, and after how many seconds."""
    with Stopwatch() as stopwatch, pytest.raises(BrokerError) as raised:
        while stopwatch.seconds < timeout:
            next(watching)
        pytest.fail(f"still watching after {timeout} s")
    return raised.value, stopwatch.seconds


def of(kind: type, events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def produce(url: str, task: str, *args: Any, **options: Any) -> str:
    """Send a task without a result backend: nobody here asks for results. Its id."""
    return str(send(rig_app(url, ""), task, args, **options))


class EventsContract:
    """Any broker's stream of events."""

    def source(self, settings: BrokerSettings) -> Source:
        raise NotImplementedError

    @pytest.fixture
    def site(self) -> Site:
        raise NotImplementedError

    def watch(self, settings: BrokerSettings) -> Any:
        """A begun stream, closed at the end of the block."""
        watching: Any = self.source(settings).observe()
        next(watching)
        return closing(watching)

    def test_the_life_of_tasks_of_a_prefork_worker(self, site: Site) -> None:
        began = time.time()
        with Worker(site.url) as worker, self.watch(site.settings) as watching:
            ids = {produce(site.url, "rig.add", n, 1) for n in range(30)}
            produce(site.url, "rig.fail", "rig says no")
            produce(site.url, "rig.retrying", 1, 0.1)

            def all_told(found: list[Event]) -> bool:
                return len(of(TaskSucceeded, found)) == 31 and bool(of(TaskFailed, found) and of(TaskRetried, found))

            events = collect(watching, all_told)
            assert ids <= {event.uuid for event in of(TaskReceived, events)}
            assert ids <= {event.uuid for event in of(TaskStarted, events)}
            assert ids <= {event.uuid for event in of(TaskSucceeded, events)}
            assert {event.hostname for event in events} == {worker.nodename}
            assert {"rig.add"} == {e.name for e in of(TaskReceived, events) if e.uuid in ids}
            assert all(began < event.timestamp < time.time() for event in events)
            assert of(TaskFailed, events)[0].traceback.splitlines()[-1] == "ValueError: rig says no"
            beats = collect(watching, lambda found: of(WorkerHeartbeat, found))
            assert of(WorkerHeartbeat, beats)[0].processed >= 32

    def test_single_events_of_a_gevent_worker(self, site: Site) -> None:
        with Worker(site.url, pool="gevent") as worker, self.watch(site.settings) as watching:
            task_id = produce(site.url, "rig.add", 1, 1)
            events = collect(watching, lambda found: of(TaskSucceeded, found))
            mine = [type(event) for event in events if getattr(event, "uuid", None) == task_id]
            assert mine == [TaskReceived, TaskStarted, TaskSucceeded]
            assert {event.hostname for event in events} == {worker.nodename}

    def test_a_bad_event_costs_only_itself(self, site: Site) -> None:
        with self.watch(site.settings) as watching:
            good = {"type": "task-started", "uuid": "good", "hostname": "w@h", "timestamp": time.time()}
            site.publish(b"\x80\x04 no json")
            site.publish(json.dumps([{**good, "timestamp": "soon"}, {**good, "uuid": "one"}, 42]).encode())
            site.publish(json.dumps(good).encode())
            batches: list[EventsReceived] = []

            def all_told(events: list[Event]) -> bool:
                told = {event.uuid for event in of(TaskStarted, events)}
                return {"one", "good"} <= told and sum(batch.bad for batch in batches) >= 3

            def recorded() -> Iterator[Observation | None]:
                for item in watching:
                    if isinstance(item, EventsReceived):
                        batches.append(item)
                    yield item

            collect(recorded(), all_told)
            assert sum(batch.bad for batch in batches) == 3
            assert any(batch.last_bad is not None for batch in batches)

    def test_silence_is_no_failure(self, site: Site) -> None:
        with self.watch(site.settings) as watching:
            for _ in range(2):
                with Stopwatch() as stopwatch:
                    assert next(watching) is None
                assert stopwatch.seconds < 2.5

    def test_closing_closes_the_connection(self, site: Site) -> None:
        assert site.connections() == 0
        with self.watch(site.settings):
            wait_until(lambda: site.connections() == 1)
        wait_until(lambda: site.connections() == 0)

    def test_a_wrong_password_is_refused_in_one_sentence(self, site: Site) -> None:
        with pytest.raises(RefusedError) as raised:
            next(self.source(site.refused).observe())
        sentence = str(raised.value)
        assert "refuse" in sentence
        assert "\n" not in sentence
        assert WRONG not in sentence

    def test_a_killed_server_is_noticed_at_once_and_watched_again(self, site: Site) -> None:
        with self.watch(site.settings) as watching:
            site.kill()
            error, after = time_to_fail(watching, 5)
            assert after < 3
            assert str(error)
        with Stopwatch() as stopwatch, pytest.raises(BrokerError, match="refuses the connection"):
            next(self.source(site.settings).observe())
        assert stopwatch.seconds < 5
        site.restart()
        with self.watch(site.settings) as watching:
            with Stopwatch() as stopwatch:
                assert next(watching) is None, "a sign of life"
            assert stopwatch.seconds < 2.5

    def test_a_frozen_server_is_noticed_within_eight_seconds(self, site: Site) -> None:
        with self.watch(site.settings) as watching:
            site.freeze()
            error, after = time_to_fail(watching, 12)
            assert after < 8
            assert "sends nothing" in str(error)
        with Stopwatch() as stopwatch, pytest.raises(BrokerError, match=r"sends nothing|no answer"):
            next(self.source(site.settings).observe())
        assert stopwatch.seconds < 5.5
        site.thaw()

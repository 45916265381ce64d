"""What every broker's events and control must do: inherited by one test class per broker, run on real servers.

A broker gives a ``site`` fixture, and says how its source is made; see ``tests/sources/redis/test_events.py``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
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
from celerytop.model.observation import EventsReceived, Observation, TasksListed, WorkersAnswered
from celerytop.sources.base import Interest, Probe, Source
from tests.rig import Worker, rig_app, send, wait_until
from tests.sources.answers import check_everything, nodenames, only, replies, start

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


def collect(watching: Watching, enough: Callable[[list[Event]], Any], timeout: float = 15.0) -> list[Event]:
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
    began = time.monotonic()
    with pytest.raises(BrokerError) as raised:
        while time.monotonic() - began < timeout:
            next(watching)
        pytest.fail(f"still watching after {timeout} s")
    return raised.value, time.monotonic() - began


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
        with Worker(site.url) as worker, self.watch(site.settings) as watching:
            ids = {produce(site.url, "rig.add", n, 1) for n in range(30)}
            produce(site.url, "rig.fail", "rig says no")
            produce(site.url, "rig.retrying", 1, 0.1)
            events = collect(watching, lambda found: len(of(TaskSucceeded, found)) == 31)
            assert ids <= {event.uuid for event in of(TaskReceived, events)}
            assert ids <= {event.uuid for event in of(TaskStarted, events)}
            assert ids <= {event.uuid for event in of(TaskSucceeded, events)}
            assert {event.hostname for event in events} == {worker.nodename}
            assert {"rig.add"} == {e.name for e in of(TaskReceived, events) if e.uuid in ids}
            assert all(abs(event.timestamp - time.time()) < 60 for event in events)
            assert of(TaskFailed, events)[0].traceback.splitlines()[-1] == "ValueError: rig says no"
            assert of(TaskRetried, events)
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

            def both(events: list[Event]) -> bool:
                return {"one", "good"} <= {event.uuid for event in of(TaskStarted, events)}

            def recorded() -> Iterator[Observation | None]:
                for item in watching:
                    if isinstance(item, EventsReceived):
                        batches.append(item)
                    yield item

            collect(recorded(), both)
            assert sum(batch.bad for batch in batches) == 3
            assert any(batch.last_bad is not None for batch in batches)

    def test_silence_is_no_failure(self, site: Site) -> None:
        with self.watch(site.settings) as watching:
            for _ in range(2):
                began = time.monotonic()
                assert next(watching) is None
                assert time.monotonic() - began < 2.5

    def test_closing_closes_the_connection(self, site: Site) -> None:
        before = site.connections()
        with self.watch(site.settings):
            wait_until(lambda: site.connections() == before + 1, 15)
        wait_until(lambda: site.connections() == before, 15)

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
        began = time.monotonic()
        with pytest.raises(BrokerError, match="refuses the connection"):
            next(self.source(site.settings).observe())
        assert time.monotonic() - began < 5
        site.restart()
        with self.watch(site.settings) as watching:
            began = time.monotonic()
            assert next(watching) is None, "a sign of life"
            assert time.monotonic() - began < 2.5

    def test_a_frozen_server_is_noticed_within_eight_seconds(self, site: Site) -> None:
        with self.watch(site.settings) as watching:
            site.freeze()
            error, after = time_to_fail(watching, 12)
            assert after < 8
            assert "sends nothing" in str(error)
        began = time.monotonic()
        with pytest.raises(BrokerError, match=r"sends nothing|no answer"):
            next(self.source(site.settings).observe())
        assert time.monotonic() - began < 5.5
        site.thaw()


class Skipping:
    """A clock that can be set ahead, so that a round is due now and not in five seconds."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._ahead

    def skip(self, seconds: float) -> None:
        self._ahead += seconds


def hurry(probe: Any, clock: Skipping) -> None:
    """Let ``clock`` decide what is due."""
    probe._asking._clock = clock


class ControlContract:
    """Any broker's way of asking workers."""

    def probe(self, settings: BrokerSettings) -> AbstractContextManager[Probe]:
        """A connected probe."""
        raise NotImplementedError

    @pytest.fixture
    def site(self) -> Site:
        raise NotImplementedError

    def debris(self, site: Site) -> list[str]:
        """What a probe that is closed has left behind on the broker."""
        raise NotImplementedError

    def test_workers_of_every_pool_answer_everything_at_once(self, site: Site) -> None:
        with ExitStack() as stack:
            queues = {"prefork": "celery", "threads": "celery", "gevent": "celery", "solo": "alone"}
            workers = {
                pool: stack.enter_context(closing(Worker(site.url, pool=pool, queues=(queue,))))
                for pool, queue in queues.items()
            }
            start(*workers.values())
            task_id = produce(site.url, "rig.sleep", 3, "\x1b[31m")
            wait_until(lambda: any(task_id in worker.log for worker in workers.values()), 10)
            with self.probe(site.settings) as probe:
                probe.attend(Interest(workers=tuple(worker.nodename for worker in workers.values())))
                answered = only(probe.poll())
                assert answered.expected == 4 or not self.counts
                assert answered.window < 0.8
                assert answered.late == 0
                assert not answered.absent
                check_everything(workers, answered, task_id)
                assert SECRET not in str(answered)
                assert not list(probe.poll()), "nothing is due"
            assert not self.debris(site)

    counts = True
    """The broker tells how many listen, asked or not, and holds answers to old questions."""

    def test_who_is_busy_or_frozen_is_waited_for_once_and_late_answers_are_ignored(self, site: Site) -> None:
        with ExitStack() as stack:
            prefork, frozen = (stack.enter_context(closing(Worker(site.url, queues=(q,)))) for q in "ab")
            solo = stack.enter_context(closing(Worker(site.url, pool="solo", queues=("c",))))
            start(prefork, frozen, solo)
            clock = Skipping()
            with self.probe(site.settings) as probe:
                hurry(probe, clock)
                names = (prefork.nodename, frozen.nodename, solo.nodename)
                probe.attend(Interest(workers=names))
                late: list[int] = []

                def all_back() -> bool:
                    clock.skip(5)
                    rounds = list(probe.poll())
                    late.extend(one.late for one in rounds if isinstance(one, WorkersAnswered))
                    return any(nodenames(one) == set(names) for one in rounds)

                wait_until(all_back, 10, "all answer")
                frozen.freeze()
                produce(site.url, "rig.sleep", 6, queue="c")
                wait_until(lambda: "received" in solo.log, 10)
                clock.skip(5)
                first = only(probe.poll())
                assert nodenames(first) == {prefork.nodename}
                assert first.expected == 3 or not self.counts
                assert 0.9 < first.window < 1.3
                probe.attend(Interest(workers=names[:1], quiet=names[1:]))
                clock.skip(5)
                second = only(probe.poll())
                assert nodenames(second) == {prefork.nodename}
                assert second.window < 0.5, "nobody waits for those known to be silent"
                assert not second.absent
                frozen.thaw()
                late.clear()
                wait_until(all_back, 15, "all answer again")
                assert sum(late) > 0 or not self.counts
            assert not self.debris(site)

    def test_big_replies_are_capped(self, site: Site) -> None:
        with Worker(site.url, concurrency=1) as worker:
            for _ in range(3):
                produce(site.url, "rig.echo", "x" * 500_000, countdown=600)
            for _ in range(1050):
                produce(site.url, "rig.add", 1, 2, countdown=600)
            clock = Skipping()
            with self.probe(site.settings) as probe:
                hurry(probe, clock)
                probe.attend(Interest(page="tasks", workers=(worker.nodename,)))

                def all_scheduled() -> TasksListed | None:
                    clock.skip(101)
                    found = [
                        reply for one in probe.poll() for reply in replies(one, TasksListed) if reply.total == 1053
                    ]
                    return found[0] if found else None

                scheduled = wait_until(all_scheduled, 20)
                assert scheduled is not None
                assert scheduled.place == "scheduled"
                assert len(scheduled.tasks) == 1000
                assert all(task.eta_at and 0 < task.eta_at - time.time() < 601 for task in scheduled.tasks)
                assert max(len(task.args or "") for task in scheduled.tasks) <= 4096
                clock.skip(20)
                assert "scheduled" not in only(probe.poll()).asked, "a heavy one is asked less often"

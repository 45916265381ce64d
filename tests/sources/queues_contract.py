"""What every probe of queues must do, whatever the broker. A broker's test inherits this and says how to get one.

``class TestRedisQueues(QueuesContract)`` with a fixture ``watched`` that yields a ``Watched``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pytest

from celerytop.errors import BrokerError, RefusedError
from celerytop.model.observation import QueuesMeasured
from celerytop.model.queue import Queue
from celerytop.sources.base import Interest, Lane, Probe
from tests.rig import Child, Stopwatch, wait_until

NAME = "contract"
SECRET = "wr0ng-s3cret"
PATIENCE = 8.0


class Watched(Protocol):
    """A broker of the test's own, and how to look at it."""

    server: Child

    def lane(self, password: str | None = None) -> Lane:
        """A new lane with a queues probe, not connected yet; with ``password`` in its address if one is given."""
        ...

    def add(self, queue: str, count: int) -> None:
        """Put so many more messages into a queue, which exists afterwards."""
        ...

    def take(self, queue: str, count: int) -> None:
        """Take so many out."""
        ...


def queues_probe(lane: Lane) -> Probe:
    """The lane's probe of queues."""
    return next(probe for probe in lane.probes if probe.name == "queues")


def look(lane: Lane, interest: Interest | None = None) -> QueuesMeasured:
    """One poll."""
    probe = queues_probe(lane)
    probe.attend(interest or Interest(queues=(NAME,)))
    return next(found for found in probe.poll() if isinstance(found, QueuesMeasured))


def queue_of(lane: Lane, name: str = NAME) -> Queue:
    """One queue as a poll sees it now."""
    return next(queue for queue in look(lane, Interest(queues=(name,))).queues if queue.name == name)


class QueuesContract:
    """Lengths are exact, and a broker that is ill is noticed in time, in one sentence, and outlived."""

    @pytest.fixture
    def watched(self) -> Iterator[Watched]:
        """Override: a broker of the test's own."""
        raise NotImplementedError

    @pytest.fixture
    def lane(self, watched: Watched) -> Iterator[Lane]:
        """A connected lane."""
        lane = watched.lane()
        lane.connect()
        yield lane
        lane.close()

    def test_lengths_are_exact_while_it_grows_and_shrinks(self, watched: Watched, lane: Lane) -> None:
        watched.add(NAME, 3)
        assert queue_of(lane).messages == 3
        watched.add(NAME, 4)
        assert queue_of(lane).messages == 7
        watched.take(NAME, 6)
        assert queue_of(lane).messages == 1
        watched.take(NAME, 1)
        assert queue_of(lane).messages == 0

    def test_looking_takes_nothing_out(self, watched: Watched, lane: Lane) -> None:
        watched.add(NAME, 5)
        for _ in range(20):
            look(lane, Interest(queues=(NAME,), queue=NAME))
        assert queue_of(lane).messages == 5

    def test_a_restarted_server_is_outlived(self, watched: Watched, lane: Lane) -> None:
        watched.add(NAME, 1)
        look(lane)
        watched.server.stop()
        with pytest.raises(BrokerError):
            look(lane)
        with pytest.raises(BrokerError) as down:
            lane.connect()
        assert one_sentence(str(down.value))
        watched.server.start()
        wait_until(lambda: connected(lane), 60, "connected again")
        watched.add("after", 2)
        assert queue_of(lane, "after").messages == 2

    def test_a_frozen_server_is_noticed_in_time(self, watched: Watched, lane: Lane) -> None:
        watched.add(NAME, 1)
        look(lane)
        watched.server.freeze()
        try:
            with Stopwatch() as stopwatch, pytest.raises(BrokerError) as frozen:
                look(lane)
            assert stopwatch.seconds < PATIENCE
            assert one_sentence(str(frozen.value))
            with Stopwatch() as stopwatch, pytest.raises(BrokerError):
                lane.connect()
            assert stopwatch.seconds < PATIENCE
        finally:
            watched.server.thaw()
        wait_until(lambda: connected(lane), 60, "connected again")
        assert queue_of(lane).messages == 1

    def test_a_wrong_password_is_refused_in_one_sentence_without_it(self, watched: Watched) -> None:
        lane = watched.lane(password=SECRET)
        with pytest.raises(RefusedError) as refused:
            lane.connect()
        lane.close()
        assert one_sentence(str(refused.value))
        assert SECRET not in str(refused.value)

    def test_close_is_harmless_at_any_time(self, watched: Watched) -> None:
        lane = watched.lane()
        lane.close()
        lane.connect()
        lane.close()
        lane.close()


def connected(lane: Lane) -> bool:
    """Whether it could connect."""
    try:
        lane.connect()
    except BrokerError:
        return False
    return True


def one_sentence(text: str) -> bool:
    """Something a person can read."""
    return 10 < len(text) < 300 and "\n" not in text and "Traceback" not in text

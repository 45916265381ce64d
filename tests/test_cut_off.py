"""Redis cuts a reader off that lets more than 32 MB wait: celerytop reads on while it may not fold."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
import redis

from celerytop.cluster import Cluster
from celerytop.columns import losses
from celerytop.model.observation import DOWN, UP, EventsReceived, Observation, SourceChanged
from celerytop.model.snapshot import ClusterInfo, Snapshot
from celerytop.model.worker import ALIVE
from celerytop.monitor import Monitor, runners
from celerytop.monitor.runners import RETRY_AFTER
from celerytop.sources.later import LaterSource
from celerytop.sources.redis import narrow
from celerytop.sources.redis.events import RedisEvents
from tests.rig import RedisServer, wait_until
from tests.sources.redis.site import envelope, settings_of

pytestmark = pytest.mark.redis

SENT = 60 << 20
"""Bytes: twice what Redis lets wait for one subscriber."""
EVENT = b'{"type":"task-succeeded","uuid":"%d","hostname":"w@h","timestamp":%f,"pad":"%s"}'
PAD = b"x" * 2000
AT_ONCE = 1000


@pytest.fixture
def monitor(redis_server: RedisServer) -> Iterator[Monitor]:
    cluster = Cluster(ClusterInfo("test", redis_server.url(), "redis"), ("events",), time.time())
    watching = Monitor(cluster, [LaterSource("events", lambda: RedisEvents(settings_of(redis_server)))], [])
    watching.start()
    wait_until(watching.looked, 30, "it listens")
    yield watching
    watching.stop()


def subscriber(server: RedisServer) -> str:
    (one,) = (client["id"] for client in server.client().client_list() if client["psub"] == "1")
    return str(one)


def waiting(client: redis.Redis) -> int:
    """Bytes that Redis keeps for subscribers."""
    return sum(int(one["omem"]) for one in client.client_list() if one["psub"] == "1")


def test_a_stream_is_read_while_it_must_not_be_folded(redis_server: RedisServer, monitor: Monitor) -> None:
    before, client = subscriber(redis_server), redis_server.client()
    published = size = 0
    with monitor._lock:  # as a picture of a very large cluster would
        while size < SENT:
            wait_until(lambda: waiting(client) < 4 << 20, 30, "it reads on, though nothing can be folded")
            pipeline = client.pipeline(transaction=False)
            for number in range(published, published + AT_ONCE):
                message = envelope(EVENT % (number, time.time(), PAD))
                size += len(message)
                pipeline.publish("/0.celeryev/task.succeeded", message)
            assert pipeline.execute() == [1] * AT_ONCE, "each has reached one reader"
            published += AT_ONCE

    def accounted() -> int:
        picture = monitor.picture()
        return len(picture.tasks) + picture.losses.dropped

    wait_until(lambda: accounted() >= published, 50, "each is folded, or counted as dropped")
    picture = monitor.picture()
    assert accounted() == published
    assert picture.losses.dropped > 0, "what waits is bounded"
    assert len(picture.tasks) > 0
    assert subscriber(redis_server) == before, "it was never cut off"
    assert [source.state for source in picture.sources] == [UP]


class Delays(Cluster):
    """Keeps how long each time is waited before the next attempt."""

    waits: list[float]

    def apply(self, observation: Observation) -> None:
        if isinstance(observation, SourceChanged) and observation.retry_at is not None:
            self.waits.append(round(observation.retry_at - observation.at, 3))
        super().apply(observation)


@pytest.mark.parametrize(("steady", "waits"), [(3600.0, [*RETRY_AFTER, RETRY_AFTER[-1]]), (0.0, [RETRY_AFTER[0]] * 5)])
def test_who_is_cut_off_again_and_again_comes_back_less_often(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, steady: float, waits: list[float]
) -> None:
    monkeypatch.setattr(runners, "STEADY", steady)
    cluster = Delays(ClusterInfo("test", redis_server.url(), "redis"), ("events",), time.time())
    cluster.waits = []
    monitor, client = Monitor(cluster, [RedisEvents(settings_of(redis_server))], []), redis_server.client()

    def cut() -> bool:
        if monitor.picture().sources[0].state == UP:
            for one in client.client_list():
                if one["psub"] == "1":
                    client.client_kill_filter(_id=one["id"])
        return len(cluster.waits) >= len(waits)

    monitor.start()
    try:
        wait_until(cut, 60, "it was cut off five times")
        assert cluster.waits[: len(waits)] == waits
        wait_until(lambda: monitor.picture().sources[0].state == UP, 30, "it comes back by itself")
    finally:
        monitor.stop()


def test_what_was_not_even_read_is_told_and_workers_stay_alive(
    redis_server: RedisServer, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrow, "ASK", 1)
    monkeypatch.setattr(narrow, "LOSING", 1)  # bytes after a question: whatever comes is too much
    before, client = subscriber(redis_server), redis_server.client()

    def flood() -> Snapshot:
        pipeline = client.pipeline(transaction=False)
        for number in range(300):
            pipeline.publish("/0.celeryev/task.succeeded", envelope(EVENT % (number, time.time(), PAD)))
        pipeline.publish("/0.celeryev/worker.heartbeat", envelope(BEAT % time.time()))
        pipeline.execute()
        return monitor.picture()

    wait_until(lambda: flood().losses.not_read_for > 0, 60, "task events were not asked for")
    wait_until(lambda: "w@h" in flood().workers, 60, "its heartbeat was heard")
    monkeypatch.undo()

    def comes() -> bool:
        client.publish("/0.celeryev/worker.heartbeat", envelope(BEAT % time.time()))
        client.publish("/0.celeryev/task.succeeded", envelope(EVENT % (10**6, time.time(), PAD)))
        return "1000000" in monitor.picture().tasks

    wait_until(comes, 30, "an event comes again")
    wait_until(lambda: subscribed(client) == before, 30, "all is asked for again, on the same connection")
    seen = monitor.picture()
    assert "task events not read for" in seen.gaps[-1].reason
    assert any("task events not read for" in sentence for sentence in losses(seen))
    assert seen.workers["w@h"].state == ALIVE
    assert [source.state for source in seen.sources] == [UP]


def subscribed(client: redis.Redis) -> str | None:
    """Who listens to all events now."""
    return next((one["id"] for one in client.client_list() if one["psub"] == "1"), None)


KINDS = ("task-sent", "task-received", "task-started", "task-succeeded", "task-failed")
ANY = b'{"type":"%b","uuid":"%d","hostname":"w@h","timestamp":%f,"result":"1","exception":"E()","pad":"%b"}'
BEAT = b'{"type":"worker-heartbeat","hostname":"w@h","timestamp":%f,"pid":1,"freq":2.0,"active":0,"processed":0}'
LIVES = 200
"""Tasks whose five events, and a heartbeat, are published at once."""
FLOODED = 40
"""Times that this is done; during the first half nothing may be folded."""


class Seen(RedisEvents):
    """Counts what is folded."""

    kinds: Counter[str]

    def observe(self) -> Iterator[EventsReceived | None]:
        for item in super().observe():
            if item is not None:
                self.kinds.update(str(type(event).__struct_config__.tag) for event in item.events)
            yield item


def _flood(server: RedisServer, first: int) -> None:
    client = server.client()
    wait_until(lambda: waiting(client) < 4 << 20, 30, "it reads on")
    pipeline = client.pipeline(transaction=False)
    for number in range(first, first + LIVES):
        for kind in KINDS:
            event = envelope(ANY % (kind.encode(), number, time.time(), PAD[:500]))
            pipeline.publish(f"/0.celeryev/{kind.replace('-', '.')}", event)
    pipeline.publish("/0.celeryev/worker.heartbeat", envelope(BEAT % time.time()))
    assert set(pipeline.execute()) == {1}, "each has reached one reader"


def test_in_a_flood_each_event_is_folded_or_counted_by_its_kind(redis_server: RedisServer) -> None:
    source = Seen(settings_of(redis_server), room=1 << 20)
    source.kinds = Counter()
    cluster = Cluster(ClusterInfo("test", redis_server.url(), "redis"), ("events",), time.time())
    monitor = Monitor(cluster, [source], [])
    monitor.start()
    try:
        wait_until(monitor.looked, 30, "it listens")
        before = subscriber(redis_server)
        with monitor._lock:
            for turn in range(FLOODED // 2):
                _flood(redis_server, turn * LIVES)
        for turn in range(FLOODED // 2, FLOODED):
            _flood(redis_server, turn * LIVES)

        def accounted() -> Counter[str]:
            return source.kinds.copy() + Counter(monitor.picture().losses.dropped_by_kind)

        published = {**dict.fromkeys(KINDS, FLOODED * LIVES), "worker-heartbeat": FLOODED}
        wait_until(lambda: accounted() == published, 50, "each is folded, or counted as dropped")
        seen = monitor.picture()
        dropped = Counter(seen.losses.dropped_by_kind)
        assert dropped.total() == seen.losses.dropped > 0
        assert dropped["task-received"] and dropped["task-succeeded"], "even what ends a task"
        assert not dropped["worker-heartbeat"], "but never what shows a worker"
        assert any("events dropped" in words and "task-received" in words for words in losses(seen))
        assert subscriber(redis_server) == before, "it was never cut off"
        assert redis_server.client().info("stats").get("client_output_buffer_limit_disconnections", 0) == 0
    finally:
        monitor.stop()


def test_ctrl_z_does_not_wait_for_a_stream_that_is_not_open(redis_server: RedisServer, monitor: Monitor) -> None:
    redis_server.kill()
    wait_until(lambda: monitor.picture().sources[0].state == DOWN, 30, "it is seen")
    suspending = threading.Thread(target=monitor.suspend, args=(600.0,), daemon=True)
    suspending.start()
    wait_until(lambda: not suspending.is_alive(), 60, "nothing to close")
    redis_server.start()
    monitor.resume()
    wait_until(lambda: monitor.picture().sources[0].state == UP, 60, "it listens again")

"""Redis cuts a reader off that lets more than 32 MB wait: celerytop reads on while it may not fold."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from celerytop.cluster import Cluster
from celerytop.model.observation import UP
from celerytop.model.snapshot import ClusterInfo
from celerytop.monitor import Monitor
from celerytop.sources.later import LaterSource
from celerytop.sources.redis.events import RedisEvents
from tests.rig import RedisServer, wait_until
from tests.sources.redis.site import envelope, settings_of

pytestmark = pytest.mark.redis

HELD = 2.0
EVENT = b'{"type":"task-succeeded","uuid":"%d","hostname":"w@h","timestamp":%f,"pad":"%s"}'
PAD = b"x" * 2000
AT_ONCE = 1000


@pytest.fixture
def monitor(redis_server: RedisServer) -> Iterator[Monitor]:
    cluster = Cluster(ClusterInfo("test", redis_server.url(), "redis"), ("events",), time.time())
    watching = Monitor(cluster, [LaterSource("events", lambda: RedisEvents(settings_of(redis_server)))], [])
    watching.start()
    wait_until(watching.looked, 10, "it listens")
    yield watching
    watching.stop()


def subscriber(server: RedisServer) -> str:
    (one,) = (client["id"] for client in server.client().client_list() if client["psub"] == "1")
    return str(one)


def test_a_stream_is_read_while_it_must_not_be_folded(redis_server: RedisServer, monitor: Monitor) -> None:
    before, client = subscriber(redis_server), redis_server.client()
    published = size = 0
    with monitor._lock:  # as a picture of a very large cluster would
        until = time.monotonic() + HELD
        while time.monotonic() < until or size < 60 << 20:
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

    wait_until(lambda: accounted() >= published, 20, "each is folded, or counted as dropped")
    picture = monitor.picture()
    assert accounted() == published
    assert picture.losses.dropped > 0, "what waits is bounded"
    assert len(picture.tasks) > 0
    assert subscriber(redis_server) == before, "it was never cut off"
    assert [source.state for source in picture.sources] == [UP]

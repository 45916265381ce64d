"""One page of a queue's messages after the other, over its priority steps, without taking anything out."""

from __future__ import annotations

from contextlib import closing

from celerytop.model.queue import QueueSample
from celerytop.sources.base import Interest
from celerytop.sources.redis.lane import RedisLane
from tests.actions.holding import raw_message
from tests.rig import RedisServer
from tests.sources.redis.looking import ask, lane_of, settings_for


def peeked(lane: RedisLane, peek_from: int) -> QueueSample:
    """A page, asked for as the screen does."""
    for probe in lane.probes:
        probe.attend(Interest(queue="celery", peek_from=peek_from))
    (sample,) = (
        one.sample for one in ask(lane, Interest(queue="celery", peek_from=peek_from)) if hasattr(one, "sample")
    )
    assert isinstance(sample, QueueSample)
    return sample


def test_pages_go_through_the_whole_queue_in_the_order_it_runs(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server, global_keyprefix="px:")) as lane:
        client.lpush("px:celery", *(raw_message(f"a{n}") for n in range(520)))
        client.lpush("px:celery\x06\x163", *(raw_message(f"b{n}") for n in range(60)), b"\xffjunk")
        found: list[str | None] = []
        while page := peeked(lane, len(found)).page:
            assert len(page) <= 50
            found += [message.task_id for message in page]
        assert found == [*(f"a{n}" for n in range(520)), *(f"b{n}" for n in range(60)), None]
        assert client.llen("px:celery") == 520
        assert peeked(lane, 550).page_from == 550


def test_big_messages_come_in_smaller_pages(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        client.lpush("celery", *(raw_message(f"a{n}", padding=100_000) for n in range(40)))
        sample = peeked(lane, 10)
        assert [message.task_id for message in sample.page] == [f"a{10 + n}" for n in range(len(sample.page))]
        assert 1 < len(sample.page) <= 10

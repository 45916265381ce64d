"""What looking may cost at 10, 100 and 1,000 queues, 5 and 200 workers: counted, on a clock of the test's own."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from celerytop.model.observation import QueuesMeasured
from celerytop.sources.asking import METHODS, Asking
from celerytop.sources.base import Interest
from celerytop.sources.ration import BASE64, BYTES_A_SECOND, ENVELOPE
from tests.rig import RabbitServer, RedisServer
from tests.rig.send import send
from tests.sources.rabbitmq import open_lanes as rabbit
from tests.sources.redis import looking as redis

MINUTE = 60.0
LONG = 1200
"""Seconds."""
QUEUES = (10, 100, 1000)
SIZES = {"ping": 16, "stats": 1800, "active_queues": 620, "conf": 4000, "registered": 900}
"""Bytes of an answer, of the order of a real worker's; ``[]`` for the others."""


def minute(probe: Any, monkeypatch: pytest.MonkeyPatch, which: int = 0) -> Iterator[QueuesMeasured]:
    """The looks of one minute at the pace the probe wants, in a moment."""
    now, passed = time.time() + which * MINUTE, 0.0
    while passed < MINUTE:
        monkeypatch.setattr("celerytop.sources.redis.queues.time.time", lambda: now + passed)  # noqa: B023
        probe.attend(Interest())
        yield from (found for found in probe.poll() if isinstance(found, QueuesMeasured))
        passed += probe.every


@pytest.mark.redis
@pytest.mark.parametrize("number", QUEUES)
def test_lengths_on_redis_stay_within_15_kb_a_second(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with closing(redis_server.client()) as client, redis.lane_of(redis.settings_for(redis_server)) as lane:
        fill(redis_server, number)
        probe = next(probe for probe in lane.probes if probe.name == "queues")
        list(minute(probe, monkeypatch))  # finds them
        commands, before = lane.pipeline.commands, lane.pipeline.bytes or (0, 0)
        client.config_resetstat()
        looks = list(minute(probe, monkeypatch, 1))
        after, counted = lane.pipeline.bytes or (0, 0), client.info("commandstats")
        assert 10 <= len(looks) <= 60, "a page without news for eight seconds is called stale"
        assert {len(look.queues) for look in looks} == {number}
        assert {sum(queue.messages or 0 for queue in look.queues) for look in looks} == {number}
        assert (lane.pipeline.commands - commands) / MINUTE <= min(4 * number, 250) + 12
        assert (sum(after) - sum(before)) / MINUTE <= 15_000
        assert counted["cmdstat_smembers"]["calls"] <= max(2 * number, 5 * MINUTE) + 24
        assert not {"cmdstat_keys", "cmdstat_eval", "cmdstat_multi", "cmdstat_monitor"} & counted.keys()


@pytest.mark.redis
def test_a_list_that_begins_to_exist_among_thousands_is_seen_within_half_a_minute(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(redis_server.client()) as client, redis.lane_of(redis.settings_for(redis_server)) as lane:
        waiting = fill(redis_server, 1000)
        probe = next(probe for probe in lane.probes if probe.name == "queues")
        list(minute(probe, monkeypatch))
        client.lpush("queue777\x06\x166", waiting, waiting)
        looks = minute(probe, monkeypatch, 1)
        needed = next(count for count, look in enumerate(looks, 1) if holds(look, "queue777", 3))
        assert needed * probe.every <= 30.0
        probe.attend(Interest())
        assert probe.every >= 5.0, "what has just been met does not quicken it"


def test_all_that_workers_answer_stays_within_its_ration() -> None:
    for number, page in ((50, "workers"), (200, "queues"), (200, "tasks"), (200, "workers")):
        asked, size = asking_for(LONG, number, page)
        assert size / LONG <= 1.05 * BYTES_A_SECOND, (number, page, asked)
        assert asked["ping"] >= LONG / 9, "a sign of life counts for twelve seconds"
        assert all(asked[method] >= LONG / 40 for method in ("active", "reserved", "scheduled")), asked
        assert asked["active_queues"] >= LONG / 130 and asked["stats"] >= LONG / 300, asked
        assert asked.total() <= LONG, "at most one message a second"


def test_few_workers_are_asked_as_often_as_ever() -> None:
    asked, size = asking_for(LONG, 5, "workers")
    assert (asked["ping"], asked["stats"], asked["active"]) == (LONG / 5, LONG / 2, LONG / 3)
    assert size / LONG <= BYTES_A_SECOND / 2


@pytest.mark.rabbitmq
@pytest.mark.parametrize("number", QUEUES)
def test_lengths_on_rabbitmq_are_asked_by_size(rabbitmq_server: RabbitServer, rabbitmq_vhost: str, number: int) -> None:
    names = tuple(f"queue{one}" for one in range(number))
    settings = rabbit.settings_for(rabbitmq_server, rabbitmq_vhost)
    with rabbit.channel_of(rabbitmq_server, rabbitmq_vhost) as channel, rabbit.lanes_of(settings, "queues") as lanes:
        for name in names:
            channel.queue_declare(name, auto_delete=True)
        probe: Any = rabbit.probe_of(lanes, "queues")
        rabbit.ask(lanes, "queues", Interest(queues=names))
        before = probe.link.commands, probe.link.bytes_in + probe.link.bytes_out
        looks = 3
        for _ in range(looks):
            assert set(rabbit.queues_in(rabbit.ask(lanes, "queues", Interest(queues=names)))) >= set(names)
        commands = (probe.link.commands - before[0]) / looks
        size = (probe.link.bytes_in + probe.link.bytes_out - before[1]) / looks
        assert commands <= number + 3
        assert commands / probe.every <= 4 * number + 12
        assert size / probe.every <= 25_000


def fill(server: RedisServer, number: int) -> bytes:
    """So many queues with one message each; that message."""
    send(server.url(), "rig.add", (1, 2), queue="queue0")
    with closing(server.client()) as client:
        waiting: Any = client.lindex("queue0", 0)
        pipeline = client.pipeline(transaction=False)
        for one in range(1, number):
            pipeline.sadd(f"_kombu.binding.queue{one}", f"queue{one}\x06\x16\x06\x16queue{one}")
            pipeline.lpush(f"queue{one}", waiting)
        pipeline.execute()
    return bytes(waiting)


def holds(look: QueuesMeasured, name: str, messages: int) -> bool:
    """So many messages in this queue."""
    return any(queue.name == name and queue.messages == messages for queue in look.queues)


def asking_for(seconds: int, number: int, page: str) -> tuple[Counter[str], float]:
    """(how often everyone was asked what, bytes answered) after the first round."""
    clock = [0.0]
    asking = Asking(lambda: clock[0], lambda: 1.8e9 + clock[0])
    names = [f"worker{one}@web-{one % 7}" for one in range(number)]
    bodies = {method: answers_to(method, names) for method in METHODS}
    asked: Counter[str] = Counter()
    size = 0.0
    for second in range(seconds + 1):
        clock[0] = float(second)
        asking.attend(Interest(page=page, workers=tuple(names)))
        round_ = asking.begin()
        for request in round_.requests if round_ is not None else ():
            assert round_ is not None
            round_.expect(request, number)
            for body in bodies[request.method]:
                round_.take(request.ticket, body, "application/json")
                size += BASE64 * len(body) + ENVELOPE if second else 0
            asked[request.method] += bool(second)
        if round_ is not None:
            asking.settle(round_)
    return asked, size


def answers_to(method: str, names: list[str]) -> list[bytes]:
    """As many bytes as a real worker says."""
    content: Any = {"ok": "pong"} if method == "ping" else {"x": "y" * SIZES[method]} if method in SIZES else []
    return [json.dumps({name: content}).encode() for name in names]

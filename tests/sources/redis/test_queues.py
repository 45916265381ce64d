"""Queues on real Redis and Valkey servers, filled by a real Celery."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from celerytop.model.address import Address, BrokerSettings, Endpoint
from celerytop.model.queue import Unacked
from celerytop.sources.base import Interest, Lane
from celerytop.sources.redis.lane import RedisLane
from celerytop.sources.redis.names import list_key
from celerytop.sources.redis.pipeline import Packed
from tests.rig import Child, RedisServer, Worker, rig_app, send, wait_until
from tests.sources.queues_contract import QueuesContract, Watched
from tests.sources.redis.looking import (
    SERVERS,
    calls_of,
    lane_of,
    measured,
    populate,
    queues_of,
    sample_of,
    settings_for,
)

pytestmark = pytest.mark.redis


class _Watched:
    def __init__(self, server: RedisServer) -> None:
        self.server: Child = server
        self._redis = server

    def lane(self, password: str | None = None) -> Lane:
        user = None if password is None else "somebody"
        return RedisLane(settings_for(self._redis, user, password), passive=True)

    def add(self, queue: str, count: int) -> None:
        with closing(self._redis.client()) as client:
            client.lpush(queue, *[message(f"{queue}-{number}") for number in range(count)])

    def take(self, queue: str, count: int) -> None:
        with closing(self._redis.client()) as client:
            client.rpop(queue, count)


class TestRedisQueues(QueuesContract):
    @pytest.fixture
    def watched(self, redis_server: RedisServer) -> Iterator[Watched]:
        yield _Watched(redis_server)


def message(task_id: str, task: str = "app.work", body: str = "", more: str = "") -> str:
    """A message as kombu writes it, small."""
    headers = f'{{"id":"{task_id}","task":"{task}","origin":"gen1@here","retries":0{more}}}'
    properties = f'{{"delivery_tag":"{task_id}","priority":0,"delivery_info":{{"exchange":"","routing_key":"q"}}}}'
    return f'{{"body":"{body}","headers":{headers},"properties":{properties}}}'


# -------------------------------------------------------------------------------------------------- finding them
@pytest.mark.parametrize("server_class", SERVERS)
def test_a_queue_nobody_consumes_is_found_with_no_hint_at_the_first_look(server_class: type[RedisServer]) -> None:
    with server_class() as server:
        send(server.url(), "rig.add", (1, 2), queue="lonely")
        with lane_of(settings_for(server)) as lane:
            found = measured(lane)
        (queue,) = found.queues
        assert (queue.name, queue.messages, queue.consumers) == ("lonely", 1, None)
        assert "binding" in queue.known_by
        assert found.note is None


def test_a_list_of_task_messages_without_any_binding_is_found(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        client.lpush("forgotten\x06\x166", message("a"))
        client.lpush("cache", "no message", "at all")
        client.lpush("numbers", 1, 2)
        client.lpush("celeryev.1234", message("b"))
        client.lpush("4321.reply.celery.pidbox", message("c"))
        client.set("plain", "x")
        found = measured(lane)
        assert {queue.name: queue.by_priority for queue in found.queues} == {"forgotten": ((6, 1),)}
        assert found.leftovers == 1


def test_a_reply_list_of_a_dead_celerytop_is_counted_when_it_stays(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        client.lpush("celerytop-0123abcd.reply.celery.pidbox", message("a"))
        assert measured(lane).leftovers == 0, "it may be in use"
        lane._queues.reset()
        assert measured(lane).leftovers == 1


def test_a_queue_found_once_is_remembered_when_it_is_empty(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        client.lpush("forgotten", message("a"))
        assert queues_of(lane)["forgotten"].messages == 1
        client.delete("forgotten")
        assert queues_of(lane)["forgotten"].messages == 0


def test_a_queue_among_many_keys_is_found_step_by_step(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        populate(client, "celery-task-meta-", 40_000)
        send(redis_server.url(), "rig.add", (1, 2), queue="lonely")
        first = measured(lane)
        assert first.note is not None and "40,0" in first.note
        wait_until(lambda: "lonely" in {queue.name for queue in measured(lane).queues}, 60, "found")


def test_names_that_are_hostile_or_no_text_are_measured_and_shown_clean(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        client.lpush(b"evil\x1b[31m\xff", message("a"), message("b"))
        for _ in range(2):
            (queue,) = measured(lane, Interest(queues=("evil\\x1b[31m\\udcff",))).queues
            assert (queue.name, queue.messages) == ("evil\\x1b[31m\\udcff", 2)


# ---------------------------------------------------------------------------------------------------- measuring
def test_priorities_belong_to_their_queue_and_the_most_urgent_message_is_the_head(redis_server: RedisServer) -> None:
    for priority in (9, 9, 9, 5, 0):
        send(redis_server.url(), "rig.echo", (priority,), priority=priority)
    with lane_of(settings_for(redis_server)) as lane:
        queue = queues_of(lane)["celery"]
    assert queue.messages == 5
    assert queue.by_priority == ((0, 1), (3, 1), (9, 3))
    assert queue.head is not None and queue.head.args == "[0]"
    assert queue.memory is not None and queue.memory > 0


def test_keyprefix_steps_and_separator_of_the_project_count(redis_server: RedisServer) -> None:
    options = {"global_keyprefix": "px[*]:", "priority_steps": list(range(10)), "sep": ":"}
    app = rig_app(redis_server.url(), conf={"broker_transport_options": options})
    for priority in (0, 4, 4, 7):
        send(app, "rig.echo", (priority,), queue="own", priority=priority)
    settings = settings_for(redis_server, global_keyprefix="px[*]:", priority_steps=tuple(range(10)), sep=":")
    with closing(redis_server.client()) as client, lane_of(settings) as lane:
        assert client.exists("px[*]:own:4")
        client.lpush("foreign", message("a"))
        queues = queues_of(lane)
    assert set(queues) == {"own"}
    assert queues["own"].by_priority == ((0, 1), (4, 2), (7, 1))


def test_steps_nobody_told_us_of_are_seen(redis_server: RedisServer) -> None:
    app = rig_app(redis_server.url(), conf={"broker_transport_options": {"priority_steps": [0, 1, 2]}})
    for priority in (0, 1, 2):
        send(app, "rig.echo", (priority,), priority=priority)
    with lane_of(settings_for(redis_server)) as lane:
        assert queues_of(lane)["celery"].by_priority == ((0, 1), (1, 1), (2, 1))


def test_head_is_next_to_run_and_tail_the_newest(redis_server: RedisServer) -> None:
    for number in range(3):
        send(redis_server.url(), "rig.echo", (number,))
    with lane_of(settings_for(redis_server)) as lane:
        queue = queues_of(lane)["celery"]
        assert queue.head is not None and queue.tail is not None
        assert (queue.head.args, queue.tail.args) == ("[0]", "[2]")
        with closing(redis_server.client()) as client:
            client.rpop("celery")
            wait_until(lambda: (head := queues_of(lane)["celery"].head) and head.args == "[1]", 30, "the next head")
            client.delete("celery")
        empty = queues_of(lane)["celery"]
        assert (empty.messages, empty.head, empty.tail) == (0, None, None)


def test_huge_messages_are_not_read(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        for number in range(3):
            client.lpush("big", message(f"big-{number}", body="x" * 3_000_000))
        queue = queues_of(lane, "big")["big"]
        assert (queue.messages, queue.head) == (3, None)
        assert queue.memory is not None and queue.memory > 8_000_000
        sample = sample_of(lane, "big")
        assert (sample.total, sample.sampled) == (3, 0)
        assert sample.note is not None and "big" in sample.note
        assert lane.pipeline.bytes is None or lane.pipeline.bytes[0] < 100_000


def test_a_thousand_queues_are_measured_in_one_short_round_trip(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"queue-{number}" for number in range(1000)]
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        pipe = client.pipeline(transaction=False)
        for number, name in enumerate(names):
            pipe.sadd(f"_kombu.binding.{name}", f"{name}\x06\x16\x06\x16{name}")
            pipe.lpush(list_key(name, (0, 3, 6, 9)[number % 4], "", "\x06\x16"), *[message("x")] * (number % 3 + 1))
        pipe.execute()
        found = measured(lane)
        assert {queue.name: queue.messages for queue in found.queues} == {
            name: number % 3 + 1 for number, name in enumerate(names)
        }
        assert all(queue.head is not None for queue in found.queues)
        before = lane.pipeline.commands
        measured(lane)
        assert lane.pipeline.commands - before < 4 * 1000 + 250
        trips: list[int] = []
        send = lane.pipeline.send

        def counted(packed: Packed) -> list[Any]:
            trips.append(packed.count)
            return send(packed)

        monkeypatch.setattr(lane.pipeline, "send", counted)
        assert min(calls_of(lambda: measured(lane)) for _ in range(3)) < 20 * 1000  # 13 each are 4 ms
        assert len(trips) <= 3 * 4


# ------------------------------------------------------------------------------------------------------ unacked
def test_unacked_of_a_killed_worker_is_seen_by_queue(
    redis_server: RedisServer, worker_factory: Callable[..., Worker]
) -> None:
    worker = worker_factory(redis_server.url(), concurrency=1, queues=("one", "two"))
    with lane_of(settings_for(redis_server)) as lane:
        sent_at = time.time()
        for queue in ("one", "one", "two"):
            send(redis_server.url(), "rig.add", (1, 2), queue=queue, countdown=600)
        wait_until(lambda: unacked_of(lane).count == 3, 60, "three are held")
        worker.kill()
        unacked = unacked_of(lane)
        assert (unacked.count, unacked.complete, len(unacked.messages)) == (3, True, 3)
        assert unacked.oldest_at is not None and sent_at - 1 < unacked.oldest_at < time.time()
        assert {message.name for message in unacked.messages} == {"rig.add"}
        assert all(message.reserved_at and message.task_id and message.eta_at for message in unacked.messages)
        assert {name: queue.unacked for name, queue in queues_of(lane).items()} == {"one": 2, "two": 1}


def test_unacked_is_counted_by_queue_through_its_exchange(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        client.sadd("_kombu.binding.shop", "pay.now\x06\x16pay.*\x06\x16payments")
        client.hset("unacked", "t1", f'[{message("a")},"shop","pay.now"]')
        client.zadd("unacked_index", {"t1": 100.0})
        found = measured(lane, Interest(queues=("shop",)))
        assert {queue.name: queue.unacked for queue in found.queues} == {"payments": 1, "shop": 0}


def test_very_many_unacked_are_counted_but_only_the_oldest_are_read(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server, queues=("q",))) as lane:
        client.hset("unacked", mapping={f"t{n}": f'[{message(f"id-{n}")},"","q"]' for n in range(3000)})
        client.zadd("unacked_index", {f"t{n}": float(n) for n in range(3000)})
        unacked = unacked_of(lane)
        assert (unacked.count, unacked.complete, unacked.oldest_at) == (3000, False, 0.0)
        assert [one.task_id for one in unacked.messages[:3]] == ["id-0", "id-1", "id-2"]
        assert len(unacked.messages) == 1000
        assert queues_of(lane)["q"].unacked is None
        before = lane.pipeline.commands
        measured(lane)
        assert lane.pipeline.commands - before < 30  # nothing is read twice


def test_a_message_taken_again_has_its_new_moment(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        client.hset("unacked", "t1", f'[{message("a")},"","q"]')
        client.zadd("unacked_index", {"t1": 100.0})
        assert unacked_of(lane).messages[0].reserved_at == 100.0
        client.zadd("unacked_index", {"t1": 200.0})
        assert unacked_of(lane).messages[0].reserved_at == 200.0
        client.delete("unacked", "unacked_index")
        assert unacked_of(lane) == Unacked(0, complete=True, visibility_timeout=3600.0) or unacked_of(lane).count == 0


# ------------------------------------------------------------------------------------------------------- a sample
def test_a_sample_tells_what_waits_at_both_ends(redis_server: RedisServer) -> None:
    url = redis_server.url()
    for number in range(450):
        send(url, "rig.echo" if number % 3 else "rig.add", (number,), queue="mixed")
    with lane_of(settings_for(redis_server)) as lane:
        sample = sample_of(lane, "mixed")
        assert (sample.total, sample.sampled) == (450, 400)
        assert dict(sample.by_name).keys() == {"rig.echo", "rig.add"}
        assert sum(count for _, count in sample.by_name) == 400
        assert len(sample.by_origin) == 1 and sample.by_origin[0][1] == 400
        assert [one.args for one in sample.oldest[:2]] == ["[0]", "[1]"]
        assert [one.args for one in sample.newest[:2]] == ["[449]", "[448]"]
        assert (len(sample.oldest), len(sample.newest)) == (20, 20)
        assert sample.sizes.count == 400 and sample.sizes.p50 is not None and 500 < sample.sizes.p50 < 2000
        assert (sample.duplicates, sample.expired, sample.with_eta, sample.retries) == (0, 0, 0, 0)
        with closing(redis_server.client()) as client:
            assert client.llen("mixed") == 450


def test_a_sample_counts_duplicates_expired_eta_and_retries(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        entries = [message("same"), message("same"), message("old", more=',"expires":"2020-01-01T00:00:00+00:00"')]
        entries += [message("late", more=',"eta":"2099-01-01T00:00:00+00:00"'), message("again", more=',"retries":2')]
        client.lpush("odd", *[entry.replace('"retries":0,"retries"', '"retries"') for entry in entries], "junk")
        sample = sample_of(lane, "odd")
        assert (sample.total, sample.sampled, sample.duplicates, sample.expired) == (6, 6, 2, 1)
        assert (sample.with_eta, sample.retries) == (1, 1)
        assert dict(sample.by_name) == {"app.work": 5, "?": 1}


def test_a_sample_of_priorities_begins_with_the_most_urgent(redis_server: RedisServer) -> None:
    for priority in (9, 6, 0, 3):
        send(redis_server.url(), "rig.echo", (priority,), queue="p", priority=priority)
    with lane_of(settings_for(redis_server)) as lane:
        sample = sample_of(lane, "p")
    assert sample.total == sample.sampled == 4
    assert [one.args for one in sample.oldest] == ["[0]", "[3]", "[6]", "[9]"]


def test_a_sample_of_nothing_is_empty(redis_server: RedisServer) -> None:
    with lane_of(settings_for(redis_server)) as lane:
        sample = sample_of(lane, "nothing")
    assert (sample.name, sample.total, sample.sampled, sample.note) == ("nothing", 0, 0, None)


def test_nobody_looking_at_queues_halves_the_rate() -> None:
    lane = RedisLane(BrokerSettings(Address("redis", (Endpoint(),))), passive=True)
    probe: Any = lane.probes[0]
    probe.attend(Interest(page="queues"))
    assert probe.every == 1.0
    probe.attend(Interest(page="tasks"))
    assert probe.every == 2.0


def test_a_look_a_second_stays_within_its_budget(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most 4 commands for each queue and 12 more, and 20 kB a second; here a minute passes in a moment."""
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        for number in range(50):
            send(redis_server.url(), "rig.add", (1, 2), queue=f"queue-{number}")
        measured(lane)
        assert lane.pipeline.bytes is not None
        commands, (into, out), now = lane.pipeline.commands, lane.pipeline.bytes, time.time()
        for second in range(60):
            monkeypatch.setattr("celerytop.sources.redis.queues.time.time", lambda: now + second)  # noqa: B023
            list(lane.probes[0].poll())
        assert (lane.pipeline.commands - commands) / 60 <= 4 * 50 + 12
        assert lane.pipeline.bytes is not None
        assert (lane.pipeline.bytes[0] - into + lane.pipeline.bytes[1] - out) / 60 <= 20_000
        assert client.ping()


def unacked_of(lane: RedisLane) -> Unacked:
    """What is held."""
    unacked = measured(lane).unacked
    assert unacked is not None
    return unacked

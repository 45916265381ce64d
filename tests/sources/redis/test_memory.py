"""The walk over the keys, on real servers with many of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest
import redis

from celerytop.model.broker import KeyClass, KeyWalk
from celerytop.model.observation import KeysWalked
from celerytop.sources.base import Interest
from celerytop.sources.redis.lane import RedisLane
from celerytop.sources.redis.memory import KeyWalkProbe
from celerytop.sources.redis.pipeline import Command, Packed
from tests.rig import RedisServer, send, wait_until
from tests.sources.redis.looking import SERVERS, ask, calls, lane_of, populate, settings_for

pytestmark = pytest.mark.redis

PAGE = Interest(page="broker")


def step(lane: RedisLane) -> KeyWalk | None:
    """One poll of the walk alone."""
    probe = next(probe for probe in lane.probes if isinstance(probe, KeyWalkProbe))
    probe.attend(PAGE)
    return next((found.walk for found in probe.poll() if isinstance(found, KeysWalked)), None)


def walked(lane: RedisLane) -> KeyWalk:
    """Poll until it ends, faster than in life."""
    walk = step(lane)
    for _ in range(400):
        if walk is not None and (walk.done or (walk.note or "").startswith("sampled")):
            return walk
        walk = step(lane) or walk
    raise AssertionError(f"it never ends: {walk}")


def classes(walk: KeyWalk) -> dict[str, KeyClass]:
    """By name."""
    return {kind.what: kind for kind in walk.classes}


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The other tests of this machine, and filling, may keep a server busy."""
    monkeypatch.setattr("celerytop.sources.redis.memory.CPU_LIMIT", 10.0)
    yield


@pytest.mark.parametrize("server_class", SERVERS)
def test_keys_are_counted_and_weighed_by_class(server_class: type[RedisServer]) -> None:
    with server_class() as server, closing(server.client()) as client, lane_of(settings_for(server)) as lane:
        populate(client, "celery-task-meta-", 3_000)
        populate(client, "celery-task-meta-forever-", 1_000, ttl=None)
        populate(client, "sess:", 500, ttl=60)
        client.set("celery-taskset-meta-1", "x")
        client.lpush("7.reply.celery.pidbox", "x" * 50_000)
        client.hset("unacked", "tag", "x" * 10_000)
        send(server.url(), "rig.add", (1, 2), queue="mail")
        ask(lane)
        walk = walked(lane)
        found = classes(walk)
        assert walk.done and walk.note is None and walk.scanned == walk.total
        assert {what: kind.keys for what, kind in found.items()} == {
            "results": 4000,
            "groups": 1,
            "queues": 1,
            "unacked": 1,
            "reply queues": 1,
            "bindings": found["bindings"].keys,
            "other": found["other"].keys,
        }
        assert 500 <= found["other"].keys <= 502 and 1 <= found["bindings"].keys <= 3
        true_size = sum(int(client.memory_usage(f"celery-task-meta-{n}") or 0) for n in range(0, 3000, 100)) / 30 * 4000
        assert found["results"].size == pytest.approx(true_size, rel=0.1)
        assert found["results"].without_ttl == pytest.approx(1000, rel=0.35)
        assert (found["reply queues"].biggest, found["reply queues"].without_ttl) == ("7.reply.celery.pidbox", 1)
        assert found["reply queues"].size > 50_000 and found["unacked"].size > 10_000
        assert found["queues"].biggest == "mail" and found["other"].without_ttl == 0


def test_a_hundred_thousand_keys_are_enough_and_no_command_is_slow(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        populate(client, "celery-task-meta-", 120_000)
        client.lpush("celery", *["x" * 900] * 20_000)
        client.hset("unacked", mapping={str(number): "x" * 900 for number in range(20_000)})
        client.config_resetstat()
        asked: list[Command] = []
        pack = lane.pipeline.pack

        def noted(commands: Sequence[Command]) -> Packed:
            asked.extend(commands)
            return pack(commands)

        monkeypatch.setattr(lane.pipeline, "pack", noted)
        walk = walked(lane)
        assert not walk.done and walk.note is not None and walk.note.startswith("sampled: 100,")
        assert 100_000 <= walk.scanned < 101_000 and walk.total == 120_002
        taken = calls(client)
        assert {name for name in taken if not name.startswith("config")} == {
            "scan",
            "memory|usage",
            "pttl",
            "info",
            "dbsize",
        }
        assert {command[2:] for command in asked if command[0] == "SCAN"} == {("COUNT", 100)}, "0.1 ms each"
        assert {len(command) for command in asked if command[0] == "MEMORY"} == {3}, "five samples of a large one"
        assert taken["scan"][0] >= 900


def test_it_walks_only_while_its_page_is_open_and_rests_when_done(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        populate(client, "celery-task-meta-", 3_000)
        for page in ("queues", "workers", "all"):
            assert not [found for found in ask(lane, Interest(page=page)) if isinstance(found, KeysWalked)]
        first = step(lane)
        assert first is not None and not first.done and 900 <= first.scanned <= 1200
        assert walked(lane).done
        client.config_resetstat()
        assert step(lane) is None
        assert "scan" not in calls(client)
        monkeypatch.setattr("celerytop.sources.redis.memory.AGAIN_AFTER", 0.0)
        again = step(lane)
        assert again is not None and not again.done


def test_few_keys_are_walked_again_sooner(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        populate(client, "celery-task-meta-", 200)
        assert walked(lane).done and step(lane) is None
        populate(client, "celery-task-meta-", 300)
        monkeypatch.setattr("celerytop.sources.redis.memory.SMALL_AGAIN_AFTER", 0.0)
        again = step(lane)
        assert again is not None and again.done and again.scanned >= 300
        populate(client, "celery-task-meta-", 3_000)
        assert walked(lane).done and step(lane) is None, "that many are left in peace for longer"


def test_its_rate_is_at_most_twenty_scans_a_second(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        populate(client, "celery-task-meta-", 3_000)
        client.config_resetstat()
        step(lane)
        probe = next(probe for probe in lane.probes if isinstance(probe, KeyWalkProbe))
        assert calls(client)["scan"][0] / probe.every <= 20


def test_a_busy_server_is_left_in_peace(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celerytop.sources.redis.memory.CPU_LIMIT", 0.05)
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        populate(client, "celery-task-meta-", 20_000)
        ends = threading.Event()
        load = threading.Thread(target=_burn, args=(redis_server, ends))
        load.start()
        try:
            step(lane)

            def stands() -> bool:
                """Two looks in a row, none of which goes on."""
                waiting, still = _waits(step(lane)), _waits(step(lane))
                return waiting is not None and still is not None and still.scanned == waiting.scanned

            wait_until(stands, 60, "it waits")
        finally:
            ends.set()
            load.join()
        wait_until(lambda: (walk := step(lane)) is not None and walk.note is None, 60, "it goes on")


def test_a_restart_begins_the_walk_anew(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        populate(client, "celery-task-meta-", 3_000)
        first = step(lane)
        assert first is not None and first.scanned > 900
        lane.connect()
        second = step(lane)
        assert second is not None and second.scanned < 1200


def _waits(walk: KeyWalk | None) -> KeyWalk | None:
    time.sleep(0.25)
    return walk if walk is not None and (walk.note or "").startswith("waiting: Redis uses") else None


def _burn(server: RedisServer, ends: threading.Event) -> None:
    """Keep the server busy."""
    with closing(redis.Redis(port=server.port)) as client:
        while not ends.is_set():
            pipe = client.pipeline(transaction=False)
            for _ in range(20):
                pipe.keys("nothing*")
            pipe.execute()

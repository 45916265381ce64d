"""Every list of every queue is counted, and those that do not exist are not asked one by one."""

from __future__ import annotations

from contextlib import closing

import pytest
from redis.exceptions import NoPermissionError

from tests.rig import RedisServer
from tests.sources.redis.looking import lane_of, queues_of, settings_for

pytestmark = pytest.mark.redis

BOUND = "q\x06\x16\x06\x16q"


def test_a_priority_that_is_used_for_the_first_time_is_counted_in_the_same_look(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        client.sadd("_kombu.binding.q", BOUND)
        client.lpush("q", b"{}")
        assert queues_of(lane)["q"].by_priority == ((0, 1),)
        client.lpush("q\x06\x166", b"{}", b"{}")
        assert queues_of(lane)["q"].by_priority == ((0, 1), (6, 2))
        client.delete("q\x06\x166")
        client.lpush("q\x06\x169", b"{}")
        assert queues_of(lane)["q"].by_priority == ((0, 1), (9, 1))


def test_an_account_that_may_not_ask_what_exists_asks_each_list() -> None:
    with RedisServer(acl=("mon on >pw ~* &* +@all -exists",)) as server, closing(server.client()) as client:
        client.lpush("q\x06\x166", b"{}")
        client.sadd("_kombu.binding.q", BOUND)
        with lane_of(settings_for(server, "mon", "pw")) as lane:
            queues_of(lane)
            assert queues_of(lane)["q"].by_priority == ((6, 1),)
            assert sum(one["object"] == "exists" for one in client.acl_log()) == 1, "refused once, not asked again"


def test_an_account_that_may_not_ask_lengths_knows_of_none_from_the_first_look_on() -> None:
    with RedisServer(acl=("mon on >pw ~* &* +@all -llen",)) as server, closing(server.client()) as client:
        client.lpush("q", b"{}")
        client.sadd("_kombu.binding.q", BOUND)
        with lane_of(settings_for(server, "mon", "pw")) as lane:
            assert [queues_of(lane)["q"].messages for _ in range(3)] == [None, None, None]


def test_a_right_that_is_taken_away_meanwhile_shifts_no_reply() -> None:
    with RedisServer(acl=("mon on >pw ~* &* +@all",)) as server, closing(server.client()) as client:
        client.lpush("q", b"{}")
        client.sadd("_kombu.binding.q", BOUND)
        with lane_of(settings_for(server, "mon", "pw")) as lane:
            assert queues_of(lane)["q"].messages == 1
            client.acl_setuser("mon", commands=["-hlen"])
            assert isinstance(lane.pipeline.ask(("HLEN", "unacked"))[0], NoPermissionError)
            assert [queues_of(lane)["q"].messages for _ in range(3)] == [1, 1, 1]


def test_a_queue_with_several_priorities_keeps_their_order_when_one_is_new(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        client.sadd("_kombu.binding.q", BOUND)
        client.lpush("q", b"{}")
        client.lpush("q\x06\x169", b"{}")
        assert queues_of(lane)["q"].by_priority == ((0, 1), (9, 1))
        client.lpush("q\x06\x163", b"{}", b"{}")
        for _ in range(2):
            seen = queues_of(lane)["q"]
            assert seen.by_priority == ((0, 1), (3, 2), (9, 1)) and seen.messages == 4

"""Many commands in one round trip: each has its own reply, whatever becomes of the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from redis.exceptions import BusyLoadingError, NoPermissionError, ResponseError

from celerytop.errors import BrokerError
from celerytop.sources.redis.pipeline import Pipeline
from tests.rig import RedisServer, wait_until
from tests.sources.redis.looking import lane_of, settings_for

pytestmark = pytest.mark.redis


@pytest.fixture
def pipeline(redis_server: RedisServer) -> Iterator[Pipeline]:
    """Of a connected lane."""
    with lane_of(settings_for(redis_server)) as lane:
        yield lane.pipeline


def test_replies_of_all_kinds_come_in_the_order_of_their_commands(
    redis_server: RedisServer, pipeline: Pipeline
) -> None:
    with closing(redis_server.client()) as client:
        client.rpush("list", "a", "", b"\x00\xff")
        client.set("text", "*2\r\n:1\r\n")
        before = pipeline.commands
        wrong, number, deep, nothing, text, none, last = pipeline.ask(
            ("LLEN", "text"),
            ("LLEN", "list"),
            ("SCAN", 0, "MATCH", "list"),
            ("LRANGE", "nothing", 0, -1),
            ("GET", "text"),
            ("GET", "nothing"),
            ("LRANGE", "list", 0, -1),
        )
        assert isinstance(wrong, ResponseError) and "WRONGTYPE" in str(wrong)
        assert (number, deep, nothing) == (3, [b"0", [b"list"]], [])
        assert (text, none, last) == (b"*2\r\n:1\r\n", None, [b"a", b"", b"\x00\xff"])
        assert pipeline.commands - before == 7


def test_very_many_replies_and_a_big_one_are_read_whole(redis_server: RedisServer, pipeline: Pipeline) -> None:
    with closing(redis_server.client()) as client:
        client.set("big", "x" * 3_000_000)
        client.rpush("list", "a")
        replies = pipeline.ask(*[("LLEN", "list")] * 20_000, ("GET", "big"), *[("LLEN", "none")] * 20_000)
        assert replies[:20_000] == [1] * 20_000 and replies[20_001:] == [0] * 20_000
        assert replies[20_000] == b"x" * 3_000_000
        assert pipeline.ask(("PING",)) == [b"PONG"]


def test_a_refused_first_command_leaves_the_others_their_replies() -> None:
    with (
        RedisServer(acl=("mon on >pw ~* &* +@all -hlen",)) as server,
        lane_of(settings_for(server, "mon", "pw")) as lane,
    ):
        refused, number = lane.pipeline.ask(("HLEN", "x"), ("LLEN", "x"))
        assert isinstance(refused, NoPermissionError) and number == 0
        assert lane.pipeline.denied == ("+hlen",)


def test_a_server_that_loads_its_data_is_still_asked_what_it_answers() -> None:
    args = (
        "--enable-debug-command",
        "yes",
        "--key-load-delay",
        "500",
        "--loading-process-events-interval-bytes",
        "1024",
    )
    with RedisServer(args=args) as server, lane_of(settings_for(server)) as lane:
        client: Any = server.client()
        client.execute_command("DEBUG", "POPULATE", 5_000, "key", 200)
        reloading = threading.Thread(target=_reload, args=(server,))
        reloading.start()

        def loading() -> list[Any] | None:
            found = lane.pipeline.ask(("LLEN", "x"), ("INFO", "persistence"), ("LLEN", "x"))
            return found if isinstance(found[0], BusyLoadingError) else None

        _, told, other = wait_until(loading, 30, "it loads")
        assert b"loading:1" in told and isinstance(other, BusyLoadingError)
        reloading.join(60)
        assert lane.pipeline.ask(("LLEN", "x")) == [0]


def _reload(server: RedisServer) -> None:
    client: Any = server.client()
    client.execute_command("DEBUG", "RELOAD")


def test_a_server_that_is_gone_amid_the_replies_is_told_as_one(pipeline: Pipeline, redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(BrokerError):
        pipeline.ask(*[("PING",)] * 100)
    with pytest.raises(BrokerError):
        pipeline.ask(("PING",))

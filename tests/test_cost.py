"""The price of looking, measured by the servers themselves: commands, connections, bytes, slow ones, churn."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import redis

from celerytop.build import build
from celerytop.model.observation import UP
from celerytop.monitor import Monitor
from celerytop.options import load
from tests.rig import RabbitServer, RedisServer, Worker, wait_until
from tests.rig.send import send

WATCHED = 10.0
"""Seconds; rates are what counts."""
_LOOK = """
auth hello ping select info scan type pttl exists llen lindex lrange strlen hlen hget hmget hscan zcard zrange zscore
scard smembers sscan memory|usage memory|stats client|setname client|setinfo client|list client|id slowlog|get
slowlog|len latency|latest config|get acl|whoami psubscribe punsubscribe
"""
ALLOWED = frozenset([*_LOOK.split(), "publish", "brpop", "rpop", "del"])
"""The look-only account's rights, and what asking workers needs."""
_REPEATABLE = frozenset(word.partition("|")[0] for word in _LOOK.split()) - {
    *("auth", "hello", "select", "client", "acl", "psubscribe", "punsubscribe")
}
AGAIN = 5
"""Times that a command is slow which is slow by itself."""


@contextmanager
def watching(url: str, **flags: object) -> Iterator[Monitor]:
    """As the screen does on its first page."""
    options = load({"broker": url, **flags}, {}, os.getcwd())
    assert options.broker is not None
    monitor = build(options, options.broker)
    monitor.start()
    try:
        wait_until(lambda: all(status.state == UP for status in monitor.latest.sources), 30, "all sources up")
        yield monitor
    finally:
        monitor.stop()


def test_redis_is_asked_little_and_only_to_read(redis_server: RedisServer) -> None:
    url, client = redis_server.url(), redis_server.client()
    for number in range(20):
        send(url, "rig.add", (number, 1), queue=f"queue{number}", priority=number % 4)
    with Worker(url, result_backend="", extra=("--without-gossip", "--without-mingle")) as worker:
        send(url, "rig.sleep", (300,), ignore_result=True)
        wait_until(lambda: "rig.sleep" in worker.log, 30, "it has begun")
        client.config_set("slowlog-log-slower-than", 1000)
        client.config_resetstat()
        alone = _spent(client, WATCHED / 2)
        with watching(url) as monitor:
            wait_until(lambda: len(monitor.latest.queues) == 21, 30, "the queues are known")
            client.slowlog_reset()
            spent = _spent(client, WATCHED)
            mine = [one for one in client.client_list() if one["name"].startswith("celerytop")]
            slow = _own_slow(client)
        commands = {name: rate - alone.get(name, 0.0) for name, rate in spent.items() if name != "bytes"}
        ours = {name: rate for name, rate in commands.items() if rate > 0.2 and name not in _OF_THE_TEST}
        assert len(mine) == 2
        assert {one["name"] for one in mine} == {"celerytop"}
        assert ours.keys() - {"lpush"} <= ALLOWED, ours
        assert sum(rate for name, rate in ours.items() if name not in ("brpop", "lpush")) < 4 * 21 + 12, ours
        assert spent["bytes"] - alone["bytes"] < 20_000
        assert not slow, slow


_OF_THE_TEST = frozenset({"config|resetstat", "config|set", "slowlog|reset"})


def _spent(client: Any, seconds: float) -> dict[str, float]:
    """Commands a second by name, and bytes both ways a second; by Redis' own count."""
    before, began = _counted(client), time.monotonic()
    time.sleep(seconds)  # a measurement over a length of time
    after, took = _counted(client), time.monotonic() - began
    return {name: (number - before.get(name, 0)) / took for name, number in after.items()}


def _counted(client: Any) -> dict[str, int]:
    found = {name.removeprefix("cmdstat_"): row["calls"] for name, row in client.info("commandstats").items()}
    stats = client.info("stats")
    return {**found, "bytes": stats["total_net_input_bytes"] + stats["total_net_output_bytes"]}


def _own_slow(client: Any) -> list[bytes]:
    """Our commands above a millisecond that are so each time: what a busy machine held up once says nothing of them."""
    names = {one["addr"]: one["name"] for one in client.client_list()}
    found = Counter(
        entry["command"]
        for entry in client.slowlog_get(1000)
        if names.get(entry["client_address"].decode(), "").startswith("celerytop")
    )
    return [words for words, often in found.items() if often >= AGAIN or _slow_again(client, words)]


def _slow_again(client: Any, words: bytes) -> bool:
    if words.split()[0].lower().decode() not in _REPEATABLE:
        return False
    client.slowlog_reset()
    for _ in range(AGAIN):
        with suppress(redis.ResponseError):
            client.execute_command(*words.split(b" "))
    return [entry["command"] for entry in client.slowlog_get(1000)].count(words) == AGAIN


@pytest.mark.timeout(120)
def test_rabbitmq_sees_no_churn(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    url = rabbitmq_server.url(rabbitmq_vhost)
    send(url, "rig.add", (1, 2), queue="kept")
    with watching(url, management_url=rabbitmq_server.management_url) as monitor:
        wait_until(lambda: "kept" in monitor.latest.queues, 30, "the queue is known")
        begun, before = time.monotonic(), _churn(rabbitmq_server)
        time.sleep(WATCHED)  # a measurement over a length of time
        after, took = _churn(rabbitmq_server), time.monotonic() - begun
        grown = {name: after[name] - before[name] for name in after}
        grown.pop("queue_declared")  # asked whether it is there
        channels = grown.pop("channel_created"), grown.pop("channel_closed")
        assert not any(grown.values()), grown
        # a missing exchange costs its channel each time that workers are asked; a missing queue ever more seldom: the
        # three times are those of its first nine seconds
        assert max(channels) <= took + 3, (channels, took)
        mine = rabbitmq_server.ctl("list_connections", "vhost", "client_properties", "-q")
        assert 1 <= sum(rabbitmq_vhost in row and "celerytop" in row for row in mine.splitlines()) <= 3


def _churn(server: RabbitServer) -> dict[str, int]:
    """How many connections, channels and queues were ever made and ended on this node, by its own count of this moment:
    the management API's is five seconds old.
    """
    (row,) = server.ctl("eval", "ets:tab2list(connection_churn_metrics).").strip().strip("[]").split("\n")
    kinds = ("connection_created", "connection_closed", "channel_created", "channel_closed")
    numbers = map(int, row.strip("{}").split(",")[1:])
    return dict(zip((*kinds, "queue_declared", "queue_created", "queue_deleted"), numbers, strict=True))

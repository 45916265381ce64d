"""The price of looking, measured by the servers themselves: commands, connections, bytes, slow ones, churn."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

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


@contextmanager
def watching(url: str, **flags: object) -> Iterator[Monitor]:
    """As the screen does on its first page."""
    options = load({"broker": url, **flags}, {}, os.getcwd())
    assert options.broker is not None
    monitor = build(options, options.broker)
    monitor.start()
    try:
        wait_until(lambda: all(status.state == UP for status in monitor.latest.sources), 15, "all sources up")
        yield monitor
    finally:
        monitor.stop()


def test_redis_is_asked_little_and_only_to_read(redis_server: RedisServer) -> None:
    url, client = redis_server.url(), redis_server.client()
    for number in range(20):
        send(url, "rig.add", (number, 1), queue=f"queue{number}", priority=number % 4)
    with Worker(url, result_backend="", extra=("--without-gossip", "--without-mingle")) as worker:
        send(url, "rig.sleep", (300,), ignore_result=True)
        wait_until(lambda: "rig.sleep" in worker.log, 10, "it has begun")
        client.config_set("slowlog-log-slower-than", 1000)
        client.config_resetstat()
        alone = _spent(client, WATCHED / 2)
        with watching(url) as monitor:
            wait_until(lambda: len(monitor.latest.queues) == 21, 10, "the queues are known")
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
    """Our commands above a millisecond; what a busy machine held up for longer than ten says nothing of a command."""
    names = {one["addr"]: one["name"] for one in client.client_list()}
    return [
        entry["command"]
        for entry in client.slowlog_get(100)
        if names.get(entry["client_address"].decode(), "").startswith("celerytop") and entry["duration"] < 10_000
    ]


@pytest.mark.timeout(120)
def test_rabbitmq_sees_no_churn(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    url = rabbitmq_server.url(rabbitmq_vhost)
    send(url, "rig.add", (1, 2), queue="kept")
    with watching(url, management_url=rabbitmq_server.management_url) as monitor:
        wait_until(lambda: "kept" in monitor.latest.queues, 15, "the queue is known")
        time.sleep(6.0)  # its statistics are five seconds old
        before = _churn(rabbitmq_server)
        time.sleep(WATCHED)  # a measurement over a length of time
        after = _churn(rabbitmq_server)
        grown = {name: after[name] - before[name] for name in after}
        channels = grown.pop("channel_created"), grown.pop("channel_closed")
        assert not any(grown.values()), grown
        assert max(channels) <= WATCHED, "a queue or exchange that is missing costs its channel, ever more seldom"
        mine = rabbitmq_server.ctl("list_connections", "vhost", "client_properties", "-q")
        assert 1 <= sum(rabbitmq_vhost in row and "celerytop" in row for row in mine.splitlines()) <= 3


def _churn(server: RabbitServer) -> dict[str, int]:
    """How many connections, channels and queues were ever made and ended on this node."""
    found = server.api("GET", "/overview?columns=churn_rates")["churn_rates"]
    names = ("connection_created", "connection_closed", "channel_created", "channel_closed")
    return {name: found.get(name, 0) for name in (*names, "queue_created", "queue_deleted")}

"""P1: looking changes nothing, on a real Redis with a real worker; not even when the one who looks is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psutil
import pytest
import redis

from celerytop.errors import BrokerError
from celerytop.sources.base import Interest
from celerytop.sources.redis.control import RedisControl
from tests.rig import RedisServer, Stopwatch, Worker, rig_app, send, wait_until
from tests.rig.process import ROOT
from tests.sources.redis.looking import SERVERS, ask, calls, dump, lane_of, populate, settings_for

pytestmark = [pytest.mark.redis, pytest.mark.worker]

PAGES = ("queues", "workers", "tasks", "broker", "hosts", "types", "all")
READS = {
    *("llen", "exists", "lindex", "lrange", "hlen", "hget", "zrange", "smembers", "scan", "dbsize", "pttl"),
    "memory|usage",
    *(
        "info",
        "config|get",
        "client|list",
        "client|id",
        "client|setname",
        "client|setinfo",
        "slowlog|get",
        "ping",
        "hello",
        "select",
    ),
}
OWN_REPLIES = {"publish", "brpop", "rpop", "del"}
"""On the pidbox channel and the own reply list; DEL when closing."""
DAY = {"broker_transport_options": {"visibility_timeout": 86_400}}


def fill(server: RedisServer, client: redis.Redis) -> None:
    """Of everything something."""
    for priority in (0, 3, 9):
        send(server.url(), "rig.echo", (priority,), queue="waiting", priority=priority)
    populate(client, "celery-task-meta-", 300)
    for number in range(4):
        client.hset("unacked", f"t{number}", f'[{{"headers":{{"id":"{number}"}}}},"","waiting"]')
        client.zadd("unacked_index", {f"t{number}": time.time() - 7200})
    client.lpush("1.reply.celery.pidbox", "left behind")


@pytest.mark.parametrize("server_class", SERVERS, ids=["redis", "valkey"])
def test_sixty_looks_of_all_probes_change_no_key_and_run_only_reads(server_class: type[RedisServer]) -> None:
    with server_class() as server, closing(server.client()) as client:
        fill(server, client)
        before = dump(client)
        client.config_resetstat()
        with lane_of(settings_for(server), passive=False) as lane:
            for number in range(60):
                queue = "waiting" if number % 2 else None
                ask(lane, Interest(page=PAGES[number % len(PAGES)], queue=queue, queues=("waiting", "unknown")))
        ran = set(calls(client)) - {"config|resetstat"}
        assert dump(client) == before
        assert ran <= READS | OWN_REPLIES, ran - READS - OWN_REPLIES
        assert {"llen", "lindex", "hget", "publish", "memory|usage", "lrange"} <= ran


def test_a_passive_lane_runs_reads_alone(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client:
        fill(redis_server, client)
        client.config_resetstat()
        with lane_of(settings_for(redis_server)) as lane:
            for page in PAGES:
                ask(lane, Interest(page=page, queue="waiting"))
        assert set(calls(client)) - {"config|resetstat"} <= READS


def test_aged_unacked_messages_are_not_delivered_again(
    redis_server: RedisServer, worker_factory: Callable[..., Worker]
) -> None:
    """A kombu consumer with the default visibility timeout of an hour would run all four a second time."""
    worker_factory(redis_server.url(), concurrency=1, conf=DAY)
    app = rig_app(redis_server.url(), conf=DAY)
    with closing(redis_server.client()) as client:
        for _ in range(4):
            send(app, "rig.add", (1, 2), countdown=3600)
        wait_until(lambda: client.hlen("unacked") == 4, 60, "the worker holds four")
        tags: Any = client.zrange("unacked_index", 0, -1)
        client.zadd("unacked_index", {tag: time.time() - 7200 for tag in tags})
        keys = ("unacked", "unacked_index", "celery")
        before = [client.dump(key) for key in keys]
        with lane_of(settings_for(redis_server), passive=False) as lane:
            for number in range(30):
                ask(lane, Interest(page=PAGES[number % len(PAGES)], queue="celery", queues=("celery",)))
        assert [client.dump(key) for key in keys] == before
        assert (client.hlen("unacked"), client.llen("celery")) == (4, 0)


def test_one_who_looks_and_is_killed_leaves_nothing(
    redis_server: RedisServer, worker_factory: Callable[..., Worker]
) -> None:
    worker_factory(redis_server.url(), concurrency=1)
    with closing(redis_server.client()) as client:
        send(redis_server.url(), "rig.add", (1, 2), queue="nobody")
        wait_until(lambda: client.exists("_kombu.binding.celery.pidbox"), 60, "the worker is bound")
        before = dump(client)
        looking = subprocess.Popen([sys.executable, "-c", _LOOK, str(redis_server.port)], cwd=ROOT)
        try:
            wait_until(lambda: "celerytop" in {row["name"] for row in client.client_list()}, 60, "it looks")
            client.config_resetstat()
            wait_until(lambda: calls(client).get("llen", (0, 0.0))[0] > 50, 60, "it has looked")
            ends = {f"{end.laddr.ip}:{end.laddr.port}" for end in psutil.Process(looking.pid).net_connections("tcp")}
            assert len(ends) == 1
            os.kill(looking.pid, signal.SIGKILL)
        finally:
            looking.kill()
            looking.wait()
        wait_until(lambda: not ends.intersection(row["addr"] for row in client.client_list()), 60, "it is gone")
        assert dump(client) == before


_LOOK = """
import sys
from celerytop.model.address import Address, BrokerSettings, Endpoint
from celerytop.sources.base import Interest
from celerytop.sources.redis.lane import RedisLane
lane = RedisLane(BrokerSettings(Address("redis", (Endpoint("127.0.0.1", int(sys.argv[1])),))))
lane.connect()
while True:
    for probe in lane.probes:
        probe.attend(Interest(page="broker", queue="nobody"))
        list(probe.poll())
"""


def test_closing_deletes_late_answers_and_does_not_wait_for_a_dead_server(redis_server: RedisServer) -> None:
    settings = settings_for(redis_server)
    with closing(redis_server.client()) as client, lane_of(settings, passive=False) as lane:
        ask(lane)
        (reply_key,) = [probe.reply_key for probe in lane.probes if isinstance(probe, RedisControl)]
        client.lpush(reply_key, "late")
        lane.close()
        assert not client.exists(reply_key)
        lane.connect()
        redis_server.freeze()
        try:
            with pytest.raises(BrokerError):
                ask(lane)
            with Stopwatch() as stopwatch:
                lane.close()
            assert stopwatch.seconds < 0.5
        finally:
            redis_server.thaw()


def test_one_connection_is_all_and_it_is_never_replaced_unasked(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client:
        client.ping()
        with lane_of(settings_for(redis_server), passive=False) as lane:
            for page in PAGES:
                ask(lane, Interest(page=page))
            names = [row["name"] for row in client.client_list()]
            assert names == ["", "celerytop"]
            client.client_kill_filter(skipme=True)
            for _ in range(2):
                with pytest.raises(BrokerError):
                    ask(lane)
            assert len(client.client_list()) == 1
            lane.connect()
            ask(lane)

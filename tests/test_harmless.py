"""Promise one: looking never changes the cluster, not even when celerytop is killed."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time

import pytest
import redis

from tests.rig import RabbitServer, RedisServer, Terminal, Worker, wait_until
from tests.rig.send import send

WATCHED = float(os.environ.get("CELERYTOP_TEST_WATCH", "20"))
"""Seconds of watching; a minute by hand."""
Definitions = list[list[str]]


def _digest(server: RedisServer) -> dict[str, str]:
    """Every key with a digest of what it holds, but not what workers themselves keep moving."""
    client = server.client()
    keys = sorted(client.scan_iter(count=1000))
    return {key.decode(): hashlib.sha256(client.dump(key) or b"").hexdigest() for key in keys}


def _watch(url: str, *, kill: bool, extra: tuple[str, ...] = (), seconds: float = WATCHED) -> None:
    """Run the real program on a real terminal, turn its pages, and end it."""
    with Terminal([sys.executable, "-m", "celerytop", "-b", url, *extra]) as screen:
        screen.wait_for("Queues", 30)
        until = time.monotonic() + seconds
        pages = ("1", "enter", "escape", "2", "enter", "escape", "3", "5", "6", "8")
        while time.monotonic() < until:
            for key in pages:
                screen.keys(key)
                time.sleep(min(0.3, seconds / 20))  # it is the watching that is tested
        if kill:
            os.kill(screen.pid, 9)
        else:
            screen.keys("q")
        screen.wait_exit(30)


@pytest.mark.timeout(150)
@pytest.mark.parametrize("kill", [False, True], ids=["quit", "SIGKILL"])
def test_redis_is_byte_for_byte_the_same_after_watching(redis_server: RedisServer, kill: bool) -> None:
    url = redis_server.url()
    with Worker(url, result_backend="") as worker:
        send(url, "rig.sleep", (300,), ignore_result=True)
        for number in range(5):
            send(url, "rig.add", (number, 1), queue="nobody", priority=number)
        wait_until(lambda: "rig.sleep" in worker.log, 30, "the task is received")
        wait_until(lambda: not redis_server.client().hlen("unacked"), 30, "the task has begun")
        before = _digest(redis_server)
        _watch(url, kill=kill, seconds=WATCHED / 2)
        wait_until(lambda: _digest(redis_server) == before, 10, "every key is as it was")


@pytest.mark.timeout(150)
def test_aged_unacked_messages_are_not_delivered_again(redis_server: RedisServer) -> None:
    url = redis_server.url()
    conf = {"broker_transport_options": {"visibility_timeout": 86_400}}
    with Worker(url, concurrency=1, conf=conf, extra=("--prefetch-multiplier", "4")):
        ids = [str(send(url, "rig.sleep", (300,)).id) for _ in range(4)]
        client = redis_server.client()
        wait_until(lambda: _unacked_ids(client) == {*ids[1:]}, 30, "one has begun, the others are reserved")
        two_hours_ago = time.time() - 7200
        tags: list[bytes] = client.zrange("unacked_index", 0, -1)  # type: ignore[assignment]
        client.zadd("unacked_index", {tag: two_hours_ago for tag in tags})
        before = _digest(redis_server)
        _watch(url, kill=False, seconds=WATCHED / 2)
        assert client.llen("celery") == 0
        wait_until(lambda: _digest(redis_server) == before, 10, "every key is as it was")


def _unacked_ids(client: redis.Redis) -> set[str]:
    return {json.loads(raw)[0]["headers"]["id"] for raw in client.hvals("unacked")}


def _at_rest(server: RabbitServer, vhost: str) -> Definitions | None:
    """All of it, when nothing is on its way: the messages for nobody are there, and no other queue has any."""
    found = _definitions(server, vhost)
    lengths = {line.split("\t")[0]: line.split("\t")[1:] for line in found[0] if not line.startswith("name\t")}
    there = lengths.pop("nobody", None) == ["5", "0"]
    return found if there and all(one == ["0", "0"] for one in lengths.values()) else None


def _definitions(server: RabbitServer, vhost: str) -> Definitions:
    """Exchanges, queues with their lengths, bindings: as the server itself tells them."""
    counted = server.ctl("list_queues", "-p", vhost, "name", "messages_ready", "messages_unacknowledged", "-q")
    exchanges = [f"{one['name']} {one['type']}" for one in server.api("GET", f"/exchanges/{vhost}")]
    bindings = [json.dumps(one, sort_keys=True) for one in server.api("GET", f"/bindings/{vhost}")]
    return [sorted(counted.splitlines()), sorted(exchanges), sorted(bindings)]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kill", [False, True], ids=["quit", "SIGKILL"])
def test_rabbitmq_is_the_same_after_watching(rabbitmq_server: RabbitServer, rabbitmq_vhost: str, kill: bool) -> None:
    url = rabbitmq_server.url(rabbitmq_vhost)
    with Worker(url, result_backend="", extra=("--without-mingle",)) as worker:
        send(url, "rig.sleep", (300,), ignore_result=True)
        for number in range(5):
            send(url, "rig.add", (number, 1), queue="nobody")
        wait_until(lambda: "rig.sleep" in worker.log, 30, "the task is received")
        before = wait_until(lambda: _at_rest(rabbitmq_server, rabbitmq_vhost), 30, "the task has begun")
        _watch(url, kill=kill, extra=("--management-url", rabbitmq_server.management_url), seconds=WATCHED / 2)
        wait_until(lambda: _definitions(rabbitmq_server, rabbitmq_vhost) == before, 20, "nothing left behind")

"""Unacknowledged messages of a dead worker come back, and run once; those a living worker may hold do not."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psutil
import pytest
import redis

from celerytop.actions import holders
from celerytop.model.action import RestoreUnacked
from celerytop.model.outcome import CANNOT, DONE, NOT_DONE, REFUSED, UNKNOWN
from tests.actions.holding import Holding, ran
from tests.rig import RedisServer, Worker, rig_app, send, wait_until

LIMITED = {"task_annotations": {"rig.add": {"rate_limit": "1/m"}}}


def test_only_what_certainly_nobody_holds_is_given_back(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders, "SETTLED", 0.0)
    url, client = redis_server.url(), redis_server.client()
    held, app = Holding(url, tmp_path), rig_app(url, "")
    doomed = Worker(url, concurrency=1, nodename="doomed@rig", conf=LIMITED, result_backend="").launch()
    heir = Worker(url, concurrency=1, nodename="heir@rig", queues=("other",), result_backend="").launch()
    with doomed, heir:
        doomed.wait_ready(60)
        heir.wait_ready(60)
        assert held.perform(RestoreUnacked()).outcome == NOT_DONE
        held_back = [str(send(app, "rig.add", (n, 1)).id) for n in range(3)]
        wait_until(lambda: held_ids(client) == {*held_back[1:]}, 20, "two are held by the rate limit, listed nowhere")
        refused = held.perform(RestoreUnacked())
        assert refused.outcome == REFUSED and "rate limit for rig.add" in refused.sentence
        send(app, "rig.sleep", (60,))
        waiting = [str(send(app, "rig.echo", (n,)).id) for n in range(2)]
        wait_until(lambda: held_ids(client) == {*held_back[1:], *waiting}, 20, "two more are reserved")
        (live,) = held.report(RestoreUnacked(task_ids=(waiting[0],))).outcomes
        assert live.outcome == REFUSED and "doomed@rig has it" in live.sentence
        doomed.freeze()
        mute = held.perform(RestoreUnacked())
        assert mute.outcome == REFUSED and "2 listen" in mute.sentence
        doomed.thaw()
        before = {json.loads(raw)[0]["headers"]["id"]: json.loads(raw)[0] for raw in client.hvals("unacked")}
        _kill_and_hang_up(doomed, client)
        one = held.perform(RestoreUnacked(task_ids=(waiting[0],)))
        assert (one.outcome, one.task_id, client.hlen("unacked")) == (DONE, waiting[0], 3)
        (raw,) = client.lrange("celery", 0, -1)
        assert json.loads(raw) == _redelivered(before[waiting[0]])
        rest = held.perform(RestoreUnacked())
        assert rest.outcome == DONE and "3 messages" in rest.sentence
        assert not client.exists("unacked", "unacked_index", "unacked_mutex") and client.llen("celery") == 4
        expected = [*waiting, *held_back[1:]]
        app.control.add_consumer("celery", destination=["heir@rig"])
        wait_until(lambda: all(ran(heir.log, expected).values()), 30, "they have run")
        wait_until(lambda: not client.exists("unacked"), 20, "all is acknowledged")
        assert ran(heir.log, expected) == dict.fromkeys(expected, 1)


def held_ids(client: redis.Redis) -> set[str]:
    """Whose messages some worker has not acknowledged; what it has begun it has."""
    return {json.loads(raw)[0]["headers"]["id"] for raw in client.hvals("unacked")}


def _kill_and_hang_up(worker: Worker, client: redis.Redis) -> None:
    """Dead, and Redis knows: until it has noticed it counts a killed worker among those who listen."""
    connections = psutil.Process(worker.pid).net_connections("tcp")
    ends = {f"{one.laddr.ip}:{one.laddr.port}" for one in connections if one.laddr}
    assert ends & {one["addr"] for one in client.client_list()}
    worker.kill()
    wait_until(lambda: not ends & {one["addr"] for one in client.client_list()}, 20, "Redis has hung up too")


def _redelivered(message: dict[str, dict[str, dict[str, object]]]) -> dict[str, dict[str, dict[str, object]]]:
    message["headers"]["redelivered"] = True  # type: ignore[assignment]
    message["properties"]["delivery_info"]["redelivered"] = True
    return message


@pytest.mark.parametrize("rights", ["+@all", "+@all -eval"])
def test_without_any_worker_all_come_back_in_their_order_and_by_their_routes(
    redis_server: RedisServer, tmp_path: Path, rights: str
) -> None:
    client = redis_server.client()
    words = ["SETUSER", "some", "reset", "on", ">pw", "~*", "&*", *rights.split()]
    client.execute_command("ACL", *words)  # type: ignore[no-untyped-call]
    client.sadd("px:_kombu.binding.mail", "urgent\x06\x16\x06\x16letters")
    for n, (exchange, key, priority) in enumerate([("", "celery", 0), ("", "celery", 0), ("mail", "urgent", 4)]):
        message = {
            "body": "",
            "headers": {"id": f"t{n}", "task": "rig.echo"},
            "properties": {"priority": priority, "delivery_info": {"exchange": exchange, "routing_key": key}},
        }
        client.hset("px:unacked", f"tag{n}", json.dumps([message, exchange, key]))
        client.zadd("px:unacked_index", {f"tag{n}": 1000.5 + n})
    client.hset("px:unacked", "lost", json.dumps([{"headers": {"id": "x", "task": "t"}}, "nowhere", "k"]))
    client.zadd("px:unacked_index", {"lost": 1.0})
    held = Holding(redis_server.url(user="some", password="pw"), tmp_path, global_keyprefix="px:")
    outcome = held.perform(RestoreUnacked())
    assert outcome.outcome == DONE and "3 messages are in their queues again; 1 were left" in outcome.sentence
    assert [json.loads(raw)["headers"]["id"] for raw in client.lrange("px:celery", 0, -1)] == ["t1", "t0"]
    assert client.llen("px:letters\x06\x163") == 1 and client.hkeys("px:unacked") == [b"lost"]
    client.set("px:unacked_mutex", "a worker's")
    assert held.perform(RestoreUnacked()).outcome == REFUSED and client.get("px:unacked_mutex") == b"a worker's"


@pytest.mark.parametrize("rights", ["-zrem", "-hdel", "-rpush", "-eval -multi"])
def test_what_an_account_may_not_do_is_not_done_by_half(redis_server: RedisServer, tmp_path: Path, rights: str) -> None:
    """A message that is pushed and not taken off the hash runs twice."""
    client = redis_server.client()
    words = ["SETUSER", "few", "reset", "on", ">pw", "~*", "&*", "+@all", *rights.split()]
    client.execute_command("ACL", *words)  # type: ignore[no-untyped-call]
    entry = [{"headers": {"id": "t", "task": "rig.echo"}, "properties": {"priority": 0}}, "", "celery"]
    client.hset("unacked", "tag", json.dumps(entry))
    client.zadd("unacked_index", {"tag": 1000.0})
    outcome = Holding(redis_server.url(user="few", password="pw"), tmp_path).perform(RestoreUnacked())
    assert outcome.outcome == UNKNOWN and "few may not" in outcome.sentence
    assert (client.llen("celery"), client.hlen("unacked"), client.zcard("unacked_index")) == (0, 1, 1)


def test_a_worker_that_nobody_can_ask_is_an_objection(redis_server: RedisServer, tmp_path: Path) -> None:
    client = redis_server.client()
    entry = [{"headers": {"id": "t", "task": "rig.echo"}, "properties": {}}, "", "celery"]
    client.hset("unacked", "tag", json.dumps(entry))
    client.zadd("unacked_index", {"tag": time.time()})
    url, conf = redis_server.url(), {"worker_enable_remote_control": False}
    with Worker(url, pool="solo", nodename="mute@rig", conf=conf, events=False, result_backend="") as worker:
        held = Holding(url, tmp_path)
        wait_until(lambda: any("b" in one["flags"] for one in client.client_list()), 20, "it waits for messages")
        refused = held.perform(RestoreUnacked())
        assert refused.outcome == REFUSED and "no worker is known to ask" in refused.sentence
        assert client.hlen("unacked") == 1
        _kill_and_hang_up(worker, client)
    assert held.perform(RestoreUnacked()).outcome == DONE


def test_rabbitmq_does_so_by_itself(tmp_path: Path) -> None:
    held = Holding("amqp://127.0.0.1:1//", tmp_path)
    assert held.perform(RestoreUnacked()).outcome == CANNOT

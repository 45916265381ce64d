"""The health of real servers: well, full, loading, busy, unsaved, and seen by accounts with few rights."""

from __future__ import annotations

import contextlib
import threading
from contextlib import closing
from typing import Any

import pytest
import redis

from celerytop.errors import BrokerError, RefusedError
from celerytop.model.address import Address, BrokerSettings, Endpoint
from celerytop.model.observation import BrokerMeasured, QueueSampled
from celerytop.sources.base import Interest
from celerytop.sources.redis.broker import _FIRST_LOOKS, RedisBrokerProbe
from celerytop.sources.redis.connection import connect
from celerytop.sources.redis.info import broker_from, trouble
from celerytop.sources.redis.lane import RedisLane
from tests.rig import RedisServer, Sentinel, send, wait_until
from tests.sources.redis.looking import (
    SERVERS,
    ValkeyServer,
    ask,
    broker_of,
    lane_of,
    measured,
    only,
    populate,
    queues_of,
    settings_for,
    walk_of,
)

pytestmark = pytest.mark.redis

LOOK = (
    "look on >pw resetchannels &/0.celeryev* ~* -@all +hello +auth +ping +select +reset +psubscribe +punsubscribe "
    "+info +dbsize +scan +type +pttl +exists +llen +lindex +lrange +strlen +hlen +hget +hscan +zcard +zrange +zscore "
    "+scard +smembers +sscan +memory|usage +memory|stats +client|setname +client|list +client|id +slowlog|get "
    "+slowlog|len +latency|latest +config|get +acl|whoami"
)
"""The look-only account of the documentation, to the letter."""


@pytest.mark.parametrize("server_class", SERVERS)
def test_info_is_told_in_full(server_class: type[RedisServer]) -> None:
    with (
        server_class(args=("--maxmemory", "100mb", "--maxclients", "500")) as server,
        closing(server.client()) as client,
    ):
        client.set("a", 1, ex=100)
        client.set("b", 1)
        with lane_of(settings_for(server)) as lane:
            broker = broker_of(lane)
        info: Any = client.info()
        valkey = server_class is ValkeyServer
        assert broker.server == ("valkey" if valkey else "redis")
        assert broker.version == (info["valkey_version"] if valkey else info["redis_version"])
        assert (broker.mode, broker.role, broker.run_id) == ("standalone", "master", info["run_id"])
        assert (broker.maxmemory, broker.maxmemory_policy, broker.maxclients) == (100 << 20, "noeviction", 500)
        assert (broker.keys, broker.keys_with_ttl) == (2, 1)
        assert broker.used_memory is not None and abs(broker.used_memory - info["used_memory"]) < 1 << 20
        assert broker.clients is not None and broker.clients >= 2
        assert (broker.aof_enabled, broker.rdb_last_bgsave_status, broker.replicas) == (False, "ok", 0)
        assert broker.uptime is not None and broker.cpu_seconds is not None and broker.ops_rate is not None
        assert (broker.loading, broker.trouble, broker.denied) == (False, None, ())


def test_clients_and_slow_commands_are_told_while_somebody_looks(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        client.client_setname("flower")
        client.config_set("slowlog-log-slower-than", 0)
        client.rpush("secrets", "hunter2-one", "hunter2-two")
        client.config_set("slowlog-log-slower-than", 1_000_000)
        for _ in range(_FIRST_LOOKS):
            broker = broker_of(lane, "queues")
            assert broker.client_list, "at first: they tell which mute workers of this machine use this broker"
        broker = broker_of(lane, "queues")
        assert (broker.client_list, broker.slowlog) == (None, None)
        broker = broker_of(lane, "broker")
        assert broker.client_list is not None and broker.slowlog is not None
        (own,) = [one for one in broker.client_list if one.own]
        assert own.name == "celerytop"
        (flower,) = [one for one in broker.client_list if one.name == "flower"]
        assert (flower.own, flower.user, flower.output_buffer) == (False, "default", 0)
        assert flower.age is not None and flower.idle is not None and flower.command is not None
        (slow,) = [one for one in broker.slowlog if one.command.startswith("RPUSH")]
        assert slow.command == "RPUSH secrets … 2 more"
        assert 0 <= slow.duration < 1 and slow.at > 1.7e9 and slow.client


def test_what_it_costs_is_counted(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        before = int(client.info("stats")["total_commands_processed"])
        broker_of(lane)
        broker_of(lane)
        cost = broker_of(lane).cost
        processed = int(client.info("stats")["total_commands_processed"]) - before - 1
        assert cost is not None
        assert cost.connections == 1
        assert abs(cost.commands - processed) <= 8
        assert cost.bytes_in is not None and cost.bytes_out is not None
        assert 1_000 < cost.bytes_in < 1_000_000 and 100 < cost.bytes_out < 100_000


# --------------------------------------------------------------------------------------------------------- ill
@pytest.mark.parametrize("server_class", SERVERS)
def test_a_full_server_is_still_read_and_said_to_be_full(server_class: type[RedisServer]) -> None:
    with server_class() as server, closing(server.client()) as client, lane_of(settings_for(server)) as lane:
        for _ in range(3):
            send(server.url(), "rig.add", (1, 2), queue="celery")
        client.config_set("maxmemory", "1kb")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("more", "x")
        assert queues_of(lane)["celery"].messages == 3
        broker = broker_of(lane)
        assert broker.trouble is not None and "full" in broker.trouble and "noeviction" in broker.trouble
        assert only(ask(lane, Interest(queue="celery")), QueueSampled).sample.sampled == 3
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", "1gb")
        broker = broker_of(lane)
        assert (broker.trouble, broker.maxmemory_policy) == (None, "allkeys-lru")


def test_a_failed_save_is_said_to_stop_writes() -> None:
    args = ("--enable-protected-configs", "yes", "--save", "3600 1")
    with RedisServer(args=args) as server, closing(server.client()) as client, lane_of(settings_for(server)) as lane:
        (server.folder / "folder").mkdir()
        client.config_set("dbfilename", "folder")
        client.set("a", 1)
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 60, "the save failed")
        with pytest.raises(redis.ResponseError, match="MISCONF"):
            client.set("b", 1)
        broker = broker_of(lane)
        assert broker.trouble == "Redis refuses writes: its last save to disk failed; workers die of this"
        assert (broker.rdb_last_bgsave_status, broker.stop_writes_on_bgsave_error) == ("err", True)
        client.config_set("stop-writes-on-bgsave-error", "no")
        broker = broker_of(lane)
        assert (broker.trouble, broker.stop_writes_on_bgsave_error) == (None, False)


def test_loading_is_said_with_how_far_it_is() -> None:
    slow = ("--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024")
    with RedisServer(args=slow) as server, closing(server.client()) as client, lane_of(settings_for(server)) as lane:
        populate(client, "celery-task-meta-", 20_000, ttl=None)
        client.config_set("key-load-delay", 500)
        reload = threading.Thread(target=_quietly, args=(server, "DEBUG", "RELOAD"))
        reload.start()
        try:
            said = wait_until(lambda: _trouble(lane), 60, "it loads")
            assert said.startswith("Redis is loading its data: ") and "%" in said and "s left" in said
            with pytest.raises(BrokerError, match="loading"):
                measured(lane)
            with pytest.raises(BrokerError, match=r"loading its data: \d+ %, \d+ s left"):
                connect(settings_for(server).address)
        finally:
            with contextlib.suppress(redis.RedisError):
                client.config_set("key-load-delay", 0)
            reload.join(60)


def test_a_script_that_blocks_is_named_and_left_alone(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client, lane_of(settings_for(redis_server)) as lane:
        client.config_set("busy-reply-threshold", 100)
        endless = threading.Thread(target=_quietly, args=(redis_server, "EVAL", "while true do end", 0))
        endless.start()
        try:
            said = wait_until(lambda: _trouble(lane), 60, "it is busy")
            assert "a script blocks Redis" in said
            with pytest.raises(BrokerError, match="script"):
                measured(lane)
        finally:
            client.script_kill()
            endless.join(60)
        assert broker_of(lane).trouble is None


def test_a_failover_is_followed_to_the_new_master(redis_sentinel: Sentinel) -> None:
    with lane_of(settings_for(redis_sentinel.replica)) as lane:
        broker = broker_of(lane)
        assert (broker.role, broker.master_link_status, broker.trouble) == ("slave", "up", None)
        assert broker.replication_lag is not None
    endpoint = (Endpoint("127.0.0.1", redis_sentinel.sentinel.port),)
    address = Address("redis", endpoint, sentinel=True, master_name=redis_sentinel.name)
    with lane_of(BrokerSettings(address)) as lane:
        broker = broker_of(lane)
        assert (broker.role, broker.replicas) == ("master", 1)
        redis_sentinel.master.kill()
        with pytest.raises(BrokerError):
            broker_of(lane)
        wait_until(lambda: _master_again(lane, broker.run_id), 90, "the other one is master, and asked")


@pytest.mark.parametrize(
    ("info", "extra", "said"),
    [
        ({"loading": "1", "loading_loaded_perc": "59.4", "loading_eta_seconds": "22"}, {}, "59 %, 22 s left"),
        ({"used_memory": "5000000", "maxmemory": "4000000", "maxmemory_policy": "noeviction"}, {}, "5.0 of 4.0 MB"),
        ({"used_memory": "5000000", "maxmemory": "4000000", "maxmemory_policy": "allkeys-lru"}, {}, None),
        ({"used_memory": "5000000", "maxmemory": "0", "maxmemory_policy": "noeviction"}, {}, None),
        ({"aof_enabled": "1", "aof_last_write_status": "err"}, {}, "append-only file"),
        ({"rdb_last_bgsave_status": "err"}, {}, "unless stop-writes-on-bgsave-error is off"),
        ({"rdb_last_bgsave_status": "err"}, {"stop-writes-on-bgsave-error": "yes", "save": ""}, None),
        ({"role": "slave", "master_link_status": "down"}, {}, "lost its master"),
        ({}, {}, None),
    ],
)
def test_trouble_is_one_sentence_or_none(info: dict[str, str], extra: dict[str, str], said: str | None) -> None:
    found = trouble(info, extra)
    assert found is None if said is None else found is not None and said in found


def test_an_info_without_its_fields_is_not_known_instead_of_zero() -> None:
    broker = broker_from({}, 0, 1.0, {})
    assert (broker.used_memory, broker.keys, broker.clients, broker.server, broker.aof_enabled) == (None,) * 5
    assert broker_from({"used_memory": "junk", "uptime_in_seconds": "x"}, 0, 1.0, {}).used_memory is None


# ------------------------------------------------------------------------------------------------------- rights
def test_the_look_only_account_sees_everything() -> None:
    with RedisServer(acl=(LOOK,)) as server, closing(server.client()) as client:
        send(server.url(), "rig.add", (1, 2), queue="lonely")
        client.hset("unacked", "t", '[{"headers":{"id":"i","task":"t"},"properties":{}},"","lonely"]')
        client.zadd("unacked_index", {"t": 1.0})
        with lane_of(settings_for(server, "look", "pw")) as lane:
            found = measured(lane, Interest(page="all"))
            (queue,) = found.queues
            assert (queue.name, queue.messages, queue.unacked, found.note) == ("lonely", 1, 1, None)
            assert queue.head is not None and found.unacked is not None and found.unacked.complete
            walk = walk_of(lane)
            assert walk.done and walk.note is None
            broker = broker_of(lane)
            assert broker.denied == () and broker.client_list and broker.slowlog is not None
            assert only(ask(lane, Interest(queue="lonely")), QueueSampled).sample.sampled == 1


@pytest.mark.parametrize(
    ("right", "missing"),
    [
        ("client|list", "+client|list"),
        ("client|id", "+client|id"),
        ("slowlog|get", "+slowlog|get"),
        ("memory|usage", "+memory|usage"),
        ("config|get", None),
        ("info", "+info"),
        ("scan", "+scan"),
        ("smembers", "+smembers"),
        ("llen", "+llen"),
        ("lindex", "+lindex"),
        ("lrange", "+lrange"),
        ("hlen", "+hlen"),
        ("hget", "+hget"),
        ("zrange", "+zrange"),
        ("dbsize", "+dbsize"),
        ("pttl", "+pttl"),
    ],
)
def test_one_missing_right_costs_one_thing_and_is_named(
    right: str, missing: str | None, account_server: RedisServer
) -> None:
    acl = LOOK.split(" ", 3)[3].replace(f" +{right} ", " ") + f" -{right}"
    with closing(account_server.client()) as client, contextlib.suppress(redis.RedisError):
        client.execute_command("ACL", "SETUSER", "some", "reset", "on", ">pw", *acl.split())  # type: ignore[no-untyped-call]
    with lane_of(settings_for(account_server, "some", "pw", queues=("celery",))) as lane:
        ask(lane, Interest(page="broker", queue="celery"))
        found = measured(lane, Interest(page="broker", queue="celery"))
        queue = next(queue for queue in found.queues if queue.name == "celery")
        assert queue.messages == (None if right == "llen" else 1)
        denied = broker_of(lane).denied
        assert denied == (() if missing is None else (missing,))
        if right in ("scan", "smembers", "llen", "lindex", "hlen", "hget", "zrange"):
            assert found.note is not None and f"+{right}" in found.note


@pytest.fixture(scope="module")
def account_server() -> Any:
    with RedisServer() as server, closing(server.client()) as client:
        send(server.url(), "rig.add", (1, 2), queue="celery")
        client.hset("unacked", "t", '[{"headers":{"id":"i","task":"t"},"properties":{}},"","celery"]')
        client.zadd("unacked_index", {"t": 1.0})
        yield server


def test_keys_out_of_reach_are_not_known_and_the_others_are() -> None:
    narrow = "narrow on >pw resetchannels ~mine* ~_kombu* -@all +@read +ping +info +select +client|setname"
    with RedisServer(acl=(narrow,)) as server:
        send(server.url(), "rig.add", (1, 2), queue="mine")
        send(server.url(), "rig.add", (1, 2), queue="theirs")
        with lane_of(settings_for(server, "narrow", "pw")) as lane:
            queues = queues_of(lane)
            assert {name: queue.messages for name, queue in queues.items()} == {"mine": 1, "theirs": None}
            assert measured(lane).unacked is None


def test_a_right_is_asked_for_once_per_connection() -> None:
    with RedisServer(acl=("few on >pw ~* -@all +ping +select +llen",)) as server, closing(server.client()) as client:
        with lane_of(settings_for(server, "few", "pw")) as lane:
            for _ in range(5):
                ask(lane, Interest(page="broker"))
        log: Any = client.acl_log()
        assert max(int(entry["count"]) for entry in log) <= 2


@pytest.mark.parametrize("password", ["wrong", None])
def test_a_password_that_is_wrong_or_missing_is_refused_in_a_sentence(password: str | None) -> None:
    with RedisServer(password="hunter2") as server:
        lane = RedisLane(settings_for(server, password=password), passive=True)
        with pytest.raises(RefusedError, match="login refused"):
            lane.connect()
        with lane_of(settings_for(server, password="hunter2")) as allowed:
            assert broker_of(allowed).keys == 0


def _master_again(lane: RedisLane, run_id: str | None) -> bool:
    """Whether the lane asks another server now, a master."""
    try:
        lane.connect()
        broker = broker_of(lane)
    except BrokerError:
        return False
    return broker.role == "master" and broker.run_id != run_id


def _trouble(lane: RedisLane) -> str:
    """What ails the server, asked by the broker's probe alone."""
    probe = next(probe for probe in lane.probes if isinstance(probe, RedisBrokerProbe))
    return only(list(probe.poll()), BrokerMeasured).broker.trouble or ""  # type: ignore[union-attr]


def _quietly(server: RedisServer, *command: Any) -> None:
    """Run a command that takes its time, or is killed."""
    client = redis.Redis(port=server.port, socket_timeout=60)
    with closing(client), contextlib.suppress(redis.RedisError):
        client.execute_command(*command)  # type: ignore[no-untyped-call]

"""Events from a real Redis."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from threading import Timer
from typing import Any

import pytest

from celerytop.errors import BrokerError, DeniedError
from celerytop.model.address import Address, BrokerSettings, Endpoint
from celerytop.model.event import TaskStarted, TaskSucceeded, WorkerHeartbeat
from celerytop.model.observation import EventsReceived
from celerytop.sources.redis.events import RedisEvents
from tests.rig import RedisServer, Sentinel, Worker, rig_app, send, wait_until
from tests.rig.send import close_apps
from tests.sources.contract import SECRET, EventsContract, collect, of, time_to_fail
from tests.sources.redis.site import RedisSite, envelope, settings_of

pytestmark = pytest.mark.redis


@pytest.fixture
def site() -> Iterator[RedisSite]:
    with RedisServer(password=SECRET) as server:
        yield RedisSite(server)


class TestRedisEvents(EventsContract):
    @pytest.fixture
    def site(self) -> Iterator[RedisSite]:
        with RedisServer(password=SECRET) as server:
            yield RedisSite(server)
            close_apps()

    def source(self, settings: BrokerSettings) -> RedisEvents:
        return RedisEvents(settings)


STARTED = b'{"type":"task-started","uuid":"%d","hostname":"w@h","timestamp":%f}'


def watch(settings: BrokerSettings) -> Any:
    watching = RedisEvents(settings).observe()
    next(watching)
    return watching


def test_listening_writes_no_key_and_other_channels_are_left_alone(site: RedisSite) -> None:
    watching = watch(site.settings)
    with site.client() as client:
        for channel in ("/0.celeryev2/task.multi", "/1.celeryev/task.multi", "celery-task-meta-1"):
            client.publish(channel, envelope(STARTED % (1, time.time())))
        client.publish("/0.celeryev", envelope(STARTED % (2, time.time())))  # fanout_patterns=False
        client.publish("/0.celeryev/task.started", envelope(STARTED % (3, time.time())))
        events = collect(watching, lambda found: len(found) >= 2)
        assert [event.uuid for event in of(TaskStarted, events)] == ["2", "3"]
        assert client.dbsize() == 0


@pytest.mark.parametrize(
    ("moved", "channel"),
    [
        ({"global_keyprefix": "px[1]:"}, "px[1]:/0.celeryev/task.started"),
        ({"fanout_prefix": ""}, "celeryev/task.started"),
        ({"fanout_prefix": "my{db}/"}, "my0/celeryev/task.started"),
        ({"event_exchange": "other"}, "/0.other/task.started"),
    ],
)
def test_names_may_be_moved_by_settings(redis_server: RedisServer, moved: dict[str, str], channel: str) -> None:
    watching = watch(BrokerSettings(settings_of(redis_server).address, **moved))  # type: ignore[arg-type]
    redis_server.client().publish(channel, envelope(STARTED % (1, time.time())))
    assert len(collect(watching, lambda found: found)) == 1


@pytest.mark.parametrize("channel", ["/0.celeryev*", "/0.celeryev/*"])
def test_a_look_only_account_needs_one_channel(channel: str) -> None:
    rights = f"mon on >pw resetchannels &{channel} -@all +auth +ping +psubscribe"
    with RedisServer(acl=[rights]) as server:
        watching = watch(settings_of(server, "pw", "mon"))
        server.client().publish("/0.celeryev/task.started", envelope(STARTED % (1, time.time())))
        assert len(collect(watching, lambda found: found)) == 1


def test_an_account_that_may_not_listen_is_told_which_right_is_missing() -> None:
    with (
        RedisServer(acl=["mon on >pw ~* resetchannels +@all"]) as server,
        pytest.raises(DeniedError, match=r"user mon may not listen.*\+psubscribe &/0.celeryev\*"),
    ):
        watch(settings_of(server, "pw", "mon"))


def test_a_burst_is_read_whole_and_in_order(redis_server: RedisServer) -> None:
    source = RedisEvents(settings_of(redis_server))
    watching = source.observe()
    next(watching)
    pipeline = redis_server.client().pipeline(transaction=False)
    for number in range(20_000):
        pipeline.publish("/0.celeryev/task.started", envelope(STARTED % (number, time.time())))
    pipeline.execute()
    take_in(source, redis_server)
    sizes: list[int] = []

    def enough(found: list[Any]) -> bool:
        sizes.append(len(found))
        return len(found) >= 20_000

    events = collect(watching, enough)
    assert [event.uuid for event in of(TaskStarted, events)] == [str(n) for n in range(20_000)]
    assert len(sizes) < 200, "a turn is worth its while"
    assert max(after - before for before, after in itertools.pairwise(sizes)) < 2000


def test_over_tls_and_over_a_unix_socket() -> None:
    with RedisServer(tls=True, unixsocket=True) as server:
        trusted = (("ssl_cert_reqs", "CERT_REQUIRED"), ("ssl_ca_certs", str(server.ca_file)))
        local = (Endpoint("127.0.0.1", server.port),)
        socket_file = (Endpoint(path=str(server.socket_file)),)
        addresses = [
            Address("redis", local, tls=True, tls_options=trusted),
            Address("redis", local, tls=True),
            Address("redis", socket_file),
        ]
        for address in addresses:
            watching = watch(BrokerSettings(address))
            pipeline = server.client().pipeline(transaction=False)
            for number in range(500):
                pipeline.publish("/0.celeryev/task.started", envelope(STARTED % (number, time.time())))
            pipeline.execute()
            assert len(collect(watching, lambda found: len(found) >= 500)) == 500
            watching.close()


def test_a_sentinel_leads_to_the_new_master(redis_sentinel: Sentinel) -> None:
    where = (Endpoint("127.0.0.1", redis_sentinel.sentinel.port),)
    settings = BrokerSettings(Address("redis", where, sentinel=True, master_name=redis_sentinel.name))
    watching = watch(settings)
    client = redis_sentinel.master.client()
    for number, channel in enumerate(("/0.celeryev/task.started", "/{db}.celeryev/task.started")):
        client.publish(channel, envelope(STARTED % (number, time.time())))
    assert len(collect(watching, lambda found: len(found) >= 2)) == 2
    redis_sentinel.master.freeze()
    _, after = time_to_fail(watching, 12)
    assert after < 8
    wait_until(lambda: redis_sentinel.current_port() == redis_sentinel.replica.port, 90)
    again = watch(settings)
    redis_sentinel.replica.client().publish("/0.celeryev/x", envelope(STARTED % (9, time.time())))
    assert len(collect(again, lambda found: found)) == 1
    redis_sentinel.master.thaw()


def test_a_failover_list_is_tried_in_order(redis_server: RedisServer) -> None:
    dead = Endpoint("127.0.0.1", 1)
    watch(BrokerSettings(Address("redis", (dead, *settings_of(redis_server).address.endpoints))))
    with pytest.raises(BrokerError, match="refuses the connection"):
        watch(BrokerSettings(Address("redis", (dead, dead))))


def test_events_of_a_prefixed_cluster(redis_server: RedisServer) -> None:
    conf = {"broker_transport_options": {"global_keyprefix": "px:"}}
    settings = BrokerSettings(settings_of(redis_server).address, global_keyprefix="px:")
    with Worker(redis_server.url(), pool="solo", conf=conf) as worker:
        watching = watch(settings)
        send(rig_app(redis_server.url(), "", conf=conf), "rig.add", (1, 1))
        events = collect(watching, lambda found: of(TaskSucceeded, found))
        assert {event.hostname for event in events} == {worker.nodename}


def test_batches_say_when_they_came(redis_server: RedisServer) -> None:
    watching = RedisEvents(settings_of(redis_server), clock=lambda: 1.8e9).observe()
    next(watching)
    redis_server.client().publish("/0.celeryev/x", envelope(STARTED % (1, 1.8e9)))
    batch = next(item for item in watching if isinstance(item, EventsReceived))
    assert batch.at == 1.8e9


def test_a_wait_for_events_ends_when_told_to(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celerytop.sources.redis.events.QUIET", 3600.0)
    source = RedisEvents(settings_of(redis_server))
    stream = source.observe()
    next(stream)
    Timer(0.1, source.hang_up).start()
    with pytest.raises(BrokerError):
        next(stream)
    source.hang_up()  # nothing is open: nothing happens


KINDS = ("received", "started", "succeeded")


def lives(tasks: int, at: float) -> Iterator[tuple[str, bytes]]:
    """(channel, event) of tasks that are received, started and done; and a heartbeat for every hundred."""
    for number in range(tasks):
        for kind in KINDS:
            event = b'{"type":"task-%s","uuid":"%d","hostname":"w@h","timestamp":%f,"pad":"%s"}'
            yield f"task.{kind}", event % (kind.encode(), number, at, b"x" * 100)
        if number % 100 == 0:
            yield "worker.heartbeat", b'{"type":"worker-heartbeat","hostname":"w@h","timestamp":%f}' % at


def flood(server: RedisServer, messages: Iterable[tuple[str, bytes]]) -> int:
    """PUBLISH all at once; returns the number of messages."""
    pipeline = server.client().pipeline(transaction=False)
    for channel, body in messages:
        pipeline.publish(f"/0.celeryev/{channel}", envelope(body))
    return len(pipeline.execute())


def in_lists(messages: Iterable[tuple[str, bytes]], size: int) -> Iterator[tuple[str, bytes]]:
    found = iter(messages)
    while batch := [body for _, body in itertools.islice(found, size)]:
        yield "task.multi", b"[" + b",".join(batch) + b"]"


def counted(watching: Any, wanted: int) -> tuple[list[Any], int]:
    """All events until so many are told or dropped; how many were dropped."""
    events: list[Any] = []
    dropped, until = 0, time.monotonic() + 60
    while len(events) + dropped < wanted and time.monotonic() < until:
        batch = next(watching)
        if batch is not None:
            events += batch.events
            dropped += batch.dropped
    return events, dropped


def take_in(source: RedisEvents, server: RedisServer) -> None:
    """Empty the socket until Redis holds nothing back: on a loaded machine it fills it slowly."""

    def empty() -> bool:
        source.drain()
        return all(one["omem"] == "0" for one in server.client().client_list() if one["psub"] == "1")

    wait_until(empty, message="Redis holds nothing back")


@pytest.mark.parametrize(("size", "room"), [(1, 1_400_000), (24, 560_000)])
def test_what_is_too_much_is_dropped_by_kind_and_counted(redis_server: RedisServer, size: int, room: int) -> None:
    source = RedisEvents(settings_of(redis_server), room=room)
    watching = source.observe()
    next(watching)
    tasks, beats = 900, 9
    stream = lives(tasks, time.time())
    flood(redis_server, stream if size == 1 else in_lists(stream, size))  # 1.3 times what may wait: nobody reads
    take_in(source, redis_server)
    events, dropped = counted(watching, 3 * tasks + beats)
    assert len(events) + dropped == 3 * tasks + beats
    assert 100 < dropped < 2 * tasks
    assert [event.uuid for event in of(TaskSucceeded, events)] == [str(number) for number in range(tasks)]
    assert len(of(WorkerHeartbeat, events)) == beats, "these and what ends a task go last"


def test_a_flood_is_dropped_here_and_never_by_redis(redis_server: RedisServer) -> None:
    source = RedisEvents(settings_of(redis_server), room=1 << 20)
    watching = source.observe()
    next(watching)
    (before,) = (one["id"] for one in redis_server.client().client_list() if one["psub"] == "1")
    published = sum(flood(redis_server, lives(3000, time.time())) for _ in range(2))  # 10 MB and more at once
    take_in(source, redis_server)
    events, dropped = counted(watching, published)
    assert len(events) + dropped == published
    assert dropped > published / 2
    assert flood(redis_server, lives(10, time.time())) == 31
    after, lost = counted(watching, 31)
    assert (len(after), lost) == (31, 0), "it hears everything again"
    (now,) = (one["id"] for one in redis_server.client().client_list() if one["psub"] == "1")
    assert now == before

"""Events from a real exchange and real workers, without declaring what is not ours."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer

import msgspec
import pytest

from celerytop.errors import BrokerError, RefusedError
from celerytop.model.address import BrokerSettings
from celerytop.model.event import Event
from celerytop.model.observation import EventsReceived
from celerytop.sources.base import Source
from celerytop.sources.rabbitmq import events
from celerytop.sources.rabbitmq.events import RabbitEvents
from tests.rig import RabbitServer, Stopwatch, wait_until
from tests.sources.contract import EventsContract, Site
from tests.sources.rabbitmq.open_lanes import RabbitSite, channel_of, inventory, own_connections, settings_for

pytestmark = pytest.mark.rabbitmq


@contextmanager
def stream_of(settings: BrokerSettings) -> Iterator[Iterator[EventsReceived | None]]:
    """The source's generator, connected, and closed at the end."""
    stream = RabbitEvents(settings).observe()
    try:
        assert next(stream) is None, "connected"
        yield stream
    finally:
        stream.close()  # type: ignore[attr-defined]


def collect(stream: Iterator[EventsReceived | None], seconds: float = 60.0, wanted: int = 1) -> list[Event]:
    """Events until ``wanted`` have come."""
    found: list[Event] = []
    until = time.monotonic() + seconds
    while len(found) < wanted and time.monotonic() < until:
        with Stopwatch() as stopwatch:
            batch = next(stream)
        assert stopwatch.seconds < 2.0, "it must yield every two seconds"
        found += batch.events if batch is not None else []
    return found


def declare_exchange(channel: object) -> None:
    """As a worker does."""
    channel.exchange_declare("celeryev", "topic", durable=True)  # type: ignore[attr-defined]


def heartbeat(hostname: str = "w1@h") -> bytes:
    now = time.time()
    return json.dumps(
        {"type": "worker-heartbeat", "hostname": hostname, "timestamp": now, "pid": 1, "freq": 2.0}
    ).encode()


class TestRabbitEvents(EventsContract):
    """The contract, on a vhost where a worker has been. Freezing: see test_faults.py, for all sources at once."""

    test_a_frozen_server_is_noticed_within_eight_seconds = None  # type: ignore[assignment]

    def source(self, settings: BrokerSettings) -> Source:
        return RabbitEvents(settings)

    @pytest.fixture
    def site(self, rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> Site:
        return RabbitSite(rabbitmq_server, rabbitmq_vhost)


def test_waits_for_the_exchange_and_never_declares_it(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    before = inventory(rabbitmq_server, rabbitmq_vhost)
    with stream_of(settings_for(rabbitmq_server, rabbitmq_vhost)) as stream:
        assert collect(stream, 3.0) == []
        assert inventory(rabbitmq_server, rabbitmq_vhost) == before
        with channel_of(rabbitmq_server, rabbitmq_vhost) as channel:
            declare_exchange(channel)
            wait_until(lambda: next(stream) is None and _bound(rabbitmq_server, rabbitmq_vhost), 60, "it listens")
            channel.basic_publish("celeryev", "worker.heartbeat", heartbeat())
            assert [event.hostname for event in collect(stream)] == ["w1@h"]


def _bound(server: RabbitServer, vhost: str) -> bool:
    return bool(server.api("GET", f"/exchanges/{vhost}/celeryev/bindings/source"))


@pytest.fixture
def exchange(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> str:
    """A vhost where a worker has been."""
    with channel_of(rabbitmq_server, rabbitmq_vhost) as channel:
        declare_exchange(channel)
    return rabbitmq_vhost


def test_nothing_is_left_behind(rabbitmq_server: RabbitServer, exchange: str) -> None:
    before = inventory(rabbitmq_server, exchange)
    with stream_of(settings_for(rabbitmq_server, exchange)) as stream:
        next(stream)
        (queue,) = rabbitmq_server.api("GET", f"/queues/{exchange}")
        assert queue["name"].startswith("celeryev.ctop.")
        assert queue["exclusive"] and queue["auto_delete"] and not queue["durable"]
        assert queue["arguments"]["x-message-ttl"] == 5000
        assert queue["arguments"]["x-max-length"] == 10_000
        assert queue["arguments"]["x-overflow"] == "drop-head"
    wait_until(lambda: inventory(rabbitmq_server, exchange) == before, 60, "the queue is gone")
    wait_until(lambda: own_connections(rabbitmq_server) == [], 60, "the connection is gone")


def test_singles_and_batches_in_order(rabbitmq_server: RabbitServer, exchange: str) -> None:
    with (
        stream_of(settings_for(rabbitmq_server, exchange)) as stream,
        channel_of(rabbitmq_server, exchange) as channel,
    ):
        next(stream)
        for number in range(500):
            one, two = (
                {"type": "task-started", "uuid": f"{number}-{k}", "hostname": "w1@h", "timestamp": time.time()}
                for k in "ab"
            )
            channel.basic_publish("celeryev", "task.multi", json.dumps([one, two]).encode())
        found = collect(stream, wanted=1000)
    assert [event.uuid for event in found] == [f"{number}-{k}" for number in range(500) for k in "ab"]  # type: ignore[union-attr]


def test_hostile_bytes_cost_nothing_but_a_count(rabbitmq_server: RabbitServer, exchange: str) -> None:
    hostile = [b"", b"null", b"42", b"{", b"\xff\xfe", b"[" * 100_000, b'{"type":"task-started"}', b"x" * (1 << 20)]
    with (
        stream_of(settings_for(rabbitmq_server, exchange)) as stream,
        channel_of(rabbitmq_server, exchange) as channel,
    ):
        next(stream)
        for body in hostile:
            channel.basic_publish("celeryev", "task.started", body)
        channel.basic_publish("celeryev", "worker.heartbeat", heartbeat("\x1b[31m@h"))
        bad, found = 0, list[Event]()
        until = time.monotonic() + 60
        while not found and time.monotonic() < until:
            batch = next(stream)
            if batch is not None:
                bad += batch.bad
                found += batch.events
    assert bad == len(hostile)
    assert found[0].hostname == r"\x1b[31m@h"


def test_another_exchange_name_is_obeyed(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    settings = settings_for(rabbitmq_server, rabbitmq_vhost, event_exchange="shop.events")
    with channel_of(rabbitmq_server, rabbitmq_vhost) as channel, stream_of(settings) as stream:
        channel.exchange_declare("shop.events", "topic", durable=True)
        wait_until(lambda: next(stream) is None and _has_queue(rabbitmq_server, rabbitmq_vhost), 60, "it listens")
        channel.basic_publish("shop.events", "worker.heartbeat", heartbeat())
        assert len(collect(stream)) == 1


def _has_queue(server: RabbitServer, vhost: str) -> bool:
    return any(queue["name"].startswith("shop.events.ctop.") for queue in server.api("GET", f"/queues/{vhost}"))


def test_an_exchange_deleted_under_us_is_an_error_not_silence(
    rabbitmq_server: RabbitServer, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "REBIND_EVERY", 0.1)
    with stream_of(settings_for(rabbitmq_server, exchange)) as stream:
        collect(stream, 1.0)
        rabbitmq_server.api("DELETE", f"/exchanges/{exchange}/celeryev")
        with pytest.raises(BrokerError, match="no exchange 'celeryev'"):
            collect(stream)


def test_a_right_that_is_missing_is_named(rabbitmq_server: RabbitServer, exchange: str) -> None:
    rabbitmq_server.add_user("blind", "hunter2", permissions={exchange: ("", "", "")})
    try:
        with pytest.raises(RefusedError, match=r"user blind has no .*right on queue 'celeryev\.ctop\."):
            next(RabbitEvents(settings_for(rabbitmq_server, exchange, "blind", "hunter2")).observe())
    finally:
        rabbitmq_server.delete_user("blind")


@pytest.mark.parametrize("ttl", [0.0, events.TTL], ids=["some too old", "too many"])
def test_a_reader_that_cannot_keep_up_says_that_it_lost_some(
    rabbitmq_server: RabbitServer, exchange: str, monkeypatch: pytest.MonkeyPatch, ttl: float
) -> None:
    monkeypatch.setattr(events, "LENGTH", 50)
    monkeypatch.setattr(events, "ARGUMENTS", {**events.ARGUMENTS, "x-max-length": 50})
    body = json.dumps([{"type": "x", "uuid": "u" * 1000, "hostname": "h", "timestamp": time.time()}] * 100).encode()
    with (
        stream_of(settings_for(rabbitmq_server, exchange)) as stream,
        channel_of(rabbitmq_server, exchange) as channel,
    ):
        next(stream)
        monkeypatch.setattr(events, "TTL", ttl)
        monkeypatch.setattr(events, "CHECK_BUSY", 0.0)  # it has stood still for that long

        def lost() -> int:
            """A broker that is slow to say how long our queue is has emptied it by then: once more."""
            for _ in range(400):  # 40 MB: more than the sockets hold, so the queue fills while nobody reads
                channel.basic_publish("celeryev", "task.multi", body)
            channel.queue_declare("done")
            dropped = 0
            while not dropped and (batch := next(stream)) is not None:
                dropped += batch.dropped
            return dropped

        assert wait_until(lost, 60, "some are lost")


def test_settings_are_not_changed_by_use(rabbitmq_server: RabbitServer, exchange: str) -> None:
    settings = settings_for(rabbitmq_server, exchange)
    copy = msgspec.structs.replace(settings)
    with stream_of(settings) as stream:
        next(stream)
    assert settings == copy


@pytest.mark.parametrize("exchange", [True, False])
def test_a_wait_for_events_ends_when_told_to(
    rabbitmq_server: RabbitServer, rabbitmq_vhost: str, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    for pause in ("PULSE", "RETRY_EXCHANGE"):
        monkeypatch.setattr(events, pause, 3600.0)
    with channel_of(rabbitmq_server, rabbitmq_vhost) as channel:
        if exchange:
            declare_exchange(channel)
        source = RabbitEvents(settings_for(rabbitmq_server, rabbitmq_vhost))
        stream = source.observe()
        assert next(stream) is None
        Timer(0.1, source.hang_up).start()
        with pytest.raises(BrokerError):
            next(stream)
        wait_until(lambda: not own_connections(rabbitmq_server, rabbitmq_vhost), 60, "its connection is closed")
        source.hang_up()  # nothing is open: nothing happens

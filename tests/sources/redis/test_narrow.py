"""More events than can even be read: a real Redis is asked for less, on the same connection, and then for all again."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from celerytop.errors import BrokerError, DeniedError
from celerytop.model.address import Address, BrokerSettings, Endpoint
from celerytop.model.event import TaskStarted, WorkerHeartbeat
from celerytop.model.observation import EventsReceived
from celerytop.sources.redis import narrow
from celerytop.sources.redis.connection import CLIENT_NAME
from celerytop.sources.redis.events import RedisEvents
from tests.rig import RedisServer, Sentinel, wait_until
from tests.sources.redis.site import envelope, settings_of

pytestmark = pytest.mark.redis

BASE = "/0.celeryev"
BURST = 2000
"""Events of 4 kB: 8 MB. An answer comes after all of them."""
STARTED = b'{"type":"task-started","uuid":"%d","hostname":"w@h","timestamp":%f,"pad":"%b"}'
BEAT = b'{"type":"worker-heartbeat","hostname":"w%d@h","timestamp":%f}'
README = (
    "look on >pw resetchannels &/0.celeryev* ~* -@all +hello +auth +ping +select +psubscribe +punsubscribe "
    "+client|setname"
)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is losing after 64 KB without an answer, and asks for one at once."""
    monkeypatch.setattr(narrow, "ASK", 1)
    monkeypatch.setattr(narrow, "LOSING", 64 * 1024)


@pytest.fixture
def wary(hasty: None, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """And no look is ever good enough."""
    monkeypatch.setattr(narrow, "_LOOKS", 10**9)
    return monkeypatch


def watch(settings: BrokerSettings) -> tuple[RedisEvents, Any]:
    source = RedisEvents(settings)
    watching = source.observe()
    next(watching)
    return source, watching


def burst(server: RedisServer, first: int, number: int = BURST, base: str = BASE) -> list[int]:
    """Publish task events; how many heard each."""
    pipeline = server.client().pipeline(transaction=False)
    for one in range(first, first + number):
        event = STARTED % (one, time.time(), b"x" * 3000)
        pipeline.publish(f"{base}/task.started", envelope(event))
    return list(pipeline.execute())


def beat(server: RedisServer, number: int, base: str = BASE) -> int:
    """Publish a heartbeat; how many heard it."""
    return int(server.client().publish(f"{base}/worker.heartbeat", envelope(BEAT % (number, time.time()))))


def subscriber(server: RedisServer) -> dict[str, str]:
    """Our connection, whatever it has subscribed now."""
    (one,) = (one for one in server.client().client_list() if one["name"] == CLIENT_NAME)
    return dict(one)


class Heard:
    """What a stream has told."""

    def __init__(self, watching: Any) -> None:
        self._watching = watching
        self.tasks: Counter[str] = Counter()
        self.beats: Counter[str] = Counter()
        self.not_read = 0.0
        self.dropped = 0
        self.deaf = False

    def until(self, done: Any, message: str) -> None:
        """Listen until ``done()``."""
        deadline = time.monotonic() + 60
        while not done():
            assert time.monotonic() < deadline, message
            item = next(self._watching)
            if isinstance(item, EventsReceived):
                self._take(item)

    def _take(self, item: EventsReceived) -> None:
        self.tasks.update(event.uuid for event in item.events if isinstance(event, TaskStarted))
        self.beats.update(event.hostname for event in item.events if isinstance(event, WorkerHeartbeat))
        self.not_read += item.not_read
        self.dropped += item.dropped
        self.deaf = item.deaf


def test_what_cannot_be_read_is_not_asked_for_and_then_it_is_again(redis_server: RedisServer, hasty: None) -> None:
    source, watching = watch(settings_of(redis_server))
    before = subscriber(redis_server)["id"]
    heard = Heard(watching)
    assert burst(redis_server, 0) == [1] * BURST
    heard.until(lambda: heard.tasks.total() == BURST, "what Redis held already is read")
    heard.until(lambda: heard.not_read > 0.0, "that something may have been missed is told")
    heard.until(lambda: subscriber(redis_server)["psub"] == "1", "all is asked for again")
    heard.until(lambda: beat(redis_server, 1) and heard.beats, "a sign of life")
    heard.until(lambda: source._not_read == 0.0, "all that may have been missed is told")
    told = heard.not_read
    assert burst(redis_server, BURST, 5) == [1] * 5
    heard.until(lambda: heard.tasks.total() == BURST + 5, "nothing is missed any more")
    assert max(heard.tasks.values()) == 1
    assert heard.not_read == told
    assert (heard.dropped, heard.deaf) == (0, False)
    assert subscriber(redis_server)["id"] == before, "it is the same connection"


def test_meanwhile_redis_has_nothing_to_hold_and_workers_are_heard(
    redis_server: RedisServer, wary: pytest.MonkeyPatch
) -> None:
    client = redis_server.client()
    client.config_set("client-output-buffer-limit", "pubsub 12mb 0 0")
    _, watching = watch(settings_of(redis_server))
    before, heard = subscriber(redis_server)["id"], Heard(watching)
    burst(redis_server, 0)
    heard.until(lambda: heard.tasks and subscriber(redis_server)["psub"] == "0", "less is asked for")
    for turn in range(1, 5):  # 32 MB, and nobody reads
        assert set(burst(redis_server, turn * BURST)) == {0}
    assert [beat(redis_server, number) for number in range(100)] == [1] * 100
    heard.until(lambda: heard.beats.total() == 100, "each is heard")
    wary.setattr(narrow, "_LOOKS", 2)
    heard.until(lambda: subscriber(redis_server)["psub"] == "1" and heard.not_read, "all is asked for again")
    heard.until(lambda: burst(redis_server, 10**6, 1) and heard.tasks["1000000"], "and comes")
    assert subscriber(redis_server)["id"] == before
    assert client.info("stats").get("client_output_buffer_limit_disconnections", 0) == 0


def test_between_all_and_less_no_worker_is_missed_or_heard_twice(
    redis_server: RedisServer, wary: pytest.MonkeyPatch
) -> None:
    _, watching = watch(settings_of(redis_server))
    heard = Heard(watching)
    burst(redis_server, 0)
    heard.until(lambda: heard.tasks.total() == BURST, "what Redis held")

    def talk() -> None:
        for number in range(400):  # each meets another moment between two looks
            beat(redis_server, number)

    talking = threading.Thread(target=talk)
    talking.start()
    heard.until(lambda: heard.beats.total() >= 400, "all have been heard")
    talking.join()
    assert len(heard.beats) == 400
    assert heard.beats.total() == 400


@pytest.mark.parametrize("wary_for", [3600.0, 0.0])
def test_for_a_while_after_a_flood_less_is_too_much(
    redis_server: RedisServer, hasty: None, monkeypatch: pytest.MonkeyPatch, wary_for: float
) -> None:
    source, watching = watch(settings_of(redis_server))
    heard = Heard(watching)
    burst(redis_server, 0)
    heard.until(lambda: heard.tasks.total() == BURST and heard.not_read > 0.0, "less was asked for")
    heard.until(lambda: subscriber(redis_server)["psub"] == "1" and source._not_read == 0.0, "all is, again")
    told, most = heard.not_read, 4 << 20  # half of a burst
    monkeypatch.setattr(narrow, "LOSING", narrow.WARY * most)
    monkeypatch.setattr(narrow, "WARY_FOR", wary_for)
    burst(redis_server, BURST)
    heard.until(lambda: heard.tasks.total() == 2 * BURST, "what Redis held")
    heard.until(lambda: beat(redis_server, 1) and heard.beats and source._not_read == 0.0, "all is told")
    assert (heard.not_read > told) == (wary_for > 0.0)


def test_more_than_may_be_read_on_is_not_read_on(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrow, "MOST", 10 << 20)  # of which a tenth may come in a tenth of a second
    _, watching = watch(settings_of(redis_server))
    heard = Heard(watching)
    burst(redis_server, 0)
    heard.until(lambda: heard.not_read > 0.0, "less was asked for")
    heard.until(lambda: subscriber(redis_server)["psub"] == "1", "all is asked for again")


def test_as_long_as_it_is_read_all_is_asked_for(redis_server: RedisServer) -> None:
    _, watching = watch(settings_of(redis_server))
    heard = Heard(watching)
    for turn in range(5):
        assert set(burst(redis_server, turn * BURST)) == {1}
        heard.until(lambda wanted=(turn + 1) * BURST: heard.tasks.total() + heard.dropped == wanted, "all of it")
    assert heard.not_read == 0.0


def test_an_account_that_may_ask_for_nothing_less_asks_for_nothing(wary: pytest.MonkeyPatch) -> None:
    with RedisServer(acl=[README]) as server:
        _, watching = watch(settings_of(server, "pw", "look"))
        before, heard = subscriber(server)["id"], Heard(watching)
        burst(server, 0)
        heard.until(lambda: heard.deaf, "it says that not even workers are heard")
        heard.until(lambda: subscriber(server)["psub"] == "0", "between two looks")
        assert beat(server, 1) == 0
        wary.setattr(narrow, "_LOOKS", 2)
        heard.until(lambda: not heard.deaf, "workers are heard again")
        heard.until(lambda: beat(server, 2) and heard.beats, "they are")
        assert subscriber(server)["id"] == before
        assert heard.not_read > 0.0


def test_with_the_right_to_subscribe_that_account_hears_workers(wary: pytest.MonkeyPatch) -> None:
    with RedisServer(acl=[f"{README} +subscribe +unsubscribe"]) as server:
        _, watching = watch(settings_of(server, "pw", "look"))
        heard = Heard(watching)
        burst(server, 0)
        heard.until(lambda: heard.not_read > 0.0, "less is asked for")
        heard.until(lambda: beat(server, 1) and len(heard.beats) == 1, "a worker")
        assert not heard.deaf


def test_an_account_that_may_not_even_unsubscribe_is_told_what_is_missing(hasty: None) -> None:
    rights = "mon on >pw resetchannels &/0.celeryev* -@all +auth +ping +psubscribe +client|setname"
    with RedisServer(acl=[rights]) as server:
        _, watching = watch(settings_of(server, "pw", "mon"))
        burst(server, 0)
        with pytest.raises(DeniedError, match=r"\+punsubscribe"):
            Heard(watching).until(lambda: False, "it gives up")


def test_events_that_do_not_say_of_which_kind_they_are_cannot_be_told_apart(wary: pytest.MonkeyPatch) -> None:
    with RedisServer() as server:
        _, watching = watch(settings_of(server))
        heard = Heard(watching)
        pipeline = server.client().pipeline(transaction=False)
        for one in range(BURST):
            pipeline.publish(BASE, envelope(STARTED % (one, time.time(), b"x" * 3000)))  # fanout_patterns=False
        pipeline.execute()
        heard.until(lambda: heard.deaf, "it says that workers are not heard")


def test_both_forms_of_the_channel_are_told_apart(redis_sentinel: Sentinel, wary: pytest.MonkeyPatch) -> None:
    where = (Endpoint("127.0.0.1", redis_sentinel.sentinel.port),)
    settings = BrokerSettings(Address("redis", where, sentinel=True, master_name=redis_sentinel.name))
    _, watching = watch(settings)
    server, heard = redis_sentinel.master, Heard(watching)
    burst(server, 0, base="/{db}.celeryev")
    heard.until(lambda: heard.tasks and subscriber(server)["psub"] == "0", "less is asked for")
    assert set(burst(server, BURST, 10)) == set(burst(server, BURST, 10, "/{db}.celeryev")) == {0}
    assert [beat(server, 1), beat(server, 2, "/{db}.celeryev")] == [1, 1]
    heard.until(lambda: len(heard.beats) == 2, "workers of both")
    wary.setattr(narrow, "_LOOKS", 2)
    heard.until(lambda: subscriber(server)["psub"] == "2", "all is asked for again")


@pytest.fixture
def cut_off(redis_server: RedisServer, wary: pytest.MonkeyPatch) -> Iterator[RedisEvents]:
    """A source whose connection was ended in a flood."""
    source, watching = watch(settings_of(redis_server))
    heard = Heard(watching)
    burst(redis_server, 0)
    heard.until(lambda: heard.tasks.total() == BURST, "what Redis held")
    redis_server.client().client_kill_filter(_id=subscriber(redis_server)["id"])
    with pytest.raises(BrokerError):
        heard.until(lambda: False, "it is noticed")
    yield source


def test_whoever_was_cut_off_in_a_flood_begins_with_less(
    redis_server: RedisServer, cut_off: RedisEvents, wary: pytest.MonkeyPatch
) -> None:
    watching = cut_off.observe()
    next(watching)
    wait_until(lambda: subscriber(redis_server)["psub"] == "0", 20, "less is asked for")
    assert beat(redis_server, 1) == 1
    wary.setattr(narrow, "_LOOKS", 2)
    heard = Heard(watching)
    heard.until(lambda: heard.beats and subscriber(redis_server)["psub"] == "1", "all is asked for again")
    heard.until(lambda: burst(redis_server, 1, 1) and heard.tasks, "and comes")

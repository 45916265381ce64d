"""The broker ill, stopped, frozen; celerytop killed. What goes on, what is said, what is left behind."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from celerytop.errors import BrokerError, DeniedError
from celerytop.model.broker import RabbitBroker
from celerytop.model.observation import Observation, WorkersAnswered
from celerytop.model.worker import ALIVE, UNKNOWN
from celerytop.monitor import Monitor
from celerytop.sources.base import Interest, Lane
from celerytop.sources.rabbitmq.events import RabbitEvents
from tests.rig import RabbitServer, Stopwatch, Worker, wait_until
from tests.rig.process import ROOT
from tests.sources.queues_contract import one_sentence
from tests.sources.rabbitmq.open_lanes import (
    answers_in,
    ask,
    broker_in,
    channel_of,
    inventory,
    lanes_of,
    own_connections,
    probe_of,
    queues_in,
    settings_for,
)
from tests.test_faults import watching

pytestmark = pytest.mark.rabbitmq
NOTICED = 8.0
"""Seconds within which a broker that is gone or frozen must be noticed."""

ENDED = "has closed the connection|has hung up"
"""The second when nobody was reading while it said goodbye."""


@pytest.fixture
def vhost(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> str:
    """A vhost with what a worker would have declared, without one."""
    with channel_of(rabbitmq_server, rabbitmq_vhost) as channel:
        channel.exchange_declare("celeryev", "topic", durable=True)
        channel.exchange_declare("celery.pidbox", "fanout")
        channel.queue_declare("celery", durable=True)
    return rabbitmq_vhost


@pytest.mark.worker
@pytest.mark.timeout(300)
def test_memory_alarm_blocks_control_alone(rabbitmq_server: RabbitServer, vhost: str) -> None:
    settings = settings_for(rabbitmq_server, vhost)
    url = rabbitmq_server.url(vhost)
    with (
        Worker(url, nodename="one@h", concurrency=1, pool="solo"),
        lanes_of(settings) as lanes,
        watching(url, management_url=rabbitmq_server.management_url) as monitor,
    ):
        wait_until(lambda: answers_in(ask(lanes, "control")), 60, "all is well")
        wait_until(lambda: _state(monitor) == ALIVE, 60, "it is seen alive")
        rabbitmq_server.set_alarm()
        try:
            told = wait_until(lambda: _denied(lanes), 60, "control is blocked") or ""
            assert told.startswith("memory alarm: RabbitMQ blocks publishers (low on memory)")
            assert _denied(lanes) == told, "again at once, without publishing anything"
            with Stopwatch() as stopwatch:
                assert queues_in(ask(lanes, "queues"))["celery"].exists
            assert stopwatch.seconds < 1.0
            assert broker_in(ask(lanes, "broker")).blocked == "low on memory"
            lanes["management"].connect()
            alarms = broker_in(ask(lanes, "management")).alarms
            assert alarms is not None and alarms[0].startswith("memory on rig")
            called = {_state(monitor) for _ in _seconds_until(monitor, UNKNOWN)}
            assert called <= {ALIVE, UNKNOWN}, "nobody is silent or gone because he may not speak"
            assert monitor.latest.totals.workers_alive == 1
        finally:
            rabbitmq_server.clear_alarm()
        answered = wait_until(lambda: _answered(lanes), 60, "it answers again")
        assert answered is not None and {reply.nodename for reply in answered.replies} == {"one@h"}
        assert broker_in(ask(lanes, "broker")).blocked is None


def _state(monitor: Monitor) -> str | None:
    worker = monitor.latest.workers.get("one@h")
    return None if worker is None else worker.state


def _seconds_until(monitor: Monitor, state: str) -> Iterator[None]:
    """Ten times a second, until the worker is in this state."""
    until = time.monotonic() + 60
    while _state(monitor) != state:
        assert time.monotonic() < until, f"{_state(monitor)}, not {state}"
        time.sleep(0.1)
        yield


def _denied(lanes: dict[str, Lane]) -> str | None:
    try:
        ask(lanes, "control", Interest(workers=("one@h",)))
    except DeniedError as error:
        return str(error)
    return None


def _answered(lanes: dict[str, Lane]) -> WorkersAnswered | None:
    with contextlib.suppress(DeniedError):
        answered = answers_in(ask(lanes, "control"))
        return answered if answered is not None and answered.replies else None
    return None


def failure(poll: Iterator[object]) -> tuple[str, float]:
    """What an endless poll ends with, and after how many seconds."""
    with Stopwatch() as stopwatch, pytest.raises(BrokerError) as caught:
        while stopwatch.seconds < NOTICED + 5:
            next(poll)
    return str(caught.value), stopwatch.seconds


def again_and_again(lanes: dict[str, Lane], name: str) -> Iterator[object]:
    """Poll as the monitor does."""
    while True:
        ask(lanes, name)
        time.sleep(probe_of(lanes, name).every)
        yield None


@pytest.mark.timeout(300)
def test_a_frozen_broker_is_noticed_by_every_source(rabbitmq_server: RabbitServer, vhost: str) -> None:
    settings = settings_for(rabbitmq_server, vhost)
    stream = RabbitEvents(settings).observe()
    next(stream)
    next(stream)
    with lanes_of(settings) as lanes:
        for name in ("queues", "control", "management"):
            ask(lanes, name)
        rabbitmq_server.freeze()
        try:
            polls = [stream, *(again_and_again(lanes, name) for name in ("queues", "control", "management"))]
            with ThreadPoolExecutor() as threads:
                for sentence, seconds in threads.map(failure, polls):
                    assert "takes the connection but sends nothing" in sentence
                    assert seconds < NOTICED
            with Stopwatch() as stopwatch, ThreadPoolExecutor() as threads:
                list(threads.map(lambda lane: lane.close(), lanes.values()))
            assert stopwatch.seconds < 2.0, "closing does not wait for a frozen broker"
            with ThreadPoolExecutor() as threads:
                anew = RabbitEvents(settings).observe()
                for seconds in threads.map(_refused_after, [lanes["queues"].connect, lambda: next(anew)]):
                    assert seconds < 5.2
        finally:
            rabbitmq_server.thaw()
        wait_until(rabbitmq_server.ready, 60, "it is back")
        lanes["queues"].connect()
        assert queues_in(ask(lanes, "queues"))["celery"].exists


def _refused_after(connect: Callable[[], object]) -> float:
    """Seconds until connecting to a frozen broker is given up."""
    with Stopwatch() as stopwatch, pytest.raises(BrokerError, match="takes the connection but sends nothing") as caught:
        connect()
    assert one_sentence(str(caught.value))
    return stopwatch.seconds


@pytest.mark.timeout(300)
def test_stopped_and_started(rabbitmq_server: RabbitServer, vhost: str) -> None:
    settings = settings_for(rabbitmq_server, vhost)
    stream = RabbitEvents(settings).observe()
    next(stream)
    next(stream)
    with lanes_of(settings) as lanes:
        for name in ("queues", "control", "management"):
            ask(lanes, name)
        rabbitmq_server.stop_app()
        try:
            sentence, seconds = failure(stream)
            assert re.search(ENDED, sentence) and seconds < NOTICED
            sentence, _ = failure(again_and_again(lanes, "queues"))
            assert re.search(ENDED, sentence)
            sentence, _ = failure(again_and_again(lanes, "control"))
            assert re.search(ENDED, sentence)
            broker = _last_of(lanes)
            assert broker.management is not None and broker.alarms is None
            with pytest.raises(BrokerError, match="nobody listens") as down:
                lanes["queues"].connect()
            assert one_sentence(str(down.value))
        finally:
            rabbitmq_server.start_app()
        for lane in lanes.values():
            lane.connect()
        assert queues_in(ask(lanes, "queues"))["celery"].exists
        assert broker_in(ask(lanes, "management")).management is None


def _last_of(lanes: dict[str, Lane]) -> RabbitBroker:
    """The picture the management probe leaves when it fails."""
    found: list[Observation] = []
    with pytest.raises(BrokerError):
        while True:
            for one in probe_of(lanes, "management").poll():
                found.append(one)
            time.sleep(0.2)
    return broker_in(found)


EVERYTHING = """
import sys, time, msgspec
from celerytop.model.address import Address, BrokerSettings, Endpoint, Secret
from celerytop.sources.base import Interest
from celerytop.sources.rabbitmq.events import RabbitEvents
from celerytop.sources.rabbitmq.lane import rabbit_lanes
port, vhost, url = int(sys.argv[1]), sys.argv[2], sys.argv[3]
address = Address("rabbitmq", (Endpoint("127.0.0.1", port),), "guest", Secret("guest"), vhost=vhost)
settings = BrokerSettings(address, management_url=url)
stream, lanes = RabbitEvents(settings).observe(), rabbit_lanes(settings)
next(stream)
for lane in lanes:
    lane.connect()
while True:
    for lane in lanes:
        for probe in lane.probes:
            probe.attend(Interest(page="all", queue="celery", queues=("celery", "nope")))
            list(probe.poll())
    next(stream)
    print("looked", flush=True)
"""


def test_sigkill_leaves_nothing_and_looking_changes_nothing(rabbitmq_server: RabbitServer, vhost: str) -> None:
    with channel_of(rabbitmq_server, vhost) as channel:
        channel.confirm_delivery()
        for _ in range(3):
            channel.basic_publish("", "celery", b"[]")
        before = inventory(rabbitmq_server, vhost)
        arguments = [str(rabbitmq_server.port), vhost, rabbitmq_server.management_url]
        looking = subprocess.Popen(
            [sys.executable, "-c", EVERYTHING, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        try:
            assert looking.stdout is not None
            for _ in range(3):
                assert looking.stdout.readline() == "looked\n"
            wait_until(lambda: len(own_connections(rabbitmq_server)) == 3, 60, "three connections")
            names = [queue["name"] for queue in rabbitmq_server.api("GET", f"/queues/{vhost}")]
            assert len(names) == 3 and sum(name.startswith("celeryev.ctop.") for name in names) == 2
        finally:
            looking.send_signal(signal.SIGKILL)
            looking.wait(60)
            if looking.stdout is not None:
                looking.stdout.close()
        wait_until(lambda: own_connections(rabbitmq_server) == [], 60, "no connection left")
        wait_until(lambda: inventory(rabbitmq_server, vhost) == before, 60, "nothing left behind")
        for _ in range(3):
            method, _properties, body = channel.basic_get("celery", auto_ack=True)
            assert body == b"[]" and method.redelivered is False


def test_secrets_are_in_no_observation(rabbitmq_server: RabbitServer, vhost: str) -> None:
    rabbitmq_server.add_user("sec", "hunter2", "monitoring", {vhost: (".*", ".*", ".*")})
    try:
        settings = settings_for(rabbitmq_server, vhost, "sec", "hunter2")
        with lanes_of(settings) as lanes:
            found = [
                one
                for name in ("queues", "broker", "control", "management")
                for one in ask(lanes, name, Interest(page="all", queue="celery"))
            ]
        assert "hunter2" not in json.dumps(msgspec.to_builtins(found)) + repr(found) + repr(settings)
    finally:
        rabbitmq_server.delete_user("sec")

"""Asking real workers over RabbitMQ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import pytest

from celerytop.errors import DeniedError
from celerytop.model.address import BrokerSettings
from celerytop.model.observation import Pong, StatsReply, TasksListed, WorkersAnswered
from celerytop.sources.base import Interest, Lane, Probe
from celerytop.sources.rabbitmq.events import RabbitEvents
from tests.rig import RabbitServer, Worker, eventually, wait_until
from tests.sources import control_contract
from tests.sources.answers import start
from tests.sources.contract import Site
from tests.sources.control_contract import ControlContract, Skipping, hurry
from tests.sources.rabbitmq.open_lanes import (
    RabbitSite,
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

pytestmark = pytest.mark.rabbitmq


def round_of(lanes: dict[str, Lane], interest: Interest | None = None) -> WorkersAnswered:
    """The next round, made due now."""
    probe: Any = probe_of(lanes, "control")
    if not isinstance(probe._asking._clock, Skipping):
        hurry(probe, Skipping())
    probe._asking._clock.skip(5.1)
    found = answers_in(ask(lanes, "control", interest))
    assert found is not None and "ping" in found.asked
    return found


def nodes_in(answered: WorkersAnswered) -> set[str]:
    return {reply.nodename for reply in answered.replies if isinstance(reply, Pong)}


class TestRabbitControl(ControlContract):
    """The contract."""

    counts = False

    @contextmanager
    def probe(self, settings: BrokerSettings) -> Iterator[Probe]:
        with lanes_of(settings, "control") as lanes:
            yield probe_of(lanes, "control")

    @pytest.fixture
    def site(self, rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> Site:
        return RabbitSite(rabbitmq_server, rabbitmq_vhost)

    @pytest.fixture(autouse=True)
    def fetching_workers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Workers that fetch all at once: on RabbitMQ the prefetch count grows by one for each task with an ETA."""
        monkeypatch.setattr(control_contract, "Worker", partial(Worker, extra=("--prefetch-multiplier", "2000")))

    def debris(self, site: Site) -> list[str]:
        assert isinstance(site, RabbitSite)
        return site.debris()


def test_no_worker_has_ever_connected(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    before = inventory(rabbitmq_server, rabbitmq_vhost)
    with lanes_of(settings_for(rabbitmq_server, rabbitmq_vhost), "control") as lanes:

        def at_once() -> None:
            answered = round_of(lanes)
            assert (answered.replies, answered.expected) == ((), 0)
            assert answered.window < 0.5, "nobody listens: nothing to wait for"

        eventually(at_once)
        assert round_of(lanes).expected == 0, "and the channel is open again"
    wait_until(lambda: inventory(rabbitmq_server, rabbitmq_vhost) == before, 60, "nothing left behind")
    wait_until(lambda: own_connections(rabbitmq_server) == [], 60, "no connection left behind")


@pytest.mark.worker
def test_everybody_answers_in_milliseconds(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    url = rabbitmq_server.url(rabbitmq_vhost)
    names = {"one@h", "two@h"}
    with (
        closing(Worker(url, nodename="one@h", concurrency=1)) as one,
        closing(Worker(url, nodename="two@h", concurrency=1, pool="threads")) as two,
        lanes_of(settings_for(rabbitmq_server, rabbitmq_vhost), "control") as lanes,
    ):
        start(one, two)
        settings = settings_for(rabbitmq_server, rabbitmq_vhost)

        def first_and_second() -> None:
            """A worker says that it is ready before it answers, and a loaded machine lets it wait."""
            probe_of(lanes, "control")._asking.forget()  # type: ignore[attr-defined]
            first = round_of(lanes)
            assert nodes_in(first) == names
            assert {reply.pool for reply in first.replies if isinstance(reply, StatsReply)} == {"prefork", "threads"}
            assert {reply.place for reply in first.replies if isinstance(reply, TasksListed)} >= {"active", "reserved"}
            second = round_of(lanes, Interest(workers=tuple(names)))
            assert nodes_in(second) == names
            assert second.window < 0.5, "no need to wait out the second"
            assert set(second.present) == names and second.absent == ()

        def told_by_the_api() -> None:
            with lanes_of(settings, "control", "management") as told:
                ask(told, "management")
                answered = round_of(told)
                assert (nodes_in(answered), answered.expected) == (names, 2)
                assert answered.window < 0.5, "the management API names those to wait for, even in the first round"

        eventually(first_and_second)
        eventually(told_by_the_api)


@pytest.mark.worker
def test_frozen_is_present_and_killed_is_absent(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    url = rabbitmq_server.url(rabbitmq_vhost)
    interest = Interest(workers=("frozen@h", "killed@h"))
    with (
        closing(Worker(url, nodename="frozen@h", concurrency=1, pool="solo")) as frozen,
        closing(Worker(url, nodename="killed@h", concurrency=1, pool="solo")) as killed,
        lanes_of(settings_for(rabbitmq_server, rabbitmq_vhost), "control") as lanes,
    ):
        start(frozen, killed)
        frozen.freeze()
        killed.kill()

        def settled() -> bool:
            answered = round_of(lanes, interest)
            return (answered.present, answered.absent, answered.window < 1.5) == (("frozen@h",), ("killed@h",), True)

        wait_until(settled, 60, "one there, one gone")
        frozen.thaw()


@pytest.mark.worker
def test_late_replies_are_ignored(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    url = rabbitmq_server.url(rabbitmq_vhost)
    with (
        Worker(url, nodename="slow@h", concurrency=1, pool="solo") as slow,
        lanes_of(settings_for(rabbitmq_server, rabbitmq_vhost), "control") as lanes,
    ):
        slow.freeze()
        assert nodes_in(round_of(lanes, Interest(workers=("slow@h",)))) == set()
        slow.thaw()
        wait_until(lambda: round_of(lanes, Interest(workers=("slow@h",))).late, 60, "the late answers")


def test_an_account_that_may_only_look_cannot_ask_but_counts(
    rabbitmq_server: RabbitServer, rabbitmq_vhost: str
) -> None:
    """The account of facts: events and counts work, control names the right that is missing."""
    look = ("^celeryev\\.ctop\\.", "^celeryev\\.ctop\\.", "^(celeryev$|celeryev\\.ctop\\.)")
    rabbitmq_server.add_user("look", "hunter2", "monitoring", {rabbitmq_vhost: look})
    try:
        settings = settings_for(rabbitmq_server, rabbitmq_vhost, "look", "hunter2")
        with channel_of(rabbitmq_server, rabbitmq_vhost) as channel, lanes_of(settings) as lanes:
            channel.exchange_declare("celeryev", "topic", durable=True)
            channel.exchange_declare("celery.pidbox", "fanout")
            channel.queue_declare("celery")
            with pytest.raises(DeniedError, match=r"user look has no .*right on exchange 'celery\.pidbox'") as caught:
                round_of(lanes)
            assert "workers cannot be asked" in str(caught.value)
            with pytest.raises(DeniedError):
                ask(lanes, "control")  # not asked again at once, and not UP in between either
            assert queues_in(ask(lanes, "queues"))["celery"].messages == 0
            broker = broker_in(ask(lanes, "management"))
            assert broker.nodes and broker.denied == ("write on exchange celery.pidbox",)
            stream = RabbitEvents(settings).observe()
            assert [next(stream), next(stream)] == [None, None]
            channel.basic_publish("celeryev", "worker.heartbeat", b"[]")
            stream.close()  # type: ignore[attr-defined]
    finally:
        rabbitmq_server.delete_user("look")


def test_passive_opens_no_way_to_publish(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    with lanes_of(settings_for(rabbitmq_server, rabbitmq_vhost), passive=True) as lanes:
        assert set(lanes) == {"queues", "management"}
        with pytest.raises(StopIteration):
            probe_of(lanes, "control")


@pytest.mark.worker
def test_the_control_exchange_can_have_another_name(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    url = rabbitmq_server.url(rabbitmq_vhost)
    settings = settings_for(rabbitmq_server, rabbitmq_vhost, control_exchange="shop")
    with (
        Worker(url, nodename="shop@h", concurrency=1, pool="solo", conf={"control_exchange": "shop"}),
        lanes_of(settings, "control") as lanes,
    ):

        def at_once() -> None:
            answered = round_of(lanes)
            assert nodes_in(answered) == {"shop@h"}
            assert answered.window < 1.3

        eventually(at_once)

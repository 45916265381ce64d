"""Counting queues by passive declare."""

from __future__ import annotations

import pytest

from celerytop.errors import BrokerError
from celerytop.model.observation import QueueSampled
from celerytop.sources.base import Interest
from celerytop.sources.rabbitmq.connection import connect
from celerytop.sources.rabbitmq.declare import LOCKED, MISSING, Declarer
from tests.rig import RabbitServer, wait_until
from tests.sources.queues_contract import QueuesContract, Watched
from tests.sources.rabbitmq.open_lanes import (
    RabbitSite,
    ask,
    broker_in,
    channel_of,
    inventory,
    lanes_of,
    queues_in,
    settings_for,
)

pytestmark = pytest.mark.rabbitmq


def fill(channel: object, name: str, count: int) -> None:
    for _ in range(count):
        channel.basic_publish("", name, b"x")  # type: ignore[attr-defined]


class TestRabbitQueues(QueuesContract):
    """The contract. Freezing and restarting: see test_faults.py, for all sources at once."""

    test_a_restarted_server_is_outlived = None  # type: ignore[assignment]
    test_a_frozen_server_is_noticed_in_time = None  # type: ignore[assignment]

    @pytest.fixture
    def watched(self, rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> Watched:
        return RabbitSite(rabbitmq_server, rabbitmq_vhost)


def test_counts_are_exact_at_once(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    settings = settings_for(rabbitmq_server, rabbitmq_vhost, queues=("mail",))
    with channel_of(rabbitmq_server, rabbitmq_vhost) as channel, lanes_of(settings, "queues") as lanes:
        channel.confirm_delivery()
        channel.queue_declare("mail", durable=True)
        for count in (3, 10):
            fill(channel, "mail", count)
            channel.queue_declare("mail", passive=True)
        mail = queues_in(ask(lanes, "queues"))["mail"]
        assert (mail.messages, mail.consumers, mail.exists) == (13, 0, True)
        assert mail.known_by == ("settings",)


@pytest.mark.parametrize(
    "arguments",
    [{"x-queue-type": "quorum"}, {"x-max-priority": 10}, {"x-queue-mode": "lazy"}],
    ids=["quorum", "priority", "lazy"],
)
def test_every_kind_of_queue_is_counted(
    rabbitmq_server: RabbitServer, rabbitmq_vhost: str, arguments: dict[str, object]
) -> None:
    settings = settings_for(rabbitmq_server, rabbitmq_vhost)
    interest = Interest(queues=("work",))
    with channel_of(rabbitmq_server, rabbitmq_vhost) as channel, lanes_of(settings, "queues") as lanes:
        channel.queue_declare("work", durable=True, arguments=arguments)
        channel.confirm_delivery()
        fill(channel, "work", 7)
        wait_until(lambda: queues_in(ask(lanes, "queues", interest))["work"].messages == 7, 60, "seven messages")


def test_a_missing_queue_spoils_no_other(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    settings = settings_for(rabbitmq_server, rabbitmq_vhost)
    with channel_of(rabbitmq_server, rabbitmq_vhost) as channel, lanes_of(settings, "queues") as lanes:
        for name in ("a", "c", "e"):
            channel.queue_declare(name)
        interest = Interest(queues=("a", "b", "c", "d", "e", "x" * 256))
        found = queues_in(ask(lanes, "queues", interest))
        assert {name: queue.exists for name, queue in found.items()} == {
            "a": True,
            "b": False,
            "c": True,
            "d": False,
            "e": True,
        }
        assert found["b"].messages is None
        assert "celery" not in found, "nobody has named it, and it is not there"


def test_a_queue_that_goes_and_comes_is_seen(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    settings = settings_for(rabbitmq_server, rabbitmq_vhost, queues=("mail",))
    with channel_of(rabbitmq_server, rabbitmq_vhost) as channel, lanes_of(settings, "queues") as lanes:
        channel.queue_declare("mail")
        assert queues_in(ask(lanes, "queues"))["mail"].exists
        channel.queue_delete("mail")
        assert queues_in(ask(lanes, "queues"))["mail"].exists is False
        channel.queue_declare("mail")
        wait_until(lambda: queues_in(ask(lanes, "queues"))["mail"].exists, 60, "it is back")


def test_names_that_failed_are_left_alone_for_a_while(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    link = connect(settings_for(rabbitmq_server, rabbitmq_vhost))
    declarer = Declarer(link)
    with channel_of(rabbitmq_server, rabbitmq_vhost) as channel:
        channel.queue_declare("mine", exclusive=True)
        assert declarer.ask(["no", "mine"]) == {"no": MISSING, "mine": LOCKED}
        before = link.commands
        assert declarer.ask(["no", "mine"]) == {"no": MISSING, "mine": LOCKED}
        assert link.commands == before, "each would have cost the broker a line in its log"
        declarer.forget()
        declarer.ask(["no", "mine"])
        assert link.commands > before
    link.close()


def test_celerys_own_queues_are_not_listed(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    plumbing = (
        "w1@h.celery.pidbox",
        "celeryev.1f2c",
        "celery_delayed_3",
        "shop_celery_delayed_27",
        "0a77c2d4-90ab-4c1e-8f0e-5d4d0a8c11f2",
        "0a77c2d4-90ab-4c1e-8f0e-5d4d0a8c11f2.reply.celery.pidbox",
    )
    with lanes_of(settings_for(rabbitmq_server, rabbitmq_vhost), "queues") as lanes:
        found = queues_in(ask(lanes, "queues", Interest(queues=(*plumbing, "celery_delayed"))))
    assert set(found) == {"celery_delayed"}


def test_many_queues_take_one_round_trip(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    names = tuple(f"q{number}" for number in range(400))
    with channel_of(rabbitmq_server, rabbitmq_vhost) as channel:
        for name in names:
            channel.queue_declare(name)
    link = connect(settings_for(rabbitmq_server, rabbitmq_vhost))
    try:
        answers = Declarer(link).ask(names)
        assert len(answers) == 400 and all(answer.messages == 0 for answer in answers.values())
        assert link.commands == 400
    finally:
        link.close()


def test_messages_are_never_looked_at(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    settings = settings_for(rabbitmq_server, rabbitmq_vhost, queues=("mail",))
    with channel_of(rabbitmq_server, rabbitmq_vhost) as channel:
        channel.queue_declare("mail")
        channel.confirm_delivery()
        fill(channel, "mail", 5)
        before = inventory(rabbitmq_server, rabbitmq_vhost)
        with lanes_of(settings) as lanes:
            for name in ("queues", "broker", "management", "control"):
                ask(lanes, name, Interest(page="all", queue="mail"))
            found = ask(lanes, "queues", Interest(page="all", queue="mail"))
            (sampled,) = [one for one in found if isinstance(one, QueueSampled)]
            assert sampled.sample.note is not None and "redelivered" in sampled.sample.note
            assert (sampled.sample.total, sampled.sample.sampled) == (5, 0)
        wait_until(lambda: inventory(rabbitmq_server, rabbitmq_vhost) == before, 60, "nothing left behind")
        for _ in range(5):
            method, _properties, _body = channel.basic_get("mail", auto_ack=True)
            assert method.redelivered is False


def test_the_broker_is_known_by_amqp_alone(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    with lanes_of(settings_for(rabbitmq_server, rabbitmq_vhost), "queues") as lanes:
        broker = broker_in(ask(lanes, "broker"))
    assert broker.version is not None
    assert broker.vhost == rabbitmq_vhost
    assert broker.alarms is None and broker.nodes == (), "only the management API can say"


def test_a_closed_lane_says_so(rabbitmq_server: RabbitServer) -> None:
    with lanes_of(settings_for(rabbitmq_server), "queues") as lanes:
        lanes["queues"].close()
        with pytest.raises(BrokerError):
            ask(lanes, "queues")

"""The management API: what it adds, and one sentence for each way it can be missing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from celerytop.errors import BrokerError, RefusedError
from celerytop.model.address import Address, BrokerSettings, Endpoint, Secret
from celerytop.model.broker import RabbitBroker
from celerytop.sources.base import Interest
from celerytop.sources.rabbitmq.api import apis
from celerytop.sources.rabbitmq.lane import rabbit_lanes
from celerytop.sources.rabbitmq.management import Look
from celerytop.sources.rabbitmq.rows import Listing, alarms, client, node, overview, owners
from tests.rig import RabbitServer, Worker, wait_until
from tests.rig.process import free_port
from tests.sources.rabbitmq.open_lanes import (
    ask,
    broker_in,
    channel_of,
    lanes_of,
    queues_in,
    settings_for,
)

pytestmark = pytest.mark.rabbitmq

EVERYTHING = Interest(page="all")


def test_it_adds_what_amqp_cannot_say(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    with channel_of(rabbitmq_server, rabbitmq_vhost) as channel:
        channel.queue_declare("mail")
        channel.queue_declare("celery_delayed_0")
        channel.basic_publish("", "celery_delayed_0", b"later")
        for _ in range(3):
            channel.basic_publish("", "mail", b"x" * 100)
        channel.basic_qos(prefetch_count=2)
        channel.basic_consume("mail", lambda *_: None)

        def settled() -> bool:
            rows = rabbitmq_server.api("GET", f"/queues/{rabbitmq_vhost}")
            told = {row["name"]: row for row in rows}
            return bool(
                told["mail"].get("messages_unacknowledged") == 2 and told["celery_delayed_0"].get("messages_ready") == 1
            )

        wait_until(settled, 60, "the API has counted")
        with lanes_of(settings_for(rabbitmq_server, rabbitmq_vhost), "management") as lanes:
            found = ask(lanes, "management", EVERYTHING)
    mail = queues_in(found)["mail"]
    assert (mail.unacked, mail.type, mail.known_by) == (2, "classic", ("management",))
    assert mail.messages is None and mail.consumers is None, "AMQP counts these exactly"
    assert set(queues_in(found)) == {"mail"}
    broker = broker_in(found)
    assert broker.management is None
    assert (broker.delayed, broker.hidden_queues) == (1, 1)
    assert (broker.messages, broker.unacked) == (3, 2), "of this vhost, whatever else the broker holds"
    assert broker.alarms == ()
    assert broker.nodes[0].running and broker.nodes[0].mem_limit
    assert broker.clients and broker.channels is not None
    assert broker.cost is not None and broker.cost.commands >= 5


def test_both_lanes_tell_the_whole_picture(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    with lanes_of(settings_for(rabbitmq_server, rabbitmq_vhost), "queues", "management") as lanes:
        ask(lanes, "management")
        broker = broker_in(ask(lanes, "broker"))
    assert broker.nodes and broker.version and broker.vhost == rabbitmq_vhost
    assert broker.client_list is None, "nobody looks at connections"


def test_queues_it_lists_are_counted_by_amqp(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    with channel_of(rabbitmq_server, rabbitmq_vhost) as channel:
        channel.queue_declare("nobody told us")
        with lanes_of(settings_for(rabbitmq_server, rabbitmq_vhost), "queues", "management") as lanes:
            assert queues_in(ask(lanes, "queues")) == {}
            ask(lanes, "management")
            found = queues_in(ask(lanes, "queues"))
    assert found["nobody told us"].messages == 0
    assert found["nobody told us"].known_by == ("management",)


@pytest.mark.worker
def test_connections_are_joined_to_workers_and_ours_is_marked(
    rabbitmq_server: RabbitServer, rabbitmq_vhost: str
) -> None:
    settings = settings_for(rabbitmq_server, rabbitmq_vhost)
    with (
        Worker(rabbitmq_server.url(rabbitmq_vhost), nodename="joined@h", concurrency=1),
        lanes_of(settings, "queues", "management") as lanes,
    ):

        def joined() -> bool:
            probe = lanes["management"].probes[0]
            lanes["management"].connect()  # everything is due again
            probe.attend(EVERYTHING)
            told = broker_in(list(probe.poll())).client_list
            assert told != (), "we are connected: an empty list only means that nothing is listed yet"
            listed = told or ()
            return any(one.worker == "joined@h" for one in listed) and any(one.own for one in listed)

        wait_until(joined, 60, "the worker's connection and our own")


# ------------------------------------------------------------------------------------------- what can be missing
@pytest.fixture
def user(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> Iterator[str]:
    """A user without any tag, with every right in the vhost."""
    rabbitmq_server.add_user("untagged", "hunter2", permissions={rabbitmq_vhost: (".*", ".*", ".*")})
    yield "untagged"
    rabbitmq_server.delete_user("untagged")


def refusal(settings: BrokerSettings) -> tuple[BrokerError, RabbitBroker]:
    """The error of the management lane, and what the broker's picture says then."""
    lanes = {lane.name: lane for lane in rabbit_lanes(settings)}
    try:
        lanes["queues"].connect()
        with pytest.raises(BrokerError) as caught:
            lanes["management"].connect()
        assert queues_in(ask(lanes, "queues")) is not None
        broker = broker_in(ask(lanes, "broker"))
    finally:
        for lane in lanes.values():
            lane.close()
    assert broker.management == str(caught.value)
    assert broker.version is not None and broker.alarms is None
    assert "hunter2" not in str(caught.value)
    return caught.value, broker


def test_no_plugin(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    error, _ = refusal(settings_for(rabbitmq_server, rabbitmq_vhost, management_url=url))
    assert "nobody listens" in str(error) and "queues are still counted by AMQP" in str(error)


def test_wrong_password(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    url = rabbitmq_server.management_url.replace("//", "//guest:hunter2@")
    error, _ = refusal(settings_for(rabbitmq_server, rabbitmq_vhost, management_url=url))
    assert isinstance(error, RefusedError)
    assert "refuses the login of user guest" in str(error)


def test_user_without_a_tag(rabbitmq_server: RabbitServer, rabbitmq_vhost: str, user: str) -> None:
    error, _ = refusal(settings_for(rabbitmq_server, rabbitmq_vhost, user, "hunter2"))
    assert isinstance(error, RefusedError)
    assert "user untagged has no management or monitoring tag" in str(error)


def test_amqp_port_is_no_management_api(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    url = f"http://127.0.0.1:{rabbitmq_server.port}"
    error, _ = refusal(settings_for(rabbitmq_server, rabbitmq_vhost, management_url=url))
    assert "does not speak HTTP" in str(error)


def test_another_web_server_is_no_management_api(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    url = f"{rabbitmq_server.management_url}/elsewhere"
    error, _ = refusal(settings_for(rabbitmq_server, rabbitmq_vhost, management_url=url))
    assert "is not RabbitMQ's management API" in str(error)


@pytest.mark.parametrize("url", ["ftp://h:1", "http://", "http://h:notaport"])
def test_a_bad_url_is_refused(rabbitmq_server: RabbitServer, rabbitmq_vhost: str, url: str) -> None:
    error, _ = refusal(settings_for(rabbitmq_server, rabbitmq_vhost, management_url=url))
    assert isinstance(error, RefusedError)


def test_what_a_tag_does_not_allow_is_listed(rabbitmq_server: RabbitServer, rabbitmq_vhost: str, user: str) -> None:
    """Tag ``management`` sees its vhost's queues, but no nodes."""
    rabbitmq_server.api("PUT", f"/users/{user}", {"password": "hunter2", "tags": "management"})
    with lanes_of(settings_for(rabbitmq_server, rabbitmq_vhost, user, "hunter2"), "management") as lanes:
        broker = broker_in(ask(lanes, "management", EVERYTHING))
    assert broker.management is None
    assert "tag monitoring, for /nodes" in broker.denied
    assert broker.nodes == () and broker.cluster_name is not None
    assert broker.clients is None and broker.client_list is None, "only this user's would be counted"
    assert "tag monitoring, for /connections" in broker.denied


def test_a_login_in_the_url_wins_and_is_not_shown() -> None:
    address = Address("rabbitmq", (Endpoint("h"),), "ann", Secret("one"), tls=True)
    (api,) = apis(BrokerSettings(address, management_url="https://bob:p%40ss@m.example:443/rabbit/"))
    assert (api.base, api.user) == ("https://m.example:443/rabbit", "bob")
    (api,) = apis(BrokerSettings(address))
    assert api.base == "https://h:15671", "a broker by TLS gets its password by TLS only"


# ----------------------------------------------------------------------------------------- rows nobody expects
JUNK = [None, [], {}, 5, "x", [1], {"name": 5}, {"name": "\x1b[31m", "memory": "much", "message_stats": []}]


@pytest.mark.parametrize("told", JUNK, ids=json.dumps)
def test_junk_is_not_known_and_never_an_error(told: object) -> None:
    settings = BrokerSettings(Address("rabbitmq", ()))
    row = told if isinstance(told, dict) else {}
    assert alarms(told) == ()
    assert set(overview(told).values()) == {None}
    assert owners(told, settings) == {}
    assert "\x1b" not in node(row).name
    assert client(row, {}, "me", 0.0).worker is None
    listing = Listing(settings)
    listing.add([row], 0.0)
    assert all("\x1b" not in queue.name and queue.memory is None for queue in listing.queues)


def test_what_is_not_counted_yet_is_not_zero() -> None:
    """A quorum queue has no figures until its first tick, some seconds after it was declared."""
    listing = Listing(BrokerSettings(Address("rabbitmq", ())))
    assert (listing.unacked, listing.delayed) == (0, None)
    listing.add([{"name": "celery", "type": "quorum"}, {"name": "celery_delayed_3", "type": "quorum"}], 0.0)
    assert listing.queues[0].unacked is None
    assert (listing.unacked, listing.messages, listing.delayed) == (None, None, None)
    known = Listing(BrokerSettings(Address("rabbitmq", ())))
    known.add([{"name": f"celery_delayed_{n}", "messages_ready": n} for n in (2, 3)], 0.0)
    assert known.delayed == 5
    known.add([{"name": "celery_delayed_4"}], 0.0)
    assert known.delayed is None


def test_who_asks_and_reads_answers_is_no_worker() -> None:
    """A worker asks the others as it starts: its queue for their answers would outlive it as a worker that is gone."""
    settings = BrokerSettings(Address("rabbitmq", ()))
    boxes = ("w1@h.celery.pidbox", "7990d8da-e537-3a47-909b-b0691dce7730.reply.celery.pidbox")
    listing = Listing(settings)
    listing.add([{"name": box} for box in boxes], 0.0)
    assert (listing.nodes, listing.hidden) == ({"w1@h"}, 2)
    consumers = [
        {"queue": {"name": box}, "channel_details": {"connection_name": f"c{number}"}}
        for number, box in enumerate(boxes)
    ]
    assert owners(consumers, settings) == {"c0": "w1@h"}


def test_an_address_is_written_as_the_host_writes_it() -> None:
    rows = [{"peer_host": host, "peer_port": 5} for host in ("10.0.0.5", "::ffff:10.0.0.5", "::1", "[::1]")]
    found = [client(row, {}, "me", 0.0).address for row in rows]
    assert found == ["10.0.0.5:5", "10.0.0.5:5", "[::1]:5", "[::1]:5"]


def test_a_slow_server_is_asked_less_often() -> None:
    look = Look(5.0, lambda _at: iter(()))
    paces = []
    for seconds in (0.3, 0.3, 0.3, 0.3, 0.3, 0.01, 0.01, 0.01, 0.01):
        look.took(seconds, 1, 0.0)
        paces.append(look.every)
    assert paces == [10, 20, 40, 60, 60, 30, 15, 7.5, 5]

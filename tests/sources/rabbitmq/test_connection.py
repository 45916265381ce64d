"""Every way a RabbitMQ can refuse us is one sentence, without a secret, in time."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from celerytop.broker_url import parse_url
from celerytop.errors import BrokerError, RefusedError
from celerytop.model.address import Address, BrokerSettings, Endpoint, Secret
from celerytop.sources.rabbitmq import connection
from celerytop.sources.rabbitmq.connection import connect
from tests.rig import RabbitServer, RedisServer, Stopwatch, free_port, wait_until
from tests.sources.rabbitmq.open_lanes import own_connections, settings_for

pytestmark = pytest.mark.rabbitmq


def at(port: int, host: str = "127.0.0.1", **more: object) -> BrokerSettings:
    address = Address("rabbitmq", (Endpoint(host, port),), "ann", Secret("hunter2"))
    return BrokerSettings(msgspec.structs.replace(address, **more))


def refusal(settings: BrokerSettings) -> BrokerError:
    with Stopwatch() as stopwatch, pytest.raises(BrokerError) as caught:
        connect(settings).close()
    assert stopwatch.seconds < 5.0
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture(autouse=True)
def _resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says at once what a name server says in the end: when that says so is its own affair."""
    real = socket.getaddrinfo

    def resolve(host: Any, *rest: Any, **more: Any) -> Any:
        if str(host).endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.fixture
def mute() -> Iterator[int]:
    """A port that takes connections and says nothing: a frozen broker, to whoever comes new."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield listener.getsockname()[1]


def test_connects_and_goes_without_a_trace(rabbitmq_server: RabbitServer) -> None:
    link = connect(settings_for(rabbitmq_server))
    assert link.version is not None and link.version[0].isdigit()
    link.close()
    assert not link.open
    wait_until(lambda: own_connections(rabbitmq_server) == [], 60, "the API has heard of it")


def test_wrong_password_is_refused_not_retried(rabbitmq_server: RabbitServer) -> None:
    error = refusal(settings_for(rabbitmq_server, user="mon", password="hunter2"))
    assert isinstance(error, RefusedError)
    assert "refuses the login of user mon" in str(error)


def test_a_missing_vhost_is_named(rabbitmq_server: RabbitServer) -> None:
    error = refusal(settings_for(rabbitmq_server, vhost="nope"))
    assert isinstance(error, RefusedError)
    assert str(error).endswith("has no vhost nope")


def test_a_user_without_rights_in_the_vhost_is_named(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    rabbitmq_server.add_user("stranger", "hunter2")
    try:
        error = refusal(settings_for(rabbitmq_server, rabbitmq_vhost, "stranger", "hunter2"))
    finally:
        rabbitmq_server.delete_user("stranger")
    assert isinstance(error, RefusedError)
    assert str(error).endswith(f"user stranger may not use vhost {rabbitmq_vhost}")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (at(free_port()), "nobody listens there"),
        (at(5672, "no-such-host.invalid"), "its name is not known"),
        (at(5672, tls=True, tls_options=(("ssl_ca_certs", "/no/such/file"),)), "TLS options cannot be used"),
        (at(5672, tls=True, tls_options=(("ssl_cert_reqs", "maybe"),)), "ssl_cert_reqs is maybe"),
    ],
    ids=["closed port", "unknown name", "no such certificate", "bad requirement"],
)
def test_what_is_not_there_is_said_at_once(settings: BrokerSettings, words: str) -> None:
    assert words in str(refusal(settings))


def test_a_frozen_server_is_told_from_an_absent_one(mute: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 1.0)
    assert "takes the connection but sends nothing" in str(refusal(at(mute)))


def test_tls_on_a_mute_port_ends_in_time(mute: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 1.0)
    assert "does not speak TLS" in str(refusal(at(mute, tls=True)))


def test_tls_to_a_plain_port_never_falls_back(rabbitmq_server: RabbitServer) -> None:
    error = refusal(at(rabbitmq_server.port, tls=True))
    assert "does not speak TLS as asked" in str(error)
    assert "amqp://" in str(error)


def test_a_redis_port_is_no_amqp_server(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 1.0)
    assert "not an AMQP server" in str(refusal(at(redis_server.port)))


def test_a_server_of_a_failover_list_has_a_login_and_a_vhost_of_its_own(rabbitmq_server: RabbitServer) -> None:
    rabbitmq_server.add_vhost("second")
    rabbitmq_server.add_user("second", "itsown", "", {"second": (".*", ".*", ".*")})
    first, port = f"amqp://first:wrong@127.0.0.1:{rabbitmq_server.port}/nowhere", rabbitmq_server.port
    link = connect(BrokerSettings(parse_url(f"{first};amqp://second:itsown@127.0.0.1:{port}/second")))
    assert (link.address.username, link.address.vhost) == ("second", "second")
    link.close()


def test_failover_takes_the_first_server_that_lets_us_in(rabbitmq_server: RabbitServer) -> None:
    settings = settings_for(rabbitmq_server)
    dead = (Endpoint("127.0.0.1", free_port()), Endpoint("no-such-host.invalid", 5672))
    everywhere = msgspec.structs.replace(settings.address, endpoints=(*dead, *settings.address.endpoints))
    link = connect(BrokerSettings(everywhere))
    assert link.place.endswith(str(rabbitmq_server.port))
    link.close()
    nowhere = msgspec.structs.replace(settings.address, endpoints=dead)
    told = str(refusal(BrokerSettings(nowhere)))
    assert "nobody listens" in told and "name is not known" in told

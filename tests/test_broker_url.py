"""Broker URLs: every form of kombu, and what must never be shown."""

from __future__ import annotations

import logging

import msgspec
import pytest
from kombu import Connection

from celerytop.broker_url import holds_password, parse_url, tls_label
from celerytop.errors import OptionsError
from celerytop.model.address import Address, Endpoint

KOMBU_PORTS = {"redis": 6379, "rediss": 6379, "amqp": 5672, "pyamqp": 5672, "amqps": 5671, "sentinel": 26379}

FORMS = [
    "redis://",
    "redis://h",
    "redis://h/",
    "redis://h/3",
    "redis://h//3",
    "redis://:pass@h:6380/1",
    "redis://u%40x:p%2Fq%3A@h/2",
    "redis://[::1]:7000/2",
    "redis://H.Example.ORG/0",
    "rediss://u:p@h/0?ssl_cert_reqs=none",
    "rediss://h?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=%2Fetc%2Fca.pem",
    "redis://h?ssl_cert_reqs=required",
    "sentinel://s1:26379;sentinel://s2:26379/1",
    "sentinel://:pw@s1/4;sentinel://s2",
    "redis://h1/0;redis://h2/1",
    "amqp://",
    "amqp://h",
    "amqp://h/",
    "amqp://h//",
    "amqp://h/vh",
    "amqp://h/a/b",
    "amqp://u:p@h:5673/%2Fx",
    "amqp://u%40d:p%25@h/vh%20x",
    "amqp://u:p@h//;amqp://u2:p2@h2//",
    "amqps://h:5671/%2Fx",
    "amqps://h",
    "pyamqp://u:p@h/vh",
]


@pytest.mark.parametrize("url", FORMS)
def test_reads_a_url_as_kombu_does(url: str) -> None:
    ours, theirs = parse_url(url), Connection(url)
    first = ours.endpoints[0]
    scheme = url.partition(":")[0]
    assert first.host == (theirs.hostname or "localhost")
    assert first.port == (theirs.port or KOMBU_PORTS[scheme])
    guest = "guest" if ours.transport == "rabbitmq" else None
    assert ours.username == (theirs.userid or guest)
    assert (ours.password.reveal() if ours.password else None) == (theirs.password or guest)
    if ours.transport == "redis":
        assert ours.db == int(theirs.virtual_host.strip("/") or 0)
    else:
        assert ours.vhost == theirs.virtual_host
    assert ours.tls == bool(theirs.ssl or scheme == "amqps")
    assert len(ours.endpoints) == max(1, len(theirs.alt))


def test_a_unix_socket_keeps_its_path_and_database() -> None:
    address = parse_url("redis+socket://:pw@/run/redis%20x.sock?virtual_host=3")
    assert address.endpoints == (Endpoint("", 0, "/run/redis x.sock"),)
    assert (address.db, address.password and address.password.reveal()) == (3, "pw")
    assert address.url == "redis+socket://***@/run/redis x.sock?virtual_host=3"


def test_sentinels_share_the_first_ones_database_and_name_their_master() -> None:
    address = parse_url("sentinel://:pw@s1:26380/2?master_name=main;s2;sentinel://s3:1")
    assert address.sentinel and address.master_name == "main" and address.db == 2
    assert address.endpoints == (Endpoint("s1", 26380), Endpoint("s2", 26379), Endpoint("s3", 1))


def test_a_failover_list_keeps_what_differs() -> None:
    address = parse_url("amqp://u:p@h/a;amqp://u2:p2@h2:7/b")
    assert address.endpoints[0] == Endpoint("h", 5672)
    second = address.endpoints[1]
    assert (second.host, second.port, second.username, second.vhost) == ("h2", 7, "u2", "b")
    assert second.password is not None and second.password.reveal() == "p2"
    assert parse_url("redis://h1/0;redis://h2/5").endpoints[1].db == 5


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:hunter2@10.0.0.5", "redis://***@10.0.0.5:6379/0"),
        ("redis://hunter2@h/0", "redis://***@h:6379/0"),
        ("rediss://u:hunter2@h/1?ssl_cert_reqs=none", "rediss://u:***@h:6379/1"),
        ("amqp://u:hunter2@h//;amqp://u2:hunter2@h2/x", "amqp://u:***@h:5672//;amqp://u2:***@h2:5672/x"),
        ("amqps://u:hunter2@[::1]/%2Fx", "amqps://u:***@[::1]:5671/%2Fx"),
        ("amqp://guest:guest@h", "amqp://h:5672//"),
        ("valkey://:hunter2@h", "valkey://***@h:6379/0"),
        ("redis://h\x1bx/0", "redis://h\\x1bx:6379/0"),
    ],
)
def test_a_url_for_people_has_no_password(url: str, shown: str) -> None:
    address = parse_url(url)
    assert address.url == shown
    assert "hunter2" not in repr(address) + str(address) + f"{address}" + repr(msgspec.structs.asdict(address))


def test_a_url_for_people_can_be_read_again() -> None:
    for url in FORMS:
        again = parse_url(parse_url(url).url)
        first = parse_url(url)
        assert [(one.host, one.port) for one in again.endpoints] == [(one.host, one.port) for one in first.endpoints]
        assert (again.db, again.vhost, again.transport) == (first.db, first.vhost, first.transport)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "empty"),
        ("hunter2@localhost:6379", "no scheme"),
        ("reddis://:hunter2@h", "Did you mean redis://?"),
        ("ampqs://u:hunter2@h", "Did you mean amqps://?"),
        ("mysql://u:hunter2@h", "not known"),
        ("sqs://u:hunter2@h", "not sqs"),
        ("redis://:hun/ter2@h/0", "%2F"),
        ("redis://:hun?ter2@h/0", "%2F"),
        ("redis://:hun#ter2@h/0", "%23"),
        ("amqp://u:12/hunter2@h//", "%2F"),
        ("redis://:12#hunter2@h/0", "%23"),
        ("redis://:1?hunter2@h/0", "%3F"),
        ("redis://:hunter2@h:port/0", "port"),
        ("redis://:hunter2@h/first", "not a number"),
        ("redis://:hunter2@h;amqp://h", "two kinds"),
        ("rediss://:hunter2@h?ssl_cert_reqs=maybe", "ssl_cert_reqs"),
        ("redis://[::1", "host or port"),
    ],
)
def test_a_wrong_url_gets_one_sentence_without_the_password(
    url: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(OptionsError) as caught:
        parse_url(url)
    text = str(caught.value)
    assert words in text and text.rstrip()[-1] in ".?" and "\n" not in text
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert "ter2" not in text + caplog.text


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("redis://h", None),
        ("amqp://h", None),
        ("rediss://h", "TLS, server NOT verified"),
        ("rediss://h?ssl_cert_reqs=none", "TLS, server NOT verified"),
        ("rediss://h?ssl_cert_reqs=CERT_NONE", "TLS, server NOT verified"),
        ("rediss://h?ssl_cert_reqs=required", "TLS"),
        ("rediss://h?ssl_cert_reqs=required&ssl_check_hostname=false", "TLS, server NOT verified"),
        ("valkeys://h?ssl_cert_reqs=CERT_REQUIRED", "TLS"),
        ("amqps://h", "TLS"),
        ("amqps://h?ssl_cert_reqs=none", "TLS, server NOT verified"),
    ],
)
def test_says_whether_the_server_is_verified(url: str, label: str | None) -> None:
    assert tls_label(parse_url(url)) == label


@pytest.mark.parametrize(
    ("url", "holds"),
    [
        ("redis://h", False),
        ("redis://:x@h", True),
        ("redis://x@h", True),
        ("amqp://u@h", False),
        ("amqp://guest:guest@h", False),
        ("amqp://u@h;amqp://u:x@h", True),
        ("reddis://:x@h", True),
        ("http://h:15672", False),
        ("http://u:x@h:15672", True),
    ],
)
def test_knows_a_url_with_a_password(url: str, holds: bool) -> None:
    assert holds_password(url) is holds


def test_valkey_is_redis() -> None:
    address = parse_url("valkey://:x@h:1/2")
    assert isinstance(address, Address) and (address.transport, address.db) == ("redis", 2)

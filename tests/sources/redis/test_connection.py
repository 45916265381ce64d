"""Connecting to a real Redis in every way, and every way it fails: one sentence each, no secret."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from celerytop.broker_url import tls_label
from celerytop.errors import BrokerError, DeniedError, RefusedError
from celerytop.model.address import Address, Endpoint, Secret
from celerytop.sources.redis.connection import connect, db_of, translate
from tests.rig import RedisServer, Sentinel, Stopwatch, free_port, wait_until

pytestmark = pytest.mark.redis
WRONG = "wr0ng"


def at(port: int, host: str = "127.0.0.1") -> tuple[Endpoint, ...]:
    return (Endpoint(host, port),)


@contextlib.contextmanager
def open_(address: Address) -> Iterator[redis.Redis]:
    client = connect(address)
    try:
        yield client
    finally:
        client.close()


def sentence(address: Address, kind: type[BrokerError] = BrokerError) -> str:
    with Stopwatch() as stopwatch, pytest.raises(kind) as raised:
        connect(address).close()
    assert stopwatch.seconds < 5.0
    told = str(raised.value)
    assert "\n" not in told
    assert WRONG not in told
    return told


def test_the_connection_has_a_name_and_a_database(redis_server: RedisServer) -> None:
    with open_(Address("redis", at(redis_server.port), db=3)) as client:
        (own,) = [one for one in client.client_list() if one["name"] == "celerytop"]
        assert own["db"] == "3"
        assert own["resp"] == "2"


def test_logins() -> None:
    with RedisServer(password="right", acl=["mon on >pw ~* &* -@all +auth"]) as server:
        where = at(server.port)
        with open_(Address("redis", where, password=Secret("right"))):
            pass
        with open_(Address("redis", where, username="mon", password=Secret("pw"))):
            pass  # not even +ping
        told = sentence(Address("redis", where, username="mon", password=Secret(WRONG)), RefusedError)
        assert "login refused for user mon" in told
        assert "wants a password" in sentence(Address("redis", where), RefusedError)
    with RedisServer() as server:
        told = sentence(Address("redis", at(server.port), password=Secret(WRONG)), RefusedError)
        assert "has no password" in told


def unknown(name: str, *_: object, **__: object) -> None:
    """What a name server says in the end: when it says so is its own affair."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_places_where_no_redis_is(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nobody listens there" in sentence(Address("redis", at(free_port())))
    with monkeypatch.context() as resolver:
        resolver.setattr(socket, "getaddrinfo", unknown)
        assert "its name is not known" in sentence(Address("redis", at(6379, "no.such.host.invalid")))
    assert "No such file" in sentence(Address("redis", (Endpoint(path="/no/such/socket"),)))
    told = sentence(Address("redis", at(redis_server.port), db=99), RefusedError)
    assert "has no database 99" in told


def test_a_frozen_server(redis_server: RedisServer) -> None:
    redis_server.freeze()
    assert "takes the connection but sends nothing" in sentence(Address("redis", at(redis_server.port)))
    redis_server.thaw()


def test_another_kind_of_server() -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        import threading

        def greet() -> None:
            with listener.accept()[0] as peer:
                peer.recv(100)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        assert "is not a Redis server" in sentence(Address("redis", at(listener.getsockname()[1])))
        thread.join()


def test_tls() -> None:
    with RedisServer(tls=True) as server:
        where = at(server.port)
        ca = ("ssl_ca_certs", str(server.ca_file))
        required = ("ssl_cert_reqs", "CERT_REQUIRED")
        trusted = Address("redis", where, tls=True, tls_options=(required, ca))
        with open_(trusted):
            assert tls_label(trusted) == "TLS"
        blind = Address("redis", where, tls=True)
        with open_(blind):
            assert tls_label(blind) == "TLS, server NOT verified"
        assert tls_label(Address("redis", where)) is None
        unknown = sentence(Address("redis", where, tls=True, tls_options=(required,)), RefusedError)
        assert "its certificate is not trusted" in unknown
        assert "ssl_ca_certs" in unknown
        missing = ("ssl_ca_certs", "/no/such/file")
        told = sentence(Address("redis", where, tls=True, tls_options=(required, missing)), RefusedError)
        assert "TLS files cannot be used" in told
        other = at(server.port, "127.0.0.2")
        if _reachable(other[0]):
            told = sentence(Address("redis", other, tls=True, tls_options=(required, ca)), RefusedError)
            assert "another name" in told
        assert "rediss://" in sentence(Address("redis", where))
    with RedisServer() as plain:
        assert "TLS" in sentence(Address("redis", at(plain.port), tls=True))


def _reachable(endpoint: Endpoint) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((endpoint.host, endpoint.port)) == 0


def test_sentinels(redis_sentinel: Sentinel) -> None:
    where = at(redis_sentinel.sentinel.port)
    good = Address("redis", where, sentinel=True, master_name="mymaster")
    with open_(good) as client:
        assert client.info("server")["tcp_port"] == redis_sentinel.master.port
    dead = (Endpoint("127.0.0.1", free_port()), *where)
    with open_(Address("redis", dead, sentinel=True, master_name="mymaster")):
        pass
    nameless = Address("redis", where, sentinel=True)
    assert "master_name is missing" in sentence(nameless, RefusedError)
    unknown = Address("redis", where, sentinel=True, master_name="other")
    assert "knows no master named other" in sentence(unknown, RefusedError)


def test_what_a_sick_server_says(redis_server: RedisServer) -> None:
    address = Address("redis", at(redis_server.port))
    client = redis_server.client()
    client.config_set("maxmemory", 1)
    with pytest.raises(redis.RedisError) as full:
        client.set("key", "value")
    assert "is full" in str(translate(full.value, address))
    client.config_set("maxmemory", 0)
    client.config_set("busy-reply-threshold", 50)
    client.set("k", 1)
    other = redis_server.client()
    busy = redis_server.client()
    connection: Any = busy.connection_pool.get_connection()
    connection.send_command("EVAL", "while true do end", 0)

    def blocked() -> redis.RedisError | None:
        try:
            other.ping()
        except redis.RedisError as error:
            return error
        return None

    script = wait_until(blocked, message="the script blocks it")
    assert script is not None and "a script blocks" in str(translate(script, address))
    other.script_kill()
    connection.disconnect()


def test_a_missing_right_is_named() -> None:
    with RedisServer(acl=["mon on >pw ~a* &* -@all +auth +ping +get"]) as server:
        address = Address("redis", at(server.port), username="mon", password=Secret("pw"))
        with open_(address) as client:
            for command, told in ((("INFO",), "+info"), (("CLIENT", "LIST"), "+client|list"), (("GET", "b"), "keys")):
                with pytest.raises(redis.RedisError) as raised:
                    client.execute_command(*command)  # type: ignore[no-untyped-call]
                denied = translate(raised.value, address)
                assert isinstance(denied, DeniedError)
                assert "user mon" in str(denied)
                assert told in str(denied)


def test_servers_of_a_failover_list_have_logins_and_databases_of_their_own() -> None:
    with RedisServer(password="right") as server:
        own = Endpoint("127.0.0.1", server.port, password=Secret("right"), db=2)
        address = Address("redis", (Endpoint("127.0.0.1", free_port()), own), password=Secret(WRONG), db=1)
        with open_(address) as client:
            assert db_of(client) == 2
            assert client.client_list()[0]["db"] == "2"

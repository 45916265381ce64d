"""Connections to Redis: plain, TLS, unix socket, failover list, sentinel. No retries, no waiting without a limit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from celerytop.errors import BrokerError, RefusedError
from celerytop.model.address import Address, Endpoint, Secret
from celerytop.sources.redis.failure import at_first_word, place, translate
from celerytop.sources.redis.info import trouble

__all__ = ["CLIENT_NAME", "HasClient", "connect", "db_of", "translate", "translated"]

CLIENT_NAME = "celerytop"
TIMEOUT = 3.0
"""Seconds for a connection to come about, and for one answer."""
_ALL = 4.5
"""Seconds for all endpoints together."""
_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_VERIFY = {"none": "none", "cert_none": "none", "optional": "optional", "cert_optional": "optional"}


class HasClient(Protocol):
    """Whoever holds a lane's connection; it may be another one after a reconnect."""

    @property
    def client(self) -> redis.Redis:
        """The connected client.

        Raises:
            BrokerError: there is none.
        """
        ...


@contextlib.contextmanager
def translated(address: Address | None = None) -> Iterator[None]:
    """Let every error of redis-py inside leave as one sentence."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise translate(error, address) from error


def connect(address: Address, name: str = CLIENT_NAME, timeout: float = TIMEOUT) -> redis.Redis:
    """Open one connection, logged in, to the first endpoint that answers; under sentinel, to the master of now.

    Its client has this single connection, speaks RESP2, decodes nothing, and does not retry.

    Raises:
        BrokerError: within five seconds; the sentence of the first endpoint that did anything but refuse.
    """
    timeout = min(timeout, _ALL / max(1, len(address.endpoints)))
    failures: list[BrokerError] = []
    for endpoint in address.endpoints:
        try:
            if address.sentinel:
                return _open(address, _master(address, endpoint, timeout), name, timeout)
            return _open(address, endpoint, name, timeout)
        except BrokerError as error:
            failures.append(error)
    telling = [error for error in failures if "refuses the connection" not in str(error)]
    raise (telling or failures or [BrokerError(f"no server in {address.url or 'the broker URL'}")])[0]


def db_of(client: redis.Redis) -> int:
    """The database this connection has selected: servers of a failover list may differ."""
    return int(client.connection_pool.connection_kwargs.get("db") or 0)


def _open(address: Address, endpoint: Endpoint, name: str, timeout: float) -> redis.Redis:
    where = place(Address("redis", (endpoint,)))
    address = _of_its_own(address, endpoint)
    try:
        client = _client(address, endpoint, address.username, address.password, timeout, address.db)
        with contextlib.suppress(redis.ResponseError):  # an account without +client|setname, or without +ping
            client.client_setname(name)
    except (redis.RedisError, OSError, ValueError) as error:
        raise at_first_word(translate(error, address, where), address) from error
    try:
        _prove(client)
    except (redis.RedisError, OSError) as error:
        client.close()
        raise at_first_word(translate(error, address, where), address) from error
    return client


def _of_its_own(address: Address, endpoint: Endpoint) -> Address:
    """A server of a failover list may have a login and a database of its own."""
    return msgspec.structs.replace(
        address,
        username=endpoint.username or address.username,
        password=endpoint.password or address.password,
        db=address.db if endpoint.db is None else endpoint.db,
    )


def _prove(client: redis.Redis) -> None:
    """It answers, and does not want a password; what it may not do is found out where it is done.

    After a failed save it counts PING among the writes (MISCONF), and may be looked at all the same. While it loads its
    data it refuses PING but answers INFO, which says how long that takes.
    """
    try:
        client.ping()
    except redis.exceptions.ResponseError as error:
        if not isinstance(error, redis.exceptions.NoPermissionError) and not str(error).startswith("MISCONF"):
            raise
    except redis.exceptions.BusyLoadingError as error:
        with contextlib.suppress(redis.RedisError):
            told = trouble({key: str(value) for key, value in client.info("persistence").items()}, {})
            raise BrokerError(told or str(translate(error))) from error
        raise


def _master(address: Address, sentinel: Endpoint, timeout: float) -> Endpoint:
    """Ask one sentinel where the master is now.

    Raises:
        BrokerError: it does not answer, or knows no such master.
    """
    where = place(Address("redis", (sentinel,), sentinel=True))
    if not address.master_name:
        raise RefusedError(f"{where}: the transport option master_name is missing")
    try:
        client = _client(address, sentinel, None, address.sentinel_password, timeout, 0)
        try:
            found = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.master_name)  # type: ignore[no-untyped-call]
        finally:
            client.close()
    except (redis.RedisError, OSError, ValueError) as error:
        raise translate(error, address, where) from error
    if not found:
        raise RefusedError(f"{where} knows no master named {address.master_name}")
    host, port = found
    return Endpoint(_plain(host), int(port))


def _client(
    address: Address, endpoint: Endpoint, user: str | None, password: Secret | None, timeout: float, db: int
) -> redis.Redis:
    options: dict[str, Any] = {"unix_socket_path": endpoint.path} if endpoint.path else {}
    if address.tls and not endpoint.path:
        options.update(_tls(address))
    return redis.Redis(
        host=endpoint.host,
        port=endpoint.port or 6379,
        db=db,
        username=user,
        password=password.reveal() if password else None,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        single_connection_client=True,
        **options,
    )


def _tls(address: Address) -> dict[str, Any]:
    given = dict(address.tls_options)
    options: dict[str, Any] = {key: given[key] for key in _TLS_OPTIONS if given.get(key)}
    options["ssl_cert_reqs"] = _verification(address)
    check = str(given.get("ssl_check_hostname", "true")).lower()
    options["ssl_check_hostname"] = check not in ("0", "false", "no", "none")
    return {"ssl": True, **options}


def _verification(address: Address) -> str:
    """``required``, ``optional`` or ``none``: as kombu, none when nothing was asked for."""
    given = dict(address.tls_options)
    if "ssl_cert_reqs" not in given:
        return "none"
    return _VERIFY.get(given["ssl_cert_reqs"].lower(), "required")


def _plain(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

"""RabbitMQ's management HTTP API: one kept-alive connection, GET only, nothing that waits long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

import msgspec
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from celerytop.errors import BrokerError, DeniedError, RefusedError
from celerytop.model.address import Address, BrokerSettings, Secret
from celerytop.model.secret import redact_url
from celerytop.model.text import clean
from celerytop.sources.rabbitmq.tls import context

PORT, TLS_PORT = 15672, 15671
TIMEOUT = urllib3.Timeout(connect=1.2, read=2.5)
LARGEST = 32 << 20
"""Bytes of an answer that are read; a bigger one is refused."""
STILL = "queues are still counted by AMQP"


class Api:
    """The API of one server. GET only; nothing here can change the broker."""

    def __init__(self, base: str, user: str, password: Secret, address: Address) -> None:
        self.base = base
        """``http://host:port`` and perhaps a path; no login in it."""
        self.user = clean(user, 64)
        self.requests = 0
        self.bytes_in = 0
        self._headers = urllib3.make_headers(
            basic_auth=f"{user}:{password.reveal()}", keep_alive=True, accept_encoding="gzip"
        )
        try:
            tls = context(address) if base.startswith("https:") else None
        except (OSError, ValueError) as error:
            raise RefusedError(f"management API: the TLS options cannot be used: {clean(str(error), 200)}") from error
        self._pool = urllib3.PoolManager(1, retries=False, timeout=TIMEOUT, ssl_context=tls)

    def get(self, path: str, columns: Sequence[str] = (), **query: str | int) -> Any:
        """The decoded answer of ``/api{path}``.

        Raises:
            RefusedError: the login or its tag is not enough for the whole API.
            DeniedError: this path is not for this user.
            BrokerError: nothing there, not the API, too slow.
        """
        if columns:
            query["columns"] = ",".join(columns)
        url = f"{self.base}/api{path}" + (f"?{urlencode(query)}" if query else "")
        status, body = self._fetch(url)
        told = _decoded(body)
        if status == 200 or (status == 503 and isinstance(told, dict)):
            if told is None:
                raise BrokerError(f"{self.base} is not RabbitMQ's management API; {STILL}")
            return told
        raise self._refusal(status, told, path)

    def close(self) -> None:
        """Hang up."""
        self._pool.clear()

    def _fetch(self, url: str) -> tuple[int, bytes]:
        self.requests += 1
        try:
            answer = self._pool.request("GET", url, headers=self._headers, redirect=False, preload_content=False)
            try:
                body = answer.read(LARGEST + 1)
                self.bytes_in += len(body)
                if len(body) > LARGEST:
                    raise BrokerError(f"management API at {self.base}: an answer is above {LARGEST >> 20} MB")
            finally:
                answer.drain_conn() if answer.status != 200 else None
                answer.release_conn()
            return answer.status, body
        except HTTPError as error:
            raise BrokerError(f"management API at {self.base} {_why(error)}; {STILL}") from error

    def _refusal(self, status: int, told: Any, path: str) -> BrokerError:
        reason = str(told.get("reason", "")) if isinstance(told, dict) else ""
        if status in (401, 403):
            if "anagement" in reason:  # "Not management user", "User can only log in via management"
                return RefusedError(
                    f"management API at {self.base}: user {self.user} has no management or monitoring tag; {STILL}"
                )
            if path == "/overview" or "ogin failed" in reason:
                return RefusedError(f"management API at {self.base} refuses the login of user {self.user}; {STILL}")
            return DeniedError(f"management API: user {self.user} may not read {path}")
        if status == 404 and path == "/overview":
            return BrokerError(f"{self.base} is not RabbitMQ's management API; {STILL}")
        return BrokerError(f"management API at {self.base} answers {path} with HTTP {status}; {STILL}")


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _why(error: HTTPError) -> str:
    if isinstance(error, NameResolutionError):
        return "cannot be reached: its name is not known"
    if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        return "cannot be reached: no answer"
    if isinstance(error, NewConnectionError):
        return "is not there: nobody listens (is the plugin rabbitmq_management enabled?)"
    if isinstance(error, ReadTimeoutError):
        return "takes the connection but sends nothing"
    if isinstance(error, SSLError):
        return f"does not speak TLS as asked ({clean(str(error), 120)})"
    return "does not speak HTTP: another port?"


def apis(settings: BrokerSettings) -> tuple[Api, ...]:
    """One for each server of the failover list, or the one that was named.

    A broker reached by TLS gets its password by TLS here too: nothing falls back to plain HTTP by itself.
    """
    address = settings.address
    user = address.username or "guest"
    password = address.password if address.password is not None else Secret("guest")
    if settings.management_url:
        return (_named(settings.management_url, user, password, address),)
    scheme, port = ("https", TLS_PORT) if address.tls else ("http", PORT)
    hosts = dict.fromkeys(endpoint.host for endpoint in address.endpoints)
    return tuple(
        Api(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}", user, password, address) for host in hosts
    )


def _named(url: str, user: str, password: Secret, address: Address) -> Api:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise RefusedError(f"management API: {redact_url(clean(url))} is not a URL") from error
    if parts.scheme not in ("http", "https") or not host:
        raise RefusedError(f"management API: {redact_url(clean(url))} is not an http:// or https:// URL")
    host = f"[{host}]" if ":" in host else host
    base = f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path.rstrip('/').removesuffix('/api')}"
    if parts.username is not None:
        user, password = unquote(parts.username), Secret(unquote(parts.password or ""))
    return Api(base, user, password, address)

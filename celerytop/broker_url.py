"""Broker URLs, taken apart as kombu does it, without kombu.

Where kombu and common sense differ, kombu wins: the workers are where kombu took them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from celerytop.errors import OptionsError
from celerytop.model.address import Address, Endpoint, Secret
from celerytop.model.text import clean


class _Scheme(NamedTuple):
    transport: str
    port: int
    tls: bool = False
    socket: bool = False


SCHEMES: Mapping[str, _Scheme] = {
    "redis": _Scheme("redis", 6379),
    "rediss": _Scheme("redis", 6379, tls=True),
    "valkey": _Scheme("redis", 6379),
    "valkeys": _Scheme("redis", 6379, tls=True),
    "redis+socket": _Scheme("redis", 0, socket=True),
    "valkey+socket": _Scheme("redis", 0, socket=True),
    "socket": _Scheme("redis", 0, socket=True),
    "sentinel": _Scheme("redis", 26379),
    "amqp": _Scheme("rabbitmq", 5672),
    "amqps": _Scheme("rabbitmq", 5671, tls=True),
    "pyamqp": _Scheme("rabbitmq", 5672),
    "librabbitmq": _Scheme("rabbitmq", 5672),
}
OTHERS = frozenset({"sqs", "memory", "filesystem", "kafka", "confluentkafka", "mongodb", "sqla", "sqlalchemy"})
"""Transports of kombu that are spelled right and yet not watched."""
MASK = "***"
AMQPS_PORT = 5671
_HEAD = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://")
_NEVER_TRUE = frozenset({"0", "false", "no", "off"})
_REQUIREMENTS = frozenset({"none", "optional", "required"})


class _Entry(NamedTuple):
    """One URL of a list."""

    scheme: str
    kind: _Scheme
    endpoint: Endpoint
    username: str | None
    password: Secret | None
    name: str
    """Path: database or vhost; percent-decoded, without its first slash."""
    options: dict[str, str]


def parse_url(text: str) -> Address:
    """Take a broker URL apart; several with ``;`` between them are a failover list, or sentinels.

    As with kombu the first URL decides the database, the vhost and the login; what differs in a later one stands in
    its ``Endpoint``.

    >>> address = parse_url("redis://:secret@db-7/1")
    >>> address.url, address.db, address.endpoints[0].port, address.password
    ('redis://***@db-7:6379/1', 1, 6379, ***)

    Raises:
        OptionsError: one sentence that never holds the password.
    """
    entries = _entries(text.strip())
    first = entries[0]
    if any(entry.kind.transport != first.kind.transport for entry in entries):
        raise OptionsError("The broker URL names two kinds of broker: Redis and RabbitMQ.")
    sentinel = first.scheme == "sentinel"
    redis = first.kind.transport == "redis"
    return Address(
        transport=first.kind.transport,
        endpoints=tuple(entry.endpoint if sentinel else _endpoint(entry, first) for entry in entries),
        username=first.username,
        password=first.password,
        db=_database(first) if redis else 0,
        vhost="/" if redis else _vhost(first),
        tls=any(entry.kind.tls or _tls_options(entry) for entry in entries),
        tls_options=next(filter(None, map(_tls_options, entries)), ()),
        sentinel=sentinel,
        master_name=first.options.get("master_name"),
        url=";".join(_shown(entry, first if sentinel else entry) for entry in entries),
    )


def tls_label(address: Address) -> str | None:
    """``TLS`` or ``TLS, server NOT verified``; ``None`` is plain.

    Without ``ssl_cert_reqs`` kombu's ``rediss`` verifies nothing, py-amqp's ``amqps`` does.

    >>> tls_label(parse_url("rediss://h")), tls_label(parse_url("amqps://h")), tls_label(parse_url("redis://h"))
    ('TLS, server NOT verified', 'TLS', None)
    """
    if not address.tls:
        return None
    return "TLS" if _verified(address) else "TLS, server NOT verified"


def _verified(address: Address) -> bool:
    options = dict(address.tls_options)
    assumed = "none" if address.transport == "redis" else "required"
    wanted = _requirement(options.get("ssl_cert_reqs", assumed))
    named = options.get("ssl_check_hostname", "true").lower() not in _NEVER_TRUE
    # An optional certificate is still checked against the CA by Python's client side, its name by redis-py alone.
    return named and (wanted == "required" or (wanted == "optional" and address.transport == "redis"))


def _requirement(given: str) -> str:
    return given.lower().removeprefix("cert_")


# --------------------------------------------------------------------------------------------------- one URL
def _entries(text: str) -> list[_Entry]:
    entries: list[_Entry] = []
    for part in filter(None, map(str.strip, text.split(";"))):
        whole = part if "://" in part or not entries else f"{entries[0].scheme}://{part}"
        entries.append(_entry(whole))
    if not entries:
        raise OptionsError("The broker URL is empty.")
    return entries


def _entry(text: str) -> _Entry:
    scheme, kind = _scheme(text)
    parts, port = _split(text.partition("://")[2])
    options = dict(parse_qsl(parts.query))
    username = unquote(parts.username or "") or None
    password = Secret(unquote(parts.password)) if parts.password else None
    if kind.transport == "rabbitmq":
        username, password = username or "guest", password or Secret("guest")
    elif username and not password:  # redis://secret@h: a user without a password is a password in the wrong place
        username = Secret(username)
    path = unquote(parts.path)
    if kind.socket:
        return _Entry(scheme, kind, Endpoint("", 0, path), username, password, _socket_db(options), options)
    host = unquote(parts.hostname or "") or "localhost"
    secure = kind.transport == "rabbitmq" and any(key.startswith("ssl_") for key in options)
    endpoint = Endpoint(host, port or (AMQPS_PORT if secure else kind.port))
    return _Entry(scheme, kind, endpoint, username, password, path.removeprefix("/"), options)


def _socket_db(options: Mapping[str, str]) -> str:
    return options.get("virtual_host") or options.get("db") or ""


def _split(rest: str) -> tuple[SplitResult, int | None]:
    """Split what follows ``scheme://``. Python's own errors quote the text, and with it the password."""
    try:
        parts = urlsplit(f"http://{rest}")
        port = parts.port
    except ValueError:
        raise OptionsError(
            "The broker URL's host or port cannot be read; / ? # or @ in a password must be written %2F %3F %23 %40."
        ) from None
    if "@" in parts.path + parts.fragment or "@" in parts.query.partition("&")[0].partition("=")[0]:
        raise OptionsError(
            "The broker URL has an @ behind its host; / ? # or @ in a password must be written %2F %3F %23 %40."
        )
    return parts, port


def _scheme(text: str) -> tuple[str, _Scheme]:
    found = _HEAD.match(text)
    if found is None:
        raise OptionsError("The broker URL has no scheme: write redis://host:6379/0 or amqp://user@host//.")
    scheme = found[1].lower()
    if scheme in SCHEMES:
        return scheme, SCHEMES[scheme]
    if scheme in OTHERS:
        raise OptionsError(f"celerytop watches Redis and RabbitMQ, not {scheme}.")
    close = difflib.get_close_matches(scheme, SCHEMES, n=1)
    hint = f" Did you mean {close[0]}://?" if close else " celerytop watches redis:// and amqp://."
    raise OptionsError(f"The broker URL's scheme {scheme[:20]}:// is not known.{hint}")


# --------------------------------------------------------------------------------------------------- its parts
def _database(entry: _Entry) -> int:
    name = entry.name.removeprefix("/")
    if not name:
        return 0
    if not (name.isascii() and name.isdigit()):
        raise OptionsError("The broker URL's Redis database is not a number.")
    return int(name)


def _vhost(entry: _Entry) -> str:
    return entry.name or "/"


def _endpoint(entry: _Entry, first: _Entry) -> Endpoint:
    """The entry's server, with what it does not share with the first one."""
    made = entry.endpoint
    redis = entry.kind.transport == "redis"
    login = (entry.username, entry.password)
    same = login == (first.username, first.password)
    return Endpoint(
        host=made.host,
        port=made.port,
        path=made.path,
        username=None if same else login[0],
        password=None if same else login[1],
        db=_database(entry) if redis and _database(entry) != _database(first) else None,
        vhost=_vhost(entry) if not redis and _vhost(entry) != _vhost(first) else None,
    )


def _tls_options(entry: _Entry) -> tuple[tuple[str, str], ...]:
    found = tuple((key, value) for key, value in entry.options.items() if key.startswith("ssl_"))
    wanted = dict(found).get("ssl_cert_reqs")
    if wanted is not None and _requirement(wanted) not in _REQUIREMENTS:
        raise OptionsError("ssl_cert_reqs in the broker URL is none of none, optional and required.")
    return found


def _shown(entry: _Entry, named: _Entry) -> str:
    """The URL for people."""
    return show(entry.scheme, entry.endpoint, _login(entry), named.name)


def _login(entry: _Entry) -> str:
    if entry.username is None and entry.password is None:
        return ""
    if entry.username == "guest" and entry.password == "guest":
        return ""
    if entry.username is None or isinstance(entry.username, Secret):
        return f"{MASK}@"
    return f"{quote(entry.username, safe='')}:{MASK}@"


def show(scheme: str, endpoint: Endpoint, login: str, name: str) -> str:
    """A URL without its password; ``login`` is masked and ends in ``@``, or is empty.

    >>> show("amqp", Endpoint("::1", 5672), "u:***@", "/")
    'amqp://u:***@[::1]:5672//'
    """
    if endpoint.path is not None:
        return clean(f"{scheme}://{login}{endpoint.path}" + (f"?virtual_host={name}" if name else ""))
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    rabbit = SCHEMES[scheme].transport == "rabbitmq"
    path = quote(name or "/", safe="") if rabbit else name.removeprefix("/") or "0"
    return clean(f"{scheme}://{login}{host}:{endpoint.port}/{'/' if path == '%2F' else path}")


def holds_password(text: str) -> bool:
    """Whether a broker or management URL has a password in it; one that cannot be read is taken to have one at its @.

    >>> holds_password("amqp://guest@h//"), holds_password("redis://:x@h"), holds_password("redis://x@h")
    (False, True, True)
    """
    if not text.startswith(("http://", "https://")):
        try:
            address = parse_url(text)
        except OptionsError:
            return "@" in text
        one_of = [address.password, *(endpoint.password for endpoint in address.endpoints)]
        return isinstance(address.username, Secret) or any(one is not None and one != "guest" for one in one_of)
    return ":" in text.partition("://")[2].rpartition("@")[0]

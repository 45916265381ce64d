"""What went wrong with Redis, in one sentence without a secret."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator

import redis

from celerytop.errors import BrokerError, DeniedError, RefusedError
from celerytop.model.address import Address
from celerytop.model.secret import redact_url
from celerytop.model.text import clean

_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING", "PACKET_LENGTH_TOO_LONG")
_SERVER_SAYS = (
    ("LOADING", "{0} is loading its data into memory"),
    ("BUSY", "a script blocks {0}: it answers nothing else until the script ends"),
    ("MISCONF", "{0} refuses writes: its last save to disk failed; workers die of this"),
    ("OOM", "{0} is full: it refuses writes, so nobody can send tasks and workers cannot be asked"),
    ("READONLY", "{0} is a read-only replica, not the master"),
    ("MASTERDOWN", "{0} is a replica that has lost its master"),
    ("MOVED", "{0} is a Redis Cluster, which Celery cannot use as a broker"),
)
_WITHOUT_ITS_WORD: tuple[tuple[type[Exception], str], ...] = (
    (redis.BusyLoadingError, "LOADING"),
    (redis.exceptions.OutOfMemoryError, "OOM"),
    (redis.exceptions.ReadOnlyError, "READONLY"),
    (redis.exceptions.MasterDownError, "MASTERDOWN"),
    (redis.exceptions.MovedError, "MOVED"),
)
"""Classes of redis-py for which it cuts the first word off the message."""
_IN_SCRIPT = "user executing the script can't"
_FOREIGN_PORTS = {5671: "RabbitMQ", 5672: "RabbitMQ", 15672: "RabbitMQ's management API"}


def place(address: Address) -> str:
    """Where the server is, for the beginning of a sentence."""
    ends = [end.path or f"{end.host}:{end.port}" for end in address.endpoints[:3]]
    what = "the sentinel at" if address.sentinel else "Redis at"
    return clean(f"{what} {' or '.join(ends)}", 200)


def mute(where: str = "Redis") -> BrokerError:
    """It takes the connection and says nothing."""
    return BrokerError(f"{where} takes the connection but sends nothing: frozen, or the network is cut")


def translate(error: BaseException, address: Address | None = None, where: str | None = None) -> BrokerError:
    """The sentence for what redis-py, or the socket below it, raised.

    Args:
        error: the exception; its causes are looked at too.
        address: the broker, to name the user and to tell TLS troubles apart.
        where: how the sentence names the server; else by its address.
    """
    if isinstance(error, BrokerError):
        return error
    where = where or (place(address) if address else "Redis")
    for sentence in (_of_rights, _of_login, _of_server, _of_tls, _of_network, _of_protocol):
        told = sentence(error, address, where)
        if told is not None:
            return told
    return BrokerError(f"{where}: {_text(error) or type(error).__name__}")


def user_of(address: Address | None) -> str:
    """Who we are on the server."""
    return clean((address.username if address else None) or "default", 64)


def _of_rights(error: BaseException, address: Address | None, where: str) -> BrokerError | None:
    """NOPERM: "this user has no permissions to run the 'client|list' command" names the right."""
    text, user = _text(error), user_of(address)
    if isinstance(error, redis.ResponseError) and _IN_SCRIPT in text:
        return DeniedError(f"user {user} may not do all that a script of ours does: {text.partition(' script:')[0]}")
    if isinstance(error, redis.ResponseError) and text.startswith("EXEC without MULTI"):
        return DeniedError(f"user {user} may not run multi. Needs: +multi")  # its own answer is overwritten by this one
    if not isinstance(error, redis.exceptions.NoPermissionError):
        return None
    if found := re.search(r"run the '([^']+)' command", text):
        return DeniedError(f"user {user} may not run {found[1]}. Needs: +{found[1]}")
    what = "channels" if "channel" in text else "keys"
    return DeniedError(f"user {user} may not use one of these {what}: {text}")


def _of_login(error: BaseException, address: Address | None, where: str) -> BrokerError | None:
    if not isinstance(error, redis.AuthenticationError):
        return None
    text = _text(error)
    if "equired" in text:  # NOAUTH
        return RefusedError(f"login refused: {where} wants a password, and none was given")
    if "without any password" in text or "no password is set" in text:
        return RefusedError(f"login refused: {where} has no password, but one was given")
    return RefusedError(f"login refused for user {user_of(address)} by {where}: wrong user name or password")


def _of_server(error: BaseException, address: Address | None, where: str) -> BrokerError | None:
    """What a server that answers says of itself."""
    text = _text(error)
    if "max number of clients" in text:
        return BrokerError(f"{where} has as many clients as it allows (maxclients)")
    if not isinstance(error, redis.ResponseError | redis.BusyLoadingError):
        return None
    if "DB index" in text or "invalid DB" in text:
        return RefusedError(f"{where} has no database {address.db if address else 'of this number'}")
    cut_off = next((word for kind, word in _WITHOUT_ITS_WORD if isinstance(error, kind)), "")
    for word, sentence in _SERVER_SAYS:
        if cut_off == word or text.startswith(word):
            return BrokerError(sentence.format(where))
    return None


def _of_tls(error: BaseException, address: Address | None, where: str) -> BrokerError | None:
    cause = _cause(error, ssl.SSLError)
    if isinstance(cause, ssl.SSLCertVerificationError):
        why = clean(cause.verify_message or str(cause), 160)
        if "mismatch" in why.lower() or "not valid for" in why:
            return RefusedError(f"{where}: its certificate is for another name ({why})")
        return RefusedError(f"{where}: its certificate is not trusted ({why}); name its CA with ssl_ca_certs")
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, TimeoutError):
        why = clean(cause.reason or str(cause), 120)
        plain = "; no TLS there? without it, it is redis://" if why in _NOT_TLS else ""
        return BrokerError(f"{where} does not speak TLS as asked ({why}){plain}")
    return None


def _of_network(error: BaseException, address: Address | None, where: str) -> BrokerError | None:
    if cause := _cause(error, socket.gaierror):
        return BrokerError(f"{where} cannot be reached: its name is not known ({clean(cause.strerror or '')})")
    if isinstance(error, redis.TimeoutError | TimeoutError):
        if "connecting" not in str(error):
            return mute(where)
        tls = "; perhaps there is no TLS" if address and address.tls else ""
        return BrokerError(f"{where} cannot be reached: no answer in time{tls}")
    if cause := _cause(error, OSError):
        return _of_system(cause, address, where)
    if isinstance(error, redis.ConnectionError) and "closed" in str(error).lower():
        return BrokerError(f"{where} has hung up")
    return None


def _of_system(cause: OSError, address: Address | None, where: str) -> BrokerError:
    if cause.errno == errno.ECONNREFUSED:
        return BrokerError(f"{where} refuses the connection: nobody listens there")
    if cause.errno in (errno.ECONNRESET, errno.EPIPE):
        return BrokerError(f"{where} has hung up")
    why = clean(cause.strerror or str(cause), 160)
    if cause.errno in (errno.ENOENT, errno.EISDIR, errno.EACCES) and address and address.tls:
        return RefusedError(f"{where}: the TLS files cannot be used: {why}")
    return BrokerError(f"{where} cannot be reached: {why}")


def at_first_word(error: BrokerError, address: Address) -> BrokerError:
    """A server that hangs up on the first word expects another protocol; later that means nothing of the kind."""
    if address.tls or not str(error).endswith("has hung up"):
        return error
    return BrokerError(f"{error} on the first word{_hint(address)}")


def _of_protocol(error: BaseException, address: Address | None, where: str) -> BrokerError | None:
    if not isinstance(error, redis.exceptions.InvalidResponse):
        return None
    return BrokerError(f"{where} is not a Redis server{_hint(address)}")


def _hint(address: Address | None) -> str:
    if address is None:
        return ""
    for end in address.endpoints:
        if foreign := _FOREIGN_PORTS.get(end.port):
            return f"; this is the usual port of {foreign}"
    return "" if address.tls else "; if it expects TLS, use rediss://"


def _cause(error: BaseException, kind: type[OSError]) -> OSError | None:
    """The first of this kind in the chain: redis-py raises its own errors inside ``except`` blocks."""
    return next((one for one in _chain(error) if isinstance(one, kind)), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = 0
    while error is not None and seen < 10:
        yield error
        error, seen = error.__cause__ or error.__context__, seen + 1


def _text(error: BaseException) -> str:
    return clean(redact_url(str(error)), 200)

"""What went wrong with RabbitMQ, in one sentence without a secret."""

from __future__ import annotations

import errno
import re
import socket
import ssl

from pika.adapters.utils.connection_workflow import (
    AMQPConnectionWorkflowFailed,
    AMQPConnectorPhaseErrorBase,
    AMQPConnectorSocketConnectError,
    AMQPConnectorStackTimeout,
)
from pika.exceptions import (
    AMQPHeartbeatTimeout,
    ChannelClosed,
    ConnectionClosed,
    ConnectionOpenAborted,
    IncompatibleProtocolError,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
    ProtocolSyntaxError,
)

from celerytop.errors import BrokerError, DeniedError, RefusedError
from celerytop.model.address import Address
from celerytop.model.secret import redact_url
from celerytop.model.text import clean

ACCESS_REFUSED, NOT_FOUND, RESOURCE_LOCKED = 403, 404, 405
"""Reply codes of a channel the broker has closed."""
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING")
_FOREIGN_PORTS = {6379: "Redis", 6380: "Redis", 26379: "Redis Sentinel", 15672: "RabbitMQ's management API"}


def frozen(where: str) -> BrokerError:
    """It takes the connection and is mute."""
    return BrokerError(f"{where} takes the connection but sends nothing: frozen, or the network is cut")


def unreadable_certificate(error: Exception, where: str) -> BrokerError:
    """A file or a value of the TLS options is no good."""
    return RefusedError(f"{where}: the TLS options cannot be used: {_text(error)}")


def translate(error: BaseException, address: Address, where: str) -> BrokerError:
    """The sentence for what pika raised while connecting or later; ``where`` begins it."""
    if isinstance(error, BrokerError):
        return error
    error = _cause(error)
    for sentence in (_of_login, _of_network, _of_protocol, _of_closing):
        told = sentence(error, address, where)
        if told is not None:
            return told
    return BrokerError(f"{where}: {_text(error) or type(error).__name__}")


def _cause(error: BaseException) -> BaseException:
    """What is inside pika's wrappers; of several addresses of a name, the one that came furthest."""
    if isinstance(error, AMQPConnectionWorkflowFailed) and error.exceptions:
        further = [one for one in error.exceptions if not isinstance(one, AMQPConnectorSocketConnectError)]
        return _cause((further or list(error.exceptions))[-1])
    if isinstance(error, AMQPConnectorPhaseErrorBase):
        return _cause(error.exception)
    return error


def _of_login(error: BaseException, address: Address, where: str) -> BrokerError | None:
    user = clean(address.username or "guest", 64)
    vhost = clean(address.vhost, 64)
    text = _text(error)
    if isinstance(error, ProbableAuthenticationError):
        return RefusedError(f"{where} refuses the login of user {user}: {_reason_of_login(text)}")
    if isinstance(error, ProbableAccessDeniedError):
        if "not found" in text:
            return RefusedError(f"{where} has no vhost {vhost}")
        if "limit" in text or "is down" in text:
            return BrokerError(f"{where} does not open vhost {vhost}: {_reply(text)}")
        return RefusedError(f"{where}: user {user} may not use vhost {vhost}")
    return None


def _reason_of_login(text: str) -> str:
    if "loopback" in text or "localhost" in text:
        return "it may log in from the server itself only"
    return "wrong user name or password" if "ACCESS_REFUSED" in text else "it hung up while we logged in"


def _of_network(error: BaseException, address: Address, where: str) -> BrokerError | None:
    if isinstance(error, socket.gaierror):
        return BrokerError(f"{where} cannot be reached: its name is not known ({clean(error.strerror or '')})")
    if isinstance(error, ssl.SSLCertVerificationError):
        return RefusedError(f"{where}: {_of_certificate(error)}")
    if isinstance(error, ssl.SSLError):
        why = clean(error.reason or str(error), 120)
        plain = "; for a server without TLS it is amqp://" if why in _NOT_TLS else ""
        return BrokerError(f"{where} does not speak TLS as asked ({why}){plain}")
    if isinstance(error, AMQPConnectorStackTimeout | TimeoutError | ConnectionOpenAborted | AMQPHeartbeatTimeout):
        return _mute(error, address, where)
    if isinstance(error, OSError) and error.errno in (errno.ECONNREFUSED, errno.ENOENT):
        return BrokerError(f"{where} refuses the connection: nobody listens there")
    if isinstance(error, OSError):
        return BrokerError(f"{where} cannot be reached: {clean(error.strerror or str(error), 120)}")
    return None


def _of_certificate(error: ssl.SSLCertVerificationError) -> str:
    why = clean(error.verify_message or str(error), 160)
    if "mismatch" in why.lower() or "not valid for" in why:
        return f"its certificate is for another name ({why}); ssl_check_hostname=false would accept it"
    return f"its certificate is not trusted ({why}); name its authority with ssl_ca_certs"


def _mute(error: BaseException, address: Address, where: str) -> BrokerError:
    text = str(error)
    if isinstance(error, TimeoutError) or "connecting socket" in text:
        return BrokerError(f"{where} cannot be reached: no answer")
    if address.tls and "transport" in text:
        return BrokerError(f"{where} takes the connection but does not speak TLS")
    if isinstance(error, AMQPHeartbeatTimeout):
        return frozen(where)
    hint = _FOREIGN_PORTS.get(int(where.rpartition(":")[2]))
    told = f"this is the usual port of {hint}" if hint else "frozen, or not an AMQP server"
    return BrokerError(f"{where} takes the connection but sends nothing: {told}")


def _of_protocol(error: BaseException, address: Address, where: str) -> BrokerError | None:
    if not isinstance(error, IncompatibleProtocolError | ProtocolSyntaxError):
        return None
    hint = "" if address.tls else "; if it expects TLS, use amqps://"
    return BrokerError(f"{where} is not an AMQP server{hint}")


def _of_closing(error: BaseException, address: Address, where: str) -> BrokerError | None:
    if isinstance(error, ConnectionClosed):
        return BrokerError(f"{where} has closed the connection: {_reply(str(error.reply_text))}")
    if isinstance(error, ChannelClosed):
        if error.reply_code == ACCESS_REFUSED:
            return DeniedError(denial(str(error.reply_text), address))
        return BrokerError(f"{where}: {_reply(str(error.reply_text))}")
    return BrokerError(f"{where} has hung up") if "Stream connection lost" in str(error) else None


def denial(text: str, address: Address) -> str:
    """What a 403 says, and which right is missing.

    >>> denial("ACCESS_REFUSED - write access to exchange 'celery.pidbox' in vhost '/' refused for user 'mon'",
    ...        Address("rabbitmq", (), username="mon"))
    "user mon has no write right on exchange 'celery.pidbox'"
    """
    user = clean(address.username or "guest", 64)
    # RabbitMQ before 3.12 does not name the right: "access to exchange 'x' in vhost '/' refused for user 'mon'"
    found = re.search(r"- (?:(\w+) )?access to (\w+ '[^']*')", text)
    if found is None:
        return f"user {user} is refused: {_reply(text)}"
    right = f"{found[1]} right" if found[1] else "right"
    return f"user {user} has no {right} on {clean(found[2], 160)}"


def _reply(text: str) -> str:
    r"""A server's reply text, fit for a sentence.

    >>> _reply("CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'")
    "broker forced connection closure with reason 'shutdown'"
    """
    return clean(redact_url(re.sub(r"^[A-Z_]+ - ", "", text)), 200)


def _text(error: BaseException) -> str:
    return clean(redact_url(str(error)), 300)

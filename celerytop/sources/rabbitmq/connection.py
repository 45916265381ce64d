"""One AMQP connection with a deadline on everything.

pika's BlockingConnection waits for ever when a broker is frozen, and its ``close`` does too. Here the same
SelectConnection underneath is driven by its own I/O loop, call by call, so that each wait has an end.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
import pika
from pika.adapters.select_connection import IOLoop
from pika.exceptions import AMQPConnectionError, AMQPError

from celerytop.errors import BrokerError, DeniedError, RefusedError, SourceError
from celerytop.model.address import Address, BrokerSettings, Endpoint
from celerytop.sources.rabbitmq.failure import frozen, translate, unreadable_certificate
from celerytop.sources.rabbitmq.frames import Connection, Taker
from celerytop.sources.rabbitmq.tls import context

PORT, TLS_PORT = 5672, 5671
CONNECT_TIMEOUT = 4.5
"""Seconds for all servers of a failover list together."""
ANSWER_TIMEOUT = 3.5
"""Seconds a broker may take for one answer; then it counts as frozen."""
HEARTBEAT = 10
"""Seconds; the broker drops us (and our queues) when we are silent for longer, e.g. stopped by Ctrl-Z."""
CONNECTION_NAME = "celerytop"
INSTANCE = uuid.uuid4().hex
"""Tells this program's connections from those of another celerytop, in the management API's list."""

# pika logs what is also raised, with the whole URL now and then. A screen has no place for either.
logging.getLogger("pika").setLevel(logging.CRITICAL + 1)


class Link:
    """An open connection. Not for several threads."""

    def __init__(self, impl: Connection, loop: IOLoop, address: Address, endpoint: Endpoint) -> None:
        self.address = address
        self.place = place(address, endpoint)
        self.impl = impl
        self.blocked: str | None = None
        """connection.blocked's reason while it lasts."""
        self.commands = 0
        """AMQP methods sent, heartbeats not counted."""
        self.interrupted = False
        """Somebody wants the wait to end."""
        self._loop = loop
        self._lost: BaseException | None = None
        impl.read_more_at_once()
        impl.add_on_close_callback(self._on_close)
        impl.add_on_connection_blocked_callback(self._on_blocked)
        impl.add_on_connection_unblocked_callback(self._on_unblocked)

    # --------------------------------------------------------------------------------------------- driving
    def wait(self, ready: Callable[[], Any], timeout: float) -> bool:
        """Drive the connection until ``ready()`` is true; ``False`` when it is not after ``timeout`` seconds.

        Raises:
            BrokerError: the connection is lost.
        """
        deadline = time.monotonic() + timeout
        alarm = self._loop.call_later(max(timeout, 0.0), lambda: None)
        try:
            while True:
                self._check()
                if ready():
                    return True
                if time.monotonic() >= deadline:
                    return False
                self._turn()
        finally:
            self._loop.remove_timeout(alarm)

    def pump(self) -> None:
        """Take in what has arrived, send what waits, without waiting."""
        self._loop.call_later(0, lambda: None)
        self._turn()
        self._check()

    def flush(self) -> None:
        """Send what waits, now, and read nothing."""
        transport = self.impl._transport
        if transport is not None and transport.get_write_buffer_size():
            transport._on_socket_writable()

    def interrupt(self) -> None:
        """Let who waits look at ``interrupted``. The one method that another thread may call."""
        self.interrupted = True
        with suppress(OSError):
            self._loop.add_callback_threadsafe(lambda: None)

    def _turn(self) -> None:
        self._loop.poll()
        self._loop.process_timeouts()

    def _check(self) -> None:
        if self._lost is not None:
            raise translate(self._lost, self.address, self.place)

    # -------------------------------------------------------------------------------------------- channels
    def channel(self) -> Channel:
        """Open a channel."""
        channel = Channel(self)
        if not self.wait(lambda: channel.open or channel.closed, ANSWER_TIMEOUT):
            raise frozen(self.place)
        channel.check()
        return channel

    # ---------------------------------------------------------------------------------------------- facts
    @property
    def bytes_in(self) -> int:
        """Bytes received, heartbeats included."""
        return int(self.impl.bytes_received)

    @property
    def bytes_out(self) -> int:
        """Bytes sent."""
        return int(self.impl.bytes_sent)

    @property
    def version(self) -> str | None:
        """What the server calls itself, e.g. ``3.10.8``."""
        told = (self.impl.server_properties or {}).get("version")
        return told.decode("utf-8", "replace") if isinstance(told, bytes) else told

    @property
    def open(self) -> bool:
        """Neither side has closed it, as far as we have heard."""
        return self._lost is None and bool(self.impl.is_open)

    # ---------------------------------------------------------------------------------------------- ending
    def close(self, timeout: float = 1.0) -> None:
        """Say goodbye, then hang up; never raises, never takes longer than ``timeout`` and a moment."""
        try:
            if self.open:
                self.impl.close()
                self.wait(lambda: False, timeout)
        except (SourceError, AMQPError, OSError):
            pass  # gone already: that is what we wanted
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        try:
            if self._lost is None:  # the broker did not answer our goodbye: frozen, or it blocks us
                self.impl._terminate_stream(AMQPConnectionError("hung up"))
                self.wait(lambda: False, 0.2)
        except (SourceError, AMQPError, OSError):
            pass
        finally:
            self._lost = self._lost or AMQPConnectionError("closed")
            self._loop.close()

    def _on_close(self, _impl: Any, reason: BaseException) -> None:
        self._lost = reason

    def _on_blocked(self, _impl: Any, frame: Any) -> None:
        reason = frame.method.reason
        self.blocked = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)

    def _on_unblocked(self, _impl: Any, _frame: Any) -> None:
        self.blocked = None


class Channel:
    """A channel that remembers why the broker closed it."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.reason: BaseException | None = None
        """``ChannelClosedByBroker``, once it is closed."""
        self.impl = link.impl.channel(on_open_callback=lambda _channel: None)
        self.impl.add_on_close_callback(self._on_close)

    @property
    def number(self) -> int:
        """As its frames carry it."""
        return int(self.impl.channel_number)

    @property
    def open(self) -> bool:
        """Ready for use."""
        return bool(self.impl.is_open)

    @property
    def closed(self) -> bool:
        """Dead for ever."""
        return self.reason is not None

    def call(self, method: Callable[..., Any], **words: Any) -> Any:
        """One request of this channel (``channel.impl.queue_declare`` …) and its answer's method.

        Raises:
            ChannelClosedByBroker: the broker says no, and has closed the channel.
            BrokerError: no answer.
        """
        answers: list[Any] = []
        self.link.commands += 1
        method(callback=answers.append, **words)
        if not self.link.wait(lambda: answers or self.closed, ANSWER_TIMEOUT):
            raise frozen(self.link.place)
        if not answers:
            self.check()
        return answers[0].method

    def show(self, taker: Taker) -> None:
        """Let ``taker`` have what it knows of what arrives here; pika gets the rest."""
        self.link.impl.takers[self.number] = taker

    def send(self, frames: bytes, methods: int) -> None:
        """Send so many methods at once, whose answers a taker will read; pika would send each in a packet."""
        self.link.commands += methods
        self.link.impl._output_marshaled_frames([frames])

    def check(self) -> None:
        """Raise why it is closed, if it is."""
        if self.reason is not None:
            raise self.reason

    def close(self) -> None:
        """Close it, without waiting for the answer."""
        if self.open:
            self.impl.close()

    def _on_close(self, _impl: Any, reason: BaseException) -> None:
        self.reason = reason
        self.link.impl.takers.pop(self.number, None)  # the number will be used again


@contextmanager
def translated(address: Address, where: str, *, final: bool = False) -> Iterator[None]:
    """Turn whatever pika raises inside into one sentence.

    With ``final`` a missing right is a ``RefusedError``: without it this source has nothing to do at all.
    """
    try:
        yield
    except AMQPError as error:
        told = translate(error, address, where)
        raise (RefusedError(str(told)) if final and isinstance(told, DeniedError) else told) from error


# ------------------------------------------------------------------------------------------------- connecting
def connect(settings: BrokerSettings) -> Link:
    """Connect to the first server of the failover list that lets us in; five seconds at most.

    Raises:
        RefusedError: login or vhost refused.
        BrokerError: none answers.
    """
    address = settings.address
    errors: list[BrokerError] = []
    deadline = time.monotonic() + CONNECT_TIMEOUT
    for count, endpoint in enumerate(address.endpoints):
        left = max(deadline - time.monotonic(), 0.5)
        try:
            return _connect(address, endpoint, left / (len(address.endpoints) - count))
        except BrokerError as error:
            errors.append(error)
    raise _of_all(errors)


def _of_all(errors: list[BrokerError]) -> BrokerError:
    if len(errors) == 1:
        return errors[0]
    kind = RefusedError if all(isinstance(error, RefusedError) for error in errors) else BrokerError
    return kind("none of the servers lets us in: " + "; ".join(dict.fromkeys(map(str, errors))))


def _connect(address: Address, endpoint: Endpoint, timeout: float) -> Link:
    where = place(address, endpoint)
    address = _of_its_own(address, endpoint)
    results: list[Any] = []
    loop = IOLoop()
    loop.activate_poller()
    try:
        Connection.create_connection(
            [parameters(address, endpoint, timeout)], on_done=results.append, custom_ioloop=loop
        )
        deadline = time.monotonic() + timeout + 0.2
        while not results:
            if time.monotonic() > deadline:  # getaddrinfo in pika's own thread knows no time limit
                raise BrokerError(f"{where} cannot be reached: no answer within {timeout:.0f} s")
            loop.call_later(0.1, lambda: None)
            loop.poll()
            loop.process_timeouts()
        if isinstance(results[0], BaseException):
            raise translate(results[0], address, where) from results[0]
        return Link(results[0], loop, address, endpoint)
    except (BrokerError, AMQPError):
        loop.close()
        raise


def _of_its_own(address: Address, endpoint: Endpoint) -> Address:
    """A server of a failover list may have a login and a vhost of its own."""
    return msgspec.structs.replace(
        address,
        username=endpoint.username or address.username,
        password=endpoint.password or address.password,
        vhost=endpoint.vhost or address.vhost,
    )


def parameters(address: Address, endpoint: Endpoint, timeout: float) -> pika.ConnectionParameters:
    """What pika wants to know, for one server of the list."""
    user, password = address.username, address.password
    return pika.ConnectionParameters(
        host=endpoint.host,
        port=_port(address, endpoint),
        virtual_host=address.vhost,
        credentials=pika.PlainCredentials(
            user if user is not None else "guest", password.reveal() if password is not None else "guest"
        ),
        ssl_options=_ssl_options(address, endpoint),
        socket_timeout=min(3.0, timeout),
        stack_timeout=timeout,
        connection_attempts=1,
        heartbeat=HEARTBEAT,
        client_properties={"connection_name": CONNECTION_NAME, "product": CONNECTION_NAME, "instance": INSTANCE},
    )


def _ssl_options(address: Address, endpoint: Endpoint) -> pika.SSLOptions | None:
    if not address.tls:
        return None
    try:
        return pika.SSLOptions(context(address), endpoint.host)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise unreadable_certificate(error, place(address, endpoint)) from error


def _port(address: Address, endpoint: Endpoint) -> int:
    return endpoint.port or (TLS_PORT if address.tls else PORT)


def place(address: Address, endpoint: Endpoint) -> str:
    """``RabbitMQ at host:port``, as sentences begin."""
    return f"RabbitMQ at {endpoint.host}:{_port(address, endpoint)}"

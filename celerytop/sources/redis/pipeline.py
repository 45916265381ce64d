"""Many read commands in one round trip, each answered or refused on its own.

Never MULTI: a full Redis refuses even LLEN inside a transaction. A command this account may not run is asked once per
connection and then left out, so that the server's ACL log stays short.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    MasterDownError,
    NoPermissionError,
    RedisError,
)

from celerytop.model.address import Address
from celerytop.sources.redis.connection import HasClient, translate

Command = tuple[str | bytes | int, ...]

_CONTAINERS = frozenset({"client", "config", "memory", "slowlog"})
_TCP_INFO = 11
"""Linux, ``netinet/tcp.h``."""
_BYTES_AT = 120
"""``tcpi_bytes_acked`` and ``tcpi_bytes_received`` in ``struct tcp_info`` (since Linux 4.1)."""


class Packed(msgspec.Struct, frozen=True):
    """Commands ready for the socket, to be sent again and again."""

    count: int
    raw: bytes


class Pipeline:
    """Asks over a line's connection; counts what it asks and remembers what was denied."""

    def __init__(self, line: HasClient, address: Address | None = None) -> None:
        self._line = line
        self._address = address
        self.commands = 0
        self.waited = 0.0
        """Seconds for which the server was waited for, all questions together."""
        self._rated: tuple[float, int] | None = None
        self._denied: dict[str, str] = {}
        self._key_denied = False
        self._earlier = (0, 0)
        self._bytes = (0, 0)

    @property
    def denied(self) -> tuple[str, ...]:
        """Missing rights as ``ACL SETUSER`` spells them, e.g. ``+config|get``."""
        rights = [f"+{right}" for right in sorted(self._denied)]
        return (*rights, "~<some keys>") if self._key_denied else tuple(rights)

    def may(self, *command: str | bytes | int) -> bool:
        """Whether this command was not denied yet."""
        return right_of(command) not in self._denied

    def reset(self) -> None:
        """Forget what was denied: a new connection, perhaps other rights."""
        self._denied.clear()
        self._key_denied = False
        self._earlier = self.bytes or self._earlier
        self._bytes = (0, 0)

    def ask(self, *commands: Command) -> list[Any]:
        """Send ``commands`` and return their replies in order; a refused one's reply is the exception.

        Raises:
            BrokerError: the connection broke.
        """
        sent = [command for command in commands if right_of(command) not in self._denied]
        replies = iter(self.send(self.pack(sent)) if sent else [])
        skipped = NoPermissionError("not asked: denied before")
        known = frozenset(self._denied) if len(sent) < len(commands) else frozenset()
        found = [skipped if right_of(command) in known else next(replies) for command in commands]
        for command, reply in zip(commands, found, strict=True):
            if isinstance(reply, NoPermissionError) and reply is not skipped:
                self.deny(command, reply)
        return found

    def pack(self, commands: Iterable[Command]) -> Packed:
        """Pack commands once, to be sent again and again."""
        listed = list(commands)
        with self._connection() as connection:
            return Packed(len(listed), b"".join(connection.pack_commands(listed)))

    def send(self, packed: Packed) -> list[Any]:
        """Send packed commands and read one reply for each; as ``ask``, but takes no note of what is denied."""
        begun = time.monotonic()
        with self._connection() as connection:
            connection.send_packed_command((packed.raw,))
            replies = _read(connection, packed.count)
            self.commands += packed.count - 1
            self._bytes = _socket_bytes(connection) or self._bytes
        self.waited += time.monotonic() - begun
        return replies

    @property
    def bytes(self) -> tuple[int, int] | None:
        """(in, out) since the start, over reconnects; ``None`` where the system does not tell."""
        total = (self._earlier[0] + self._bytes[0], self._earlier[1] + self._bytes[1])
        return total if any(total) else None

    def counting(self, read_response: Callable[..., Any]) -> Callable[..., Any]:
        """Count every reply of a connection, whoever asked: one for each command."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.commands += 1
            return read_response(*args, **kwargs)

        return counted

    def rate(self) -> float | None:
        """Commands a second since it was last asked; ``None`` the first time."""
        before, self._rated = self._rated, (time.monotonic(), self.commands)
        if before is None or self._rated[0] - before[0] < 0.1:
            return None
        return (self._rated[1] - before[1]) / (self._rated[0] - before[0])

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Any]:
        pool: Any = self._line.client.connection_pool
        connection: Any = None
        try:
            connection = pool.get_connection()
            yield connection
        except BaseException as error:
            if connection is not None:
                connection.disconnect()  # its unread replies must not answer the next question
            if isinstance(error, RedisError | OSError):
                raise translate(error, self._address) from error
            raise
        finally:
            if connection is not None:
                pool.release(connection)

    def deny(self, command: Command, refusal: NoPermissionError) -> None:
        """Take note of a refusal."""
        if "key" in str(refusal):  # "No permissions to access a key": the command itself is allowed
            self._key_denied = True
        else:
            self._denied[right_of(command)] = str(refusal)


def right_of(command: Command) -> str:
    """The name a right has in an ACL.

    >>> right_of(("CONFIG", "GET", "maxmemory")), right_of(("LLEN", "celery"))
    ('config|get', 'llen')
    """
    first = str(command[0]).lower()
    return f"{first}|{str(command[1]).lower()}" if first in _CONTAINERS else first


def answered(reply: Any) -> bool:
    """Whether a reply is one, not a refusal."""
    return not isinstance(reply, Exception)


def raise_if_ill(replies: Iterable[Any]) -> None:
    """Raise a server's own trouble (LOADING, BUSY, MASTERDOWN) as ``BrokerError``; single refusals pass."""
    for reply in replies:
        if isinstance(reply, Exception) and ill(reply):
            raise translate(reply) from reply


def ill(refusal: Exception) -> bool:
    """Whether a refusal is about the server as a whole and not about one command."""
    return isinstance(refusal, BusyLoadingError | MasterDownError) or str(refusal).startswith("BUSY")


def whole(reply: Any) -> int | None:
    """A number, else ``None``."""
    return reply if isinstance(reply, int) else None


def _read(connection: Any, count: int) -> list[Any]:
    """Read so many replies as if they were one array, a refusal among them as an exception.

    hiredis is told that an array begins, and makes the list of them itself: 1,750 lengths take 0.03 ms, asked out of it
    one by one 0.17 ms, and read in redis-py's own way 10 ms. The first element is ours: redis-py raises an array's
    first when it is LOADING, and what else was answered would be lost.
    """
    connection._parser._reader.feed(b"*%d\r\n:0\r\n" % (count + 1))
    replies: list[Any] = connection.read_response(disable_decoding=True, disconnect_on_error=False)[1:]
    if any(issubclass(kind, ConnectionError) and kind is not BusyLoadingError for kind in set(map(type, replies))):
        raise next(reply for reply in replies if isinstance(reply, ConnectionError))  # NOAUTH
    return replies


def _socket_bytes(connection: Any) -> tuple[int, int] | None:
    """Bytes (in, out) of this TCP connection, by the kernel: exact, and whoever used it."""
    sock = getattr(connection, "_sock", None)
    if sock is None or not sys.platform.startswith("linux") or sock.family == socket.AF_UNIX:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _BYTES_AT + 16)
        out, into = struct.unpack_from("QQ", info, _BYTES_AT)
    except (OSError, struct.error):
        return None
    return into, out

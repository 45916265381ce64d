"""Publishing a stream as fast as one reader takes it: never so far ahead that a broker must throw anything away.

Frames and commands are packed before the clock runs; what is measured is the reader (and the broker's part in it).
"""

from __future__ import annotations

import contextlib
import mmap
import socket
import struct
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import hiredis
import pika
from pika import frame, spec

from benchmarks.stream import Message, envelope

AHEAD, AHEAD_BYTES = 8000, 12 << 20
"""Messages and bytes a reader may be behind: below every limit of both brokers and of both readers' queues."""
_CHUNK = 64 * 1024
PATIENCE = 20.0
"""Seconds a reader may stand still."""


class Progress:
    """How many events a reader in another process has handled: eight bytes of shared memory."""

    def __init__(self, path: str | None = None) -> None:
        self._file = open(path, "r+b") if path else tempfile.NamedTemporaryFile(prefix="progress-")  # noqa: SIM115
        self.path = path or str(self._file.name)
        if path is None:
            self._file.write(bytes(8))
            self._file.flush()
        self._map = mmap.mmap(self._file.fileno(), 8)

    def tell(self, events: int) -> None:
        """The reader's word."""
        struct.pack_into("<Q", self._map, 0, events)

    @property
    def events(self) -> int:
        """What it has told last."""
        return int(struct.unpack_from("<Q", self._map)[0])


class Chunk(NamedTuple):
    """Bytes to send at once."""

    data: bytes
    messages: int
    events: int


def for_redis(messages: Iterable[Message], chunk: int = _CHUNK) -> list[Chunk]:
    """PUBLISH commands, ``chunk`` bytes or a bit more at once."""
    return _chunks(messages, _redis_command, chunk)


def for_rabbitmq(messages: Iterable[Message]) -> list[Chunk]:
    """basic.publish on channel 1."""
    return _chunks(messages, _Frames())


def _redis_command(message: Message) -> bytes:
    return hiredis.pack_command(  # type: ignore[no-any-return]
        ("PUBLISH", f"/0.celeryev/{message.routing_key}", envelope(message))  # type: ignore[arg-type]
    )


class _Frames:
    """Method, header and body frame of a message; pika needs 40 us for what a template does in two."""

    def __init__(self) -> None:
        self._methods: dict[str, bytes] = {}
        self._headers: dict[str, bytes] = {}

    def __call__(self, message: Message) -> bytes:
        key, hostname, body, _ = message
        if key not in self._methods:
            self._methods[key] = frame.Method(1, spec.Basic.Publish(exchange="celeryev", routing_key=key)).marshal()
        if hostname not in self._headers:
            properties = spec.BasicProperties("application/json", "utf-8", {"hostname": hostname}, 1, 0)
            self._headers[hostname] = frame.Header(1, 0, properties).marshal()
        header = self._headers[hostname]
        header = header[:11] + struct.pack(">Q", len(body)) + header[19:]
        return self._methods[key] + header + struct.pack(">BHL", 3, 1, len(body)) + body + b"\xce"


def _chunks(messages: Iterable[Message], pack: Callable[[Message], bytes], chunk: int = _CHUNK) -> list[Chunk]:
    found: list[Chunk] = []
    parts: list[bytes] = []
    size = events = 0
    for message in messages:
        parts.append(pack(message))
        size += len(parts[-1])
        events += message.events
        if size >= chunk:
            found.append(Chunk(b"".join(parts), len(parts), events))
            parts, size, events = [], 0, 0
    return [*found, Chunk(b"".join(parts), len(parts), events)]


@contextlib.contextmanager
def redis_socket(port: int) -> Any:
    """A connection to publish over."""
    with socket.create_connection(("127.0.0.1", port)) as publisher:
        yield publisher


@contextlib.contextmanager
def rabbitmq_socket(url: str) -> Any:
    """A connection with channel 1 open, and the exchange of the events, which the first worker declares."""
    parameters = pika.URLParameters(url)
    parameters.heartbeat = 0
    connection = pika.BlockingConnection(parameters)
    connection.channel(1).exchange_declare("celeryev", "topic", durable=True)
    publisher: socket.socket = connection._impl._transport._sock
    publisher.setblocking(True)
    yield publisher
    publisher.setblocking(False)
    connection.close()


def publish(chunks: Sequence[Chunk], publisher: socket.socket, progress: Progress, alive: Callable[[], bool]) -> None:
    """Send all of it, as fast as the reader follows; returns when it has handled the last."""
    ahead: deque[tuple[int, Chunk]] = deque()
    events = messages = size = 0
    for chunk in chunks:
        while messages > AHEAD or size > AHEAD_BYTES:
            _wait_for(ahead[0][0], progress, alive)
            while ahead and ahead[0][0] <= progress.events:
                _, done = ahead.popleft()
                messages -= done.messages
                size -= len(done.data)
        publisher.sendall(chunk.data)
        with contextlib.suppress(BlockingIOError):
            publisher.recv(1 << 20, socket.MSG_DONTWAIT)  # Redis answers each command; nobody asks for it
        events += chunk.events
        messages += chunk.messages
        size += len(chunk.data)
        ahead.append((events, chunk))
    _wait_for(events, progress, alive)  # hanging up earlier would take what is not read yet along


def _wait_for(events: int, progress: Progress, alive: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while progress.events < events:
        if not alive() or time.monotonic() > deadline:
            raise RuntimeError(f"the reader stands still at {progress.events:,} of {events:,} events")
        time.sleep(0.0005)

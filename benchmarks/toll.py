"""A gate on the way to a server: what passes is counted by connection and by name, exactly and whatever the noise."""

from __future__ import annotations

import asyncio
import re
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import hiredis

METHODS = {
    (10, 31): "connection.tune-ok",
    (20, 10): "channel.open",
    (20, 40): "channel.close",
    (40, 10): "exchange.declare",
    (50, 10): "queue.declare",
    (50, 20): "queue.bind",
    (60, 20): "basic.consume",
    (60, 40): "basic.publish",
}
"""Class and method of AMQP; the others by number."""
_frame = struct.Struct(">BHL").unpack_from
_method = struct.Struct(">HH").unpack_from
_CONTAINERS = frozenset({"CLIENT", "CONFIG", "MEMORY", "SLOWLOG"})
_PATH = re.compile(rb"GET /api(/[a-z]+(?:/checks)?)")


class Passed(NamedTuple):
    """What has passed so far, the stream of events apart."""

    names: Counter[str]
    """Redis commands, AMQP methods, paths of HTTP: those celerytop has sent."""
    to_server: int
    """Bytes."""
    to_us: int
    events: int
    """Bytes to us over the connection that has subscribed to events."""
    open: int
    opened: int

    def since(self, before: Passed) -> Passed:
        """What has passed between two looks; ``open`` is that of now."""
        names = Counter({name: count - before.names[name] for name, count in self.names.items()})
        return Passed(
            +names,
            self.to_server - before.to_server,
            self.to_us - before.to_us,
            self.events - before.events,
            self.open,
            self.opened - before.opened,
        )


class _Way:
    """One connection."""

    def __init__(self, read: Callable[[], Callable[[bytes], Iterator[str]]]) -> None:
        self.read = read()
        self.names: Counter[str] = Counter()
        self.to_server = self.to_us = 0
        self.open = True

    @property
    def streams(self) -> bool:
        """It carries events: only that one subscribes, only that one binds."""
        return bool(self.names["PSUBSCRIBE"] or self.names["queue.bind"])


class Toll:
    """Listens on ``port`` and passes everything on to a server on this machine."""

    def __init__(self, target: int, read: Callable[[], Callable[[bytes], Iterator[str]]]) -> None:
        self.port = 0
        self._target = target
        self._read = read
        self._ways: list[_Way] = []

    def passed(self) -> Passed:
        """Counted until now."""
        names: Counter[str] = Counter()
        asking = [way for way in self._ways if not way.streams]
        for way in self._ways:
            names.update(way.names)
        return Passed(
            names,
            sum(way.to_server for way in asking),
            sum(way.to_us for way in asking),
            sum(way.to_us for way in self._ways if way.streams),
            sum(way.open for way in self._ways),
            len(self._ways),
        )

    @contextmanager
    def standing(self) -> Iterator[Toll]:
        """In a thread of its own while the block runs."""
        loop, ready = asyncio.new_event_loop(), threading.Event()
        thread = threading.Thread(target=self._run, args=(loop, ready), daemon=True)
        thread.start()
        ready.wait(5)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)

    def _run(self, loop: asyncio.AbstractEventLoop, ready: threading.Event) -> None:
        server = loop.run_until_complete(asyncio.start_server(self._pass, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        loop.run_forever()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        server.close()
        loop.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way = _Way(self._read)
        self._ways.append(way)
        theirs, to_server = await asyncio.open_connection("127.0.0.1", self._target)

        def sent(data: bytes) -> None:
            way.to_server += len(data)
            way.names.update(way.read(data))

        def told(data: bytes) -> None:
            way.to_us += len(data)

        await asyncio.gather(_copy(reader, to_server, sent), _copy(theirs, writer, told))
        way.open = False


async def _copy(source: asyncio.StreamReader, to: asyncio.StreamWriter, seen: Callable[[bytes], None]) -> None:
    try:
        while data := await source.read(1 << 16):
            seen(data)
            to.write(data)
            await to.drain()
    except OSError:
        pass
    finally:
        to.close()


def redis_names() -> Callable[[bytes], Iterator[str]]:
    """Reads commands."""
    reader = hiredis.Reader()

    def read(data: bytes) -> Iterator[str]:
        reader.feed(data)
        while (command := reader.gets()) is not False:
            name = str(_text(command[0])).upper()
            yield f"{name} {_text(command[1]).upper()}" if name in _CONTAINERS else name

    return read


def amqp_names() -> Callable[[bytes], Iterator[str]]:
    """Reads methods; headers, bodies and heartbeats have no name."""
    waiting = bytearray()

    def read(data: bytes) -> Iterator[str]:
        waiting.extend(data)
        if waiting.startswith(b"AMQP"):
            del waiting[:8]
        while len(waiting) >= 7:
            kind, _, size = _frame(waiting)
            if len(waiting) < size + 8:
                return
            if kind == 1:
                which = _method(waiting, 7)
                yield METHODS.get(which, ".".join(map(str, which)))
            del waiting[: size + 8]

    return read


def http_names() -> Callable[[bytes], Iterator[str]]:
    """Reads paths without what is named in them."""

    def read(data: bytes) -> Iterator[str]:
        for path in _PATH.findall(data):
            yield f"GET {path.decode()}"

    return read


def _text(word: Any) -> str:
    return word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word)

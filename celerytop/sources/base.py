"""What the monitor asks of a source.

Neither retries, logs, starts a thread, caches across calls for its own sake, or changes the cluster. Errors are
``celerytop.errors.SourceError``; anything else is a bug and is shown as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec

from celerytop.model.observation import Observation


class Interest(msgspec.Struct, frozen=True):
    """What the screen shows now and what the cluster is already known to hold; made by the monitor before each poll."""

    page: str = "queues"
    """``queues``, ``workers``, ``tasks``, ``broker``, ``hosts``, ``types``, ``all`` (a one-time report)."""
    queue: str | None = None
    """A queue somebody looks into: sample its messages."""
    worker: str | None = None
    """A worker somebody looks into: ask it for ``conf``, ``registered``, ``revoked``."""
    task_id: str | None = None
    peek_from: int = 0
    """Of ``queue``: how many messages run before the page that is looked at."""
    queues: tuple[str, ...] = ()
    """Names known from active_queues, task-sent, settings."""
    workers: tuple[str, ...] = ()
    """Node names believed alive: those whose answers are worth waiting for."""
    quiet: tuple[str, ...] = ()
    """Node names known but silent: ask them for nothing but a ping."""
    pids: tuple[int, ...] = ()
    """Main processes the workers name as theirs, on whatever machine that is."""


class Source(Protocol):
    """A stream: its generator connects, then yields for ever. After an error the monitor begins it anew."""

    name: str

    def observe(self) -> Iterator[Observation | None]:
        """Connect and yield. The first item means connected; ``None`` means: still here, nothing new.

        Yields at least every two seconds while the server answers; raises ``BrokerError`` within eight when it
        does not (own watchdog, no help from TCP). Closing the generator closes the connection.
        """
        ...

    def drain(self) -> None:
        """Take in what has been sent, without waiting; ``observe`` yields it later.

        Called by who iterates over ``observe``, again and again as long as an item waits to be folded. Never raises:
        what is wrong is found by ``observe``.
        """
        ...

    def hang_up(self) -> None:
        """Make a waiting ``observe`` end soon, by an error if need be. Called from another thread; never raises."""
        ...


class Probe(Protocol):
    """A question, asked again and again. Probes that share a connection share a ``Lane``."""

    name: str
    """Source name shown on screen: ``control``, ``queues``, ``broker``, ``management``, ``host``."""
    every: float
    """Seconds between two polls, when the broker answers fast."""

    def attend(self, interest: Interest) -> None:
        """Learn what is of interest now. Called between polls, in the probe's own thread."""
        ...

    def poll(self) -> Iterator[Observation]:
        """Ask once. Bounded in time: eight seconds at most, even from a frozen server."""
        ...

    @property
    def took(self) -> float:
        """Seconds the broker took for the last poll; 0.0 where none is asked. What workers take does not count."""
        ...


class Lane(Protocol):
    """Probes asked one after the other in one thread over one connection."""

    name: str

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Its questions, in the order in which they are asked."""
        ...

    def connect(self) -> None:
        """Open the connection anew, before the first poll and after an error; ``BrokerError`` within five seconds."""
        ...

    def close(self) -> None:
        """Close it. Never raises; leaves nothing behind on the broker."""
        ...

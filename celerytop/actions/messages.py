"""What the doers need of a broker to handle messages: look through a queue, take out, put back, publish."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import msgspec

from celerytop.actions.dump import Kept
from celerytop.errors import BrokerError
from celerytop.model.queue import Message

REMOVED, MOVED, TAKEN, UNSURE, ABOUT = "r", "m", "t", ".", "?"
"""What became of a dumped message: it was taken out, put elsewhere, a worker was faster, nothing is told of it, or it
was about to be taken out by a broker that remembers nothing."""

REMEMBERED = 7 * 86400
"""Seconds for which Redis knows what a step did."""


class Found(msgspec.Struct, frozen=True, gc=False):
    """One message where it lies."""

    raw: bytes
    """Redis: the whole list entry. RabbitMQ: the body."""
    message: Message | None
    """Its headers; ``None``: not a task message."""
    step: int = 0
    """Redis: the list's priority step."""
    index: int = 0
    """Redis: its place in the list, counted from the end that runs last."""
    properties: bytes | None = None
    """RabbitMQ: flags and properties as on the wire."""
    tag: int = 0
    """RabbitMQ: its delivery tag on the connection that holds it."""


class Post(msgspec.Struct, frozen=True, eq=False):
    """A new message."""

    task_id: str
    headers: dict[str, object]
    body: bytes
    content_type: str = "application/json"
    content_encoding: str = "utf-8"
    priority: int | None = None
    properties: dict[str, object] = {}
    """Further ones, as ``reply_to``."""


class Original(msgspec.Struct, frozen=True, eq=False):
    """A message whose body and headers are really known."""

    headers: dict[str, Any]
    body: bytes
    content_type: str
    content_encoding: str
    source: str
    """Where it was found, one phrase."""
    queue: str | None = None
    priority: int | None = None
    properties: dict[str, Any] = {}


class UnsentError(BrokerError):
    """Nothing of this step has reached the queue, and nothing of it will."""


class Messages(Protocol):
    """Messages of one broker. Everything raises ``BrokerError`` when it does not answer, ``DeniedError`` without right.

    Between ``walk`` and ``release`` RabbitMQ lends us what was found; Redis leaves it where it is.
    """

    @property
    def oldest_first(self) -> bool:
        """The order of ``walk``; ``take_out`` wants the oldest first."""
        ...

    @property
    def at_once(self) -> int | None:
        """Most messages that may be looked through in one go; ``None``: any number."""
        ...

    @property
    def remembers(self) -> bool:
        """The broker itself knows what the last step of ``take_out`` or ``put_back`` did, whatever becomes of us."""
        ...

    def identity(self) -> tuple[str, str | None]:
        """(where this broker is, for people; what tells this server from any other at the same place)."""
        ...

    def count(self, queue: str) -> int | None:
        """Ready messages; ``None``: there is no such queue."""
        ...

    def walk(self, queue: str, most: int | None = None) -> Iterator[list[Found]]:
        """All messages that are there from begin to end, page by page, each once."""
        ...

    def take_out(
        self, dump_id: str, queue: str, kept: Sequence[tuple[Kept, int]], to: str | None
    ) -> Iterator[tuple[int, str]]:
        """Remove them, or move them to the queue ``to``; yields (how many, the fate of each) bit by bit.

        With each goes how deep it should lie: the first is 1 from the end that runs last, or -1 from the other.
        """
        ...

    def release(self) -> None:
        """Give back what was looked at and not taken out."""
        ...

    def last_fate(self, dump_id: str) -> tuple[int, str] | None:
        """What the broker itself remembers of the last step of ``take_out``: (number of the first, fates)."""
        ...

    def put_back(self, dump_id: str, queue: str, kept: Sequence[Kept]) -> None:
        """Put them back, so that the last of them runs next (RabbitMQ: at the end of the queue).

        RabbitMQ takes all or none; Redis one priority step after the other, and remembers how far it has come.

        Raises:
            UnsentError: none of them is there, or will be.
        """
        ...

    def last_put_back(self, dump_id: str) -> int | None:
        """What the broker remembers of the last ``put_back``: number of the last message."""
        ...

    def forget(self, dump_id: str) -> None:
        """All of that is in the dump file now."""
        ...

    def publish(self, queue: str, post: Post) -> None:
        """Publish a new message; it is in the queue when this returns.

        Raises:
            BrokerError: the broker did not take it.
        """
        ...

    def read(self, raw: bytes, properties: bytes | None, queue: str | None, source: str) -> Original | None:
        """Open a message; ``None``: it cannot be read."""
        ...

    def find(self, task_id: str, queues: Sequence[str], patience: float) -> Original | None:
        """Look for a task's message in these queues and among the unacknowledged, without taking it.

        ``None`` also where this broker cannot look without borrowing.
        """
        ...

    def holds(self, queue: str, task_id: str) -> bool | None:
        """Whether it lies in the queue among the newest; ``None``: this broker cannot say."""
        ...

"""What an action needs of a broker: to ask named workers, and to handle messages. One connection, while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from celerytop.actions.messages import Messages


class Answer(msgspec.Struct, frozen=True, eq=False):
    """What one worker answered. It proves nothing but that the worker has read the command."""

    nodename: str
    at: float
    ok: str | None = None
    """``{"ok": ...}`` as one clean phrase; ``None`` when it is no such reply."""
    error: str | None = None
    """``{"error": ...}``, clean."""
    body: Any = None
    """The reply as it was decoded, for ``stats``, ``active``, ``query_task``, ``revoked``. From the wire: hostile."""


class Answers(msgspec.Struct, frozen=True, eq=False):
    """Of one question."""

    by_worker: Mapping[str, Answer]
    listening: int | None = None
    """How many were subscribed when it was published (Redis). ``None``: the broker cannot say."""
    sent_at: float = 0.0
    """Our clock."""


class Control(Protocol):
    """Commands to workers."""

    def ask(self, method: str, arguments: Mapping[str, Any], workers: tuple[str, ...], timeout: float) -> Answers:
        """Publish ``method`` to ``workers`` alone and wait for their replies, ``timeout`` seconds at most.

        The request always carries ``destination``; an empty ``workers`` is a bug and raises ``ValueError``.

        Raises:
            BrokerError: it could not be published, or the broker went away.
            DeniedError: this account may not.
        """
        ...

    def tell(self, method: str, arguments: Mapping[str, Any], workers: tuple[str, ...]) -> int | None:
        """As ``ask``, and no answer is wanted: a worker that is busy for an hour shall not write one into a list that
        nobody reads any more. How many listen, where the broker says.
        """
        ...


class Link(Protocol):
    """One connection able to publish, opened when an action begins and closed when it is settled."""

    @property
    def control(self) -> Control:
        """Opened at the first use.

        Raises:
            BrokerError: no connection.
        """
        ...

    @property
    def messages(self) -> Messages:
        """To look through queues, take messages out and publish."""
        ...

    def close(self) -> None:
        """Close it; leave no reply list behind. Never raises."""
        ...

"""Wishes of a person: the only way out. Those here change nothing; ``model.action`` has those that do."""

from __future__ import annotations

import msgspec

from celerytop.model.action import AnyAction


class Attend(msgspec.Struct, frozen=True, tag=True):
    """What the screen shows now, so that costly looks are taken only while somebody looks.

    Memory walk, CLIENT LIST: page ``broker``. A queue's sample: ``queue``. ``conf``, registered: ``worker``.
    """

    page: str = "queues"
    queue: str | None = None
    worker: str | None = None
    task_id: str | None = None
    peek_from: int = 0
    """Of ``queue``: where the page of messages begins that is looked at; 0 runs next."""


class RetryNow(msgspec.Struct, frozen=True, tag=True):
    """Connect again at once, whatever the back-off says; ask everything anew."""


class SetInterval(msgspec.Struct, frozen=True, tag=True):
    """Seconds between two pictures."""

    seconds: float


Wish = Attend | RetryNow | SetInterval
"""What to look at, and how often."""
Command = Wish | AnyAction

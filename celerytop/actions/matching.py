"""Which messages of a queue are meant: all of it, some ids, or a filter of the one grammar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from celerytop.actions.messages import Found
from celerytop.model.queue import Message
from celerytop.model.task import Task
from celerytop.select import Filter, parse


class Choice:
    """Tells for each message whether it is meant, and counts what could not be told."""

    def __init__(self, filter_text: str, task_ids: Iterable[str], tasks: Mapping[str, Task], now: float) -> None:
        """Read the filter.

        Args:
            filter_text: "" is all.
            task_ids: only these; with an empty filter.
            tasks: what events told: no message says when it was sent.
            now: for ages.

        Raises:
            FilterError: it cannot be read.
        """
        self._filter = parse(filter_text)
        self._ids = frozenset(task_ids)
        self._tasks = tasks
        self._now = now
        self.everything = not self._filter and not self._ids
        self.unreadable = 0
        """No task messages: only a purge of everything touches them."""
        self.ageless = 0
        """Nobody knows when they were sent, and the filter asks for ages; all else it asks for is so."""
        clauses = self._filter.clauses
        self._but_age = Filter(filter_text, tuple(one for one in clauses if one.field != "age"))
        self._asks_age = len(self._but_age.clauses) < len(clauses)

    def __call__(self, found: Found) -> bool:
        """Whether this one is meant."""
        if self.everything:
            return True
        message = found.message
        if message is None:
            self.unreadable += 1
            return False
        if self._ids:
            return message.task_id in self._ids
        row = self._row(message)
        if self._asks_age and row.sent_at is None:
            self.ageless += self._but_age.matches(row, self._now)
            return False
        return self._filter.matches(row, self._now)

    def _row(self, message: Message) -> Task:
        """The message as a task: so every word of the grammar works on it."""
        known = self._tasks.get(message.task_id) if message.task_id is not None else None
        return Task(
            message.task_id or "",
            name=message.name,
            queue=message.queue,
            root_id=message.root_id,
            parent_id=message.parent_id,
            args=message.args,
            kwargs=message.kwargs,
            retries=message.retries,
            priority=message.priority,
            eta_at=message.eta_at,
            expires_at=message.expires_at,
            sent_at=known.sent_at if known is not None else None,
        )

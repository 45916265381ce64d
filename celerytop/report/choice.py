"""Which rows of a Snapshot a report prints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from celerytop.model.queue import Queue
from celerytop.model.snapshot import Snapshot
from celerytop.model.task import Task, TaskType
from celerytop.model.worker import Worker
from celerytop.select import Filter, Row

R = TypeVar("R", bound=Row)

PAGES = ("queues", "workers", "tasks", "broker", "hosts", "types")


class Choice:
    """Pages and a filter; no page named means all of them."""

    def __init__(self, pages: tuple[str, ...] = (), only: Filter | None = None) -> None:
        self._pages = pages or PAGES
        self._only = only

    def shows(self, page: str) -> bool:
        """Whether ``page`` is printed."""
        return page in self._pages

    def queues(self, snapshot: Snapshot) -> list[Queue]:
        """Queues to print, longest first."""
        rows = self._kept("queues", snapshot.queues.values(), snapshot.at)
        return sorted(rows, key=lambda queue: (-(queue.messages or 0), queue.name))

    def workers(self, snapshot: Snapshot) -> list[Worker]:
        """Workers to print, by name."""
        rows = self._kept("workers", snapshot.workers.values(), snapshot.at)
        return sorted(rows, key=lambda worker: worker.nodename)

    def tasks(self, snapshot: Snapshot) -> list[Task]:
        """Tasks to print, newest news first."""
        rows = self._kept("tasks", snapshot.tasks.values(), snapshot.at)
        return sorted(rows, key=lambda task: -task.updated_at)

    def types(self, snapshot: Snapshot) -> list[TaskType]:
        """Types to print, by name."""
        rows = self._kept("types", snapshot.types.values(), snapshot.at)
        return sorted(rows, key=lambda kind: kind.name)

    def _kept(self, page: str, rows: Iterable[R], now: float) -> list[R]:
        if page not in self._pages:
            return []
        only = self._only
        return [row for row in rows if only is None or only.matches(row, now)]

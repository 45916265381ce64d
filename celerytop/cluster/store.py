"""The tasks, and who is whose child: at most so many, what is over forgotten first, what is forgotten counted."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from itertools import islice

from celerytop.model.task import READY_STATES, Task

_LINKS_AT_ONCE = 4096


class TaskStore:
    """Tasks by id, in the order they were first heard of. Reading ``tasks`` is free; writing goes through ``put``."""

    __slots__ = (
        "_changed",
        "_finished",
        "_limit",
        "_picture",
        "children",
        "forgotten",
        "forgotten_unfinished",
        "tasks",
    )

    def __init__(self, limit: int) -> None:
        self.tasks: dict[str, Task] = {}
        self.children = Children(limit)
        self.forgotten = 0
        self.forgotten_unfinished = 0
        self._limit = max(1, limit)
        self._finished: deque[str] = deque()
        """Ids in the order they finished. One that started again since stays here and is left alone."""
        self._picture: Mapping[str, Task] = {}
        self._changed = False

    def put(self, before: Task | None, task: Task) -> None:
        """Keep ``task`` in the place of ``before``, which is what ``tasks`` has under its id."""
        self.tasks[task.task_id] = task
        self._changed = True
        parent = task.parent_id
        if parent is not None and (before is None or before.parent_id != parent):
            self.children.link(parent, task.task_id)
        if before is None:
            if over(task):
                self._finished.append(task.task_id)
            if len(self.tasks) > self._limit:
                self._forget()
        elif task.finished_at is not None and before.finished_at is None:
            self._finished.append(task.task_id)

    def picture(self) -> Mapping[str, Task]:
        """All tasks, never changed after; the same as before when nothing has changed."""
        if self._changed:
            self._picture = self.tasks.copy()
            self._changed = False
        return self._picture

    def _forget(self) -> None:
        while self._finished:
            task_id = self._finished.popleft()
            task = self.tasks.get(task_id)
            if task is not None and over(task):
                del self.tasks[task_id]
                self.forgotten += 1
                return
        # Nothing is over: the oldest hundredth goes at once, for finding the front of a dict is not free.
        for task_id in list(islice(self.tasks, max(1, self._limit // 100))):
            del self.tasks[task_id]
            self.forgotten += 1
            self.forgotten_unfinished += 1


def over(task: Task) -> bool:
    """Whether nothing more is expected of it."""
    return task.finished_at is not None or task.state in READY_STATES


class Children:
    """Parent to children, as many links as there may be tasks; the oldest go first."""

    __slots__ = ("_fresh", "_limit", "_links", "_order", "_picture")

    def __init__(self, limit: int) -> None:
        self._limit = max(1, limit)
        self._links: dict[str, tuple[str, ...]] = {}
        self._fresh: dict[str, list[str]] = {}
        """Links since the last picture, so that a parent of thousands is not copied for each."""
        self._order: deque[str] = deque()
        """The parent of each link, oldest first."""
        self._picture: Mapping[str, tuple[str, ...]] = {}

    def link(self, parent: str, child: str) -> None:
        """Learn of one child. A child is linked once: when its parent becomes known."""
        fresh = self._fresh.get(parent)
        if fresh is None:
            self._fresh[parent] = [child]
        else:
            fresh.append(child)
        self._order.append(parent)
        if len(self._order) >= self._limit + _LINKS_AT_ONCE:
            self._settle()

    def picture(self) -> Mapping[str, tuple[str, ...]]:
        """All links, never changed after; the same as before when nothing has changed."""
        if self._fresh:
            self._settle()
            self._picture = self._links.copy()
        return self._picture

    def _settle(self) -> None:
        for parent, fresh in self._fresh.items():
            self._links[parent] = (*self._links.get(parent, ()), *fresh)
        self._fresh.clear()
        surplus = len(self._order) - self._limit
        if surplus > 0:
            for parent, number in Counter(self._order.popleft() for _ in range(surplus)).items():
                left = self._links[parent][number:]
                if left:
                    self._links[parent] = left
                else:
                    del self._links[parent]

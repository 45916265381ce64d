"""The tasks, and who is whose child: at most so many, what is over forgotten first, what is forgotten counted."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from itertools import islice

from msgspec.structs import force_setattr

from celerytop.cluster.pages import Pages
from celerytop.model.snapshot import Lists
from celerytop.model.task import READY_STATES, Task

_LINKS_AT_ONCE = 4096
_CHANGED_AT_ONCE = 1024
"""Changed tasks that are put into their pages at once: 0.3 ms. As dear in larger heaps, and those hold events up."""
_LISTED = 10_000
"""Ids that are listed for each picture: 0.2 ms."""
_SHARED = 1024
"""Texts, and ids of families, that are remembered, twice, to be held once."""
_RESULTS: dict[str | None, str] = {text: text for text in ("None", "True", "False", "0", "1", "''", "[]", "{}")}
_LONGEST = 1000
"""Characters beyond which a text is not remembered: what keeps it may outlive its task."""


class TaskStore:
    """Tasks by id, in the order they were first heard of. Reading ``tasks`` is free; writing goes through ``put``."""

    __slots__ = (
        "_changed",
        "_failed",
        "_finished",
        "_limit",
        "_live",
        "_pages",
        "_picture",
        "_settled",
        "_shared",
        "_shared_before",
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
        self._live: dict[str, None] = {}
        """Every task that is not over, in the order they began; others may be among them."""
        self._failed: dict[str, None] = {}
        self._picture: Mapping[str, Task] = {}
        self._pages: Pages[Task] | None = None
        """Of the pictures; there are none before the first."""
        self._changed: dict[str, Task | None] = {}
        """What is not in its page yet; ``None``: it was forgotten."""
        self._settled = False
        """Some that are in their pages are not in the last picture."""
        self._shared: dict[str | None, str] = {}
        self._shared_before: dict[str | None, str] = {}
        """What was there when the table was full: what is seen again stays, what is seen once goes."""

    def put(self, before: Task | None, task: Task) -> None:
        """Keep ``task`` in the place of ``before``, which is what ``tasks`` has under its id."""
        task_id = task.task_id
        self.tasks[task_id] = self._changed[task_id] = task
        if before is None:
            self._begin(task, task_id)
            return
        if before.root_id is not task.root_id or before.parent_id is not task.parent_id:
            self._join_family(before, task)
        if before.finished_at is not None:
            self._list(task, task_id)
        elif task.finished_at is not None:
            self._finished.append(task_id)
            if task.state == "SUCCESS":
                self._live.pop(task_id, None)
            else:
                self._list(task, task_id)
            if (usual := _RESULTS.get(task.result)) is not None:
                force_setattr(task, "result", usual)
        if type(task) is Task and task.exception is not before.exception:  # a brief one has none
            self._hold_once(task, "exception", task.exception)
            self._hold_once(task, "traceback", task.traceback)

    def _begin(self, task: Task, task_id: str) -> None:
        kwargs = task.kwargs
        if kwargs is not None and self._shared.get(kwargs) is not kwargs:
            self._hold_once(task, "kwargs", kwargs)
        if task.root_id is not task_id or task.parent_id is not None:
            self._join_family(None, task)
        if task.state == "RECEIVED":
            self._live[task_id] = None
        else:
            self._list(task, task_id)
            if over(task):
                self._finished.append(task_id)
        if len(self.tasks) > self._limit:
            self._forget()

    def _list(self, task: Task, task_id: str) -> None:
        """Among those that are not over, and those that failed: a screen need not look for them among all."""
        if task.state in READY_STATES:
            self._live.pop(task_id, None)
        else:
            self._live[task_id] = None
        if task.state == "FAILURE":
            self._failed[task_id] = None
        else:
            self._failed.pop(task_id, None)

    def _join_family(self, before: Task | None, task: Task) -> None:
        """Hold the ids of parent and root once, however many children there are, and link a child to its parent."""
        parent, root, task_id = task.parent_id, task.root_id, task.task_id
        if parent is not None:
            known = self.tasks.get(parent)
            parent = known.task_id if known is not None else self._only(parent)
            force_setattr(task, "parent_id", parent)
            if before is None or before.parent_id != parent:
                self.children.link(parent, task_id)
        if root is None or root is task_id:
            return
        if root == parent:
            root = parent
        elif (known := self.tasks.get(root)) is not None:
            root = known.task_id
        else:
            root = self._only(root)
        force_setattr(task, "root_id", root)

    def _hold_once(self, task: Task, field: str, text: str | None) -> None:
        known = self._shared.get(text)
        if known is None and text is not None and len(text) <= _LONGEST:
            known = self._only(text)
        if known is not None and known is not text:
            force_setattr(task, field, known)

    def _only(self, text: str) -> str:
        known = self._shared.get(text)
        if known is None:
            if len(self._shared) >= _SHARED:
                self._shared_before, self._shared = self._shared, {}
            known = self._shared[text] = self._shared_before.get(text, text)
        return known

    def picture(self) -> Mapping[str, Task]:
        """All tasks, never changed after; the same as before when nothing has changed. Costs what has changed."""
        if self._pages is None:
            self._pages, self._changed = Pages(), dict(self.tasks)
        if self._changed or self._settled:
            self._pages.take(self._changed)
            self._changed.clear()
            self._picture, self._settled = self._pages.picture(), False
        return self._picture

    def settle(self) -> None:
        """Called now and then while tasks are put: keeps the next picture's share small."""
        if len(self._changed) >= _CHANGED_AT_ONCE:
            if self._pages is not None:
                self._pages.take(self._changed)
                self._settled = True
            self._changed.clear()

    def lists(self) -> Lists | None:
        """Of that picture, those that are not over and those that failed; ``None`` when these are very many.

        Then a screen that shows them looks through all, which takes it as long as these lists would: 100,000 ids are
        put into a tuple in 2 ms, and for that no event is held up, nor for a screen that shows something else.
        """
        if len(self._live) + len(self._failed) > _LISTED:
            return None
        return Lists(tuple(self._live), tuple(self._failed))

    def _forget(self) -> None:
        while self._finished:
            task_id = self._finished.popleft()
            task = self.tasks.get(task_id)
            if task is not None and over(task):
                self._drop(task_id)
                return
        # Nothing is over: the oldest hundredth goes at once, for finding the front of a dict is not free.
        for task_id in list(islice(self.tasks, max(1, self._limit // 100))):
            self._drop(task_id)
            self.forgotten_unfinished += 1

    def _drop(self, task_id: str) -> None:
        del self.tasks[task_id]
        self._changed[task_id] = None
        self._live.pop(task_id, None)
        self._failed.pop(task_id, None)
        self.forgotten += 1


def over(task: Task) -> bool:
    """Whether nothing more is expected of it."""
    return task.finished_at is not None or task.state in READY_STATES


class Children:
    """Parent to children, as many links as there may be tasks; the oldest go first."""

    __slots__ = ("_fresh", "_limit", "_links", "_order", "_pages", "_picture")

    def __init__(self, limit: int) -> None:
        self._limit = max(1, limit)
        self._links: dict[str, tuple[str, ...]] = {}
        self._fresh: dict[str, list[str]] = {}
        """Links since the last picture, so that a parent of thousands is not copied for each."""
        self._order: deque[str] = deque()
        """The parent of each link, oldest first."""
        self._pages: Pages[tuple[str, ...]] | None = None
        self._picture: Mapping[str, tuple[str, ...]] | None = {}
        """``None``: not all is in the last one."""

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
        self._settle()
        if self._picture is None:
            if self._pages is None:
                self._pages = Pages()
                self._pages.take(self._links)
            self._picture = self._pages.picture()
        return self._picture

    def _settle(self) -> None:
        if not self._fresh:
            return
        links, parents = self._links, list(self._fresh)
        for parent, fresh in self._fresh.items():
            links[parent] = (*links.get(parent, ()), *fresh)
        self._fresh.clear()
        surplus = len(self._order) - self._limit
        if surplus > 0:
            for parent, number in Counter(self._order.popleft() for _ in range(surplus)).items():
                parents.append(parent)
                left = links[parent][number:]
                if left:
                    links[parent] = left
                else:
                    del links[parent]
        if self._pages is not None:
            self._pages.take({parent: links.get(parent) for parent in parents})
        self._picture = None

"""Which unacked messages belong to nobody: workers took them, died, and nobody gives them back before the timeout.

Absence from ``active``, ``reserved`` and ``scheduled`` is not enough: tasks held back by a rate limit are listed
nowhere. So a message is called orphaned only when one of these is certain: the worker that took it is gone; or it was
taken before any worker that is there now had begun.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from msgspec.structs import replace

from celerytop.cluster.node import Node
from celerytop.cluster.worker_pictures import WorkerPictures
from celerytop.cluster.workers import Workers
from celerytop.model.queue import Message, Unacked
from celerytop.model.task import Task, whole
from celerytop.model.worker import ALIVE, GONE

RECENT = 40.0
"""Seconds a worker's lists may be old: ``reserved`` is asked every thirty."""
MARGIN = 3.0
"""Seconds by which clocks and whole-second uptimes may be off."""
PLACES = ("active", "reserved", "scheduled")
VISIBILITY_TIMEOUT = 3600.0
"""Of a worker whose settings do not say."""


AGAIN = 5.0
"""Seconds after which they are looked for again though nothing was heard."""


class Orphans:
    """What was found the last time: to look for them is to ask all workers, so it waits until something was heard."""

    def __init__(self, workers: Workers, pictures: WorkerPictures, tasks: Mapping[str, Task]) -> None:
        self._workers = workers
        self._pictures = pictures
        self._tasks = tasks
        self._found: Unacked | None = None
        self._found_of: tuple[object, ...] = ()
        self._measured: Unacked | None = None
        self._there: list[Node] = []
        self._timeout: float | None = None
        self._there_of = -1

    def see(self, unacked: Unacked | None, asked: bool, now: float) -> Unacked | None:
        """``unacked`` with its orphans counted; not counted while any worker's lists are missing.

        Args:
            unacked: as measured; ``None`` where nobody can.
            asked: everyone that listens has answered a round that asked all.
            now: our clock.
        """
        if unacked is None:
            return None
        found_of = (self._pictures.version, self._workers.rounds, asked, now // AGAIN)
        if unacked is not self._measured or found_of != self._found_of:
            self._measured, self._found_of = unacked, found_of
            self._known()
            if self._timeout is not None:
                unacked = replace(unacked, visibility_timeout=self._timeout)
            self._found = self._counted(unacked, asked, now)
        return self._found

    def _known(self) -> None:
        """Who is there; and the limit of workers that have told theirs: any takes back what is older than its own."""
        if self._there_of == self._pictures.version:
            return
        self._there_of, states = self._pictures.version, self._pictures.states
        self._there = [node for node in self._workers.nodes.values() if states.get(node.nodename) != GONE]
        told = [node.visibility_timeout or VISIBILITY_TIMEOUT for node in self._there if node.settings is not None]
        self._timeout = min(told) if told else None

    def _counted(self, unacked: Unacked, asked: bool, now: float) -> Unacked:
        there, states = self._there, self._pictures.states
        if unacked.count == 0:
            return replace(unacked, orphaned=0, orphaned_by_queue=())
        if not asked or not all(_has_told(node, states, now) for node in there):
            return unacked
        claimed = {item.task_id for node in there for listed in node.listed.values() for item in listed.tasks}
        claimed.update(task_id for node in there for task_id in node.running)
        began_at = min((node.uptime_at - (node.uptime or 0.0) for node in there), default=None)
        doubtful = False
        orphans: Counter[str] = Counter()
        for message in unacked.messages:
            if message.task_id in claimed:
                continue
            if _orphaned(message, began_at, self._workers.nodes, states, self._tasks):
                orphans[message.queue or "?"] += 1
            else:
                doubtful = True
        number = orphans.total()
        if not number and (doubtful or not unacked.complete):
            return unacked
        return replace(unacked, orphaned=number, orphaned_by_queue=tuple(orphans.most_common()))


def enrich(task: Task, message: Message) -> Task:
    """The task with what only its message tells: family and retries of what began before we looked."""
    if task.root_id is not None or message.root_id is None or task.finished_at is not None:
        return task
    return replace(
        whole(task),
        root_id=message.root_id,
        # the message of a retry names itself as its parent
        parent_id=message.parent_id if message.parent_id != task.task_id else None,
        retries=message.retries if task.retries is None else task.retries,
        expires_at=message.expires_at if task.expires_at is None else task.expires_at,
        sender=task.sender or message.origin,
    )


def _orphaned(
    message: Message,
    began_at: float | None,
    nodes: Mapping[str, Node],
    states: Mapping[str, str],
    tasks: Mapping[str, Task],
) -> bool:
    if began_at is None:
        return True  # no worker is there at all
    task = tasks.get(message.task_id) if message.task_id is not None else None
    if task is not None and task.worker is not None:
        if states.get(task.worker) == GONE:
            return True
        taker = nodes.get(task.worker)
        if taker is not None and taker.uptime is not None:  # the name is in use again, by another process
            return _before(message, taker.uptime_at - taker.uptime)
    return _before(message, began_at)


def _before(message: Message, moment: float) -> bool:
    return message.reserved_at is not None and message.reserved_at < moment - MARGIN


def _has_told(node: Node, states: Mapping[str, str], now: float) -> bool:
    """It is alive and has lately told all it holds, whole."""
    if states.get(node.nodename) != ALIVE or node.uptime is None:
        return False
    for place in PLACES:
        listed = node.listed.get(place)
        if listed is None or now - node.listed_at[place] > RECENT or listed.total > len(listed.tasks):
            return False
    return True

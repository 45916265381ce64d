"""Workers as values. A picture costs what has changed: who has shown no sign, and is not due for another reason, stays.

A node is looked at again when an observation has touched it, or when time alone changes what is said of it: its heart
is late, a rate falls, "said goodbye 3 s ago" becomes 4. For 10,000 workers that beat every two seconds this took a
picture from 69 ms to a tenth of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from heapq import heappop, heappush
from itertools import count

from celerytop.cluster.inspected import leave
from celerytop.cluster.liveness import Reach, fresh_until
from celerytop.cluster.node import MORE, RUNS, Node
from celerytop.cluster.one_worker import beaten, faded, picture, plain, run_on, settled_until, state_of
from celerytop.cluster.store import TaskStore
from celerytop.cluster.totals import WorkerTally
from celerytop.cluster.workers import Workers
from celerytop.model.worker import GONE, Worker

MUTE_AFTER = 3
"""Pings without an answer after which a worker that never gave any is told of."""
GONE_PATIENCE = 10.0
"""Seconds a worker must be gone before its tasks are said to run no more: a reconnect says goodbye too."""
NEVER = float("inf")
AT_ONCE = 16
"""Workers between two pauses: 0.1 ms."""


class WorkerPictures:
    """The last picture of each worker, and what is added up over all of them."""

    def __init__(self, workers: Workers, store: TaskStore) -> None:
        self.states: dict[str, str] = {}
        self.tally = WorkerTally()
        self.running: Counter[str | None] = Counter()
        """Busy slots by task name."""
        self.silent: dict[str, None] = {}
        """Who sends no task events."""
        self.mute: dict[str, None] = {}
        """Whose heart beats, and who has never answered."""
        self.telling: dict[str, None] = {}
        """Who tells what it runs."""
        self.version = 0
        """Grows when any state, or what any worker consumes, or its settings have changed."""
        self.turned: list[Node] = []
        """Who tells from now on what it takes from its queues, or no more."""
        self._workers = workers
        self._store = store
        self._pictures: dict[str, Worker] = {}
        self._shown: Mapping[str, Worker] = {}
        self._always: list[Node] = []
        """What is said of these changes with every moment."""
        self._timers: list[tuple[float, int, Node]] = []
        self._order = count()
        self._reached: tuple[object, ...] = ()
        self._at = 0.0

    def see(self, now: float, reach: Reach) -> Generator[None, None, Mapping[str, Worker]]:
        """All workers at ``now``; never changed after. Pauses now and then: what is folded meanwhile may be in it."""
        removed, self._workers.removed = self._workers.removed, []
        for node in removed:
            self._drop(node)
        due = self._due(now, reach)
        since = reach.events_since if reach.events_since is not None else now
        self._always = []
        nodes = self._workers.nodes
        for number, node in enumerate(due):
            if number % AT_ONCE == 0:
                yield
            if nodes.get(node.nodename) is node:
                self._look(node, now, since, reach)
            node.touched = 0
        if due or removed:
            self._shown = self._pictures.copy()
        return self._shown

    def invalidate(self) -> None:
        """Look at all of them again the next time."""
        self._reached = ()

    def in_order(self, some: Mapping[str, None]) -> list[str]:
        """These names as we came to know them."""
        return [nodename for nodename in self._workers.nodes if nodename in some] if some else []

    # ------------------------------------------------------------------------------------------------- who
    def _due(self, now: float, reach: Reach) -> Iterable[Node]:
        moment = max(now, reach.events_at or 0.0)
        reached = (reach.events_since, reach.control_since, reach.muted, reach.events_at is None)
        touched = self._workers.touched
        if reached != self._reached or moment < self._at:
            due = list(self._workers.nodes.values())
            for node in due:
                node.touched = MORE
        else:
            due = list(dict.fromkeys((*touched, *self._always, *self._ripe(moment))))
        touched.clear()
        self._reached, self._at = reached, moment
        return due

    def _ripe(self, moment: float) -> Iterable[Node]:
        """Whose time has come. A timer is not moved when its node is touched: it is wound up again when it rings."""
        timers = self._timers
        while timers and timers[0][0] <= moment:
            rang, _, node = heappop(timers)
            if rang != node.timer_at:
                continue
            node.timer_at = NEVER
            if node.settled_until <= moment:
                yield node
            else:
                self._wind(node)

    def _wind(self, node: Node) -> None:
        if node.settled_until < NEVER:
            node.timer_at = node.settled_until
            heappush(self._timers, (node.timer_at, next(self._order), node))

    # ------------------------------------------------------------------------------------------------ look
    def _look(self, node: Node, now: float, since: float, reach: Reach) -> None:
        before = self._pictures.get(node.nodename)
        until = fresh_until(node.heartbeat_at or 0.0, node.heartbeat_every)
        if (
            before is not None
            and node.touched != MORE
            and node.plain
            and reach.events_at is not None
            and reach.events_at <= until
        ):
            worker = self._again(node, before, until, now, since)
            if worker.active != before.active:
                self.tally.change(before, worker)
        else:
            worker = self._anew(node, before, now, since, reach)
        self._pictures[node.nodename] = worker
        if node.queues and node.tells is not (tells := node.tells_what_it_takes(now)):
            node.tells = tells
            self.turned.append(node)
        if node.settled_until <= self._at or None in node.counted:
            self._always.append(node)
        elif node.settled_until < node.timer_at:
            self._wind(node)

    def _again(self, node: Node, before: Worker, until: float, now: float, since: float) -> Worker:
        """Of one whose heart beats on, and that runs tasks at most: half the price."""
        ran = node.touched == RUNS
        worker = run_on(node, before, now, since) if ran else beaten(node, before)
        if ran:
            self._count_running(node, there=True)
            node.plain = None not in node.counted
        if not worker.task_events or (not ran and worker.done_rate == worker.failed_rate == 0.0):
            node.settled_until = until
            return worker
        if not ran:
            worker = faded(node, worker, now, since)
        node.settled_until = settled_until(node, worker, now, since)
        return worker

    def _anew(self, node: Node, before: Worker | None, now: float, since: float, reach: Reach) -> Worker:
        state, why = state_of(node, reach, now)
        if node.gone_since is not None and now - node.gone_since >= GONE_PATIENCE and (node.running or node.listed):
            leave(node, self._store, now)
        worker = picture(node, state, why, now, since)
        self._learn(node, before, worker)
        self.tally.change(before, worker)
        node.settled_until = settled_until(node, worker, now, since)
        node.plain = plain(node, worker)
        return worker

    def _learn(self, node: Node, before: Worker | None, worker: Worker) -> None:
        there = worker.state != GONE
        told = (worker.state, worker.queues, worker.settings)
        if before is None or told != (before.state, before.queues, before.settings):
            self.states[node.nodename] = worker.state
            self.version += 1
        self._mark(node, there)
        self._count_running(node, there)

    def _drop(self, node: Node) -> None:
        before = self._pictures.pop(node.nodename, None)
        if before is None:
            return
        self.tally.change(before, None)
        self.version += 1
        del self.states[node.nodename]
        self._mark(node, there=False)
        self._count_running(node, there=False)

    def _mark(self, node: Node, there: bool) -> None:
        _put(self.silent, node.nodename, there and node.task_events is False)
        never = node.answered_at is None and node.heartbeat_at is not None and node.missed >= MUTE_AFTER
        _put(self.mute, node.nodename, there and never)
        _put(self.telling, node.nodename, there and ("active" in node.listed_at or bool(node.task_events)))

    def _count_running(self, node: Node, there: bool) -> None:
        """Count anew what it runs."""
        if not (node.running or node.counted):
            return
        tasks = self._store.tasks
        running = [tasks.get(task_id) for task_id in node.running] if there else ()
        names = [task.name for task in running if task is not None]
        if names != node.counted:
            self.running.update(names)
            _subtract(self.running, node.counted)
            node.counted = names


def _put(names: dict[str, None], name: str, belongs: bool) -> None:
    if belongs:
        names[name] = None
    elif name in names:
        del names[name]


def _subtract(counter: Counter[str | None], names: Iterable[str | None]) -> None:
    for name in names:
        counter[name] -= 1
        if not counter[name]:
            del counter[name]

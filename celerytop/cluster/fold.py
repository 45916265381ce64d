"""Events into tasks, workers, types and queues: the inner loop. A few microseconds an event, however much is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from celerytop.cluster.advance import advance
from celerytop.cluster.clocks import Clocks, HostClock
from celerytop.cluster.node import Node
from celerytop.cluster.queues import Queues
from celerytop.cluster.statistics import Rate
from celerytop.cluster.store import TaskStore
from celerytop.cluster.types import Types, waited
from celerytop.cluster.usual import Usual
from celerytop.cluster.workers import Workers
from celerytop.model.event import (
    Event,
    TaskCancelled,
    TaskFailed,
    TaskReceived,
    TaskRejected,
    TaskRetried,
    TaskRevoked,
    TaskSent,
    TaskStarted,
    TaskSucceeded,
    WorkerHeartbeat,
    WorkerOffline,
    WorkerOnline,
)
from celerytop.model.task import Task


class EventFolder:
    """Folds batches of events, and counts what they tell."""

    def __init__(self, store: TaskStore, workers: Workers, types: Types, queues: Queues, clocks: Clocks) -> None:
        self.events = Rate()
        self.finished = Rate()
        self.failed = Rate()
        self._done = 0
        self._failures = 0
        self._store = store
        self._workers = workers
        self._types = types
        self._queues = queues
        self._clocks = clocks
        self._crowd = Node("?", HostClock("?"), 0.0)
        """Stands for every worker beyond those that are told apart."""
        self._counts: dict[type, Callable[[Task | None, Task, Node, float], None]] = {
            TaskReceived: self._received,
            TaskStarted: self._started,
            TaskSucceeded: self._ended,
            TaskFailed: self._ended,
            TaskRetried: self._ended,
            TaskRevoked: self._ended,
            TaskRejected: self._ended,
            TaskCancelled: self._ended,
        }
        self._short = Usual(store, types, queues)
        self._usual: dict[type, Callable[[Any, Node, float], bool]] = {
            **dict.fromkeys(self._counts, _unusual),
            TaskReceived: self._short.received,
            TaskStarted: self._short.started,
            TaskSucceeded: self._short.succeeded,
        }

    def fold(self, events: Sequence[Event], at: float) -> None:
        """Fold one batch that was received at ``at``."""
        usual, other = self._usual, self._other
        before_done, before_failed = self._done + self._short.done, self._failures
        hostname, node, shift = "", self._crowd, 0.0
        for event in events:
            short = usual.get(event.__class__)
            if short is None:
                other(event, at)
                continue
            if event.hostname is not hostname:  # most batches are of one worker
                hostname = event.hostname
                node = self._sender(event, at)
                shift = node.clock.shift
            if shift:
                event = replace(event, timestamp=event.timestamp + shift)  # noqa: PLW2901
            if not short(event, node, at):
                self._whole(event, node, at)
        self.events.add(at, len(events))
        done = self._done + self._short.done
        if done != before_done:
            self.finished.add(at, done - before_done)
        if self._failures != before_failed:
            self.failed.add(at, self._failures - before_failed)

    def _sender(self, event: Event, at: float) -> Node:
        node = self._workers.nodes.get(event.hostname) or self._workers.node(event.hostname, at) or self._crowd
        node.task_event(at)
        if node.heartbeat_at is None:
            node.clock.note(event.timestamp, at)
        return node

    def _whole(self, event: Any, node: Node, at: float) -> None:
        """What is not usual."""
        before = self._store.tasks.get(event.uuid)
        task = advance(before, event, at, node.only_queue)
        self._store.put(before, task)
        self._counts[event.__class__](before, task, node, at)

    def clear_rates(self) -> None:
        """Count the last minute anew."""
        for rate in (self.events, self.finished, self.failed):
            rate.clear()

    def _other(self, event: Event, at: float) -> None:
        if isinstance(event, TaskSent):
            self._sent(event, at)
        elif isinstance(event, WorkerHeartbeat | WorkerOnline | WorkerOffline):
            self._workers.heard(event, at)

    def _sent(self, event: TaskSent, at: float) -> None:
        shift = self._clocks.of(event.hostname).shift
        if shift:
            event = replace(event, timestamp=event.timestamp + shift)
        if not self._short.sent(event, at):
            before = self._store.tasks.get(event.uuid)
            self._store.put(before, advance(before, event, at))
        if event.queue is not None:
            record = self._queues.record(event.queue, at, "task-sent")
            if record is not None:
                record.sends(at)

    def _received(self, before: Task | None, task: Task, node: Node, at: float) -> None:
        if before is not None and before.received_at is task.received_at:
            return
        if task.name is not None:
            self._types.record(task.name).received += 1
        queue = task.queue
        record = self._queues.records.get(queue) if queue is not None else None
        if record is not None:
            record.takes(at)
        else:
            node.unplaced.add(at)
        if task.state == "RECEIVED":
            node.takes(task.task_id, task.eta_at is not None, at)

    def _started(self, before: Task | None, task: Task, node: Node, at: float) -> None:
        if task.state != "STARTED" or (before is not None and before.started_at is task.started_at):
            return
        node.lets_go(task.task_id)
        node.running[task.task_id] = None
        node.running_at = at
        if before is not None and before.state == "STARTED" and before.worker != task.worker:
            self._runs_no_more(before, at)
        if task.queue is not None:
            record = self._queues.records.get(task.queue)
            if record is not None:
                record.starts()
        if task.sent_at is not None and task.name is not None:
            self._types.record(task.name).waiting.add(waited(task) or 0.0)

    def _ended(self, before: Task | None, task: Task, node: Node, at: float) -> None:
        """It finished, was retried or rejected: or the event was late and nothing ended."""
        state = task.state
        if before is not None and before.state != state:
            if before.state == "STARTED":
                self._runs_no_more(before, at)
            else:
                node.lets_go(task.task_id)
        if state == "RETRY":
            if (before is None or before.retried_at is not task.retried_at) and task.name is not None:
                self._types.record(task.name).retried += 1
        elif task.finished_at is not None and (before is None or before.finished_at is not task.finished_at):
            self._finished(before, task, node, at)

    def _finished(self, before: Task | None, task: Task, node: Node, at: float) -> None:
        failed = task.state == "FAILURE"
        again = before is not None and before.finished_at is not None and before.state != "STARTED"
        if not again:  # SIGUSR1: revoked first, then failed: one end
            self._done += 1
            node.finished.add(at)
        if failed:
            self._failures += 1
            node.failed.add(at)
        if task.name is None:
            return
        record = self._types.record(task.name)
        if not again:
            record.finished.add(at)
        if task.state == "SUCCESS":
            record.succeeded += 1
            if task.runtime is not None:
                record.runtime.add(task.runtime)
        elif failed:
            record.failed += 1
        else:
            record.revoked += 1

    def _runs_no_more(self, before: Task, at: float) -> None:
        node = self._workers.nodes.get(before.worker) if before.worker is not None else None
        if node is not None:
            node.touch()
            node.running.pop(before.task_id, None)
            node.running_at = at


def _unusual(event: Any, node: Node, at: float) -> bool:
    return False

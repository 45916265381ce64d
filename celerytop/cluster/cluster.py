"""One cluster: every observation goes in, pictures come out. Not safe for threads: the monitor holds a lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping
from typing import assert_never

from msgspec.structs import replace

from celerytop.cluster.actions import ActionBook
from celerytop.cluster.brokers import BrokerBook
from celerytop.cluster.clocks import Clocks
from celerytop.cluster.fold import EventFolder
from celerytop.cluster.hosts import Hosts
from celerytop.cluster.inspected import fold_listed, leave
from celerytop.cluster.liveness import Reach
from celerytop.cluster.notes import notes
from celerytop.cluster.queue_pictures import QueuePictures
from celerytop.cluster.queues import Queues
from celerytop.cluster.sources import Sources
from celerytop.cluster.store import TaskStore
from celerytop.cluster.totals import Counted, totals
from celerytop.cluster.types import Types
from celerytop.cluster.unacked import Orphans, enrich
from celerytop.cluster.worker_pictures import WorkerPictures
from celerytop.cluster.workers import Workers
from celerytop.model.event import BadEvent
from celerytop.model.observation import (
    UP,
    ActionReported,
    BrokerMeasured,
    Conf,
    EventsReceived,
    HostMeasured,
    KeysWalked,
    Observation,
    QueueSampled,
    QueuesConsumed,
    QueuesMeasured,
    Reply,
    SourceAlive,
    SourceChanged,
    SourcePaced,
    TasksListed,
    WorkersAnswered,
)
from celerytop.model.queue import QueueSample, Unacked
from celerytop.model.snapshot import ClusterInfo, Losses, Snapshot, Totals
from celerytop.model.task import TaskType

BAD_KEPT = 5
SAMPLES_KEPT = 8
TIDY_EVERY = 30.0


class Cluster:
    """What is known of a cluster."""

    def __init__(
        self, info: ClusterInfo, sources: tuple[str, ...], started_at: float, max_tasks: int = 100_000
    ) -> None:
        """Begin with nothing known.

        Args:
            info: which cluster it is.
            sources: names of the sources there are.
            started_at: our clock.
            max_tasks: how many tasks are kept; what is over is forgotten first.
        """
        self._info = info
        self._sources = Sources(sources, started_at)
        self._clocks = Clocks()
        self._workers = Workers(self._clocks)
        self._types = Types()
        self._queues = Queues()
        self._store = TaskStore(max_tasks)
        self._worker_pictures = WorkerPictures(self._workers, self._store)
        self._orphans = Orphans(self._workers, self._worker_pictures, self._store.tasks)
        self._queue_pictures = QueuePictures(self._queues, self._workers, self._worker_pictures, self._store.tasks)
        self._folder = EventFolder(self._store, self._workers, self._types, self._queues, self._clocks)
        self._hosts = Hosts()
        self._broker = BrokerBook()
        self._actions = ActionBook()
        self._unacked: Unacked | None = None
        self._samples: dict[str, QueueSample] = {}
        self._bad_events: deque[BadEvent] = deque(maxlen=BAD_KEPT)
        self._losses = Losses()
        self._counted = Counted()
        self._tidied_at = started_at

    def apply(self, observation: Observation) -> None:
        """Fold one observation."""
        match observation:
            case EventsReceived():
                self._events(observation)
            case SourceAlive(at=at, name=name):
                self._sources.alive(name, at)
            case SourcePaced():
                self._sources.paced(observation)
            case SourceChanged():
                self._source(observation)
            case WorkersAnswered():
                self._answers(observation)
            case QueuesMeasured():
                self._lengths(observation)
            case _:
                self._seldom(observation)

    def snapshot(self, now: float, interval: float = 1.0) -> Snapshot:
        """The picture at ``now``; ``interval`` seconds lie between two of them."""
        making = self.making(now, interval)
        while True:
            try:
                next(making)
            except StopIteration as made:
                picture: Snapshot = made.value
                return picture

    def making(self, now: float, interval: float = 1.0) -> Generator[None, None, Snapshot]:
        """The same in small steps. Between them anything may be folded, but no other picture may be begun.

        Of many busy workers it takes some 20 ms, and no event should wait so long. Each worker and each queue is then
        shown as it was at one moment between ``now`` and the end; the totals are the sums of what is shown; all tasks,
        their lists, types and losses are of the last step. What is folded in between is in this picture or the next.
        """
        try:
            picture = yield from self._make(now, interval)
        except BaseException:
            self.invalidate()  # some were told apart from those that have changed, and not looked at
            raise
        return picture

    def _make(self, now: float, interval: float) -> Generator[None, None, Snapshot]:
        if now - self._tidied_at >= TIDY_EVERY or now < self._tidied_at:
            self._tidy(now)
        if self._clocks.judge(now):
            self._worker_pictures.invalidate()
        reach = self._sources.reach(self._broker.muted())
        yield
        workers = yield from self._worker_pictures.see(now, reach)
        everyone = self._everyone_answers()
        unacked = self._orphans.see(self._unacked, everyone, now)
        fresh = not (reach.cut_off() or self._sources.down_with("control", "queues"))
        queues = yield from self._queue_pictures.see(everyone, fresh, self._unacked, now, reach)
        yield
        hosts = self._hosts.picture(self._workers.nodes, self._store.tasks)
        numbers = self._add_up(unacked, reach, now)
        return Snapshot(
            at=now,
            cluster=replace(self._info, version=self._broker.version() or self._info.version),
            sources=self._sources.picture(),
            queues=queues,
            workers=workers,
            tasks=self._store.picture(),
            lists=self._store.lists(),
            children=self._store.children.picture(),
            types=self._see_types(numbers.slots_busy, now, reach),
            broker=self._broker.picture(hosts),
            hosts=hosts,
            totals=numbers,
            losses=self._count_losses(),
            unacked=unacked,
            samples=dict(self._samples),
            bad_events=tuple(self._bad_events),
            gaps=self._sources.gaps(),
            notes=self._note(unacked),
            interval=interval,
            actions=self._actions.reports(),
            outcomes=self._actions.outcomes(),
        )

    def reset_rates(self) -> None:
        """Count the last minute anew: after a gap, or when our clock was set."""
        self._folder.clear_rates()
        self._types.clear_rates()
        self.invalidate()
        for node in self._workers.nodes.values():
            for rate in (node.finished, node.failed, node.unplaced):
                rate.clear()
        for record in self._queues.records.values():
            record.taken.clear()
            record.sent.clear()

    def invalidate(self) -> None:
        """Make the next picture from all there is, not from what has changed: it must be the same."""
        self._worker_pictures.invalidate()
        self._queue_pictures.invalidate()

    # ------------------------------------------------------------------------------------------- folding
    def _events(self, observation: EventsReceived) -> None:
        at = observation.at
        self._sources.alive("events", at)
        self._sources.hears(not observation.deaf, at)
        self._folder.fold(observation.events, at)
        self._store.settle()
        if observation.bad or observation.other or observation.dropped or observation.not_read:
            self._lost(observation)

    def _lost(self, observation: EventsReceived) -> None:
        losses = self._losses
        self._losses = replace(
            losses,
            bad=losses.bad + observation.bad,
            other=losses.other + observation.other,
            dropped=losses.dropped + observation.dropped,
            dropped_by_kind=_more(losses.dropped_by_kind, observation),
            not_read_for=losses.not_read_for + observation.not_read,
        )
        if observation.last_bad is not None:
            self._bad_events.append(observation.last_bad)
        if observation.dropped or observation.not_read:
            self._sources.dropped(observation.dropped, observation.not_read, observation.at)
            self._workers.events_lost()

    def _source(self, change: SourceChanged) -> None:
        was_up = self._sources.up(change.name)
        self._sources.changed(change)
        if change.name == "events" and was_up != (change.state == UP):
            self._workers.events_lost()
            self.reset_rates()

    def _answers(self, round_: WorkersAnswered) -> None:
        self._sources.alive("control", round_.at)
        capped = 0
        for node, reply in self._workers.answered(round_):
            if isinstance(reply, TasksListed):
                capped += reply.total > len(reply.tasks)
                self._queues.listed(reply)
                fold_listed(reply, node, self._store, round_.at - round_.window, round_.at)
            for name, how in _queues_named(reply):
                self._queues.record(name, round_.at, how)
        self._counted.asked = self._counted.asked or self._workers.asked_all
        if round_.late or capped:
            losses = self._losses
            self._losses = replace(
                losses, late_replies=losses.late_replies + round_.late, capped_replies=losses.capped_replies + capped
            )

    def _lengths(self, observation: QueuesMeasured) -> None:
        exact = any(queue.messages is not None for queue in observation.queues)
        self._sources.alive("queues" if exact else "management", observation.at)
        self._queues.measured(observation)
        if exact or not (observation.queues or observation.note):  # none, and nothing kept us from finding one
            self._counted.queues_measured = True
        if observation.unacked is not None:
            self._unacked = observation.unacked
            for message in observation.unacked.messages:
                task = self._store.tasks.get(message.task_id) if message.task_id is not None else None
                if task is not None and (known := enrich(task, message)) is not task:
                    self._store.put(task, known)

    def _seldom(self, observation: QueueSampled | BrokerMeasured | KeysWalked | HostMeasured | ActionReported) -> None:
        match observation:
            case QueueSampled(sample=sample):
                self._samples.pop(sample.name, None)
                self._samples[sample.name] = sample
                while len(self._samples) > SAMPLES_KEPT:
                    del self._samples[next(iter(self._samples))]
            case BrokerMeasured(at=at, broker=broker):
                self._broker.measured(broker, at)
            case ActionReported(report=report):
                self._actions.reported(report)
            case KeysWalked(walk=walk):
                self._broker.walked(walk)
            case HostMeasured(at=at, host=host):
                self._sources.alive("host", at)
                self._hosts.measured(host, self._workers.nodes, self._broker.owners)
                if self._workers.strangers and self._adopt(at):
                    self._hosts.measured(host, self._workers.nodes)
            case _:
                assert_never(observation)

    def _adopt(self, at: float) -> bool:
        """Whether somebody that listens and does not answer was found among this machine's processes."""
        unknown = self._hosts.unknown(self._workers.nodes, self._broker.clients())
        self._workers.adopt(unknown, at)
        return bool(unknown)

    # ------------------------------------------------------------------------------------------ pictures
    def _everyone_answers(self) -> bool:
        """Everyone that listens has been asked and is known: nobody is there that we know nothing of."""
        workers = self._workers
        if not workers.asked_all or not self._sources.up("control"):
            return False
        return workers.listening is None or workers.listening <= self._worker_pictures.tally.there + workers.others

    def _see_types(self, busy: int | None, now: float, reach: Reach) -> dict[str, TaskType]:
        active = self._worker_pictures.running if self._worker_pictures.telling else None
        return self._types.picture(now, _since(reach, now), active, busy, told=not self._worker_pictures.silent)

    def _add_up(self, unacked: Unacked | None, reach: Reach, now: float) -> Totals:
        workers, queues = self._worker_pictures.tally, self._queue_pictures.tally
        return totals(workers, queues, unacked, self._broker.unacked(), self._folder, self._counted, reach, now)

    def _note(self, unacked: Unacked | None) -> tuple[str, ...]:
        pictures, off = self._worker_pictures, self._clocks.common
        return tuple(notes(self._info, self._sources, self._workers, pictures, self._queues, unacked, off))

    def _count_losses(self) -> Losses:
        store = self._store
        return replace(self._losses, forgotten=store.forgotten, forgotten_unfinished=store.forgotten_unfinished)

    def _tidy(self, now: float) -> None:
        """Forget workers that have been gone for an hour, and queues that are over."""
        self._tidied_at = now
        for node in self._workers.forget(now):
            leave(node, self._store, now)
        for node in self._workers.nodes.values():
            node.forget_unknown(self._store.tasks)
        self._queues.forget(now)


def _more(known: Mapping[str, int], observation: EventsReceived) -> Mapping[str, int]:
    """Events dropped by kind, those of ``observation`` added. The kinds are Celery's, so there are few."""
    if not observation.dropped:
        return known
    kinds = observation.dropped_by_kind or {"unread": observation.dropped}
    return {kind: known.get(kind, 0) + kinds.get(kind, 0) for kind in {**known, **kinds}}


def _queues_named(reply: Reply) -> Iterator[tuple[str, str | None]]:
    """(queue, how we know of it) of all that a reply names."""
    if isinstance(reply, QueuesConsumed):
        yield from ((queue.name, "active_queues") for queue in reply.queues)
    elif isinstance(reply, Conf):
        yield from ((name, "conf") for name in reply.queues)
    elif isinstance(reply, TasksListed):
        yield from ((item.queue, None) for item in reply.tasks if item.queue is not None and not item.exchange)


def _since(reach: Reach, now: float) -> float:
    """Since when events are counted; ``now`` while none reach us, so that no rate is told."""
    return reach.events_since if reach.events_since is not None else now

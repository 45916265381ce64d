"""A picture of the whole cluster at one instant: the only thing a screen, a report or a rule reads."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from celerytop.model.broker import Broker
from celerytop.model.event import BadEvent
from celerytop.model.host import Host
from celerytop.model.observation import STARTING, UP
from celerytop.model.outcome import ActionReport, Outcome
from celerytop.model.queue import Message, Queue, QueueSample, Unacked
from celerytop.model.task import Task, TaskType
from celerytop.model.worker import Worker


class ClusterInfo(msgspec.Struct, frozen=True, gc=False):
    """Which cluster this is and how it was found."""

    name: str
    """From the config, the app, or the broker's address."""
    url: str
    """Without password."""
    transport: str
    """``redis`` or ``rabbitmq``."""
    version: str | None = None
    """E.g. ``redis 7.0.15``."""
    tls: str | None = None
    """``TLS``, ``TLS, server NOT verified``; ``None`` is plain."""
    mode: str | None = None
    """``READ-ONLY``, ``PASSIVE``."""
    found_by: str | None = None
    """One phrase, e.g. ``from CELERY_BROKER_URL``."""
    renamed: bool = False
    """Settings move its names (a key prefix, another exchange): who knows only the URL talks past its workers."""


class SourceStatus(msgspec.Struct, frozen=True, gc=False):
    """How one source is doing."""

    name: str
    state: str = STARTING
    error: str | None = None
    since_at: float | None = None
    """Since when it is in this state."""
    seen_at: float | None = None
    """Last time it told us anything."""
    retry_at: float | None = None
    attempts: int = 0
    took: float | None = None
    """Seconds the broker took for its last answer; only while it is so slow that it is asked less often."""
    asked_every: float | None = None
    """Seconds between two questions then."""
    usually_every: float | None = None


class Gap(msgspec.Struct, frozen=True, gc=False):
    """A time in which events were lost: counts may be incomplete."""

    since_at: float
    until_at: float | None
    """``None``: it goes on."""
    reason: str


class Totals(msgspec.Struct, frozen=True, gc=False):
    """Numbers of the whole cluster; ``None`` is not known."""

    workers: int | None = None
    workers_alive: int | None = None
    slots: int | None = None
    slots_busy: int | None = None
    ready: int | None = None
    """Messages waiting in all queues."""
    ready_rate: float | None = None
    unacked: int | None = None
    failed_per_minute: float | None = None
    done_rate: float | None = None
    event_rate: float | None = None
    """Events a second."""


class Losses(msgspec.Struct, frozen=True, gc=False):
    """What is not shown, counted."""

    forgotten: int = 0
    """Tasks dropped from memory because the limit was reached."""
    forgotten_unfinished: int = 0
    dropped: int = 0
    """Events shed because more came than could be folded."""
    dropped_by_kind: Mapping[str, int] = {}
    """The same by Celery's name of the event's type (``task-received``); ``unread``: in lists that were never opened,
    as many as have their size; ``other``: of no type of Celery's."""
    not_read_for: float = 0.0
    """Seconds in which task events were not asked for, because more came than could even be read. How many there were
    is not known."""
    bad: int = 0
    """Events refused."""
    other: int = 0
    """Events of unknown type."""
    late_replies: int = 0
    capped_replies: int = 0


class Lists(msgspec.Struct, frozen=True, eq=False):
    """Ids of tasks that were listed while they came, so that nobody need look for them among all."""

    live: tuple[str, ...]
    """Every task that is not over; a few that are may be among them."""
    failed: tuple[str, ...]
    """Every task whose state is FAILURE, in the order they failed."""


class Snapshot(msgspec.Struct, frozen=True, eq=False):
    """Everything known at ``at`` (Unix seconds). Mappings are never changed after."""

    at: float
    cluster: ClusterInfo
    sources: tuple[SourceStatus, ...] = ()
    queues: Mapping[str, Queue] = msgspec.field(default_factory=dict)
    workers: Mapping[str, Worker] = msgspec.field(default_factory=dict)
    tasks: Mapping[str, Task] = msgspec.field(default_factory=dict)
    """Oldest news first."""
    children: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """parent task id -> ids of its children, as far as known."""
    types: Mapping[str, TaskType] = msgspec.field(default_factory=dict)
    broker: Broker | None = None
    hosts: Mapping[str, Host] = msgspec.field(default_factory=dict)
    totals: Totals = Totals()
    losses: Losses = Losses()
    unacked: Unacked | None = None
    samples: Mapping[str, QueueSample] = msgspec.field(default_factory=dict)
    """Queues that were looked into on request, by name."""
    bad_events: tuple[BadEvent, ...] = ()
    """The last few."""
    gaps: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()
    """One sentence each: what cannot be seen and which right or flag is missing."""
    interval: float = 1.0
    actions: tuple[ActionReport, ...] = ()
    """What was done from here, oldest first."""
    outcomes: Mapping[str, Outcome] = msgspec.field(default_factory=dict)
    """Task id -> the newest verdict on it."""
    lists: Lists | None = None
    """Of ``tasks``; ``None``: nobody has made them, or they were too long; look through all."""

    def source(self, name: str) -> SourceStatus | None:
        """The status of one source; ``None`` when this cluster has no such source."""
        return next((status for status in self.sources if status.name == name), None)

    def cut_off(self) -> bool:
        """Whether nothing reaches us: every source that talks to the broker is down."""
        remote = [status for status in self.sources if status.name != "host"]
        return bool(remote) and all(status.state not in (UP, STARTING) for status in remote)


@lru_cache(maxsize=1)
def _messages(snapshot: Snapshot) -> dict[str, Message]:
    found: dict[str, Message] = {}
    for sample in snapshot.samples.values():
        found |= {
            message.task_id: message for message in (*sample.page, *sample.newest, *sample.oldest) if message.task_id
        }
    if snapshot.unacked is not None:
        found |= {message.task_id: message for message in snapshot.unacked.messages if message.task_id}
    return found


def message_of(snapshot: Snapshot, task_id: str) -> Message | None:
    """Its message, if one was looked at."""
    return _messages(snapshot).get(task_id)

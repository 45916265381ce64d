"""Observations: frozen facts with the moment they were learnt. The only way into the Cluster."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from celerytop.model.broker import Broker, KeyWalk
from celerytop.model.event import BadEvent, Event
from celerytop.model.host import Host
from celerytop.model.outcome import ActionReport
from celerytop.model.queue import Queue, QueueSample, Unacked
from celerytop.model.worker import ConsumedQueue, Rusage

STARTING, UP, DOWN = "STARTING", "UP", "DOWN"


class SourceChanged(msgspec.Struct, frozen=True, gc=False):
    """A source came up, went down, or is trying again."""

    at: float
    name: str
    """``events``, ``control``, ``queues``, ``broker``, ``management``, ``host``."""
    state: str
    """STARTING, UP or DOWN."""
    error: str | None = None
    """One sentence, no secret."""
    retry_at: float | None = None


class SourceAlive(msgspec.Struct, frozen=True, gc=False):
    """A source has heard from its server, though there was nothing to tell."""

    at: float
    name: str


class SourcePaced(msgspec.Struct, frozen=True, gc=False):
    """A slow broker is asked less often, or, when ``every`` is ``usual``, as often as ever again."""

    at: float
    name: str
    took: float
    """Seconds the broker took for the last answer."""
    every: float
    usual: float


class EventsReceived(msgspec.Struct, frozen=True, eq=False):
    """A batch of events in order of arrival. ``hostname``, ``name`` and queue strings are clean and interned."""

    at: float
    events: list[Event]
    bad: int = 0
    """Refused, counted."""
    last_bad: BadEvent | None = None
    other: int = 0
    """Well-formed events of types celerytop does not know (custom ones)."""
    dropped: int = 0
    """Shed on purpose because more came than could be folded."""
    dropped_by_kind: Mapping[str, int] = {}
    """The same by Celery's name of the event's type, as ``snapshot.Losses`` tells them; empty: not told."""
    not_read: float = 0.0
    """Seconds in which task events were not asked for, because more came than could even be read."""
    deaf: bool = False
    """Nor was what workers say of themselves, and still it is not: this account may not ask for it alone."""


class Pong(msgspec.Struct, frozen=True, gc=False):
    """``ping``. A node name twice in one round: two workers use it."""

    nodename: str
    latency: float


class StatsReply(msgspec.Struct, frozen=True, eq=False):
    """``stats``."""

    nodename: str
    pid: int | None = None
    pool: str | None = None
    concurrency: int | None = None
    processes: tuple[int, ...] | None = None
    prefetch_count: int | None = None
    uptime: float | None = None
    total: Mapping[str, int] | None = None
    rusage: Rusage | None = None


class InspectedTask(msgspec.Struct, frozen=True, gc=False):
    """One entry of active, reserved or scheduled."""

    task_id: str
    name: str | None = None
    args: str | None = None
    kwargs: str | None = None
    time_start: float | None = None
    worker_pid: int | None = None
    """``None`` for gevent and eventlet, where the number is no pid."""
    acknowledged: bool | None = None
    queue: str | None = None
    exchange: str | None = None
    priority: int | None = None
    redelivered: bool | None = None
    eta_at: float | None = None


class TasksListed(msgspec.Struct, frozen=True, eq=False):
    """``active``, ``reserved`` or ``scheduled`` of one worker."""

    nodename: str
    place: str
    tasks: tuple[InspectedTask, ...]
    total: int
    """How many the reply had; more than ``tasks`` when it was capped."""


class QueuesConsumed(msgspec.Struct, frozen=True, eq=False):
    """``active_queues``."""

    nodename: str
    queues: tuple[ConsumedQueue, ...]


class Registered(msgspec.Struct, frozen=True, eq=False):
    """``registered``: names, rate limits in brackets as Celery prints them."""

    nodename: str
    names: tuple[str, ...]


class RevokedIds(msgspec.Struct, frozen=True, eq=False):
    """``revoked``."""

    nodename: str
    ids: tuple[str, ...]
    total: int


class Conf(msgspec.Struct, frozen=True, eq=False):
    """``conf``: settings that differ from the default, redacted."""

    nodename: str
    settings: Mapping[str, str]
    visibility_timeout: float | None = None
    queues: tuple[str, ...] = ()
    """Names in task_queues and task_routes, task_default_queue."""


class RefusedReply(msgspec.Struct, frozen=True, gc=False):
    """A worker answered with an error, or with something that was not read."""

    nodename: str
    method: str
    error: str


Reply = Pong | StatsReply | TasksListed | QueuesConsumed | Registered | RevokedIds | Conf | RefusedReply


class WorkersAnswered(msgspec.Struct, frozen=True, eq=False):
    """One control round: what was asked of whom, and who answered within the window."""

    at: float
    asked: tuple[str, ...]
    """Methods of this round."""
    replies: tuple[Reply, ...]
    expected: int | None = None
    """How many were listening (PUBLISH count; pidbox probes). ``None``: the broker cannot say."""
    asked_workers: tuple[str, ...] | None = None
    """Destination; ``None`` was a broadcast."""
    present: tuple[str, ...] = ()
    """Node names whose pidbox is known to exist or be consumed, answered or not."""
    absent: tuple[str, ...] = ()
    """Node names whose pidbox is gone (404, or not among the subscribers)."""
    late: int = 0
    """Replies to older tickets, ignored."""
    window: float = 0.0
    """Seconds the round took."""


class QueuesMeasured(msgspec.Struct, frozen=True, eq=False):
    """All queues in one look."""

    at: float
    queues: tuple[Queue, ...]
    unacked: Unacked | None = None
    """Redis."""
    leftovers: int | None = None
    """Reply queues of dead clients, as far as bindings show them."""
    note: str | None = None
    """One sentence about what this look could not see."""


class QueueSampled(msgspec.Struct, frozen=True, eq=False):
    """One queue's messages, looked at on request."""

    at: float
    sample: QueueSample


class BrokerMeasured(msgspec.Struct, frozen=True, eq=False):
    """The broker's health."""

    at: float
    broker: Broker


class KeysWalked(msgspec.Struct, frozen=True, eq=False):
    """The memory walk has come on."""

    at: float
    walk: KeyWalk


class HostMeasured(msgspec.Struct, frozen=True, eq=False):
    """This machine and the workers' processes on it."""

    at: float
    host: Host


class ActionReported(msgspec.Struct, frozen=True, eq=False):
    """An action has begun, has come on, or is settled: the newest report replaces older ones of its number."""

    at: float
    report: ActionReport


Observation = (
    SourceChanged
    | SourceAlive
    | SourcePaced
    | EventsReceived
    | WorkersAnswered
    | QueuesMeasured
    | QueueSampled
    | BrokerMeasured
    | KeysWalked
    | HostMeasured
    | ActionReported
)

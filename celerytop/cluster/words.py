"""What a worker has said of itself, and when it has shown itself: the parts a ``Node`` is made of."""

from __future__ import annotations

from collections.abc import Mapping

from celerytop.model.observation import TasksListed
from celerytop.model.worker import ConsumedQueue, Rusage


class Sighting:
    """A main process that called itself by the node's name."""

    __slots__ = ("first_at", "last_at")

    def __init__(self, at: float) -> None:
        self.first_at = self.last_at = at


class OwnProcess:
    """The worker's main process, when it runs on a machine that is measured."""

    __slots__ = ("created_at", "gone", "host", "measured_at", "pid", "status")

    def __init__(self, host: str, pid: int, created_at: float, status: str | None, measured_at: float) -> None:
        self.host = host
        """The machine it was seen on: a node name may say something else."""
        self.pid = pid
        self.created_at = created_at
        self.status = status
        self.measured_at = measured_at
        self.gone = False
        """It was there, and then it was not."""


class Appearances:
    """When it has shown itself, and how."""

    __slots__ = (
        "absent_at",
        "answered_at",
        "event_at",
        "gone_since",
        "goodbye_at",
        "heartbeat_at",
        "missed",
        "present_at",
        "process",
    )

    def __init__(self) -> None:
        self.heartbeat_at: float | None = None
        self.event_at: float | None = None
        """Any event of its own."""
        self.answered_at: float | None = None
        self.goodbye_at: float | None = None
        self.present_at: float | None = None
        self.absent_at: float | None = None
        self.missed = 0
        """Pings in a row without an answer."""
        self.process: OwnProcess | None = None
        self.gone_since: float | None = None


class Words(Appearances):
    """What a worker says of itself: all of it is another process's once the name has another process."""

    __slots__ = (
        "_accepted_since",
        "_grown_at",
        "_most_processed",
        "_quiet_from",
        "active",
        "active_at",
        "concurrency",
        "listed",
        "listed_at",
        "only_queue",
        "pool",
        "prefetch_count",
        "processed",
        "processes",
        "queues",
        "registered",
        "reserved",
        "revoked",
        "rusage",
        "scheduled",
        "settings",
        "task_events",
        "totals",
        "uptime",
        "uptime_at",
        "visibility_timeout",
    )

    def __init__(self) -> None:  # begins this part alone anew: Node has begun the signs
        self.pool: str | None = None
        self.concurrency: int | None = None
        self.processed: int | None = None
        self.prefetch_count: int | None = None
        self.processes: tuple[int, ...] | None = None
        self.queues: tuple[ConsumedQueue, ...] | None = None
        self.only_queue: str | None = None
        """The name of the queue it consumes, when it is just one."""
        self.registered: tuple[str, ...] | None = None
        self.revoked: int | None = None
        self.settings: Mapping[str, str] | None = None
        self.visibility_timeout: float | None = None
        """By its settings, once these are known; ``None`` there is Celery's default."""
        self.totals: Mapping[str, int] | None = None
        self.rusage: Rusage | None = None
        self.uptime: float | None = None
        self.uptime_at = 0.0
        self.listed: dict[str, TasksListed] = {}
        """The last reply of each place."""
        self.listed_at: dict[str, float] = {}
        self.reserved: dict[str, float] = {}
        """Ids it has taken and not started, and when it took them: its list, kept up to date by events."""
        self.scheduled: dict[str, float] = {}
        """The same of those that wait for their ETA."""
        self.active: int | None = None
        """By its own count: heartbeat or ``active``."""
        self.active_at = 0.0
        self.task_events: bool | None = None
        self._quiet_from: int | None = None
        self._grown_at: float | None = None
        self._accepted_since: float | None = None
        self._most_processed = 0

"""A worker: its main process as the cluster sees it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

ALIVE = "alive"
"""Heartbeats or answers."""
SILENT = "silent"
"""Neither heartbeat nor answer, and nothing that explains it; its connection may be there."""
BUSY_SOLO = "busy-solo"
"""The solo pool cannot answer while a task runs."""
FROZEN = "frozen"
"""Its main process is stopped (state T), or connected and mute: it cannot act on anything."""
GONE = "gone"
"""Said goodbye, or its process or connection is not there any more."""
UNKNOWN = "unknown"
"""We are cut off from the broker: nothing can be said since ``seen_at``."""

WORKER_STATES = (ALIVE, SILENT, BUSY_SOLO, FROZEN, GONE, UNKNOWN)


class ConsumedQueue(msgspec.Struct, frozen=True, gc=False):
    """One entry of an ``active_queues`` reply."""

    name: str
    exchange: str | None = None
    exchange_type: str | None = None
    routing_key: str | None = None
    queue_type: str | None = None
    """``x-queue-type`` of its arguments."""
    max_priority: int | None = None


class Rusage(msgspec.Struct, frozen=True, gc=False):
    """``stats.rusage``: the worker's main process alone, since its start; its own word, not measured here."""

    utime: float | None = None
    stime: float | None = None
    maxrss: int | None = None
    """Bytes, a high-water mark."""


class Worker(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A worker by its node name. ``None`` is not known."""

    nodename: str
    host: str | None = None
    """What stands behind the ``@``."""
    state: str = UNKNOWN
    why: str | None = None
    """One sentence: what the state was concluded from."""
    pid: int | None = None
    """Main process. Source: events, ``stats``."""
    pids: tuple[int, ...] = ()
    """Main processes that use this node name at the same time: more than one is a mistake."""
    pool: str | None = None
    """prefork, threads, solo, gevent, eventlet. Source: ``stats.pool.implementation``."""
    concurrency: int | None = None
    """Slots now. Source: ``stats.pool``: prefork's processes, else its max-concurrency."""
    active: int | None = None
    reserved: int | None = None
    scheduled: int | None = None
    processed: int | None = None
    """Tasks accepted since its start. Source: heartbeat, or the sum of ``stats.total``."""
    prefetch_count: int | None = None
    processes: tuple[int, ...] | None = None
    """Pids of the pool's children. Source: ``stats.pool.processes``; ``None`` where the pool has none."""
    queues: tuple[ConsumedQueue, ...] | None = None
    registered: tuple[str, ...] | None = None
    revoked: int | None = None
    """Task ids it holds as revoked."""
    settings: Mapping[str, str] | None = None
    """``conf``: settings that are not the default, masked."""
    totals: Mapping[str, int] | None = None
    """``stats.total``: accepted since its start, by task name."""
    rusage: Rusage | None = None
    uptime: float | None = None
    software: str | None = None
    """E.g. ``py-celery 5.7.0``."""
    task_events: bool | None = None
    """Does it send task events (``-E``)? ``False`` when it works and none came."""
    heartbeat_at: float | None = None
    heartbeat_every: float | None = None
    answered_at: float | None = None
    """Last control reply."""
    latency: float | None = None
    """Seconds from ping to pong."""
    seen_at: float | None = None
    """Last sign of life of any kind."""
    skew: float | None = None
    """Its clock minus ours, seconds, when above what the wire can explain."""
    done_rate: float | None = None
    """Tasks finished a second, last minute."""
    failed_rate: float | None = None
    finished: int = 0
    failed: int = 0
    """Since celerytop started."""

"""Queues and the messages in them."""

from __future__ import annotations

import msgspec

from celerytop.model.series import Quantiles, Series


class Message(msgspec.Struct, frozen=True, gc=False):
    """A task message that waits or is unacked, from its headers. Read without taking it (LINDEX, LRANGE, HSCAN)."""

    task_id: str | None = None
    name: str | None = None
    queue: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    group: str | None = None
    retries: int | None = None
    eta_at: float | None = None
    expires_at: float | None = None
    args: str | None = None
    kwargs: str | None = None
    origin: str | None = None
    priority: int | None = None
    redelivered: bool | None = None
    size: int = 0
    """Bytes of the whole message on the broker."""
    reserved_at: float | None = None
    """Score in ``unacked_index``: the reserving worker's clock."""
    steps: tuple[str, ...] | None = None
    """Names of the chain's steps after it, the next one first; ``None``: its body was not opened."""
    chord_body: str | None = None
    """Name of the task that runs when all of its chord have succeeded."""


class Queue(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A queue as the broker sees it. ``None`` means this broker cannot say."""

    name: str
    messages: int | None = None
    """Waiting, not counting those a worker has prefetched. Source: LLEN over the priority steps; queue.declare-ok."""
    unacked: int | None = None
    """Delivered, not acknowledged. Source: ``unacked`` by queue; management API."""
    consumers: int | None = None
    """Workers that consume it (Redis: by active_queues; RabbitMQ: consumer_count)."""
    by_priority: tuple[tuple[int, int], ...] = ()
    """(priority step, messages), Redis."""
    type: str | None = None
    """``list`` (Redis), ``classic``, ``quorum``, ``stream``."""
    exists: bool | None = None
    """``False``: RabbitMQ answers 404. A Redis list that is empty does not exist, which means nothing."""
    memory: int | None = None
    message_bytes: int | None = None
    head: Message | None = None
    """Next to run (LINDEX -1 of the most urgent step that has any)."""
    tail: Message | None = None
    """Newest (LINDEX 0)."""
    known_by: tuple[str, ...] = ()
    """How we know of it: ``binding``, ``active_queues``, ``task-sent``, ``settings``, ``conf``, ``management``."""
    publish_rate: float | None = None
    deliver_rate: float | None = None
    """Messages a second by the management API."""
    measured_at: float | None = None
    workers: tuple[str, ...] = ()
    """Node names that consume it."""
    in_rate: float | None = None
    out_rate: float | None = None
    net_rate: float | None = None
    """Change of ``messages`` a second over the last two minutes."""
    drains_in: float | None = None
    """Seconds until empty at this rate; ``inf`` when it never drains; ``None`` below 20 messages or not known."""
    oldest_age: float | None = None
    oldest_at_least: bool = False
    """True: a lower bound, the time since the head message was first seen there."""
    trend: Series | None = None
    """``messages``, ten minutes."""
    state: str | None = None
    """``no consumer``, ``growing``, ``draining``, ``steady``, ``idle``, ``unused``, ``gone``; ``None`` not known."""
    started: int = 0
    """Tasks from it that started since celerytop did."""


class Unacked(msgspec.Struct, frozen=True, eq=False):
    """Redis' ``unacked`` hash of one database, shared by all its queues."""

    count: int
    oldest_at: float | None = None
    messages: tuple[Message, ...] = ()
    """A bounded part of it (HSCAN)."""
    complete: bool = False
    """``messages`` is all of it."""
    orphaned: int | None = None
    """Claimed by no living worker; ``None`` until every worker has been asked."""
    orphaned_by_queue: tuple[tuple[str, int], ...] = ()
    visibility_timeout: float | None = None
    """Seconds after which workers take them back."""


class QueueSample(msgspec.Struct, frozen=True, eq=False):
    """What waits in a queue, by a look at both its ends."""

    name: str
    at: float
    total: int
    sampled: int
    by_name: tuple[tuple[str, int], ...] = ()
    """(task name, messages in the sample), most first."""
    by_origin: tuple[tuple[str, int], ...] = ()
    """(producer, messages)."""
    duplicates: int = 0
    """Messages whose task id stands there more than once."""
    expired: int = 0
    with_eta: int = 0
    retries: int = 0
    redelivered: int = 0
    sizes: Quantiles = Quantiles(0)
    """Bytes."""
    oldest: tuple[Message, ...] = ()
    """Next to run first."""
    newest: tuple[Message, ...] = ()
    """Newest first."""
    page: tuple[Message, ...] = ()
    """The page that was asked for, next to run first; at most fifty."""
    page_from: int = 0
    """How many run before the first of it. The next page begins at ``page_from + len(page)``."""
    note: str | None = None
    """One sentence when it could not be looked at, e.g. on RabbitMQ."""

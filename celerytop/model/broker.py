"""The broker's own health."""

from __future__ import annotations

import msgspec

from celerytop.model.series import Series


class BrokerClient(msgspec.Struct, frozen=True, gc=False):
    """One connection to the broker. Source: CLIENT LIST; management ``/api/connections``."""

    address: str
    """``ip:port`` of the far end."""
    name: str | None = None
    user: str | None = None
    command: str | None = None
    """Redis: last command."""
    state: str | None = None
    """RabbitMQ: running, blocking, blocked, flow."""
    idle: float | None = None
    age: float | None = None
    output_buffer: int | None = None
    """Bytes waiting to be sent to it (``omem``; RabbitMQ ``send_pend``)."""
    worker: str | None = None
    """Node name, when its port belongs to a worker's process on this host or its pidbox consumer says so."""
    pid: int | None = None
    own: bool = False
    """This program."""
    db: int | None = None
    """Redis: the database it has selected."""


class KeyClass(msgspec.Struct, frozen=True, gc=False):
    """Keys of one kind, met on a bounded SCAN."""

    what: str
    """E.g. ``results``, ``queues``, ``unacked``, ``reply queues``, ``bindings``, ``other``."""
    pattern: str
    keys: int = 0
    size: int = 0
    """Bytes, extrapolated from those measured by MEMORY USAGE."""
    biggest: str | None = None
    biggest_size: int = 0
    without_ttl: int = 0


class KeyWalk(msgspec.Struct, frozen=True, eq=False):
    """Memory by class of keys, and how far the walk has come."""

    at: float
    classes: tuple[KeyClass, ...]
    scanned: int
    total: int | None
    """DBSIZE."""
    done: bool
    note: str | None = None
    """Why it stopped or waits, one sentence."""


class SlowCommand(msgspec.Struct, frozen=True, gc=False):
    """One SLOWLOG entry."""

    at: float
    duration: float
    command: str
    client: str | None = None


class OwnCost(msgspec.Struct, frozen=True, gc=False):
    """What celerytop itself costs this broker."""

    connections: int
    commands: int
    """Sent so far (HTTP requests count too)."""
    bytes_in: int | None = None
    bytes_out: int | None = None
    rate: float | None = None
    """Commands a second."""


class RedisBroker(msgspec.Struct, frozen=True, eq=False, tag="redis", tag_field="kind"):
    """INFO and what belongs to it. ``None``: not told or not allowed (see ``denied``)."""

    measured_at: float
    version: str | None = None
    server: str | None = None
    """``redis`` or ``valkey``."""
    mode: str | None = None
    role: str | None = None
    run_id: str | None = None
    uptime: float | None = None
    loading: bool = False
    loading_done: float | None = None
    """0 to 1."""
    used_memory: int | None = None
    used_memory_peak: int | None = None
    used_memory_rss: int | None = None
    maxmemory: int | None = None
    """0 is no limit."""
    maxmemory_policy: str | None = None
    fragmentation: float | None = None
    total_system_memory: int | None = None
    clients: int | None = None
    blocked_clients: int | None = None
    maxclients: int | None = None
    ops_rate: float | None = None
    input_rate: float | None = None
    output_rate: float | None = None
    """Bytes a second (``instantaneous_*_kbps``)."""
    cpu_seconds: float | None = None
    evicted_keys: int | None = None
    expired_keys: int | None = None
    rejected_connections: int | None = None
    keys: int | None = None
    keys_with_ttl: int | None = None
    """This database's."""
    rdb_last_save_at: float | None = None
    rdb_last_bgsave_status: str | None = None
    aof_enabled: bool | None = None
    aof_last_write_status: str | None = None
    stop_writes_on_bgsave_error: bool | None = None
    replicas: int | None = None
    replication_lag: float | None = None
    master_link_status: str | None = None
    client_list: tuple[BrokerClient, ...] | None = None
    slowlog: tuple[SlowCommand, ...] | None = None
    walk: KeyWalk | None = None
    cost: OwnCost | None = None
    trouble: str | None = None
    """One sentence when the server is ill but answers: LOADING, BUSY, MISCONF, full."""
    denied: tuple[str, ...] = ()
    """Rights that are missing, e.g. ``+config|get``."""
    memory_trend: Series | None = None
    memory_growth: float | None = None
    """Bytes a second."""


class RabbitNode(msgspec.Struct, frozen=True, gc=False):
    """One node. Source: ``/api/nodes``."""

    name: str
    running: bool | None = None
    mem_used: int | None = None
    mem_limit: int | None = None
    mem_alarm: bool | None = None
    disk_free: int | None = None
    disk_free_limit: int | None = None
    disk_free_alarm: bool | None = None
    fd_used: int | None = None
    fd_total: int | None = None
    sockets_used: int | None = None
    sockets_total: int | None = None
    proc_used: int | None = None
    proc_total: int | None = None
    uptime: float | None = None
    run_queue: int | None = None
    partitions: int = 0


class RabbitBroker(msgspec.Struct, frozen=True, eq=False, tag="rabbitmq", tag_field="kind"):
    """RabbitMQ by AMQP, and by the management API where there is one."""

    measured_at: float
    version: str | None = None
    cluster_name: str | None = None
    vhost: str | None = None
    management: str | None = None
    """``None``: it answers. Else one sentence: plugin missing, login refused, wrong port."""
    nodes: tuple[RabbitNode, ...] = ()
    alarms: tuple[str, ...] | None = None
    """E.g. ``memory on rabbit@a``. Source: ``/api/health/checks/alarms``, or connection.blocked."""
    blocked: str | None = None
    """connection.blocked's reason, on our own publishing connection."""
    clients: int | None = None
    channels: int | None = None
    messages: int | None = None
    """In all listed queues of this vhost, unacked ones included; up to six seconds old."""
    unacked: int | None = None
    """Of these, delivered and not acknowledged."""
    publish_rate: float | None = None
    """Messages a second, all vhosts that this user may see."""
    deliver_rate: float | None = None
    delayed: int | None = None
    """Messages in all ``celery_delayed_*`` queues (native delayed delivery)."""
    hidden_queues: int = 0
    """pidbox, celeryev, reply and delayed queues that are not listed."""
    hidden_memory: int | None = None
    client_list: tuple[BrokerClient, ...] | None = None
    cost: OwnCost | None = None
    denied: tuple[str, ...] = ()
    memory_trend: Series | None = None
    memory_growth: float | None = None


Broker = RedisBroker | RabbitBroker

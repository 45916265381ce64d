"""Composition root: Options to Monitor. The only file that names every source.

Sources are imported here and only when their broker is used: with a Redis URL the process never loads pika.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from celerytop.model.address import BrokerSettings
from celerytop.model.command import Attend
from celerytop.model.snapshot import ClusterInfo, Snapshot, SourceStatus
from celerytop.options import Options
from celerytop.sources.base import Lane, Source
from celerytop.sources.later import LaterLane, LaterSource, Once

if TYPE_CHECKING:
    from celerytop.monitor import Monitor


def first_picture(options: Options, settings: BrokerSettings) -> Snapshot:
    """What is known before anything is made: which cluster, and who will be asked."""
    asked = ("events", "queues", "broker") if options.passive else ("events", "control", "queues", "broker")
    now = time.time()  # noqa: TID251 - as below
    statuses = tuple(SourceStatus(name) for name in asked)
    return Snapshot(now, cluster_info(options, settings), statuses, interval=options.interval)


def build(options: Options, settings: BrokerSettings, *, attention: Attend | None = None) -> Monitor:
    """Make the monitor of one cluster. Connects to nothing yet."""
    from celerytop.actions.later import LaterActor
    from celerytop.cluster import Cluster
    from celerytop.monitor import Monitor

    streams, lanes = _redis(settings, options) if settings.address.transport == "redis" else _rabbit(settings, options)
    lanes = (*lanes, *_host())
    names = [stream.name for stream in streams] + [probe.name for lane in lanes for probe in lane.probes]
    started_at = time.time()  # noqa: TID251 - the one moment given to a Cluster that was not observed
    info = cluster_info(options, settings)
    cluster = Cluster(
        info,
        tuple(dict.fromkeys(names)),
        started_at=started_at,
        max_tasks=options.max_tasks,
    )
    actor = LaterActor(settings, cluster=info.name, allowed=not (options.read_only or options.passive))
    return Monitor(cluster, streams, lanes, interval=options.interval, attention=attention, performer=actor)


def cluster_info(options: Options, settings: BrokerSettings) -> ClusterInfo:
    """Name the cluster as its header will."""
    from celerytop.broker_url import tls_label

    address = settings.address
    mode = "PASSIVE" if options.passive else "READ-ONLY" if options.read_only else None
    return ClusterInfo(
        name=options.cluster or options.app or address.endpoints[0].host,
        url=address.url,
        transport=address.transport,
        tls=tls_label(address),
        mode=mode,
        found_by=options.found_by,
        renamed=any(getattr(settings, name) != usual for name, usual in _USUAL.items()),
    )


_USUAL = {"global_keyprefix": "", "fanout_prefix": None, "sep": "\x06\x16", "control_exchange": "celery"}
"""What ``celery -b URL`` goes by."""


# Each is made, and what it needs imported, in its own thread when that first connects: redis-py or pika alone takes as
# long to import as a minimal Textual program to start, and the first screen shall not wait for it.
def _redis(settings: BrokerSettings, options: Options) -> tuple[tuple[Source, ...], tuple[Lane, ...]]:
    def events() -> Source:
        from celerytop.sources.redis.events import RedisEvents

        return RedisEvents(settings)

    def lane() -> Lane:
        from celerytop.sources.redis.lane import RedisLane

        return RedisLane(settings, passive=options.passive)

    asked = ("queues", "broker") if options.passive else ("control", "queues", "broker")
    return (LaterSource("events", events),), (LaterLane("redis", asked, lane),)


def _rabbit(settings: BrokerSettings, options: Options) -> tuple[tuple[Source, ...], tuple[Lane, ...]]:
    def events() -> Source:
        from celerytop.sources.rabbitmq.events import RabbitEvents

        return RabbitEvents(settings)

    def made() -> dict[str, Lane]:
        from celerytop.sources.rabbitmq.lane import rabbit_lanes

        return {lane.name: lane for lane in rabbit_lanes(settings, passive=options.passive)}

    lanes = Once(made)  # they share what they know of the broker
    asked = {"queues": ("queues", "broker"), "control": ("control",), "management": ("management",)}
    if options.passive:
        del asked["control"]
    later = tuple(LaterLane(name, probes, partial(_one_of, lanes, name)) for name, probes in asked.items())
    return (LaterSource("events", events),), later


def _one_of(lanes: Once[dict[str, Lane]], name: str) -> Lane:
    return lanes()[name]


def _host() -> tuple[Lane, ...]:
    def lane() -> Lane:
        from celerytop.sources.host import HostLane

        return HostLane()

    return (LaterLane("host", ("host",), lane),)

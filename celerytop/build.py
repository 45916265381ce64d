"""Composition root: Options to Monitor. The only file that names every source.

Sources are imported here and only when their broker is used: with a Redis URL the process never loads pika.
"""

from __future__ import annotations

import time

from celerytop.cluster import Cluster
from celerytop.model.address import BrokerSettings
from celerytop.model.command import Attend
from celerytop.model.snapshot import ClusterInfo
from celerytop.monitor import Monitor
from celerytop.options import Options
from celerytop.sources.base import Lane, Source
from celerytop.sources.later import LaterLane, LaterSource


def build(options: Options, settings: BrokerSettings, *, attention: Attend | None = None) -> Monitor:
    """Make the monitor of one cluster. Connects to nothing yet."""
    streams, lanes = _redis(settings, options) if settings.address.transport == "redis" else _rabbit(settings, options)
    lanes = (*lanes, *_host())
    names = [stream.name for stream in streams] + [probe.name for lane in lanes for probe in lane.probes]
    started_at = time.time()  # noqa: TID251 - the one moment given to a Cluster that was not observed
    cluster = Cluster(
        cluster_info(options, settings),
        tuple(dict.fromkeys(names)),
        started_at=started_at,
        max_tasks=options.max_tasks,
    )
    return Monitor(cluster, streams, lanes, interval=options.interval, attention=attention)


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
    )


# Each is made, and what it needs imported, in its own thread when that first connects: redis-py alone takes as long to
# import as a minimal Textual program to start, and the first screen shall not wait for it.
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
    from celerytop.sources.rabbitmq.events import RabbitEvents
    from celerytop.sources.rabbitmq.lane import rabbit_lanes

    return (RabbitEvents(settings),), rabbit_lanes(settings, passive=options.passive)


def _host() -> tuple[Lane, ...]:
    def lane() -> Lane:
        from celerytop.sources.host import HostLane

        return HostLane()

    return (LaterLane("host", ("host",), lane),)

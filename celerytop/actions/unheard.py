"""Workers of this host that nobody has heard: a busy solo worker and a hung one answer nothing and send no heartbeat,
and on RabbitMQ without the management API only their processes tell of them."""

from __future__ import annotations

import psutil

from celerytop.broker_url import parse_url
from celerytop.errors import CelerytopError
from celerytop.model.address import Address, BrokerSettings
from celerytop.model.snapshot import Snapshot
from celerytop.sources.worker_process import find_mains
from celerytop.sources.worker_start import connected, look


def unheard(now: Snapshot, settings: BrokerSettings) -> list[str]:
    """Their node names. A connection to our broker's port makes one ours, unless it was started for another vhost.

    A Redis names all that are connected, and those of other databases would be taken for ours.
    """
    if settings.address.transport == "redis":
        return []
    found = (
        process.nodename
        for host in now.hosts.values()
        for process in host.processes
        if process.role == "main" and process.nodename is not None and process.nodename not in now.workers
        if connected(process.pid, settings.address) and not _elsewhere(process.pid, settings.address)
    )
    return list(dict.fromkeys(found))  # what a task has forked away looks like a main process, too


def _elsewhere(pid: int, address: Address) -> bool:
    """Whether its flags or its environment name another broker or vhost. An app that names it itself tells nobody."""
    try:
        main = find_mains({pid}).get(pid)
        broker = look(main).broker if main is not None else None
        return broker is not None and not parse_url(broker).meets(address)
    except (psutil.Error, CelerytopError):
        return False

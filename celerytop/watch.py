"""Without a screen: a look or a few, or one action; start the monitor, wait for the answers, hand them over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from celerytop.errors import BrokerError
from celerytop.model.action import AnyAction
from celerytop.model.observation import UP
from celerytop.model.outcome import ActionReport
from celerytop.model.snapshot import Snapshot
from celerytop.monitor import Monitor

PATIENCE = 9.0
"""Seconds until a frozen broker is given up; a healthy cluster answers in well under two."""
_HEARTBEAT = 2.5
"""Seconds in which a worker sends a heartbeat: Celery's interval, and what it may be late; 0.14 on two cores that
twelve busy programs share."""
_BETWEEN = 0.25
"""Seconds between the two looks of the first picture: what has a speed (CPU) is measured over them."""

_STEP = 0.02
"""Seconds between two looks for a verdict."""


def look(monitor: Monitor, times: int = 1, delay: float = 2.0) -> Iterator[Snapshot]:
    """Yield ``times`` Snapshots, ``delay`` seconds apart; the monitor is stopped at the end.

    The first one comes when every source has answered or failed, twice: queues that only a worker or the management
    API names are counted the second time.

    Raises:
        BrokerError: nothing but this host could be looked at.
    """
    with watching(monitor):
        for number in range(times):
            if number:
                time.sleep(delay)
            yield monitor.picture()  # one that says STALE, should the broker freeze meanwhile


@contextmanager
def watching(monitor: Monitor) -> Iterator[Snapshot]:
    """Start it, wait until everything was looked at twice, and stop it at the end.

    Raises:
        BrokerError: nothing but this host could be looked at.
    """
    monitor.start()
    try:
        monitor.wait(1, PATIENCE)
        _blind(monitor.picture())  # a second attempt comes seconds later, if at all: the sentence is known now
        time.sleep(max(_BETWEEN, _deaf(monitor.picture())))
        monitor.look_again()
        monitor.wait(2, PATIENCE / 2)
        yield monitor.picture()
    finally:
        monitor.stop()


def perform(monitor: Monitor, action: AnyAction) -> ActionReport:
    """Ask for an action and wait for its verdicts; the monitor's only one."""
    monitor.submit(action)
    while not (reports := monitor.picture().actions) or reports[-1].settled_at is None:
        time.sleep(_STEP)
    return reports[-1]


def _deaf(snapshot: Snapshot) -> float:
    """Seconds until every worker has sent a heartbeat, where they cannot be asked: by account, or ``--passive``."""
    control, events = snapshot.source("control"), snapshot.source("events")
    if (control is not None and control.state == UP) or events is None or events.state != UP:
        return 0.0
    return _HEARTBEAT - (snapshot.at - (events.since_at or snapshot.at))


def _blind(snapshot: Snapshot) -> None:
    remote = [source for source in snapshot.sources if source.name != "host"]
    if not any(source.state == UP for source in remote):
        known = next((source.error for source in remote if source.error), None)
        raise BrokerError(known or f"{snapshot.cluster.url} does not answer.")

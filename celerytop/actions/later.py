"""The Actor, imported when the first action is asked for: the first screen shall not wait for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celerytop.model.action import AnyAction
    from celerytop.model.address import BrokerSettings
    from celerytop.model.outcome import ActionReport
    from celerytop.model.snapshot import Snapshot


class LaterActor:
    """Satisfies ``monitor.acting.Performer``."""

    def __init__(self, settings: BrokerSettings, *, cluster: str, allowed: bool) -> None:
        """See ``Actor``."""
        self._settings = settings
        self._cluster = cluster
        self._allowed = allowed

    def perform(self, number: int, action: AnyAction, see: Callable[[], Snapshot]) -> Iterator[ActionReport]:
        """See ``Performer``."""
        from celerytop.actions.actor import Actor

        actor = Actor(self._settings, cluster=self._cluster, allowed=self._allowed)
        return actor.perform(number, action, see)

    def close(self) -> None:
        """Leave nothing behind: a worker that was busy may have answered since into a list that nobody reads."""
        control = sys.modules.get("celerytop.actions.redis.control")
        if control is not None:  # else nothing was done
            control.sweep(self._settings)

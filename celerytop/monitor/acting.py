"""Actions, each in a thread of its own: a verdict may take ten seconds, and nobody waits for another one's."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from msgspec.structs import replace

from celerytop.errors import CelerytopError, bug
from celerytop.model.action import AnyAction, command_of
from celerytop.model.observation import ActionReported, Observation
from celerytop.model.outcome import UNKNOWN, ActionReport, Outcome
from celerytop.model.snapshot import Snapshot

AT_ONCE = 4
"""Actions at a time, each with a connection of its own; more of them wait their turn."""


GOODBYE = 1.0
"""Seconds that putting away may take."""


class Performer(Protocol):
    """``celerytop.actions``, as the monitor sees it."""

    def perform(self, number: int, action: AnyAction, see: Callable[[], Snapshot]) -> Iterator[ActionReport]:
        """Do it, and tell what is seen; the last report is settled.

        Raises:
            CelerytopError: it could not be begun, or what it did cannot be followed.
        """
        ...

    def close(self) -> None:
        """Put away what actions have left behind. Never raises."""
        ...


class Acting:
    """Begins actions, numbers them, folds what they report."""

    def __init__(self, performer: Performer, see: Callable[[], Snapshot], fold: Callable[[Observation], None]) -> None:
        self._performer = performer
        self._see = see
        self._fold = fold
        self._numbers = itertools.count(1)
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._closed = threading.Event()

    def begin(self, action: AnyAction) -> None:
        """Returns at once."""
        number, now = next(self._numbers), time.time()
        self._tell(ActionReport(number, action, began_at=now, deadline_at=now + action.wait))
        threading.Thread(target=self._run, args=(number, action), name=f"action-{number}", daemon=True).start()

    def close(self) -> None:
        """Begin none of those that wait. One that has sent something goes on until the process ends."""
        self._closed.set()
        last = threading.Thread(target=self._performer.close, name="action-end", daemon=True)
        last.start()
        last.join(GOODBYE)

    def _run(self, number: int, action: AnyAction) -> None:
        with self._slots:
            now = time.time()
            report = ActionReport(number, action, began_at=now, deadline_at=now + action.wait)
            if self._closed.is_set():
                return
            try:
                for report in self._performer.perform(number, action, self._see):
                    self._tell(report)
            except CelerytopError as error:
                self._tell(_failed(report, str(error), time.time()))
            except Exception as error:  # what was begun must get a verdict, and never hang on the screen
                self._tell(_failed(report, f"celerytop has a bug here: {bug(error)}", time.time()))

    def _tell(self, report: ActionReport) -> None:
        self._fold(ActionReported(time.time(), report))


def _failed(report: ActionReport, sentence: str, now: float) -> ActionReport:
    """Settled, and nothing more is known than what was told before."""
    verdict = Outcome(command_of(report.action), UNKNOWN, now, sentence=sentence)
    return replace(report, settled_at=now, outcomes=(*report.outcomes, verdict))

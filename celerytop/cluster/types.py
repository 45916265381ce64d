"""What is known of all tasks of one name."""

from __future__ import annotations

from collections.abc import Mapping

from celerytop.cluster.statistics import History, Rate, Sketch
from celerytop.model.series import Quantiles
from celerytop.model.task import Task, TaskType

MOST_NAMES = 2000
OTHERS = "(more names)"
"""Stands for every name beyond the first 2,000."""


class TypeRecord:
    """Counts of one task name since celerytop began."""

    __slots__ = (
        "_rate_history",
        "_shown",
        "failed",
        "finished",
        "name",
        "received",
        "retried",
        "revoked",
        "runtime",
        "started",
        "succeeded",
        "waiting",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.received = 0
        self.started = 0
        self.succeeded = 0
        self.failed = 0
        self.retried = 0
        self.revoked = 0
        self.finished = Rate()
        self.runtime = Sketch()
        self.waiting = Sketch()
        self._rate_history = History()
        self._shown: tuple[int, int, Quantiles, Quantiles] = (0, 0, Quantiles(0), Quantiles(0))

    def picture(self, now: float, since: float, active: int | None, busy: int | None, told: bool = True) -> TaskType:
        """As a value. ``active`` of ``busy`` slots run it. Not ``told``: some who may run it send no events."""
        rate = self.finished.rate(now, since) if told or self.received or self.started or self.finished.total else None
        self._rate_history.put(now, rate)
        history = self._rate_history.series()
        done = self.succeeded + self.failed
        runtime, waiting = self._quantiles()
        return TaskType(
            self.name,
            received=self.received,
            succeeded=self.succeeded,
            failed=self.failed,
            retried=self.retried,
            revoked=self.revoked,
            active=active,
            share=active / busy if active is not None and busy else None,
            rate=rate,
            failure_rate=self.failed / done if done else None,
            runtime=runtime,
            waiting=waiting,
            trend=history.values if history is not None else (),
        )

    def _quantiles(self) -> tuple[Quantiles, Quantiles]:
        """Made anew only when something was added: it is the dear part."""
        runs, waits, runtime, waiting = self._shown
        if runs != self.runtime.count:
            runs, runtime = self.runtime.count, self.runtime.quantiles()
        if waits != self.waiting.count:
            waits, waiting = self.waiting.count, self.waiting.quantiles()
        self._shown = (runs, waits, runtime, waiting)
        return runtime, waiting


class Types:
    """All names."""

    def __init__(self) -> None:
        self.records: dict[str, TypeRecord] = {}
        self.beyond = False
        """There were more names than are told apart."""

    def record(self, name: str) -> TypeRecord:
        """The one of ``name``; beyond 2,000 names they share one."""
        found = self.records.get(name)
        if found is None:
            if len(self.records) >= MOST_NAMES:
                self.beyond, name = True, OTHERS
            found = self.records.setdefault(name, TypeRecord(name))
        return found

    def clear_rates(self) -> None:
        """Count the last minute anew."""
        for record in self.records.values():
            record.finished.clear()

    def picture(
        self, now: float, since: float, active: Mapping[str | None, int] | None, busy: int | None, told: bool = True
    ) -> dict[str, TaskType]:
        """All as values. ``active``: busy slots by task name; ``None`` where nobody tells them.

        ``told``: everybody sends task events. Else nothing is said of how often a name of which none came finishes.
        """
        for name in active or ():
            if name is not None and name not in self.records:
                self.record(name)
        found: dict[str, TaskType] = {}
        for name, record in self.records.items():
            number = active.get(name, 0) if active is not None else None
            found[name] = record.picture(now, since, number, busy, told)
        return found


def waited(task: Task) -> float | None:
    """Seconds between sent, or the ETA if that is later, and started."""
    if task.sent_at is None or task.started_at is None:
        return None
    ready_at = task.sent_at if task.eta_at is None else max(task.sent_at, task.eta_at)
    return max(0.0, task.started_at - ready_at)

"""What was done from here, and what became of it."""

from __future__ import annotations

from celerytop.model.outcome import ActionReport, Outcome

KEPT = 200
"""Reports; the audit file has them all."""


class ActionBook:
    """Reports by number, and the newest verdict on each task."""

    def __init__(self) -> None:
        self._reports: dict[int, ActionReport] = {}
        self._outcomes: dict[str, Outcome] = {}

    def reported(self, report: ActionReport) -> None:
        """Take the newest word on one action."""
        self._reports[report.number] = report
        fresh = {outcome.task_id: outcome for outcome in report.outcomes if outcome.task_id is not None}
        if fresh:
            self._outcomes = {**self._outcomes, **fresh}
        if len(self._reports) > KEPT:
            self._forget(next(iter(self._reports)))

    def reports(self) -> tuple[ActionReport, ...]:
        """Oldest first."""
        return tuple(self._reports.values())

    def outcomes(self) -> dict[str, Outcome]:
        """Task id to the newest verdict on it. Not changed after."""
        return self._outcomes

    def _forget(self, number: int) -> None:
        gone = {outcome.task_id for outcome in self._reports.pop(number).outcomes}
        kept = {outcome.task_id for report in self._reports.values() for outcome in report.outcomes}
        self._outcomes = {key: value for key, value in self._outcomes.items() if key not in gone - kept}

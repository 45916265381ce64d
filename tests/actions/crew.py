"""A stage whose workers differ: each with its own pool, settings and command line."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Self

from celerytop.actions.actor import open_link_of
from celerytop.model.action import AnyAction
from celerytop.model.observation import ActionReported
from celerytop.model.outcome import ActionReport, Outcome
from tests.actions.stage import PATIENCE, Stage
from tests.rig import Worker, wait_until


class Crew(Stage):
    """Each worker takes from the queue of its own name."""

    def hire(self, **kinds: dict[str, Any]) -> Self:
        """Start them all at once, and the monitor."""
        for name, kind in kinds.items():
            self.workers[name] = Worker(self.url, **{"queues": (name,), **kind}).launch()
        for worker in self.workers.values():
            worker.wait_ready(60)
        if not self.monitor.looked():
            self.monitor.start()
        names = {worker.nodename for worker in self.workers.values()}
        wait_until(lambda: self._known(names), PATIENCE, "the monitor knows all workers")
        return self

    def named(self, *names: str) -> tuple[str, ...]:
        """Node names; all of them when none is named."""
        return tuple(self.workers[name].nodename for name in names or self.workers)

    def do(self, action: AnyAction) -> dict[str, Outcome]:
        """To its end; by the short name of each worker. Every worker has one verdict, and the monitor the report."""
        return self.by_name(self.report(action))

    def report(
        self, action: AnyAction, *, at: str | None = None, then: Callable[[], None] | None = None
    ) -> ActionReport:
        """To its end, and into the next picture; ``then`` is called when the story has come to the words ``at``."""
        for report in self.actor.perform(1, action, self.see):
            if at is not None and then is not None and any(at in step.text for step in report.steps):
                then()
                at = None
        assert report.settled_at is not None and at is None
        self.monitor.fold(ActionReported(time.time(), report))
        return report

    def by_name(self, report: ActionReport) -> dict[str, Outcome]:
        """The verdicts on workers."""
        short = {worker.nodename: name for name, worker in self.workers.items()}
        found = [one for one in report.outcomes if one.task_id is None]
        assert len({one.worker for one in found}) == len(found)
        return {short[one.worker or ""]: one for one in found}

    def stats(self, name: str) -> dict[str, Any]:
        """Its own word."""
        found: dict[str, Any] = self.ask("stats", name)
        return found

    def queues(self, name: str) -> set[str]:
        """What it takes from."""
        return {one["name"] for one in self.ask("active_queues", name)}

    def processes(self, name: str) -> set[int]:
        """Of its pool, as it says."""
        return set(self.stats(name)["pool"]["processes"])

    def ask(self, method: str, name: str) -> Any:
        """Past the code under test."""
        link = open_link_of(self.settings)
        try:
            nodename = self.workers[name].nodename
            return link.control.ask(method, {}, (nodename,), 10.0).by_worker[nodename].body
        finally:
            link.close()

    def pids(self, nodename: str) -> tuple[int, ...]:
        """Main processes that use this name, as the monitor sees them."""
        worker = self.see().workers.get(nodename)
        return worker.pids if worker is not None else ()

    def wait_worker(self, name: str, state: str, timeout: float = PATIENCE) -> None:
        """Until the monitor says so of it."""
        nodename = self.workers[name].nodename
        wait_until(lambda: self.see().workers[nodename].state == state, timeout, f"{name} is {state}")


def settled_words(outcomes: dict[str, Outcome]) -> dict[str, str]:
    """Name to the outcome's word."""
    return {name: one.outcome for name, one in outcomes.items()}


def replied(report: ActionReport) -> int:
    """How many answers the story tells."""
    return sum(step.source == "reply" for step in report.steps)

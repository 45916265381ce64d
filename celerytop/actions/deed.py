"""One action while it is being done: what it may use, and the report that grows.

A doer is a generator over a ``Deed``: it sends, looks, says what it sees, settles each verdict, and yields whenever
the screen should see how far it has come. It ends when every verdict is settled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import replace

from celerytop.actions.link import Link
from celerytop.model.action import AnyAction, command_of
from celerytop.model.address import BrokerSettings
from celerytop.model.outcome import ActionReport, Evidence, Outcome
from celerytop.model.snapshot import Snapshot
from celerytop.model.text import clean

Doer = Callable[["Deed"], Iterator[None]]
LOOK_EVERY = 0.05
"""Seconds between two looks at what a verdict waits for."""


class Deed:
    """An action, its means, and its report."""

    def __init__(
        self,
        number: int,
        action: AnyAction,
        see: Callable[[], Snapshot],
        settings: BrokerSettings,
        open_link: Callable[[], Link],
    ) -> None:
        self.action = action
        self.see = see
        """A fresh Snapshot, now."""
        self.settings = settings
        self._open_link = open_link
        self._link: Link | None = None
        now = self.now()
        self.report = ActionReport(number, action, began_at=now, deadline_at=now + action.wait)

    @property
    def link(self) -> Link:
        """The connection of this action, opened at its first use.

        Raises:
            BrokerError: the broker does not answer.
        """
        if self._link is None:
            self._link = self._open_link()
        return self._link

    def close(self) -> None:
        """Close the connection, if one was opened."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.report.deadline_at - self.now()

    def rest(self, seconds: float = LOOK_EVERY) -> None:
        """Wait before the next look."""
        time.sleep(max(0.0, min(seconds, self.left())))

    def say(self, source: str, text: str, strength: int = 9, *, at: float | None = None) -> Evidence:
        """Note one thing that was done or seen, for the story on the screen; returns it, for a verdict."""
        step = Evidence(self.now() if at is None else at, source, clean(text), strength)
        self.report = replace(self.report, steps=(*self.report.steps, step))
        return step

    def settle(
        self,
        outcome: str,
        sentence: str,
        evidence: Iterable[Evidence] = (),
        *,
        task_id: str | None = None,
        worker: str | None = None,
        queue: str | None = None,
        next: str | None = None,
    ) -> None:
        """Add one verdict; its evidence is put strongest first."""
        verdict = Outcome(
            command=command_of(self.action),
            outcome=outcome,
            at=self.now(),
            task_id=task_id,
            worker=worker,
            queue=clean(queue) if queue is not None else None,
            evidence=tuple(sorted(evidence, key=lambda one: (one.strength, one.at))),
            sentence=clean(sentence),
            next=next,
        )
        self.report = replace(self.report, outcomes=(*self.report.outcomes, verdict))

    def know(self, *, dump: str | None = None, new_id: str | None = None, audit_line: int | None = None) -> None:
        """Add facts to the report; ``None`` leaves one as it is."""
        self.report = replace(
            self.report,
            dump=dump or self.report.dump,
            new_id=new_id or self.report.new_id,
            audit_line=audit_line or self.report.audit_line,
        )

    @property
    def sent(self) -> bool:
        """Something has left for the cluster, or a process was signalled: a doer says so with the source ``sent``."""
        return any(step.source == "sent" for step in self.report.steps)

    def settle_rest(self, outcome: str, sentence: str, evidence: Iterable[Evidence] = ()) -> None:
        """The same verdict for every task, worker or queue of the action that has none yet."""
        had = {(one.task_id, one.worker, one.queue) for one in self.report.outcomes}
        tasks, workers = {key[0] for key in had}, {key[1] for key in had}
        evidence = tuple(evidence)
        for task_id, worker, queue in _subjects(self.action):
            if (task_id and task_id in tasks) or (not task_id and worker and worker in workers):
                continue
            if (task_id or worker) or not self.report.outcomes:
                self.settle(outcome, sentence, evidence, task_id=task_id, worker=worker, queue=queue)

    def finish(self) -> ActionReport:
        """The last report."""
        self.report = replace(self.report, settled_at=self.now())
        return self.report


def _subjects(action: AnyAction) -> list[tuple[str | None, str | None, str | None]]:
    """(task id, worker, queue) of everything it is for; one at least."""
    targets = [(target.task_id, target.worker, target.queue) for target in getattr(action, "targets", ())]
    workers: list[tuple[str | None, str | None, str | None]] = [
        (None, worker, getattr(action, "queue", None)) for worker in getattr(action, "workers", ())
    ]
    found = [*targets, *workers]
    task_id, worker = getattr(action, "task_id", None), getattr(action, "worker", None)
    return found or [(task_id, worker, getattr(action, "queue", None))]

"""One action in full, while it is done and afterwards: the outcome box, with the next rung at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from celerytop.columns import Look
from celerytop.columns.actions import report_tone, result, what
from celerytop.model.action import AnyAction, KillTree, MoveMessages, PurgeQueue, Revoke, command_of
from celerytop.model.command import Attend
from celerytop.model.outcome import ActionReport, Outcome
from celerytop.model.snapshot import Snapshot
from celerytop.ui.acting import confirm, offer
from celerytop.ui.details import outcome as told
from celerytop.ui.details.line import Line
from celerytop.ui.ladder import climb
from celerytop.ui.screens.walking import Walking
from celerytop.ui.widgets.painted import Lines, Spans
from celerytop.ui.widgets.walk import Walk

WORDS = (
    ("STOPPED", "its process is gone or runs another task, or it never began and cannot begin any more"),
    ("NOT STOPPED", "the process that runs it was seen to run on"),
    ("FLAGGED ONLY", "not running yet: workers hold its id as revoked, in their memory"),
    ("CANNOT", "this pool, or this broker, has no way to do it"),
    ("WILL APPLY LATER", "a busy solo worker, or a hung one, finds the command when it comes back"),
    ("REFUSED", "nothing was sent"),
    ("UNKNOWN", "it was sent, and nothing that could prove its effect can be seen from here"),
    ("DONE, NOT DONE", "of actions that stop nothing: the effect was seen, or did not come about"),
)

_SHORT = {"tree": "process tree", "kill_worker": "kill the worker"}


class Told(Walk):
    """The text; here ``n`` leaves it as it is."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("n", "screen.back", "Leave it as it is", show=False)]


class ActionDetail(Walking):
    """The newest report of this action; ``after`` is the number of the last one before it was asked for."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("K", "next_rung", "The next rung, for what was not stopped (asks)", show=False),
        Binding("w", "again", "Once more the same, watched for 30 s (asks)", show=False),
        Binding("x", "offers", "What else can be done", show=False),
    ]
    page = "actions"
    needs = ("events", "control")

    def __init__(self, action: AnyAction, after: int = 0, number: int | None = None) -> None:
        super().__init__(command_of(action))
        self.action = action
        self.after = after
        self.number = number

    def body(self) -> ComposeResult:
        """See ``Frame``."""
        yield Lines(id="crumbs")
        yield Told(id="text")

    @property
    def report(self) -> ActionReport | None:
        """As far as it has come; ``None``: it has not begun."""
        now = self.top.newest
        for report in now.actions:
            mine = report.number == self.number if self.number is not None else report.number > self.after
            if mine and report.action == self.action:
                self.number = report.number
                return report
        return None

    def crumbs(self, snapshot: Snapshot) -> Spans:
        """See ``Detail``."""
        report = self.report
        text, tone = (result(report, snapshot.at), report_tone(report)) if report is not None else ("handed over", "")
        return [(" Actions > ", "dim"), (what(self.action), "title"), ("   ", ""), (text, tone)]

    def lines(self, snapshot: Snapshot, look: Look, width: int) -> Sequence[Line]:
        """See ``Walking``."""
        report = self.report
        if report is None:
            return told.waiting(self.action, look, width)
        return told.lines(report, snapshot, look, width)

    def attend(self) -> Attend:
        """The page of the tasks or workers that are looked at."""
        return Attend(page="tasks")

    def keys(self) -> Sequence[tuple[str, str]]:
        """See ``Frame``."""
        rungs = self._not_stopped()
        more = [("K", f"next: {_SHORT.get(rungs[0].next or '', rungs[0].next)}")] if rungs else []
        return (("esc", "close"), *more, ("w", "once more"), ("n", "leave"), ("up/dn", "move"), ("enter", "open"),
                ("y", "copy"), ("?", "help"), ("q", "quit"))  # fmt: skip

    def notice(self) -> Spans | None:
        """Nothing: the result stands above, and the keys are needed now."""
        return None

    def help(self) -> Sequence[tuple[str, str]]:
        """See ``Frame``."""
        return WORDS

    def copied(self) -> str | None:
        """The new id, the dump, or the ids it was meant for."""
        report = self.report
        if report is not None and (report.new_id or report.dump):
            return report.new_id or report.dump
        if isinstance(self.action, Revoke | KillTree):
            return " ".join(target.task_id for target in self.action.targets)
        return what(self.action)

    # ---------------------------------------------------------------------------------------------------- keys
    def _not_stopped(self) -> list[Outcome]:
        report = self.report
        return [one for one in report.outcomes if one.next is not None] if report is not None else []

    def action_next_rung(self) -> None:
        """Only for those that were not stopped; asked again, as the first time."""
        left = self._not_stopped()
        if not left:
            settled = self.report is not None and self.report.settled_at is not None
            self.top.say(
                "no next rung: nothing is left to stop" if settled else "not settled yet: wait for the verdict"
            )
            return
        rung = left[0].next
        if rung == "kill_worker":
            self._kill_worker(left[0])
            return
        ids = [one.task_id for one in left if one.task_id is not None and one.next == rung]
        climb(self.top, ids, rung)

    def _kill_worker(self, outcome: Outcome) -> None:
        from celerytop.ui.offers.workers import kills

        nodename = outcome.worker or ""
        found = list(kills((nodename,), self.top.newest))
        if len(found) == 1:
            found[0].begin(self.top)
        else:
            offer(self.top, nodename, found)

    def action_again(self) -> None:
        """The same rung once more for those that are left, with 30 s to be watched."""
        from msgspec.structs import replace

        report = self.report
        if report is None or report.settled_at is None:
            self.top.say("not settled yet: it is being watched")
            return
        action = report.action
        if isinstance(action, Revoke | KillTree):
            left = {one.task_id for one in self._not_stopped()}
            action = replace(action, targets=tuple(one for one in action.targets if one.task_id in left))
            if not action.targets:
                self.top.say("nothing is left to stop")
                return
        else:
            self.top.say("only tasks that were not stopped are asked again")
            return
        confirm(self.top, replace(action, wait=30.0))

    def action_offers(self) -> None:
        """Do what was counted, restore what was removed; else what can be done to its tasks."""
        from msgspec.structs import replace

        from celerytop.ui.offers import queues, tasks

        report = self.report
        if isinstance(self.action, PurgeQueue | MoveMessages) and self.action.dry_run:
            confirm(self.top, replace(self.action, dry_run=False))
        elif report is not None and report.dump is not None:
            queues.restore(self.top)
        elif isinstance(self.action, Revoke | KillTree) and self.action.targets:
            ids = [target.task_id for target in self.action.targets]
            offer(self.top, tasks.title(ids, self.top.newest), tasks.offers(ids))
        else:
            self.top.say("nothing else can be done from here")

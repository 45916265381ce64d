"""What is told of an action while it is done and afterwards; leaving."""

from __future__ import annotations

import msgspec
from textual.screen import Screen

from celerytop.model import action as act
from celerytop.model.outcome import DONE, ActionReport, Evidence, Outcome
from celerytop.model.snapshot import Snapshot
from celerytop.ui.screens.action_detail import ActionDetail
from celerytop.ui.screens.confirm import Confirm
from celerytop.ui.screens.leaving import Leaving
from tests.ui import snapshots
from tests.ui.acting import AT, OTHER, PAY, allowed, being_done, half_done, terminate, wishes
from tests.ui.drive import Driver, drive

W9 = ("w9@pay-2",)


def front(driver: Driver) -> Screen[object]:
    """The screen in front."""
    return driver.app.screen


# ---------------------------------------------------------------------------------------------------- outcome
def test_an_action_is_told_from_begin_to_end_and_the_next_rung_is_at_hand() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "v", "down", "v", "K", "y")
        await driver.publish(being_done(wishes(driver)[0]))
        assert "being done: 3.0s of 10s" in driver.text and "line 118" in driver.text
        await driver.press("K")
        assert "not settled yet" in driver.lines[-1]
        done = half_done()
        report = msgspec.structs.replace(done.actions[0], action=wishes(driver)[0])
        await driver.publish(msgspec.structs.replace(done, actions=(report,)))
        assert "1 of 2 stopped, 1 ignores SIGTERM" in driver.text
        assert "process 4711 is gone" in driver.text and "NOT STOPPED" in driver.text
        assert "K next: SIGKILL" in driver.lines[-1]
        await driver.press("K", "y")
        command = wishes(driver)[-1]
        assert command.signal == "SIGKILL" and [target.task_id for target in command.targets] == [OTHER]

    drive(allowed(), deed)


def test_once_more_is_the_same_for_what_is_left_and_asks() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("9", "enter", "w")
        assert isinstance(front(driver), Confirm)
        await driver.press("y")
        (command,) = wishes(driver)
        assert command.wait == 30.0 and command.signal == "SIGTERM" and len(command.targets) == 1

    drive(half_done(), deed)


def test_the_verdict_stands_in_the_tasks_row_and_on_its_page() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3")
        assert "VERDICT" in driver.text
        row = next(line for line in driver.lines if OTHER[:8] in line)
        assert "NOT STOPPED" in row
        await driver.press("l")
        assert " STOPPED" in next(line for line in driver.lines if PAY[:8] in line)
        while driver.here != OTHER:
            await driver.press("down")
        await driver.press("enter")
        assert "what was done to it from here" in driver.text
        assert "4712 is the same process 10 s after SIGTERM" in driver.text

    drive(half_done(), deed, (160, 40))


def test_an_old_verdict_leaves_the_row() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3")
        assert "VERDICT" not in driver.text

    drive(msgspec.structs.replace(half_done(), at=AT + 700, sources=snapshots.up(AT + 700)), deed)


def test_the_page_of_actions_has_a_tab_once_something_was_done() -> None:
    async def deed(driver: Driver) -> None:
        assert "9 Actions" not in driver.text
        await driver.publish(half_done())
        assert "9 Actions 1" in driver.text
        await driver.press("9", "enter")
        assert isinstance(front(driver), ActionDetail)
        await driver.press("n")
        assert driver.app.main.page == "actions"
        await driver.press("tab")
        assert driver.app.main.page == "queues"

    drive(allowed(), deed)


def test_the_result_stands_in_the_last_line_for_a_while() -> None:
    async def deed(driver: Driver) -> None:
        await driver.publish(half_done())
        assert "Result: 1 of 2 stopped" in driver.lines[-1]
        await driver.publish(msgspec.structs.replace(half_done(), at=AT + 40, sources=snapshots.up(AT + 40)))
        assert "Result" not in driver.lines[-1]

    drive(being_done(), deed)


# ---------------------------------------------------------------------------------------------------- leaving
def test_q_asks_only_while_an_action_is_unfinished() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("q")
        assert isinstance(front(driver), Leaving) and "Not settled yet" in driver.text
        await driver.press("enter")
        assert front(driver) is driver.app.main
        await driver.press("q", "y")
        assert not driver.app.is_running

    drive(being_done(terminate()), deed)

    async def at_once(driver: Driver) -> None:
        await driver.press("q")
        assert not driver.app.is_running and not isinstance(front(driver), Leaving)

    drive(half_done(), at_once)


def events_on(actions: tuple[ActionReport, ...] = ()) -> Snapshot:
    """Task events were switched on from here."""
    reply = Evidence(AT, "reply", "task events enabled")
    outcome = Outcome("enable_events", DONE, AT, worker="w3@db-7", evidence=(reply,))
    report = ActionReport(1, act.EnableEvents(workers=("w3@db-7",)), AT - 2, AT, AT, (outcome,))
    return msgspec.structs.replace(allowed(), actions=(report, *actions))


def test_events_that_were_switched_on_from_here_are_switched_off_when_asked() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("q")
        assert "Task events were switched on from here: w3@db-7" in driver.text
        await driver.press("d")
        off = act.DisableEvents(workers=("w3@db-7",))
        assert wishes(driver) == [off]
        assert driver.app.is_running
        done = Outcome("disable_events", DONE, AT + 1, worker="w3@db-7")
        await driver.publish(events_on((ActionReport(2, off, AT, AT + 9, AT + 1, (done,)),)))
        assert not driver.app.is_running

    drive(events_on(), deed)


def paused() -> ActionReport:
    """A queue was paused from here."""
    seen = Evidence(AT, "inspect", "w1@web-1 took before from celery")
    outcome = Outcome("cancel_consumer", DONE, AT, worker="w1@web-1", evidence=(seen,))
    action = act.CancelConsumer(workers=("w1@web-1",), queue="celery")
    return ActionReport(2, action, AT - 2, AT, AT, (outcome,), audit_line=1)


def test_whoever_leaves_is_reminded_of_a_paused_queue_and_can_resume_it() -> None:
    """Nobody else knows who took from it; a queue that nobody takes from is found when it is too long."""

    async def deed(driver: Driver) -> None:
        await driver.press("q")
        assert "celery was paused from here" in driver.text and "undo all this" in driver.text
        await driver.press("d")
        off = act.DisableEvents(workers=("w3@db-7",))
        resume = act.AddConsumer(workers=("w1@web-1",), queue="celery")
        assert wishes(driver) == [off, resume]
        dark = Outcome("disable_events", DONE, AT + 1, worker="w3@db-7")
        first = ActionReport(3, off, AT, AT + 9, AT + 1, (dark,))
        await driver.publish(events_on((paused(), first)))
        assert driver.app.is_running
        taken = Outcome("add_consumer", DONE, AT + 1, worker="w1@web-1")
        second = ActionReport(4, resume, AT, AT + 9, AT + 1, (taken,))
        await driver.publish(events_on((paused(), first, second)))
        assert not driver.app.is_running

    drive(events_on((paused(),)), deed)


def test_a_queue_paused_from_here_is_offered_to_be_resumed_first() -> None:
    async def deed(driver: Driver) -> None:
        while driver.here != "celery":
            await driver.press("down")
        await driver.press("x", "enter", "y")
        assert wishes(driver) == [act.AddConsumer(workers=("w1@web-1",), queue="celery")]

    drive(msgspec.structs.replace(allowed(), actions=(paused(),)), deed)

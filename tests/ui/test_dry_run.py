"""A count leads to what was counted, after its own last question."""

from __future__ import annotations

from msgspec.structs import replace

from celerytop.model.action import MoveMessages
from celerytop.model.outcome import DONE, ActionReport, Outcome
from celerytop.ui.screens.action_detail import ActionDetail
from celerytop.ui.screens.confirm import Confirm
from tests.ui.acting import AT, allowed
from tests.ui.drive import Driver, drive

COUNTED = MoveMessages(queue="payments", to="parked", filter="name:pay", dry_run=True)


def test_x_on_a_count_asks_to_do_it() -> None:
    async def deed(driver: Driver) -> None:
        driver.app.push_screen(ActionDetail(COUNTED, number=1))
        await driver.settle()
        assert "x does it, after the last question: this was only a count" in driver.text
        await driver.press("x")
        assert isinstance(driver.app.screen, Confirm)
        assert driver.app.screen.action == replace(COUNTED, dry_run=False)
        assert "MOVE what matches name:pay from payments to parked" in driver.text
        await driver.press("escape")
        assert not [wish for wish in driver.feed.commands if isinstance(wish, MoveMessages)]

    outcome = Outcome("move_messages", DONE, AT - 1, queue="payments", sentence="Would move to parked 3 of 9.")
    report = ActionReport(1, COUNTED, AT - 2, AT + 58, settled_at=AT - 1, outcomes=(outcome,), audit_line=3)
    drive(replace(allowed(), actions=(report,)), deed)

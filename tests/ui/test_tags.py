"""Rows are tagged, and actions are for the tagged ones."""

from __future__ import annotations

import msgspec

from celerytop.ui.acting import TAGS
from tests.ui.acting import AT, OTHER, PAY, allowed, many, type_keys, wishes
from tests.ui.drive import Driver, drive

W9 = ("w9@pay-2",)


# ------------------------------------------------------------------------------------------------------- tags
def test_tags_mark_rows_and_k_and_x_act_on_them() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "v", "down", "down", "v")
        rows = [line for line in driver.lines if line.startswith("*")]
        assert [row[1:9] for row in rows] == ["7b2e1f3c", "55e0a4d1"]
        assert "2 tagged" in driver.lines[3]
        await driver.press("up", "x")
        assert "2 tasks" in driver.text
        await driver.press("escape", "K", "r", "y")
        (command,) = wishes(driver)
        assert [target.task_id[:8] for target in command.targets] == ["7b2e1f3c", "55e0a4d1"]

    drive(allowed(), deed)


def test_v_again_untags_and_capital_v_untags_all() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "v", "v")
        assert "tagged" not in driver.text
        await driver.press("v", "down", "v", "V")
        assert "tagged" not in driver.text and not driver.text.count("\n*")

    drive(allowed(), deed)


def test_no_more_than_fifty_rows_are_tagged() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3")
        await type_keys(driver, *["v", "j"] * TAGS)
        await driver.publish(many())  # else a slow machine finds it silent
        await driver.press("v")
        assert "50 rows are tagged: that is all at once" in driver.lines[-1]
        assert "50 tagged" in driver.lines[3]
        await driver.press("up", "v")
        assert "49 tagged" in driver.lines[3]

    drive(many(), deed)


def test_a_tagged_row_that_is_gone_is_no_longer_meant() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "v", "down", "v")
        left = {task_id: task for task_id, task in allowed().tasks.items() if task_id != PAY}
        await driver.publish(msgspec.structs.replace(allowed(), at=AT + 1, tasks=left))
        await driver.press("K", "y")
        (command,) = wishes(driver)
        assert [target.task_id for target in command.targets] == [OTHER]

    drive(allowed(), deed)

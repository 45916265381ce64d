"""The menu of actions and its forms: each line ends in its action."""

from __future__ import annotations

import msgspec
import pytest
from textual.screen import Screen

from celerytop.model import action as act
from celerytop.model.action import AnyAction, Target
from celerytop.ui.screens.action_detail import ActionDetail
from celerytop.ui.screens.ask import Ask
from celerytop.ui.screens.menu import Menu
from tests.ui import snapshots
from tests.ui.acting import AT, PAY, allowed, type_keys, wishes
from tests.ui.drive import Driver, drive

W9 = ("w9@pay-2",)


def front(driver: Driver) -> Screen[object]:
    """The screen in front."""
    return driver.app.screen


# -------------------------------------------------------------------------------------------- menus and forms
TASK = Target(PAY, "app.pay", "STARTED", "w3@db-7", 4711, AT - 90000, "celery")
CHILD = Target("40aa9e77-0000-4000-8000-000000000006", "app.join", "RECEIVED", "w3@db-7", queue="celery")
MENUS: list[tuple[str, tuple[str, ...], AnyAction]] = [
    ("3", (*"revoke only", "enter", "y"), act.Revoke(targets=(TASK,))),
    ("3", (*"sigusr1", "enter", "y"), act.Revoke(targets=(TASK,), signal="SIGUSR1")),
    ("3", (*"sigkill", "enter", "y"), act.Revoke(targets=(TASK,), signal="SIGKILL")),
    ("3", (*"process tree", "enter", "y"), act.KillTree(targets=(TASK,))),
    (
        "3",
        (*"with desc", "enter", "y"),
        act.Revoke(targets=(TASK, CHILD), signal="SIGTERM", descendants="with", roots=(PAY,)),
    ),
    ("3", (*"descendants only", "enter", "y"), act.Revoke(targets=(CHILD,), descendants="only", roots=(PAY,))),
    ("3", (*"send again", "enter", "enter", "enter", "y"), act.Resend(task_id=PAY)),
    (
        "3",
        (*"send a task", "enter", *"app.add", "enter", *"[1]", "enter", *["enter"] * 5, "y"),
        act.SendTask(name="app.add", args="[1]"),
    ),
    ("2", (*"pause", "enter", "y"), act.CancelConsumer(workers=W9, queue="payments")),
    ("2", (*"resume", "enter", *"mail", "enter", "y"), act.AddConsumer(workers=W9, queue="mail")),
    ("2", (*"grow", "enter", "4", "enter", "y"), act.PoolGrow(workers=W9, n=4)),
    ("2", (*"shrink", "enter", "enter", "y"), act.PoolShrink(workers=W9)),
    ("2", (*"autoscale", "enter", "2", "enter", "9", "enter", "y"), act.Autoscale(workers=W9, max=9, min=2)),
    (
        "2",
        (*"rate", "enter", *"app.pay", "enter", *"5/s", "enter", "y"),
        act.RateLimit(workers=W9, task_name="app.pay", rate_limit="5/s"),
    ),
    (
        "2",
        (*"time", "enter", *"app.pay", "enter", *"30", "enter", "enter", "y"),
        act.TimeLimit(workers=W9, task_name="app.pay", soft=30.0),
    ),
    ("2", (*"enable", "enter", "y"), act.EnableEvents(workers=W9)),
    ("2", (*"disable", "enter", "y"), act.DisableEvents(workers=W9)),
    ("2", (*"restart", "enter", *"w9@pay-2", "enter"), act.PoolRestart(workers=W9)),
    ("2", (*"shut", "enter", *"w9@pay-2", "enter"), act.Shutdown(workers=W9)),
    ("1", (*"purge all", "enter", *"prod", "enter"), act.PurgeQueue(queue="payments")),
    (
        "1",
        (*"purge what", "enter", *"name:pay", "enter", "enter", "y"),
        act.PurgeQueue(queue="payments", filter="name:pay", dry_run=True),
    ),
    (
        "1",
        (*"move", "enter", *"celery", "enter", *"age:>60", "enter", "enter", "right", *"prod", "enter"),
        act.MoveMessages(queue="payments", to="celery", filter="age:>60"),
    ),
    ("1", (*"restore a dump", "enter", *"/tmp/d", "enter", "enter", "y"), act.RestoreDump(path="/tmp/d")),
    (
        "1",
        (*"restore a dump", "enter", *"/tmp/d", "enter", "enter", "f", "y"),
        act.RestoreDump(path="/tmp/d", force=True),
    ),
    ("1", (*"orphaned", "enter", "y"), act.RestoreUnacked(queue="payments")),
]


@pytest.mark.timeout(180)
def test_each_line_of_the_menus_ends_in_its_action() -> None:
    async def deed(driver: Driver) -> None:
        for page, keys, wanted in MENUS:
            driver.feed.publish(allowed())  # else a slow machine finds it silent
            await type_keys(driver, page)
            await type_keys(driver, "x")
            assert isinstance(front(driver), Menu)
            await type_keys(driver, *keys)
            assert isinstance(front(driver), ActionDetail), (wanted, driver.text)
            assert wishes(driver)[-1] == wanted
            await type_keys(driver, "escape")

    drive(allowed(), deed)


@pytest.mark.timeout(180)
def test_in_read_only_the_same_lines_submit_nothing() -> None:
    async def deed(driver: Driver) -> None:
        for page, keys, _ in MENUS:
            await type_keys(driver, page)
            await type_keys(driver, "x")
            await type_keys(driver, *keys, "enter")
            while front(driver) is not driver.app.main:
                await type_keys(driver, "escape")
        assert not [wish for wish in driver.feed.commands if isinstance(wish, act.Action)]

    drive(snapshots.healthy(), deed)


def test_a_stamp_goes_to_all_workers_that_may_hear_it() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "x", *"stamp", "enter", *"tenant", "enter", *"a, b", "enter", "enter")
        assert "PERMANENT" in driver.text
        await driver.press(*"prod", "enter")
        (command,) = wishes(driver)
        assert command.values == ("a", "b") and "w9@pay-2" not in command.workers and len(command.workers) == 5

    drive(allowed(), deed)


def test_the_filtered_set_is_offered_as_a_whole() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "/", *"name:pay", "enter", "x", *"match", "enter")
        assert "3 tasks" in driver.text
        await driver.press(*"terminate", "enter", "y")
        assert {target.name for target in wishes(driver)[0].targets} == {"app.pay"}

    drive(allowed(), deed)


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ((*"rate", "enter", *"app.pay", "enter", *"ten", "enter"), "e.g. 10/m"),
        ((*"grow", "enter", "0", "enter"), "a number from 1 to 1,000"),
        ((*"autoscale", "enter", "9", "enter", "2", "enter"), "least is more than most"),
        ((*"time", "enter", *"app.pay", "enter", *"soon", "enter"), "seconds, e.g. 30"),
        ((*"rate", "enter", "ctrl+u", "enter"), "is needed"),
    ],
)
def test_a_form_takes_only_what_can_be_meant(keys: tuple[str, ...], complaint: str) -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("2", "x", *keys)
        assert isinstance(front(driver), Ask) and complaint in driver.text
        await driver.press("escape")
        assert front(driver) is driver.app.main and not wishes(driver)

    drive(allowed(), deed)


def test_json_is_checked_and_a_line_can_be_pasted() -> None:
    async def deed(driver: Driver) -> None:
        from textual import events

        await driver.press("1", "x", *"send a task", "enter", *"app.add", "enter", *"{}", "enter")
        assert "a JSON list" in driver.text
        driver.app.screen.post_message(events.Paste("\x1b[31m[1]\nrm -rf"))
        await driver.settle()
        assert "\x1b" not in driver.text and "rm -rf" not in driver.text

    drive(allowed(), deed)


def test_the_message_under_the_cursor_can_be_deleted() -> None:
    from celerytop.model.queue import Message, QueueSample

    sample = QueueSample("payments", AT - 1, 2, 2, (("app.pay", 2),), oldest=(Message("id-1", "app.pay", "payments"),))

    async def deed(driver: Driver) -> None:
        await driver.press("enter", "end", "n", "x", *"delete", "enter", "y")
        assert wishes(driver) == [act.PurgeQueue(queue="payments", task_ids=("id-1",))]

    drive(msgspec.structs.replace(allowed(), samples={"payments": sample}), deed)

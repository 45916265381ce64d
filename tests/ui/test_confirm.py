"""The last question: what it submits, and when it does not."""

from __future__ import annotations

import msgspec
import pytest
from textual import events

from celerytop.model import action as act
from celerytop.model.action import KillTree, Revoke, Target
from celerytop.model.snapshot import Snapshot
from celerytop.ui.ladder import climb
from celerytop.ui.screens.action_detail import ActionDetail
from celerytop.ui.screens.confirm import Confirm, Variant
from tests.ui import snapshots
from tests.ui.acting import AT, OTHER, PAY, allowed, many, type_keys, wishes, with_task
from tests.ui.drive import Driver, drive

LADDER = [("r", None), ("u", "SIGUSR1"), ("t", "SIGTERM"), ("k", "SIGKILL")]


def box(driver: Driver) -> Confirm:
    """The box in front."""
    screen = driver.app.screen
    assert isinstance(screen, Confirm)
    return screen


def at_main(driver: Driver) -> bool:
    """No box is open."""
    return driver.app.screen is driver.app.main


def test_a_running_task_is_terminated_after_y_and_what_becomes_of_it_is_shown() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "K")
        assert "TERMINATE 1 running task on prod" in driver.text
        assert not wishes(driver)
        await driver.press("y")
        target = Target(PAY, "app.pay", "STARTED", "w3@db-7", 4711, AT - 90000, "celery")
        assert wishes(driver) == [Revoke(targets=(target,), signal="SIGTERM")]
        assert isinstance(driver.app.screen, ActionDetail)
        await driver.press("n")
        assert at_main(driver)

    drive(allowed(), deed)


@pytest.mark.parametrize(("letter", "signal"), LADDER)
def test_each_rung_by_its_letter(letter: str, signal: str | None) -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "K", letter, "y")
        assert [command.signal for command in wishes(driver)] == [signal]

    drive(allowed(), deed)


def test_arrows_and_k_walk_the_ladder_to_its_last_rung() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "K", "left", "left", "right", "K", "K", "K", "K", "K", "y")
        assert [type(command) for command in wishes(driver)] == [KillTree]

    drive(allowed(), deed)


def test_a_task_that_waits_is_only_revoked() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "r", "K", "y")
        (command,) = wishes(driver)
        assert command.signal is None and command.targets[0].state == "RECEIVED"

    drive(allowed(), deed)


@pytest.mark.parametrize(
    "keys", [("escape",), ("enter",), ("n",), ("q",), ("tab", "tab", "enter"), ("space", "escape")]
)
def test_the_focus_is_on_cancel(keys: tuple[str, ...]) -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "K", *keys)
        assert driver.app.screen is driver.app.main
        assert not wishes(driver)

    drive(allowed(), deed)


def test_enter_does_it_once_the_focus_was_moved() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "K", "tab", "enter")
        assert len(wishes(driver)) == 1

    drive(allowed(), deed)


def test_keys_typed_before_the_box_is_painted_are_dropped() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3")
        for key in ("K", "y", "y", "y"):
            driver.app.post_message(events.Key(key, key))
        await driver.settle()
        assert isinstance(driver.app.screen, Confirm)
        assert not wishes(driver)
        await driver.press("y")
        assert len(wishes(driver)) == 1

    drive(allowed(), deed)


def test_keys_that_reach_the_box_before_it_is_painted_are_dropped() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3")
        climb(driver.app, [PAY])
        for key in ("y", "y"):
            driver.app.screen.post_message(events.Key(key, key))
        await driver.settle()
        assert isinstance(driver.app.screen, Confirm) and driver.app.screen.painted
        assert not wishes(driver)

    drive(allowed(), deed)


def test_what_is_finished_meanwhile_cannot_be_stopped_any_more() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "K")
        await driver.publish(with_task(allowed(), PAY, state="SUCCESS", finished_at=AT))
        assert "Not possible now: 7b2e1f3c is over (SUCCESS)" in driver.text
        await driver.press("y", "tab", "y")
        assert isinstance(driver.app.screen, Confirm) and not wishes(driver)
        await driver.press("enter")
        assert at_main(driver) and not wishes(driver)

    drive(allowed(), deed)


def test_another_process_that_runs_it_is_not_the_one_that_was_meant() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "K")
        await driver.publish(with_task(allowed(), PAY, worker_pid=4799))
        assert "runs in another process now: pid 4799, not 4711" in driver.text
        await driver.press("y")
        assert not wishes(driver)

    drive(allowed(), deed)


def test_a_process_that_becomes_known_is_taken_over() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "K")
        assert "in which process is not known" in driver.text
        await driver.publish(with_task(with_task(allowed(), PAY, worker_pid=None), PAY, worker_pid=4711))
        await driver.press("y")
        assert wishes(driver)[0].targets[0].worker_pid == 4711

    drive(with_task(allowed(), PAY, worker_pid=None), deed)


def test_it_looks_at_the_newest_picture_also_while_paused() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "space", "K")
        await driver.publish(with_task(allowed(), PAY, state="SUCCESS", finished_at=AT))
        assert "is over (SUCCESS)" in driver.text

    drive(allowed(), deed)


def test_more_than_ten_want_the_typed_name() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3")
        await type_keys(driver, *["v", "j"] * 11)
        await driver.publish(many())  # else a slow machine finds it silent
        await driver.press("K")
        assert "11 running tasks" in driver.text and "Type  prod  to go on" in driver.text
        await driver.press("enter", "y", "enter", *"prox", "enter")
        assert isinstance(driver.app.screen, Confirm) and not wishes(driver)
        await driver.press("ctrl+u", *"prod")
        assert not wishes(driver)
        await driver.press("backspace", "enter")
        assert not wishes(driver)
        await driver.press("d", "enter")
        (command,) = wishes(driver)
        assert len(command.targets) == 11 and command.signal == "SIGTERM"

    drive(many(), deed)


def test_one_worker_wants_its_own_name() -> None:
    async def deed(driver: Driver) -> None:
        driver.app.push_screen(Confirm([Variant("", "", lambda s: act.Shutdown(workers=("w3@db-7",)))]))
        await driver.settle()
        await driver.press(*"prod", "enter")
        assert isinstance(driver.app.screen, Confirm)
        await driver.press("ctrl+u", *"w3@db-7")
        assert box(driver).typed_right

    drive(allowed(), deed)


# -------------------------------------------------------------------------------------------------- read-only
@pytest.mark.parametrize("mode", ["READ-ONLY", "PASSIVE"])
def test_where_only_looking_is_allowed_the_command_is_copied_and_nothing_submitted(mode: str) -> None:
    async def deed(driver: Driver) -> None:
        driver.app.app_name = "shop"
        await driver.press("3", "K", "k")
        assert f"{mode}: nothing is sent from here" in driver.text
        assert f"celery -A shop control -d w3@db-7 terminate SIGKILL {PAY}" in " ".join(driver.text.split()).replace(
            "│ │ ", ""
        )
        await driver.press("enter")
        assert driver.app.screen is driver.app.main
        await driver.press("K", "tab", "tab", "y")
        assert driver.app.clipboard == f"celery -A shop control -d w3@db-7 terminate SIGTERM {PAY}"
        assert "copied celery -A shop control" in driver.lines[-1]
        assert not wishes(driver)

    snapshot = snapshots.healthy()
    drive(msgspec.structs.replace(snapshot, cluster=msgspec.structs.replace(snapshot.cluster, mode=mode)), deed)


def test_read_only_copies_a_broad_command_without_a_name_to_type() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("1", "x", *"purge all", "enter")
        assert "READ-ONLY: nothing is sent from here" in driver.text and "to go on" not in driver.text
        await driver.press("y")
        assert driver.app.clipboard.endswith("purge -Q payments")
        assert not wishes(driver)

    drive(snapshots.healthy(), deed)


def test_fifty_ids_are_copied_whole() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3")
        await type_keys(driver, *["v", "j"] * 50)
        await driver.publish(driver.feed.latest)
        await driver.press("K", "y")
        assert driver.app.clipboard.count("-0000") == 50

    snapshot = many()
    cluster = msgspec.structs.replace(snapshot.cluster, mode="READ-ONLY")
    drive(msgspec.structs.replace(snapshot, cluster=cluster), deed)


# -------------------------------------------------------------------------------------------------- hostile
def test_hostile_names_do_not_break_out_of_the_box() -> None:
    async def deed(driver: Driver) -> None:
        for keys in (("K",), ("K", "p"), ("x",)):
            await driver.press(*keys)
            assert "\x1b" not in driver.text and "\u202e" not in driver.text and "[/bold]" not in driver.lines[-1]
            await driver.press("escape")
        await driver.press("2", "x", *"shut", "enter")
        assert "\x1b" not in driver.text
        assert isinstance(driver.app.screen, Confirm)

    def hostile() -> Snapshot:
        return allowed(snapshots.hostile())

    async def tasks(driver: Driver) -> None:
        await driver.press("3")
        await deed(driver)

    drive(hostile(), tasks)
    drive(hostile(), tasks, (60, 10), ascii=True)


def test_k_from_a_tasks_page_and_from_a_workers_process() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "enter", "K", "y")
        assert wishes(driver)[-1].targets[0].task_id == PAY
        await driver.press("escape", "escape", "2")
        while driver.here != "w3@db-7":
            await driver.press("down")
        await driver.press("K")
        assert "K is for tasks" in driver.lines[-1]
        await driver.press("right", "down", "down", "down", "K", "y")
        assert wishes(driver)[-1].targets[0].task_id in (PAY, OTHER)

    drive(allowed(), deed)

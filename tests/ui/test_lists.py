"""What stands in which list, what comes first, and what a key says that has nothing to do."""

from __future__ import annotations

import msgspec

from celerytop.columns.workers import severity, why_of
from celerytop.model.worker import ALIVE, BUSY_SOLO, FROZEN, GONE, SILENT, Worker
from tests.ui import snapshots
from tests.ui.drive import Driver, drive
from tests.ui.snapshots import AT


def test_the_sick_come_first_and_equals_by_name() -> None:
    sick = {
        "c-ok": Worker("c-ok", state=ALIVE),
        "a-ok": Worker("a-ok", state=ALIVE),
        "b-clock": Worker("b-clock", state=ALIVE, skew=41.0),
        "d-solo": Worker("d-solo", state=BUSY_SOLO),
        "e-gone": Worker("e-gone", state=GONE),
        "f-silent": Worker("f-silent", state=SILENT),
        "g-two": Worker("g-two", state=ALIVE, pids=(7, 8)),
        "h-frozen": Worker("h-frozen", state=FROZEN, why="its main process 7 is stopped (state T)"),
    }

    async def deed(driver: Driver) -> None:
        await driver.press("2")
        assert driver.order == ["h-frozen", "g-two", "f-silent", "e-gone", "d-solo", "b-clock", "a-ok", "c-ok"]
        assert " frozen   its main process 7 is stopped (state T)" in driver.lines
        await driver.press("down")
        assert " alive   2 processes use this name: pid 7+8" in driver.lines

    drive(msgspec.structs.replace(snapshots.healthy(), workers=sick), deed, (80, 24))
    now = snapshots.healthy()
    assert severity(Worker("x", state="of later versions"), now) is None
    assert why_of(Worker("x", skew=-41.0, why="heartbeat 1 s ago")) == "heartbeat 1 s ago; its clock is 41s behind"


def test_a_task_received_with_an_eta_is_scheduled_before_its_worker_is_asked() -> None:
    tasks = snapshots.tasks()
    waiting = next(task for task in tasks.values() if task.place == "reserved")
    early = msgspec.structs.replace(waiting, place=None, eta_at=AT + 300)
    late = msgspec.structs.replace(waiting, task_id="late", place=None, eta_at=AT - 1)

    async def deed(driver: Driver) -> None:
        await driver.press("3", "h")
        assert "[r]eserved 1   sc[h]eduled 2" in driver.text
        assert early.task_id in driver.order and "in 5m00s" in driver.text
        await driver.press("r")
        assert driver.order == ["late"]

    drive(msgspec.structs.replace(snapshots.healthy(), tasks={**tasks, early.task_id: early, late.task_id: late}), deed)


def test_a_task_that_left_the_list_says_what_it_is_now() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3")
        here = driver.here
        assert here is not None
        tasks = snapshots.tasks()
        tasks[here] = msgspec.structs.replace(tasks[here], state="RETRY", place=None)
        await driver.publish(msgspec.structs.replace(snapshots.healthy(AT + 1), tasks=tasks))
        assert driver.here == here and driver.lines[6].endswith("now RETRY")

    drive(snapshots.healthy(), deed)


def test_a_filter_given_at_the_start_counts_for_the_first_page_alone() -> None:
    async def deed(driver: Driver) -> None:
        assert driver.app.main.page == "tasks" and driver.table_page.sift.text == "name:app.report"
        assert len(driver.order) == 1
        await driver.press("1")
        assert driver.table_page.sift.text == "" and len(driver.order) > 3

    drive(snapshots.healthy(), deed, page="tasks", filter="name:app.report")


def test_a_key_with_nothing_to_do_says_so() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("n")
        assert driver.lines[-1] == " no filter is set: / begins one"
        await driver.press("5")
        for key in ("/", "s", "S", "c"):
            await driver.press(key)
            assert driver.lines[-1] == " this page is no table: nothing to filter, sort or choose"

    drive(snapshots.healthy(), deed)


def test_a_notice_outlives_the_next_picture_and_not_the_next_seconds() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("n")
        await driver.publish(snapshots.healthy(AT + 1))
        assert driver.lines[-1] == " no filter is set: / begins one"
        await driver.publish(snapshots.healthy(AT + 10))
        assert driver.lines[-1].startswith(" up/dn move")

    drive(snapshots.healthy(), deed)


def test_what_cannot_be_read_as_a_filter_is_told_for_as_long_as_it_stands_there_and_is_not_kept() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("/", *"pay foo:x")
        told = " The filter knows no `foo:`"
        assert driver.lines[-1].startswith(told)
        await driver.publish(snapshots.healthy(AT + 10))
        assert driver.lines[-1].startswith(told)
        await driver.press("enter")
        assert driver.app.main.query("#filter") and driver.lines[-1].startswith(told)
        await driver.press("backspace", "backspace", "backspace", "backspace", "backspace")
        assert "enter keep" in driver.lines[-1]
        await driver.press("enter")
        assert not driver.app.main.query("#filter") and driver.table_page.sift.text == "pay"

    drive(snapshots.healthy(), deed)


def test_lists_are_named_briefly_when_their_numbers_are_long() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3")
        assert driver.lines[4].endswith("rec[l] 100,000")

    drive(snapshots.huge(), deed, (80, 24))

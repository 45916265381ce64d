"""What a picture and a key may cost: bytes on the line, lines made, rows asked. Counted, never timed."""

from __future__ import annotations

import os
import pty
import sys
import tty

import msgspec
import pytest

from celerytop.model.snapshot import Snapshot
from celerytop.model.task import Task
from celerytop.select import parse
from celerytop.ui.driver import Writer
from celerytop.ui.screens.page import MANY
from celerytop.ui.sift import EVERYTHING, Sift
from celerytop.ui.widgets.header import Header
from celerytop.ui.widgets.painted import Painted
from tests.rig import Terminal, wait_until
from tests.ui import snapshots
from tests.ui.drive import Driver, drive

BYTES = 1500
"""Of one refresh at 200x50 with five rows changed."""


@pytest.mark.pty
def test_a_refresh_with_five_changed_rows_fits_a_slow_line() -> None:
    with Terminal([sys.executable, "-m", "tests.ui.still_app", "healthy", "moving"], 200, 50) as terminal:
        terminal.wait_for("1 Queues")

        def clock() -> str:
            return terminal.lines[0][-9:]

        sizes = []
        for _ in range(4):
            shown, before = clock(), len(terminal.raw)
            wait_until(lambda shown=shown: clock() != shown, 30, "the next picture")  # type: ignore[misc]
            sizes.append(len(terminal.raw) - before)
        # a picture may be read in two parts, so that one step of ours holds a bit of its neighbour
        assert 0 < sum(sizes[1:]) / 3 <= BYTES, sizes


@pytest.mark.pty
def test_what_a_slow_terminal_has_not_taken_is_known() -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    with os.fdopen(slave, "w") as file:
        writer = Writer(file)
        writer.start()
        writer.write("x" * 200_000)
        assert (writer.given, writer.written) == (1, 0), "so nothing more is painted now"
        left = 200_000
        while left:
            left -= len(os.read(master, 65536))
        wait_until(lambda: writer.written == writer.given, 30, "all is taken")
        writer.stop()
    os.close(master)


def test_the_same_picture_again_paints_nothing() -> None:
    async def deed(driver: Driver) -> None:
        for page in "123568":
            await driver.press(page)
            before = {widget: widget.painted_cells for widget in driver.app.screen.query(Painted)}
            await driver.publish(driver.app.newest)
            assert {widget: widget.painted_cells for widget in driver.app.screen.query(Painted)} == before, page

    drive(snapshots.healthy(), deed, (200, 50))


def test_a_later_picture_of_the_same_paints_only_what_counts_seconds() -> None:
    async def deed(driver: Driver) -> None:
        table, header = driver.table, driver.app.screen.query_one(Header)
        before = table.painted_cells
        header.painted_cells = 0
        now = snapshots.healthy()
        await driver.publish(msgspec.structs.replace(now, at=now.at + 1, sources=snapshots.up(now.at + 1)))
        assert table.painted_cells - before < 5 * 200 and 0 < header.painted_cells < 200

    drive(snapshots.healthy(), deed, (200, 50))


def test_a_key_makes_two_lines_anew_and_no_more() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "l")
        made = driver.table.made
        await driver.press("down")
        assert driver.table.made - made == 2
        await driver.press("s", "enter")
        await driver.press("down")
        assert driver.table.made - made < 3 * 50

    drive(snapshots.huge(5000), deed, (200, 50))


def test_a_longer_word_is_asked_only_of_what_the_shorter_has_left() -> None:
    asked: list[int] = []

    async def deed(driver: Driver) -> None:
        page = driver.table_page
        await driver.press("3", "l", "/")
        page = driver.table_page
        for letter in "task49":
            await driver.press(letter)
            asked.append(page.sift.asked)
            expected = [key for key, task in driver.app.shown.tasks.items() if parse(page.sift.text).matches(task, 0.0)]
            assert sorted(page.matching) == sorted(expected)
        await driver.press("backspace")
        asked.append(page.sift.asked)
        await driver.press("escape")
        assert page.sift is EVERYTHING, "what was remembered for the filter is forgotten with it"

    drive(snapshots.huge(5000), deed)
    assert asked == [5000, 5000, 5000, 5000, 5000, 1100, 5000]


def test_the_next_picture_asks_only_tasks_that_have_changed() -> None:
    now = snapshots.huge(3000)
    sift = Sift("state:STARTED")
    first = sift.keep(list(now.tasks), now.tasks, now.at)
    assert len(first) == 600
    one, other = list(first)[:2]
    later = dict(now.tasks)
    later[one] = msgspec.structs.replace(later[one], state="SUCCESS")
    later[other] = msgspec.structs.replace(later[other], retries=7)
    later["new"] = Task("new", state="STARTED")
    del later[list(first)[5]]
    kept = sift.keep(list(later), later, now.at + 1)
    assert sift.asked == 3
    assert list(kept) == [key for key, task in later.items() if task.state == "STARTED"]


def test_what_a_word_is_looked_for_in_is_made_before_it_is_typed() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "l", "/")
        for _ in range(2):
            await made(driver)
            await driver.press("x", "escape", "/")
        await made(driver)

    async def made(driver: Driver) -> None:
        for _ in range(100):  # a few at a time, so that keys come through
            if len(driver.table_page.sift._texts) == 5000:
                return
            await driver.settle()
        raise AssertionError(len(driver.table_page.sift._texts))

    drive(snapshots.huge(5000), deed)


def test_the_same_tasks_in_the_next_picture_are_not_asked_again() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "l", "/", *"task4", "enter")
        page = driver.table_page
        ids, matching, before = page.ids(driver.app.shown), page.matching, page.sift
        now = driver.app.newest
        page.sift.asked = 0
        await driver.publish(msgspec.structs.replace(now, at=now.at + 1, sources=snapshots.up(now.at + 1)))
        assert page.sift is before and page.sift.asked == 0
        assert page.ids(driver.app.shown) is ids and page.matching is matching
        await driver.publish(msgspec.structs.replace(now, at=now.at + 2, tasks=dict(now.tasks)))
        assert page.ids(driver.app.shown) is not ids

    drive(snapshots.huge(3000), deed)


def test_very_many_rows_are_put_in_order_every_few_seconds() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "l", "s", *"runtime", "enter")
        page = driver.table_page
        now = driver.app.newest
        read = []
        for after in (1, 2, 3, 4):
            before = page._values.read
            at = now.at + after
            await driver.publish(msgspec.structs.replace(now, at=at, sources=snapshots.up(at)))
            read.append(page._values.read - before)
        assert read[:2] == [0, 0] and sum(read) == MANY + 1, read

    drive(snapshots.huge(MANY + 1), deed)


def test_a_key_is_painted_before_the_next_message() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "l", "down")
        main, table = driver.app.main, driver.table
        main._painted_at = 0.0
        table.go(5)
        assert main._painted_at > 0.0
        assert not any(widget._repaint_required for widget in main.query(Painted)), "no second painting will follow"
        main._painted_at = float("inf")
        table.go(6)
        assert table._repaint_required, "of more than 120 a second the rest waits for the timer"

    drive(snapshots.huge(100), deed)


def test_a_number_that_grows_is_asked_of_all_again() -> None:
    now = snapshots.huge(3000)
    sift, ids = Sift("runtime:>100"), list(now.tasks)
    early = sift.keep(ids, now.tasks, now.at)
    late = sift.keep(list(ids), now.tasks, now.at + 100)
    assert sift.asked == 3000 and len(late) > len(early)


@pytest.mark.parametrize(
    "texts", [("!9", "!99"), ("~a", "~a.9"), ("state:F", "state:FA"), ("49 w1", "49 w12"), ("a", "b")]
)
def test_typing_on_gives_what_the_whole_filter_gives(texts: tuple[str, str]) -> None:
    now: Snapshot = snapshots.huge(2000)
    ids = list(now.tasks)
    sift = Sift(texts[0])
    sift.keep(ids, now.tasks, now.at)
    typed = Sift(texts[1], sift).keep(ids, now.tasks, now.at)
    assert list(typed) == [key for key, task in now.tasks.items() if parse(texts[1]).matches(task, now.at)]

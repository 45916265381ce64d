"""The cursor, the order, the filter: what stays where when pictures come and go."""

from __future__ import annotations

import msgspec

from celerytop.model.command import Attend, RetryNow, SetInterval
from celerytop.model.snapshot import Snapshot
from tests.ui import snapshots
from tests.ui.drive import Driver, drive
from tests.ui.snapshots import AT, PAY


def later(seconds: float, **changes: object) -> Snapshot:
    """The healthy picture some seconds later."""
    at = AT + seconds
    return msgspec.structs.replace(snapshots.healthy(), at=at, sources=snapshots.up(at), **changes)


def with_messages(**messages: int) -> dict[str, object]:
    """The queues, some of them with another length."""
    queues = snapshots.queues()
    for name, number in messages.items():
        queues[name] = msgspec.structs.replace(queues[name], messages=number)
    return {"queues": queues}


def test_cursor_stays_on_its_queue_when_rows_change_places() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("down", "down", "down")
        assert driver.here == "emails"
        await driver.publish(later(10, **with_messages(emails=99_999)))
        assert driver.order[0] == "emails"
        assert driver.here == "emails"
        assert any(line.startswith(">emails") for line in driver.lines)

    drive(snapshots.healthy(), deed)


def test_order_is_held_for_two_seconds_after_a_move() -> None:
    async def deed(driver: Driver) -> None:
        before = driver.order
        await driver.press("down")
        await driver.publish(later(1, **with_messages(emails=99_999)))
        assert driver.order == before
        await driver.publish(later(3, **with_messages(emails=99_999)))
        assert driver.order[0] == "emails"

    drive(snapshots.healthy(), deed)


def test_vanished_row_stays_struck_under_the_cursor_for_five_seconds() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("down")
        assert driver.here == "reports"
        queues = {name: queue for name, queue in snapshots.queues().items() if name != "reports"}
        await driver.publish(later(3, queues=queues))
        assert driver.here == "reports"
        line = next(line for line in driver.lines if line.startswith(">reports"))
        assert line.endswith("gone")
        await driver.publish(later(7, queues=queues))
        assert driver.here == "reports"
        await driver.publish(later(9, queues=queues))
        assert driver.here == "celery"
        assert "reports" not in driver.order

    drive(snapshots.healthy(), deed)


def test_finished_task_says_when_it_finished() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3")
        assert driver.here == PAY
        tasks = snapshots.tasks()
        tasks[PAY] = msgspec.structs.replace(tasks[PAY], state="SUCCESS", place=None, finished_at=AT + 2, runtime=9.0)
        await driver.publish(later(3, tasks=tasks))
        assert driver.here == PAY
        assert "finished 22:13:22" in driver.text

    drive(snapshots.healthy(), deed)


def test_a_filter_takes_a_vanished_row_away() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("down")
        queues = {name: queue for name, queue in snapshots.queues().items() if name != "reports"}
        await driver.publish(later(3, queues=queues))
        assert driver.here == "reports"
        await driver.press("slash", *"emails", "enter")
        assert driver.here == "emails"
        assert not any("reports" in line for line in driver.lines if line.startswith(">"))

    drive(snapshots.healthy(), deed)


def test_moving_away_from_a_vanished_row_counts_lines_as_seen() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("down", "down")
        queues = {name: queue for name, queue in snapshots.queues().items() if name != "celery"}
        await driver.publish(later(3, queues=queues))
        await driver.press("down")
        assert driver.here == "emails"

    drive(snapshots.healthy(), deed)


def test_untouched_cursor_stays_with_the_first_page() -> None:
    async def deed(driver: Driver) -> None:
        queues = snapshots.queues()
        for number in range(60):
            queues[f"q{number}"] = msgspec.structs.replace(
                queues["emails"], name=f"q{number}", messages=50_000 + number
            )
        await driver.publish(later(3, queues=queues))
        assert driver.table.first == 0
        assert driver.here == "q59"

    drive(snapshots.healthy(), deed)


def test_sort_menu_and_reverse() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("s", "q", "u", "e", "u", "e", "enter")
        assert driver.table_page.sort == ("queue", False)
        assert driver.order == sorted(snapshots.queues())
        await driver.press("S")
        assert driver.order == sorted(snapshots.queues(), reverse=True)
        assert "sort QUEUE v" in driver.text

    drive(snapshots.healthy(), deed)


def test_filter_narrows_live_keeps_on_enter_and_clears_on_escape() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("/", "p", "a", "y")
        assert driver.order == ["payments"]
        await driver.press("enter")
        assert driver.order == ["payments"] and not driver.app.screen.query("#filter")
        await driver.press("/", "backspace", "backspace", "backspace", "r", "e", "p")
        assert driver.order == ["reports"]
        await driver.press("escape")
        assert len(driver.order) == 7 and not driver.app.screen.query("#filter")

    drive(snapshots.healthy(), deed)


def test_filter_takes_letters_that_are_keys_elsewhere() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("/", "q", "s", "1", ":", "?", "space", "+")
        assert driver.app.screen.query_one("#filter").value == "qs1:? +"  # type: ignore[attr-defined]
        assert driver.app.screen is driver.app.main and driver.app.paused_at is None

    drive(snapshots.healthy(), deed)


def test_filter_that_cannot_be_read_says_why_and_keeps_the_rows() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("/", *"nonsense:1")
        assert "nonsense" in driver.lines[-1]
        await driver.press("escape", "/", *"~(")
        assert "~(" in driver.lines[-2] and "enter" not in driver.lines[-1]

    drive(snapshots.healthy(), deed)


def test_next_and_previous_match_go_round() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("n")
        assert driver.here == "payments"
        await driver.press("/", "e", "enter", "n")
        assert driver.here == driver.order[1]
        await driver.press("N", "N")
        assert driver.here == driver.order[-1]

    drive(snapshots.healthy(), deed)


def test_pause_stops_the_picture_and_says_for_how_long() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("space")
        await driver.publish(later(41, **with_messages(payments=9999)))
        assert "PAUSED 00:41" in driver.text
        assert "9,999" not in driver.text and "8,114" in driver.text
        await driver.press("space")
        assert "9,999" in driver.text and "PAUSED" not in driver.text

    drive(snapshots.healthy(), deed)


def test_columns_can_be_chosen() -> None:
    async def deed(driver: Driver) -> None:
        assert "TYPE" not in driver.lines[4]
        await driver.press("c", "down", "space", "escape")
        assert "TYPE" in driver.lines[4]

    drive(snapshots.healthy(), deed, (140, 30))


def test_fold_and_unfold_keep_the_cursor() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("2", "G", "right")
        assert driver.here == "w3@db-7" and "child 4711" in driver.text
        await driver.press("down", "down")
        assert driver.here == "w3@db-7/4711"
        await driver.publish(later(3))
        assert driver.here == "w3@db-7/4711"
        await driver.press("left")
        assert driver.here == "w3@db-7"
        await driver.press("left")
        assert "child 4711" not in driver.text

    drive(snapshots.healthy(), deed)


def test_wishes_go_to_the_feed() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("2", "-", "r", "1", "enter", "escape")
        wishes = driver.feed.commands
        assert Attend("workers") in wishes and SetInterval(2.0) in wishes and RetryNow() in wishes
        assert Attend("queues", queue="payments") in wishes
        assert wishes[-1] == Attend("queues")

    drive(snapshots.healthy(), deed)

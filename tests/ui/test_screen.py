"""The screen as a whole: sizes, themes, staleness, hostile text, bugs, speed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import msgspec
import pytest

from celerytop.errors import crash_text
from celerytop.format import cells
from celerytop.model.observation import DOWN
from celerytop.ui.app import CelerytopApp
from celerytop.ui.feed import StillFeed
from celerytop.ui.look import OnlyPlain
from celerytop.ui.news import freshness, news
from celerytop.ui.screens.small import Small
from celerytop.ui.sift import Sift
from tests.ui import snapshots
from tests.ui.drive import Driver, drive
from tests.ui.snapshots import AT

KEYS = ("1", "2", "3", "5", "6", "8")
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def test_window_too_small_says_so_and_comes_back() -> None:
    async def deed(driver: Driver) -> None:
        for width, height in ((20, 5), (59, 24), (80, 9), (2, 1), (1, 1)):
            await driver.resize(width, height)
            assert isinstance(driver.app.screen, Small)
        await driver.resize(40, 8)
        assert driver.text.replace("\n", " ").split() == ["Window", "too", "small:", "60x10", "needed,", "40x8", "now."]
        await driver.resize(80, 24)
        assert driver.app.screen is driver.app.main
        assert "payments" in driver.text

    drive(snapshots.healthy(), deed)


def test_first_screen_has_a_question_mark_in_every_cell() -> None:
    async def deed(driver: Driver) -> None:
        for key in KEYS:
            await driver.press(key)
            assert "wk ?/? up  slots ?/?  ready ?" in driver.text
            if key != "5":
                row = driver.lines[driver.table.region.y + 1].split()
                assert set(row) == {"?"} and len(row) == len(driver.table.widths)

    drive(snapshots.empty(), deed, (80, 24))


def test_no_rows_is_not_the_same_as_not_known() -> None:
    async def deed(driver: Driver) -> None:
        assert "no queue is known yet" in driver.text

    drive(msgspec.structs.replace(snapshots.healthy(), queues={}), deed)


@pytest.mark.parametrize(("size", "ascii"), [((60, 10), True), ((80, 24), False), ((200, 50), True)])
def test_hostile_text_reaches_the_screen_only_as_harmless_text(size: tuple[int, int], ascii: bool) -> None:
    async def deed(driver: Driver) -> None:
        for key in KEYS:
            for then in ((), ("right", "enter"), ("escape", "?"), ("escape", "s")):
                await driver.press(*(then or (key,)))
                assert not _CONTROL.search(driver.text)
                assert "[link=http://x]" in driver.text or key in "56" or then or size[0] < 80
                assert all(cells(line) <= size[0] for line in driver.lines)
                assert driver.text.isascii() or not ascii
            await driver.press("escape")

    drive(snapshots.hostile(), deed, size, ascii=ascii)


def test_stale_within_eight_seconds_of_silence() -> None:
    def at(silent: float) -> str:
        sources = tuple(
            msgspec.structs.replace(status, seen_at=AT - silent) if status.name == "queues" else status
            for status in snapshots.up()
        )
        return freshness(msgspec.structs.replace(snapshots.healthy(), sources=sources), ("queues",)).mode

    assert [at(0.4), at(7.9), at(8.1)] == ["LIVE", "LIVE", "STALE"]


def test_another_sources_trouble_is_part_and_named() -> None:
    sources = tuple(
        msgspec.structs.replace(status, state=DOWN, error="Redis refuses INFO.") if status.name == "broker" else status
        for status in snapshots.up()
    )
    snapshot = msgspec.structs.replace(snapshots.healthy(), sources=sources)
    assert freshness(snapshot, ("queues",)).mode == "PART"
    assert any(item.text == "Redis refuses INFO." for item in news(snapshot))


def test_a_feed_that_has_stopped_does_not_look_alive() -> None:
    async def deed(driver: Driver) -> None:
        assert "LIVE 0.4s" in driver.text
        driver.app._heard -= 60
        driver.app._listen()
        await driver.settle()
        assert "STALE 1m0" in driver.text

    drive(snapshots.healthy(), deed)


def test_stale_rows_keep_their_values_and_say_of_when() -> None:
    async def deed(driver: Driver) -> None:
        await driver.publish(snapshots.stale())
        assert "STALE 34s" in driver.text and "as of 22:13:20" in driver.text
        assert "8,114" in driver.text and "workers 5/6 up (34s ago)" in driver.text
        await driver.press("3")
        assert "00:42:10" in driver.text, "a running time does not go on while nobody knows"

    drive(snapshots.healthy(), deed)


def test_themes_go_round_and_ascii_theme_is_ascii() -> None:
    async def deed(driver: Driver) -> None:
        seen = []
        for _ in range(4):
            seen.append((driver.app.look.theme, driver.text.isascii()))
            await driver.press("T")
        assert seen == [("dark", False), ("light", False), ("mono", False), ("ascii", True)]

    drive(snapshots.healthy(), deed)


def test_no_color_and_mono_use_attributes_only() -> None:
    async def deed(driver: Driver) -> None:
        for key in KEYS:
            await driver.press(key)
            for strip in driver.app.screen._compositor.render_strips(driver.app.size):
                for segment in strip:
                    assert segment.style is None or (segment.style.color is None and segment.style.bgcolor is None)

    drive(snapshots.healthy(), deed, no_color=True)
    assert OnlyPlain(False, True).no_color


def test_a_bug_ends_with_a_short_text_without_secrets() -> None:
    class Broken(CelerytopApp):
        def action_utc(self) -> None:
            raise RuntimeError("lost redis://me:hunter2@h/0\x1b[31m")

    async def run() -> CelerytopApp:
        feed = StillFeed(snapshots.healthy())
        app = Broken(feed)
        with pytest.raises(RuntimeError):
            async with app.run_test() as pilot:
                await Driver(app, feed, pilot).press("U")
        return app

    app = asyncio.run(run())
    assert app.return_code == 70
    assert app.crash is not None and "RuntimeError: lost redis://me:***@h/0" in app.crash
    assert "\x1b" not in app.crash and "hunter2" not in app.crash
    assert len(crash_text(ValueError("x" * 999)).splitlines()) == 2


def test_only_changed_cells_are_painted() -> None:
    async def deed(driver: Driver) -> None:
        painted = driver.table.painted_cells
        await driver.publish(snapshots.healthy())
        assert driver.table.painted_cells == painted
        queues = snapshots.queues()
        queues["emails"] = msgspec.structs.replace(queues["emails"], messages=302)
        await driver.publish(msgspec.structs.replace(snapshots.healthy(), queues=queues))
        assert 0 < driver.table.painted_cells - painted <= 12

    drive(snapshots.healthy(), deed)


def test_of_a_hundred_thousand_tasks_only_those_in_view_are_painted() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "l")
        page = driver.table_page
        assert driver.table.rows.total == 100_000
        page.sort = ("worker", False)
        works: tuple[Callable[[], object], ...] = (
            lambda: page.redraw(anew=True),
            lambda: page.filter(Sift("state:FAILURE")),
            lambda: driver.table.action_move(1),
        )
        for work in works:
            painted = driver.table.painted_cells
            work()
            await driver.settle()
            assert driver.table.painted_cells - painted <= 2 * 30 * 16, "two screens of cells at most"
        assert driver.table.rows.total == 20_000

"""The ways past Textual's detours show the same, and cost one painting: counted, never timed."""

from __future__ import annotations

import asyncio
import gc

import pytest
from rich.console import Console
from textual import events
from textual.geometry import Region
from textual.screen import Screen
from textual.widgets import Input

from celerytop.ui.painter import Painter, Parts
from celerytop.ui.screens.main import Main
from celerytop.ui.widgets.painted import Painted
from celerytop.ui.widgets.table import Table
from tests.ui import snapshots
from tests.ui.drive import Driver, drive

SIZE = (100, 30)


@pytest.mark.parametrize("look", [{}, {"ascii": True}, {"no_color": True}, {"theme": "light"}], ids=str)
def test_a_part_looks_as_it_does_when_all_is_painted(look: dict[str, object]) -> None:
    async def deed(driver: Driver) -> None:
        console = Console(color_system="truecolor")
        for page in "12356":
            await driver.press(page)
            painter = driver.app.screen._compositor
            assert isinstance(painter, Painter)
            for widget in driver.app.screen.query(Painted):
                if widget not in painter.visible_widgets:
                    continue
                region = widget.region
                whole = widget.render_lines(Region(0, 0, region.width, region.height))
                for y, strip in enumerate(whole):
                    place = Region(region.x, region.y + y, region.width, 1)
                    painter._dirty_regions = {place}
                    part = painter.render_partial_update()
                    assert isinstance(part, Parts) and [where for where, _ in part.parts] == [place]
                    assert part.parts[0][1].render(console) == strip.render(console), (page, widget, y)

    drive(snapshots.healthy(), deed, SIZE, **look)


def test_only_what_has_changed_is_sent() -> None:
    async def deed(driver: Driver) -> None:
        painter = driver.app.screen._compositor
        painter._dirty_regions = {Region(10, 7, 5, 1), Region(40, 7, 3, 1), Region(0, 0, 4, 1)}
        part = painter.render_partial_update()
        assert isinstance(part, Parts) and not painter._dirty_regions
        assert [(place.x, place.y, strip.cell_length) for place, strip in part.parts] == [
            (0, 0, 4),
            (10, 7, 5),
            (40, 7, 3),
        ]
        assert part.parts[0][1].text == "cele"
        painter._dirty_regions = {Region(0, 3, 100, 3)}
        lines = [line.ljust(100) for line in driver.lines]
        assert [strip.text for _, strip in painter.render_partial_update().parts] == lines[3:6]  # type: ignore[union-attr]

    drive(snapshots.healthy(), deed, SIZE)


def test_a_key_of_the_table_is_no_message_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    async def deed(driver: Driver) -> None:
        await driver.press("3", "l")
        post = Table.post_message

        def seen(table: Table, message: events.Event) -> bool:
            if isinstance(message, events.Key):
                sent.append(message.key)
            return post(table, message)

        monkeypatch.setattr(Table, "post_message", seen)
        await driver.press("down", "down", "j")
        assert driver.table.index == 3
        await driver.press("f10")
        await driver.press("s")
        await driver.press("escape")

    drive(snapshots.huge(100), deed, SIZE)
    assert sent == ["f10"], "what nobody knows goes Textual's way"


def test_a_box_that_is_left_costs_one_full_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    full: list[Painter] = []

    async def deed(driver: Driver) -> None:
        await driver.press("3", "l", "s", *"runtime")
        paint = Painter.render_full_update

        def counted(painter: Painter, simplify: bool = False) -> object:
            full.append(painter)
            return paint(painter, simplify)

        monkeypatch.setattr(Painter, "render_full_update", counted)
        await driver.press("enter")
        assert isinstance(driver.app.screen, Main) and "sort RUNTIME" in driver.text

    drive(snapshots.huge(100), deed, SIZE)
    assert len(full) == 1


def test_what_a_full_screen_has_shown_is_not_painted_once_more() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "l")
        painter = driver.app.screen._compositor
        for drawing, waits in ((True, True), (False, False)):
            driver.app.main._painted_at = float("inf")  # so that it waits for the timer
            driver.table.go(driver.table.index + 3)
            assert driver.table._repaint_required
            painter.render_full_update(simplify=drawing)
            painter.update_widgets({driver.table})
            assert bool(painter._dirty_regions) == waits, "a drawing for a file is not on the screen"
            painter._dirty_regions.clear()

    drive(snapshots.huge(100), deed, SIZE)


def test_the_collector_rests_while_keys_are_pressed() -> None:
    async def deed(driver: Driver) -> None:
        gc.enable()
        await driver.press("3")
        assert not gc.isenabled()
        async with asyncio.timeout(60):
            while not gc.isenabled():
                await asyncio.sleep(0.01)
        await driver.press("down")
        assert not gc.isenabled()

    drive(snapshots.huge(10), deed, SIZE)
    assert gc.isenabled(), "also when the program ends meanwhile"


def test_a_letter_of_a_filter_lays_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    laid_out: list[Screen[object]] = []

    async def deed(driver: Driver) -> None:
        await driver.press("3", "l", "/")
        lay_out = Screen._refresh_layout

        def counted(screen: Screen[object], *arguments: object, **more: object) -> None:
            laid_out.append(screen)
            lay_out(screen, *arguments, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(Screen, "_refresh_layout", counted)
        await driver.press(*"task4", "backspace", *"49")
        assert "/task49" in driver.text and driver.lines[-2] == " task49"
        line = driver.app.screen.query_one("#filter", Input)
        line.insert_text_at_cursor("0123456789" * 12)
        await driver.press(*" end")
        assert driver.lines[-2].endswith("89 end"), "a long one is seen at its end"
        await driver.press("home")
        assert driver.lines[-2].startswith(" task49")

    drive(snapshots.huge(100), deed, SIZE)
    assert not laid_out


def test_what_is_typed_at_once_after_the_slash_is_the_filter() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "l")
        for key in "/task4":
            driver.app.post_message(events.Key(key if key != "/" else "slash", key))
        await driver.settle()
        assert isinstance(driver.app.screen, Main) and driver.table_page.sift.text == "task4"

    drive(snapshots.huge(100), deed, SIZE)


def test_what_waits_to_be_painted_is_painted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    painted: list[Region] = []

    async def deed(driver: Driver) -> None:
        await driver.press("3", "l")
        main, hints = driver.app.main, driver.app.screen.query_one("#hints", Painted)
        update = Painter.render_partial_update

        def seen(painter: Painter) -> object:
            painted.extend(painter._dirty_regions)
            return update(painter)

        monkeypatch.setattr(Painter, "render_partial_update", seen)
        hints.refresh(Region(0, 0, 5, 1))
        hints._repaint_required = False
        main._dirty_widgets.add(hints)
        main._painted_at = 0.0
        driver.table.go(5)
        assert Region(0, hints.region.y, 5, 1) in painted

    drive(snapshots.huge(100), deed, SIZE)

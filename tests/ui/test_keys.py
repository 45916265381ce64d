"""Every key on every page: it does what help says, or nothing."""

from __future__ import annotations

import pytest

from celerytop.ui.screens.frame import Frame
from celerytop.ui.screens.help import deeds, key_name
from celerytop.ui.screens.menu import Menu
from tests.ui import snapshots
from tests.ui.drive import Driver, drive

PAGES = {"queues": "1", "workers": "2", "tasks": "3", "broker": "5", "hosts": "6", "types": "8"}
LEAVING = {"q", "ctrl+c", "ctrl+z"}
LATER = ("x", "K", "p", "t", "d", "v", "i", "o", "e", "4", "7", "9", "0", "ctrl+d", "ctrl+k", "delete", "z", "w")
"""Keys of features that do not exist yet, and of nothing at all."""


async def _go(driver: Driver, page: str) -> None:
    if page != "queues":
        await driver.press(PAGES[page])


@pytest.mark.parametrize("page", PAGES)
def test_every_key_in_help_works_and_leaves_no_wreck(page: str) -> None:
    async def deed(driver: Driver) -> None:
        await _go(driver, page)
        keys = [key for each in deeds(driver.app) for key in each.keys if key not in LEAVING]
        assert len(keys) > 25
        for key in keys:
            await driver.press(key)
            while driver.app.screen is not driver.app.main:
                await driver.app.pop_screen()
            if driver.app.main.page != page:
                await driver.press(PAGES[page])
            elif driver.app.screen.query("#filter"):
                await driver.press("escape")
        await driver.settle()
        assert driver.app.main.page == page

    drive(snapshots.healthy(), deed)


@pytest.mark.parametrize("page", PAGES)
def test_a_key_that_is_not_in_help_does_nothing(page: str) -> None:
    async def deed(driver: Driver) -> None:
        await _go(driver, page)
        known = {key for each in deeds(driver.app) for key in each.keys}
        before = driver.lines[3:]
        for key in LATER:
            if key in known:
                continue
            await driver.press(key)
        await driver.settle()
        assert driver.lines[3:] == before
        assert not [command for command in driver.feed.commands if type(command).__name__ != "Attend"]

    drive(snapshots.healthy(), deed)


@pytest.mark.parametrize("page", PAGES)
def test_help_names_every_key_of_the_page(page: str) -> None:
    async def deed(driver: Driver) -> None:
        await _go(driver, page)
        known = deeds(driver.app)
        await driver.press("?")
        screen = driver.app.screen
        assert isinstance(screen, Frame)
        lines = ["".join(text for text, _ in line) for line in screen.query_one("#text").lines]  # type: ignore[attr-defined]
        text = "\n".join(lines)
        for each in known:
            assert each.what in text
            assert any(line.split()[: len(each.keys)] == [key_name(key) for key in each.keys] for line in lines), each
        await driver.press("escape")
        assert driver.app.screen is driver.app.main

    drive(snapshots.healthy(), deed)


@pytest.mark.parametrize("page", PAGES)
def test_the_line_of_keys_promises_only_what_help_has(page: str) -> None:
    async def deed(driver: Driver) -> None:
        await _go(driver, page)
        known = {key_name(key) for each in deeds(driver.app) for key in each.keys}
        for key, _ in tuple(driver.page.keys()):
            parts = key.replace("up/dn", "up").replace("right/left", "right").split()
            assert all(part in known for part in parts), key

    drive(snapshots.healthy(), deed)


def test_palette_does_an_action_by_its_name() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press(":", *"utc", "enter")
        assert driver.app.utc is False
        await driver.press("ctrl+p", *"page hosts", "enter")
        assert driver.app.main.page == "hosts"

    drive(snapshots.healthy(), deed)


def test_palette_has_every_action_and_only_ascii() -> None:
    async def deed(driver: Driver) -> None:
        known = deeds(driver.app)
        await driver.press(":")
        assert isinstance(driver.app.screen, Menu)
        assert {choice.label for choice in driver.app.screen.choices} == {each.what for each in known}
        assert driver.text.isascii()

    drive(snapshots.healthy(), deed, ascii=True)


def test_two_actions_never_share_a_key() -> None:
    async def deed(driver: Driver) -> None:
        for key in PAGES.values():
            await driver.press(key)
            keys = [key for each in deeds(driver.app) for key in each.keys]
            assert len(keys) == len(set(keys))

    drive(snapshots.healthy(), deed)


def test_tab_goes_round_and_page_keys_work_from_a_detail() -> None:
    async def deed(driver: Driver) -> None:
        for page in ("workers", "tasks", "broker", "hosts", "types", "queues"):
            await driver.press("tab")
            assert driver.app.main.page == page
        await driver.press("shift+tab")
        assert driver.app.main.page == "types"
        await driver.press("enter")
        assert driver.app.main.page == "tasks"
        assert driver.table_page.sift.text == "name:app.pay"
        assert all("app.pay" in line for line in driver.lines[6:9])

    drive(snapshots.healthy(), deed)


def test_copy_sends_the_cleaned_id_to_the_clipboard() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("y")
        assert driver.app.clipboard.startswith("payments\\x1b[31m")
        assert "\x1b" not in driver.app.clipboard
        assert "copied payments" in driver.lines[-1]

    drive(snapshots.hostile(), deed)


@pytest.mark.parametrize("page", PAGES)
def test_help_tells_of_folding_only_where_rows_fold(page: str) -> None:
    async def deed(driver: Driver) -> None:
        await _go(driver, page)
        told = {key for each in deeds(driver.app) for key in each.keys}
        assert ({"left", "right"} <= told) == (page in ("workers", "hosts"))

    drive(snapshots.healthy(), deed)

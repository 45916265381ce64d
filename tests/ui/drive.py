"""Drive the application over a hand-made picture."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from textual import events
from textual.keys import REPLACED_KEYS, _character_to_key, _get_unicode_name_from_key
from textual.message_pump import MessagePump
from textual.pilot import Pilot
from textual.screen import Screen

from celerytop.model.snapshot import Snapshot
from celerytop.ui.app import CelerytopApp
from celerytop.ui.feed import StillFeed
from celerytop.ui.screens.asking import Asking
from celerytop.ui.screens.page import Page, TablePage
from celerytop.ui.widgets.table import Table

QUIET = 3
"""Rounds in a row in which nobody had anything left to do: in the first one may still be in the middle of something."""


class TimelessApp(CelerytopApp):
    """Its clock stands still: on a slow machine a still picture would be found silent."""

    def _clock(self) -> float:
        return 0.0


class Driver:
    """The application, its feed and its keyboard.

    Nothing here asks a clock. Textual's pilot waits for a fiftieth of a second without much CPU time, which is what a
    process also looks like that gets no CPU; here every part says that it has handled what it was told.
    """

    def __init__(self, app: CelerytopApp, feed: StillFeed, pilot: Pilot[None]) -> None:
        self.app = app
        self.feed = feed
        self.pilot = pilot

    def send(self, key: str) -> None:
        """Press a key and wait for nothing."""
        if len(key) == 1 and not key.isalnum():
            key = _character_to_key(key)
        character = key if len(key) == 1 else None
        with suppress(KeyError):
            character = unicodedata.lookup(_get_unicode_name_from_key(REPLACED_KEYS.get(key, key)))
        self.app.post_message(events.Key(key, character))

    async def press(self, *keys: str) -> None:
        """Press keys, each when the screen has followed the one before."""
        for key in keys:
            self.send(key)
            await self.settle()

    async def publish(self, snapshot: Snapshot) -> None:
        """Show another picture."""
        self.feed.publish(snapshot)
        await self.settle()

    async def resize(self, width: int, height: int) -> None:
        """Another window size."""
        await self.pilot.resize_terminal(width, height)
        await self.settle()

    async def settle(self) -> None:
        """Wait until nothing more will happen: all is handled, laid out and painted, or the application has ended."""
        quiet = 0
        for _ in range(5000):
            if not await self._all_heard():
                return
            if self.app._resize_timer is not None or self.app._batch_count:
                await asyncio.sleep(0.001)  # Textual itself waits a moment before it goes on
            self.app.screen._on_timer_update()  # what Textual's timer does next
            quiet = quiet + 1 if self._idle() else 0
            if quiet == QUIET:
                return
        raise AssertionError("it is never quiet")

    def _pumps(self) -> list[MessagePump]:
        screens = [widget for screen in self.app.screen_stack for widget in screen.walk_children(with_self=True)]
        return [self.app, *screens]

    async def _all_heard(self) -> bool:
        """Wait until each part has handled what it was sent before; False when there is nobody any more."""
        waited: set[MessagePump] = set()
        for pump in self._pumps() if self.app.is_running else ():
            if pump.call_later(lambda each=pump: waited.discard(each)):
                waited.add(pump)
        while any(not (pump._closing or pump._closed) for pump in waited):
            if self.app._exit or self.app._exception is not None:
                break
            await asyncio.sleep(0)
        while self.app._exit and self.app.is_running:
            await asyncio.sleep(0.001)
        return self.app.is_running and self.app._exception is None

    def _idle(self) -> bool:
        screen: Screen[object] = self.app.screen
        to_paint = screen._layout_required or screen._scroll_required or screen._repaint_required
        if to_paint or screen._recompose_required or screen._dirty_widgets or screen._callbacks:
            return False
        if self.app._resize_timer is not None or self.app._batch_count:
            return False
        if isinstance(screen, Asking) and (screen.over or not screen.painted):
            return False
        return not any(
            not pump._is_mounted or pump._message_queue.qsize() or pump._pending_message or pump._next_callbacks
            for pump in self._pumps()
        )

    @property
    def lines(self) -> list[str]:
        """The screen, row by row."""
        return [strip.text.rstrip() for strip in self.app.screen._compositor.render_strips(self.app.size)]

    @property
    def text(self) -> str:
        """The screen."""
        return "\n".join(self.lines) + "\n"

    @property
    def page(self) -> Page:
        """The page in front."""
        return self.app.main.current

    @property
    def table_page(self) -> TablePage:
        """The same, when it is a table."""
        assert isinstance(self.page, TablePage)
        return self.page

    @property
    def table(self) -> Table:
        """Its table."""
        return self.table_page.table

    @property
    def here(self) -> str | None:
        """The id under the cursor."""
        return self.table.current.id if self.table.current is not None else None

    @property
    def order(self) -> list[str]:
        """Ids in the order shown, of the rows of the first level."""
        rows = [self.table.row_at(index) for index in range(len(self.table))]
        return [row.id for row in rows if row is not None and row.depth == 0]


@asynccontextmanager
async def running(snapshot: Snapshot, size: tuple[int, int] = (100, 30), **look: Any) -> AsyncIterator[Driver]:
    """The application over one picture, settled."""
    feed = StillFeed(snapshot)
    app = TimelessApp(feed, utc=True, **look)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textual.screen.UPDATE_PERIOD", 3600.0)  # ``settle`` paints: how often must not depend on a clock
        async with app.run_test(size=size) as pilot:
            driver = Driver(app, feed, pilot)
            await driver.settle()
            yield driver


def drive(
    snapshot: Snapshot, deed: Callable[[Driver], Awaitable[None]], size: tuple[int, int] = (100, 30), **look: Any
) -> None:
    """Run ``deed`` on the application."""

    async def run() -> None:
        async with running(snapshot, size, **look) as driver:
            await deed(driver)

    asyncio.run(run())

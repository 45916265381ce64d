"""Drive the application over a hand-made picture."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot

from celerytop.model.snapshot import Snapshot
from celerytop.ui.app import CelerytopApp
from celerytop.ui.feed import StillFeed
from celerytop.ui.screens.page import Page, TablePage
from celerytop.ui.widgets.table import Table


class Driver:
    """The application, its feed and its keyboard."""

    def __init__(self, app: CelerytopApp, feed: StillFeed, pilot: Pilot[None]) -> None:
        self.app = app
        self.feed = feed
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        """Press keys and wait until the screen has followed."""
        for key in keys:
            await self.pilot.press(key)
            await self.pilot.pause()
        await self.settle()

    async def publish(self, snapshot: Snapshot) -> None:
        """Show another picture."""
        self.feed.publish(snapshot)
        await self.settle()

    async def settle(self) -> None:
        """Wait until nothing more is painted."""
        before = None
        for _ in range(100):
            await self.pilot.pause(0.02)
            now = self.lines
            if now == before:
                return
            before = now

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
    app = CelerytopApp(feed, utc=True, **look)
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

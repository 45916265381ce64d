"""Drives the screen over a still picture."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from celerytop.model.snapshot import Snapshot
from celerytop.ui.app import CelerytopApp
from celerytop.ui.feed import StillFeed
from tests.ui.drive import Driver, running

Deed = Callable[[Driver, CelerytopApp, StillFeed], Coroutine[Any, Any, None]]


def drive(snapshot: Snapshot, deed: Deed, size: tuple[int, int] = (100, 30), **settings: Any) -> None:
    """Start it on a terminal of this size and do the deed."""

    async def run() -> None:
        async with running(snapshot, size, **settings) as driver:
            await deed(driver, driver.app, driver.feed)

    asyncio.run(run())

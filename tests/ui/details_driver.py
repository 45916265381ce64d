"""Drives the screen over a still picture."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from textual.pilot import Pilot

from celerytop.model.snapshot import Snapshot
from celerytop.ui.app import CelerytopApp
from celerytop.ui.feed import StillFeed

Deed = Callable[[Pilot[None], CelerytopApp, StillFeed], Coroutine[Any, Any, None]]


def drive(snapshot: Snapshot, deed: Deed, size: tuple[int, int] = (100, 30), **settings: Any) -> None:
    """Start it on a terminal of this size and do the deed."""

    async def run() -> None:
        feed = StillFeed(snapshot)
        app = CelerytopApp(feed, utc=True, **settings)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await deed(pilot, app, feed)

    asyncio.run(run())

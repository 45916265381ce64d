"""Where Textual's application takes a detour that a key would have to wait for."""

from __future__ import annotations

import asyncio
import gc
from typing import Self

from textual import events
from textual.app import App

from celerytop.ui.widgets.painted import Painted

_REST = 1.0
"""Seconds that the collector rests after a key: a second one comes soon."""


class DirectApp(App[None]):
    """Textual's, more directly."""

    async def on_event(self, event: events.Event) -> None:
        """A key for a table or a text is acted on at once. Textual sends it there, and then back through all that this
        stands in: six messages, 0.7 ms of the 4 that a key takes."""
        if isinstance(event, events.Key):
            self._rest()
        if (
            isinstance(event, events.Key)
            and not event.is_forwarded
            and isinstance(self.focused, Painted)
            and (await self._check_bindings(event.key, priority=True) or await self._check_bindings(event.key))
        ):
            return
        await super().on_event(event)

    def _rest(self) -> None:
        """Keep the collector of reference cycles away from what a key needs. It stops all threads, and looks at each
        of 100,000 ids, rows and texts: one key of 20 took 10 ms longer for that, one of 500 took 60."""
        if gc.isenabled():
            gc.disable()
            asyncio.get_running_loop().call_later(_REST, gc.enable)

    def on_unmount(self) -> None:
        """The loop ends, and with it what is to be called later."""
        gc.enable()

    def refresh(self, *, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """Nothing when it is about the layout: that of a screen depends on no other.

        Textual lays everything out anew when a box that was left is gone at last, and what was behind it has long been
        painted: that was a second full screen, 15 kB, 16 ms later.
        """
        return self if layout else super().refresh(repaint=repaint, recompose=recompose)

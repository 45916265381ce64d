"""Where Textual's application takes a detour that a key would have to wait for."""

from __future__ import annotations

from typing import Self

from textual import events
from textual.app import App

from celerytop.ui.widgets.painted import Painted


class DirectApp(App[None]):
    """Textual's, more directly."""

    async def on_event(self, event: events.Event) -> None:
        """A key for a table or a text is acted on at once. Textual sends it there, and then back through all that this
        stands in: six messages, 0.7 ms of the 4 that a key takes."""
        if (
            isinstance(event, events.Key)
            and not event.is_forwarded
            and isinstance(self.focused, Painted)
            and (await self._check_bindings(event.key, priority=True) or await self._check_bindings(event.key))
        ):
            return
        await super().on_event(event)

    def refresh(self, *, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """Nothing when it is about the layout: that of a screen depends on no other.

        Textual lays everything out anew when a box that was left is gone at last, and what was behind it has long been
        painted: that was a second full screen, 15 kB, 16 ms later.
        """
        return self if layout else super().refresh(repaint=repaint, recompose=recompose)

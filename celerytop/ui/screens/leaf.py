"""What all pages of the main screen share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.reactive import reactive
from textual.widget import Widget

from celerytop.model.command import Attend
from celerytop.model.snapshot import Snapshot
from celerytop.ui.news import freshness

if TYPE_CHECKING:
    from celerytop.ui.app import CelerytopApp


class Page(Widget):
    """One page of the main screen. It is given ``snapshot`` while it is in front."""

    page: ClassVar[str] = ""
    title: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    """Sources whose silence makes it STALE."""
    WORDS: ClassVar[tuple[tuple[str, str], ...]] = ()
    """(word or sign, one line)."""
    snapshot: reactive[Snapshot | None] = reactive(None, always_update=True, repaint=False)
    ready = False
    """Its parts are there."""

    @property
    def top(self) -> CelerytopApp:
        """The application, by its type."""
        from celerytop.ui.app import CelerytopApp

        assert isinstance(self.app, CelerytopApp)
        return self.app

    @property
    def stale(self) -> bool:
        """Whether a source this page needs is down or silent."""
        now = self.snapshot
        return now is not None and freshness(now, self.needs, self.top.silence).mode == "STALE"

    def heard(self, snapshot: Snapshot) -> bool:
        """Whether all sources it needs have told anything: not known is not the same as nothing."""
        seen = [status.seen_at for status in snapshot.sources if status.name in self.needs]
        return bool(seen) and None not in seen

    def watch_snapshot(self, snapshot: Snapshot | None) -> None:
        """Draw the new picture."""
        if snapshot is not None and self.ready:
            self.draw(snapshot)

    def on_mount(self) -> None:
        """First picture; only now all parts are there."""
        self.ready = True
        if self.display:
            self.focus_first()
        self.watch_snapshot(self.snapshot)
        self.call_after_refresh(self.top.main.draw_aside)

    def draw(self, snapshot: Snapshot) -> None:
        """Show this picture."""

    def keys(self) -> Sequence[tuple[str, str]]:
        """For the last line: (key, what it does), most important first."""
        return (("?", "help"), ("q", "quit"))

    def help(self) -> Sequence[tuple[str, str]]:
        """For the help screen: (word, what it means)."""
        return self.WORDS

    def aside(self) -> str:
        """What stands at the right of the tabs."""
        return ""

    def attend(self) -> Attend:
        """What the sources should look at while this page is in front."""
        return Attend(page=self.page)

    def copied(self) -> str | None:
        """What ``y`` copies."""
        return None

    def focus_first(self) -> None:
        """Give the keys to the part that wants them."""
        for child in self.query("*").results(Widget):
            if child.focusable:
                child.focus()
                return

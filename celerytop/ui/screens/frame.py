"""What all full screens share: the header above, one line of keys below, the picture as a reactive."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic  # noqa: TID251 - only tells two paintings apart
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.reactive import reactive
from textual.screen import UPDATE_PERIOD, Screen

from celerytop.format import cells
from celerytop.model.command import Attend
from celerytop.model.snapshot import Snapshot
from celerytop.ui.driver import TopDriver
from celerytop.ui.news import freshness
from celerytop.ui.painter import Painter
from celerytop.ui.widgets.header import Header
from celerytop.ui.widgets.painted import Lines, Span, Spans
from celerytop.ui.widgets.scroll import Scroll

if TYPE_CHECKING:
    from celerytop.ui.app import CelerytopApp

FRAME_HEIGHT = 5
"""Lines of header and keys."""
_READ = 4.0
"""Seconds a notice stands: with a picture a second nobody could read what goes with the next one."""


class Frame(Screen[None]):
    """A full screen with the header. The application sets ``snapshot`` while the screen is in front."""

    AUTO_FOCUS = ""
    snapshot: reactive[Snapshot | None] = reactive(None, always_update=True, repaint=False)
    page = "queues"
    """The tab it belongs to."""
    needs: tuple[str, ...] = ("queues",)
    """Sources whose silence makes it STALE."""
    _painted_at = 0.0
    _said_until = 0.0
    """Until the picture of then the last line is a notice."""
    _laid_out = False
    """Its parts have sizes."""

    def __init__(self) -> None:
        super().__init__()
        self._compositor = Painter()

    @property
    def top(self) -> CelerytopApp:
        """The application, by its type."""
        from celerytop.ui.app import CelerytopApp

        assert isinstance(self.app, CelerytopApp)
        return self.app

    def compose(self) -> ComposeResult:
        """Header, body, keys."""
        yield Header(id="header")
        yield from self.body()
        yield Lines(id="hints")

    def body(self) -> ComposeResult:
        """Everything between header and keys."""
        yield from ()

    def draw(self, snapshot: Snapshot) -> None:
        """Show this picture. Called whenever there is a new one, and when the screen comes to the front."""

    def keys(self) -> Sequence[tuple[str, str]]:
        """(key, what it does), most important first: as many as fit stand in the last line."""
        return ()

    def attend(self) -> Attend:
        """What the sources should look at while this screen is in front."""
        return Attend(page=self.page)

    def help(self) -> Sequence[tuple[str, str]]:
        """For the help screen: (word or sign, what it means)."""
        return ()

    def say(self, text: str, tone: str = "note") -> None:
        """A notice in the last line: long enough to be read, or until there is another."""
        if self.there:
            self._said_until = self.top.newest.at + _READ
            self.query_one("#hints", Lines).show([[(f" {text}", tone)]])

    @property
    def there(self) -> bool:
        """Whether its parts can be drawn on: keys may come before it is composed, and pictures after it was left."""
        return self.is_mounted and any(child.id == "hints" for child in self.children)

    @property
    def stale(self) -> bool:
        """Whether a source this screen needs is down or silent."""
        now = self.snapshot
        return now is not None and freshness(now, self.needs, self.top.silence).mode == "STALE"

    def watch_snapshot(self, snapshot: Snapshot | None) -> None:
        """Give the picture to all parts."""
        if snapshot is None or not self.there:
            return
        header = self.query_one("#header", Header)
        header.needs, header.page = self.needs, self.page
        header.snapshot = snapshot
        self.draw(snapshot)
        if self.top.newest.at >= self._said_until or self.notice() is not None:
            self.hint()

    def _compositor_refresh(self) -> None:
        """Textual paints as soon as it has laid out, and only then tells the parts their size. The first time they are
        told before: the first painting is a full screen, not a blank one (a start is 15 ms shorter)."""
        if not self._laid_out and self.there and self.size:
            self._laid_out = True
            self.watch_snapshot(self.snapshot)
        super()._compositor_refresh()

    def _on_timer_update(self) -> None:
        """Textual's moment to paint. Not while the terminal still takes the last painting: on a slow line nothing piles
        up, and what is painted next is the newest. The timer goes on, so this is asked again in 8 ms."""
        if not self._behind:
            super()._on_timer_update()

    def paint_now(self) -> None:
        """Paint what a key has changed at once: Textual's way takes five messages, between which a picture may come.

        Of more than 120 paintings a second, and on a slow line, the rest is left to the timer.
        """
        now = monotonic()
        waits = self._layout_required or self._scroll_required or self._repaint_required
        if waits or not self.is_current or now - self._painted_at < UPDATE_PERIOD or self._behind:
            return
        changed = {widget for widget in self._compositor.visible_widgets if widget._repaint_required}
        for widget in changed:
            widget._repaint_required = False
        self._painted_at = now
        self._compositor.update_widgets(changed | self._dirty_widgets)  # these have said so; it forgets them
        self._compositor_refresh()

    @property
    def _behind(self) -> bool:
        driver = self.app._driver
        return isinstance(driver, TopDriver) and driver.behind

    def hint(self) -> None:
        """Write the line of keys."""
        self._said_until = 0.0
        notice = self.notice()
        self.query_one("#hints", Lines).show([notice or hints(self.keys(), self.size.width)])

    def notice(self) -> Spans | None:
        """What stands instead of the keys for a while: the result of an action that has just settled."""
        return self.top.deeds.notice(self.top.newest.at)

    def on_mount(self) -> None:
        """First picture."""
        self.snapshot = self.top.shown

    def on_screen_resume(self) -> None:
        """In front again: what happened meanwhile is shown, and the sources are told."""
        self.snapshot = self.top.shown
        self.top.feed.submit(self.attend())

    def on_resize(self) -> None:
        """Other room for everything."""
        if self.snapshot is not None:
            self.call_after_refresh(self.watch_snapshot, self.snapshot)


class Detail(Frame):
    """A screen about one thing: a breadcrumb, then text that scrolls. Esc and Backspace go back.

    A subclass gives ``crumbs`` and ``content`` (and ``keys``, ``attend``); both are called with every new picture.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "back", "Back", show=False),
        Binding("y", "copy", "Copy the id", show=False),
    ]

    def crumbs(self, snapshot: Snapshot) -> Spans:
        """Where we are, e.g. ``Queues > payments``."""
        return ()

    def content(self, snapshot: Snapshot, width: int) -> Sequence[Spans]:
        """All lines of the text. User text is given as it is: nothing here reads markup."""
        return ()

    def body(self) -> ComposeResult:
        """See ``Frame``."""
        yield Lines(id="crumbs")
        yield Scroll(id="text")

    def on_mount(self) -> None:
        """The text has the keys."""
        super().on_mount()
        self.query_one("#text", Scroll).focus()

    def draw(self, snapshot: Snapshot) -> None:
        """See ``Frame``."""
        self.query_one("#crumbs", Lines).show([self.crumbs(snapshot)])
        self.query_one("#text", Scroll).show(self.content(snapshot, self.size.width), "dim" if self.stale else "")

    def keys(self) -> Sequence[tuple[str, str]]:
        """See ``Frame``."""
        return (("esc", "back"), ("up/dn", "scroll"), ("y", "copy id"), ("?", "help"), ("q", "quit"))

    def action_back(self) -> None:
        """To the screen below."""
        self.app.pop_screen()

    def copied(self) -> str | None:
        """What ``y`` copies."""
        return None

    def action_copy(self) -> None:
        """Copy it."""
        self.top.copy(self.copied())


def hints(keys: Sequence[tuple[str, str]], width: int) -> Spans:
    """One line of keys: as many as fit; the last two (help, quit) always.

    >>> "".join(text for text, _ in hints((("up/dn", "move"), ("/", "filter"), ("?", "help"), ("q", "quit")), 32))
    ' up/dn move  ? help  q quit'
    """
    texts = [f"{key} {what}".rstrip() for key, what in keys]
    room = width - 1 - sum(cells(text) + 2 for text in texts[-2:])
    spans: list[Span] = [(" ", "")]
    full = False
    for index, ((key, what), text) in enumerate(zip(keys, texts, strict=True)):
        if index < len(keys) - 2:
            room -= cells(text) + 2
            full = full or room < -2
            if full:
                continue
        spans += [("  " if len(spans) > 1 else "", ""), (key, "key"), (f" {what}" if what else "", "")]
    return spans

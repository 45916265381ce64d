"""The application: takes pictures from the feed, shows them, hands over wishes."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.message import Message

from celerytop import columns as col
from celerytop.errors import crash_text
from celerytop.model.command import Command, RetryNow, SetInterval
from celerytop.model.snapshot import Snapshot
from celerytop.model.text import clean
from celerytop.ui.deeds import Deeds
from celerytop.ui.direct import DirectApp
from celerytop.ui.driver import TopDriver
from celerytop.ui.feed import Feed
from celerytop.ui.look import Look, OnlyPlain, themes
from celerytop.ui.news import OLD
from celerytop.ui.screens.frame import Frame
from celerytop.ui.screens.main import Main
from celerytop.ui.screens.small import LEAST, Small
from celerytop.ui.widgets.header import Header
from celerytop.ui.widgets.painted import Painted

COPIED = 60_000
"""Most characters that are copied: terminals take no more at once."""
HOLDS = 2.0
"""Seconds that the order is held after somebody moved."""
INTERVALS = (0.5, 1.0, 2.0, 5.0, 10.0)


class SnapshotTaken(Message, bubble=False):
    """There is a new picture."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.snapshot = snapshot

    def can_replace(self, message: Message) -> bool:
        """Behind? Draw only the newest."""
        return isinstance(message, SnapshotTaken)


class CelerytopApp(DirectApp):
    """celerytop's screen."""

    CSS_PATH = Path(__file__).parent / "celerytop.tcss"
    TITLE = "celerytop"
    app_name: str | None = None
    """As for ``celery -A``: for commands that are shown to be copied."""
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "pause", "Pause or go on (the watch goes on)", show=False),
        Binding("?,f1", "help", "Help", show=False),
        Binding(":,ctrl+p", "palette", "Every action by name", show=False),
        Binding("+,=", "interval(-1)", "Refresh faster", show=False),
        Binding("-", "interval(1)", "Refresh slower", show=False),
        Binding("r", "retry", "Connect again now, ask everything anew", show=False),
        Binding("T", "theme", "Next theme: dark, light, mono, ascii", show=False),
        Binding("U", "utc", "Times in UTC or local", show=False),
        Binding("M", "mouse", "Mouse on or off", show=False),
        Binding("ctrl+l", "redraw", "Draw everything again", show=False),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False),
        Binding("q", "quit", "Quit", show=False),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
    ]

    def __init__(
        self,
        feed: Feed,
        *,
        ascii: bool = False,
        theme: str = "dark",
        mouse: bool = False,
        read_only: bool = True,
        utc: bool = False,
        no_color: bool = False,
        page: str = "queues",
        filter: str = "",
    ) -> None:
        self.look = Look(theme, ascii)
        super().__init__(driver_class=TopDriver, ansi_color=True)
        self._disable_tooltips = self._disable_notifications = True  # two widgets of every screen that nothing uses
        self.feed = feed
        self.mouse_on = mouse
        self.read_only = read_only
        self.deeds = Deeds()
        self.utc = utc
        self.no_color = no_color
        self.newest = feed.latest
        """The last picture taken."""
        self.shown = feed.latest
        """The picture on the screen: an older one while paused."""
        self.paused_at: float | None = None
        self.silence = 0.0
        """Seconds since a picture came, when that is longer than it should be."""
        self.crash: str | None = None
        """One short text about a bug that ended the program."""
        self.unmasked: frozenset[str] = frozenset()
        self.main = Main(page, filter)
        self._moved_at = float("-inf")
        self._heard = 0.0
        self._unsubscribe: Callable[[], None] = lambda: None
        self.shown_first: Callable[[], None] = lambda: None
        """Called once the first screen is there."""
        self._set_themes()

    def _set_themes(self) -> None:
        for theme in themes():
            self.register_theme(theme)
        self.set_reactive(App.theme, self.look.theme)  # whose watcher would have all style sheets parsed twice (5 ms)
        self.stylesheet.set_variables(self.get_css_variables())
        self._set_filters()

    def _set_filters(self) -> None:
        self._filters = [OnlyPlain(self.look.ascii, self.no_color)]

    # --------------------------------------------------------------------------------------------------- life
    def get_default_screen(self) -> Main:
        """The first screen at once, whether or not anything is known."""
        return self.main

    def on_mount(self) -> None:
        """Begin to listen."""
        self._heard = self._clock()
        self._unsubscribe = self.feed.subscribe(self._taken)
        self.app_resume_signal.subscribe(self, self._resumed)
        self.set_interval(1.0, self._listen)
        self.call_after_refresh(self._settle)

    def _settle(self) -> None:
        """The collector, which rested until now, need not look at what lives as long as the program: 50,000 objects. To
        find the thousand among them that do not takes 30 ms, in which nothing else can happen."""
        self.shown_first()
        gc.freeze()
        gc.enable()

    def _resumed(self, _: object) -> None:
        """After Ctrl-Z the terminal shows what the shell has written."""
        self._heard = self._clock()
        self.action_redraw()

    def on_unmount(self) -> None:
        """No more pictures."""
        self._unsubscribe()

    def _taken(self, snapshot: Snapshot) -> None:
        """Called from the feed's thread."""
        self.post_message(SnapshotTaken(snapshot))

    def _clock(self) -> float:
        return asyncio.get_running_loop().time()

    def _listen(self) -> None:
        """A feed that has stopped must not look alive."""
        elapsed = self._clock() - self._heard
        silence = elapsed if elapsed > OLD + self.newest.interval else 0.0
        if silence or self.silence:
            self.silence = silence
            self.show()

    def on_snapshot_taken(self, message: SnapshotTaken) -> None:
        """Show it, unless paused."""
        self.newest = message.snapshot
        self._heard, self.silence = self._clock(), 0.0
        self.deeds.take(message.snapshot)
        if len(self.screen_stack) > 1:
            from celerytop.ui.screens.asking import Asking  # a millisecond that the first screen need not wait for

            for screen in self.screen_stack:
                if isinstance(screen, Asking):
                    screen.look_again()
        if self.paused_at is None:
            self.shown = message.snapshot
            self.show()
        else:
            for header in self.screen.query(Header):
                header.repaint()

    def show(self) -> None:
        """Give the picture to the screen in front, and to what shines through a box."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, Frame):
                screen.snapshot = self.shown
                return

    def on_resize(self, event: events.Resize) -> None:
        """Too small: say so; large enough again: go on."""
        small = event.size.width < LEAST[0] or event.size.height < LEAST[1]
        if small and not isinstance(self.screen, Small):
            self.push_screen(Small())
        elif not small and isinstance(self.screen, Small):
            self.pop_screen()

    def _set_pointer_shape(self, shape: str) -> None:
        """Nothing: a terminal that does not know this question prints it."""

    def _handle_exception(self, error: Exception) -> None:
        """A bug: give the terminal back and say it in a few words; no locals, they may hold secrets."""
        self._return_code = 70
        if self._exception is None:
            self._exception = error
            self._exception_event.set()
            self.crash = crash_text(error)
        self._close_messages_no_wait()

    # ------------------------------------------------------------------------------------------- for screens
    @property
    def ascii(self) -> bool:
        """Draw with ASCII alone."""
        return self.look.ascii

    @property
    def columns_look(self) -> col.Look:
        """How cells are written."""
        return col.Look(ascii=self.look.ascii, utc=self.utc, unmasked=self.unmasked)

    def moved(self) -> None:
        """Somebody moves: hold the order for a while."""
        self._moved_at = self.newest.at

    def held(self, snapshot: Snapshot) -> bool:
        """Whether the order of rows is held."""
        return self.paused_at is not None or snapshot.at < self._moved_at + HOLDS

    def unmask(self, task_id: str) -> None:
        """Show the arguments of this task as they are, or mask them again."""
        self.unmasked ^= {task_id}
        self.redraw()

    def submit(self, command: Command) -> None:
        """Hand over a wish."""
        self.feed.submit(command)

    def say(self, text: str, tone: str = "note") -> None:
        """A notice in the last line, until the next picture."""
        screen = self.screen
        if isinstance(screen, Frame):
            screen.say(text, tone)

    def copy(self, text: str | None) -> None:
        """Copy by OSC 52; only cleaned text."""
        if text:
            self.copy_to_clipboard(clean(text, COPIED))
            self.say(f"copied {clean(text, 60)}")
        else:
            self.say("nothing to copy on this line")

    def redraw(self) -> None:
        """Draw everything anew: another theme, other times."""
        for screen in self.screen_stack:
            for widget in screen.query(Painted):
                widget.repaint(everything=True)
        self.show()

    # ------------------------------------------------------------------------------------------------ actions
    def action_pause(self) -> None:
        """Stop the picture, not the watch."""
        if self.paused_at is None:
            self.paused_at = self.newest.at
        else:
            self.paused_at = None
            self.shown = self.newest
        self.show()

    def action_help(self) -> None:
        """Help of what is in front."""
        from celerytop.ui.screens.help import Help, deeds

        screen = self.screen
        if isinstance(screen, Help) or not isinstance(screen, Frame):
            return
        self.push_screen(Help(screen.page, screen.needs, screen.help(), deeds(self)))

    def action_palette(self) -> None:
        """Every action by name."""
        from celerytop.ui.screens.help import deeds, key_name
        from celerytop.ui.screens.menu import Choice, Menu

        known = deeds(self)
        choices = [Choice(str(i), deed.what, " ".join(map(key_name, deed.keys))) for i, deed in enumerate(known)]

        async def chosen(key: str | None) -> None:
            if key is not None:
                deed = known[int(key)]
                await self.run_action(deed.action, deed.node)

        self.push_screen(Menu("Actions", choices), chosen)

    async def action_quit(self) -> None:
        """At once, unless an action is being watched, or something done from here can be taken back."""
        from celerytop.ui.screens.leaving import ask_before_leaving

        if not ask_before_leaving(self):
            self.exit()

    def action_interval(self, step: int) -> None:
        """Faster, slower."""
        now = min(range(len(INTERVALS)), key=lambda i: abs(INTERVALS[i] - self.newest.interval))
        seconds = INTERVALS[max(0, min(len(INTERVALS) - 1, now + step))]
        self.submit(SetInterval(seconds))
        self.say(f"a picture every {seconds:g} s")

    def action_retry(self) -> None:
        """Whatever the back-off says."""
        self.submit(RetryNow())
        self.say("connecting again and asking everything anew")

    def action_theme(self) -> None:
        """The next one."""
        self.look = Look(self.look.next(), self.look.only_ascii)
        self.theme = self.look.theme
        self._set_filters()
        self.redraw()
        self.say(f"theme {self.look.theme}")

    def action_utc(self) -> None:
        """UTC or local."""
        self.utc = not self.utc
        self.redraw()

    def action_mouse(self) -> None:
        """On or off."""
        self.mouse_on = not self.mouse_on
        if isinstance(self._driver, TopDriver):
            self._driver.set_mouse(self.mouse_on)
        self.say(f"mouse {'on' if self.mouse_on else 'off'}")

    def action_redraw(self) -> None:
        """Something else has written on this terminal."""
        self.redraw()
        self.screen.refresh(layout=True)

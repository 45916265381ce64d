"""Run the screen in the real terminal, and give the terminal back whatever happens."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from celerytop.errors import CRASHED, crash_text
from celerytop.ui.app import CelerytopApp
from celerytop.ui.driver import TopDriver
from celerytop.ui.feed import Feed
from celerytop.ui.terminal import Settings, check_terminal

ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT)
"""Signals that end the program; by default they would leave the alternate screen and the mouse on."""
_GIVE_UP = 0.4
"""Seconds until a terminal that takes no bytes is left alone."""

_TURN = 0.001
"""Seconds a thread may go on while another waits for its turn: a key need not wait 5 ms for the thread that folds."""


def run_app(feed: Feed, settings: Settings | None = None, begin: Callable[[], None] | None = None) -> int:
    """Show the screen until somebody leaves it; the exit code: 0, 128 + signal, 70 after a bug.

    ``begin`` is called once the first screen is there: it need not wait for what the feed must import to look.

    Raises:
        TerminalError: the terminal cannot show a full screen.
    """
    chosen = settings or Settings()
    terminal = check_terminal(os.environ, sys.stdin, sys.stdout)
    mouse = terminal.mouse if chosen.mouse is None else chosen.mouse
    TopDriver.plain = terminal.plain
    app = CelerytopApp(
        feed,
        ascii=terminal.ascii if chosen.ascii is None else chosen.ascii,
        theme=chosen.theme or ("light" if terminal.light else "dark"),
        mouse=mouse,
        read_only=chosen.read_only,
        utc=chosen.utc,
        no_color=terminal.no_color,
        page=chosen.page,
        filter=chosen.filter,
    )
    app.app_name = chosen.app
    if begin is not None:
        app.shown_first = begin
    sys.setswitchinterval(_TURN)
    with _signals(app):
        try:
            app.run(mouse=mouse)
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
        except Exception as error:  # what Textual itself could not turn into an end
            app.crash = app.crash or crash_text(error)
    if app.crash is not None:
        print(app.crash, file=sys.stderr)
        return CRASHED
    return app.return_code or 0


@contextmanager
def _signals(app: CelerytopApp) -> Iterator[None]:
    """End the program in good order on a signal; put the old handlers back at the end."""

    def end(number: int, frame: FrameType | None) -> None:
        leave(app, number)

    before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
    for number in ENDS:
        before[number] = signal.signal(number, end)
    stopped = [signal.getsignal(number) for number in (signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)]
    try:
        yield
    finally:
        for ended, handler in before.items():
            signal.signal(ended, handler)
        for number, old in zip((signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH), stopped, strict=True):
            signal.signal(number, old)


def leave(app: CelerytopApp, number: int) -> None:
    """Ask the application to end. Runs in a signal handler: the loop may be waiting for the terminal."""
    loop = getattr(app, "_loop", None)
    driver = app._driver
    if isinstance(driver, TopDriver):
        driver.abandon_soon(_GIVE_UP)
    if loop is not None:
        loop.call_soon_threadsafe(lambda: app.exit(return_code=128 + number))

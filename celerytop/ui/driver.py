"""The terminal driver: Textual's, made to survive a terminal that goes away or stops taking bytes."""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import signal
import sys
import threading
from codecs import getincrementaldecoder
from typing import IO, TYPE_CHECKING, Any

from textual._xterm_parser import XTermParser
from textual.drivers._writer_thread import WriterThread
from textual.drivers.linux_driver import LinuxDriver

if TYPE_CHECKING:
    from textual.app import App

_KEYBOARD = ("\x1b[>", "\x1b[<")
"""Begin the sequences of the kitty keyboard protocol."""
_PATIENCE = 0.2
"""Seconds between two looks at whether writing still makes sense."""


class Writer(WriterThread):
    """Textual's writer thread blocks its caller for ever once its file is gone; this one gives up."""

    def __init__(self, file: IO[str]) -> None:
        super().__init__(file)
        self.abandoned = False
        """Nobody reads any more: throw away what is written."""
        self.written = 0
        """Pieces the terminal has taken."""
        self.given = 0
        """Pieces it was given."""

    def write(self, text: str) -> None:
        """See ``WriterThread.write``."""
        while not self.abandoned:
            with contextlib.suppress(queue.Full):
                self._queue.put(text, timeout=_PATIENCE)
                self.given += 1
                return

    def run(self) -> None:
        """Write what comes until told to stop; a terminal that is gone makes it a sink."""
        while (text := self._queue.get()) is not None:
            if self.abandoned:
                continue
            try:
                self._file.write(text)
                if not self._queue.qsize():
                    self._file.flush()
                self.written += 1
            except (OSError, ValueError):
                self.abandoned = True
        with contextlib.suppress(OSError, ValueError):
            self._file.flush()

    def stop(self) -> None:
        """Stop it, waiting no longer than a terminal that still takes bytes needs."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=_PATIENCE)
        self.join(5 * _PATIENCE)
        self.abandoned = True


class TopDriver(LinuxDriver):
    """Draws on standard output, notices the end of its input, and asks simple terminals no questions."""

    plain = False
    """TERM=linux and the like: they would print what they do not understand."""

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        if sys.__stdout__ is not None:
            self._file = sys.__stdout__

    # ---------------------------------------------------------------------------------------------- output
    def write(self, data: str) -> None:
        """See ``Driver``."""
        if self._writer_thread is None or (self.plain and data.startswith(_KEYBOARD)):
            return
        self._writer_thread.write(data)

    @property
    def _writer_thread(self) -> WriterThread | None:
        """Textual's name for it; it has no way to name the class, so ours takes the place of the one it makes."""
        return self._writer

    @_writer_thread.setter
    def _writer_thread(self, made: WriterThread | None) -> None:
        self._writer = None if made is None or self._file is None else Writer(self._file)

    @property
    def behind(self) -> bool:
        """Whether the terminal has not taken yet all that was painted: a slow line."""
        writer = self._writer_thread
        return isinstance(writer, Writer) and writer.written < writer.given and not writer.abandoned

    def abandon_output(self) -> None:
        """Give up on a terminal that takes nothing; whoever waits to write goes on."""
        if isinstance(self._writer_thread, Writer):
            self._writer_thread.abandoned = True

    def abandon_soon(self, patience: float) -> None:
        """Give up if the terminal has taken nothing after ``patience`` seconds; Ctrl-S may have stopped it."""
        writer = self._writer_thread
        if not isinstance(writer, Writer):
            return
        waiting = writer.written

        def look() -> None:
            if writer.written == waiting and writer.is_alive():
                writer.abandoned = True

        timer = threading.Timer(patience, look)
        timer.daemon = True
        timer.start()

    def set_mouse(self, on: bool) -> None:
        """Begin or end to listen to the mouse."""
        if on:
            self._mouse = True
            self._enable_mouse_support()
        else:
            self._disable_mouse_support()
            self._mouse = False

    def _request_terminal_sync_mode_support(self) -> None:
        if not self.plain:
            super()._request_terminal_sync_mode_support()

    def _query_in_band_window_resize(self) -> None:
        if not self.plain:
            super()._query_in_band_window_resize()

    # --------------------------------------------------------------------------------------------- suspension
    def _sigtstp_application(self, *arguments: object) -> None:
        """Ctrl-Z: close the streams first, a stopped reader fills the broker's buffers."""
        feed = getattr(self._app, "feed", None)
        if feed is not None:
            feed.suspend()
        super()._sigtstp_application(*arguments)

    def _sigcont_application(self, *arguments: object) -> None:
        super()._sigcont_application(*arguments)
        feed = getattr(self._app, "feed", None)
        if feed is not None:
            feed.resume()

    # ----------------------------------------------------------------------------------------------- input
    def run_input_thread(self) -> None:
        """Read keys. Textual's loop spins at 100 % CPU once the terminal is closed; this one ends the program."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                if selector.select(0.1):
                    data = self._read()
                    if not data:
                        return self._hung_up()
                    for event in parser.feed(decode(data)):
                        self.process_message(event)
                for event in parser.tick():
                    self.process_message(event)
        return None

    def _read(self) -> bytes:
        try:
            return os.read(self.fileno, 4096)
        except OSError:  # EIO: the other end of the pseudo-terminal is closed
            return b""

    def _hung_up(self) -> None:
        self.abandon_output()
        os.kill(os.getpid(), signal.SIGHUP)

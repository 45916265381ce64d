"""What this terminal can show, found out before anything is drawn."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Protocol

import msgspec

from celerytop.errors import TerminalError

THEMES = ("dark", "light", "mono", "ascii")
_NO_SCREEN = frozenset({"", "dumb", "unknown"})


class Stream(Protocol):
    """The part of a text stream that matters here."""

    @property
    def encoding(self) -> str | None:
        """Name of its encoding; ``None``: not known."""
        ...

    def isatty(self) -> bool:
        """Whether a terminal is at its end."""
        ...


class Settings(msgspec.Struct, frozen=True):
    """How the screen shall look. ``None``: find out from the terminal."""

    ascii: bool | None = None
    theme: str | None = None
    """One of ``THEMES``."""
    mouse: bool | None = None
    read_only: bool = True
    utc: bool = False
    page: str = "queues"
    """The first page."""
    app: str | None = None
    """As for ``celery -A``: for commands that are shown to be copied."""
    filter: str = ""
    """What that page shows at first; the words of ``celerytop.select``."""


class Terminal(msgspec.Struct, frozen=True):
    """What was found out."""

    ascii: bool
    """Only ASCII may be sent."""
    no_color: bool
    """NO_COLOR is set and not empty: no colour at all."""
    mouse: bool
    """False over SSH, where it would take the selection away and send every move upstream."""
    light: bool = False
    """The terminal says that its background is light (COLORFGBG)."""
    plain: bool = False
    """A terminal too simple to be asked what it can (linux, vt100): unknown questions would leave marks."""


def check_terminal(env: Mapping[str, str], stdin: Stream, stdout: Stream) -> Terminal:
    """Say what the terminal can do.

    Raises:
        TerminalError: it cannot show a full screen.
    """
    if not stdin.isatty() or not stdout.isatty():
        raise TerminalError("This is not a terminal, so there is no full screen: use `celerytop once`.")
    term = env.get("TERM", "")
    if term in _NO_SCREEN:
        what = f"TERM={term}" if term else "TERM is empty: this terminal"
        raise TerminalError(f"{what} cannot show a full screen: use `celerytop once`.")
    return Terminal(
        ascii=not speaks_utf8(env, stdout.encoding, bool(sys.flags.utf8_mode)),
        no_color=bool(env.get("NO_COLOR")),
        mouse="SSH_CONNECTION" not in env,
        light=env.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15"),
        plain=term in ("linux", "vt100", "vt220", "ansi", "cygwin") or term.startswith("sun"),
    )


def speaks_utf8(env: Mapping[str, str], encoding: str | None, utf8_mode: bool = False) -> bool:
    """Whether the terminal's locale is a UTF-8 one.

    Python in the C locale switches itself to UTF-8 and sets LC_CTYPE=C.UTF-8 (PEP 538, 540), so neither its
    encoding nor that variable says anything then.

    >>> speaks_utf8({"LANG": "de_DE.UTF-8"}, "utf-8"), speaks_utf8({"LANG": "C"}, "utf-8")
    (True, False)
    >>> speaks_utf8({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, "utf-8", utf8_mode=True)
    False
    """
    if encoding is not None and encoding.lower().replace("-", "") != "utf8":
        return False
    coerced = utf8_mode and env.get("LC_CTYPE") in ("C.UTF-8", "C.utf8", "UTF-8")
    names = ("LC_ALL", "LANG") if coerced else ("LC_ALL", "LC_CTYPE", "LANG")
    locale = next((env[name] for name in names if env.get(name)), "C")
    return locale.lower().replace("-", "").partition(".")[2].startswith("utf8") or locale == "UTF-8"

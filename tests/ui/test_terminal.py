"""The screen in real pseudo-terminals: signals, bytes, colours; and what is found out before anything is drawn."""

from __future__ import annotations

import re
import signal
import sys

import pytest

from celerytop.errors import TerminalError
from celerytop.ui.terminal import check_terminal, speaks_utf8
from tests.rig.process import wait_until
from tests.rig.terminal import Terminal
from tests.written import written

PROGRAM = [sys.executable, "-m", "tests.ui.still_app"]
SGR = re.compile(rb"\x1b\[([0-9;]*)m")
ALPHABET = re.compile(
    rb"\x1b\[[0-9;]*m|\x1b\[[0-9;]*H|\x1b\[\?[0-9]+[hl]|\x1b\[\?[0-9]+\$p|\x1b\[[<>][0-9]*u|\x1b\]22;[a-z-]*\x07|[\r\n]"
)
"""All that Textual itself sends: attributes, cursor, modes, questions about modes, keyboard protocol, pointer."""


class Fake:
    """A stream."""

    def __init__(self, tty: bool = True, encoding: str = "utf-8") -> None:
        self.tty = tty
        self.encoding = encoding

    def isatty(self) -> bool:
        return self.tty


def start(*words: str, columns: int = 100, rows: int = 30, **env: str) -> Terminal:
    """The program over a hand-made picture."""
    return Terminal([*PROGRAM, *words], columns, rows, env=env)


def _given_back(terminal: Terminal) -> None:
    """Wait for the last bytes."""
    wait_until(lambda: restored(terminal), 20, "the terminal is given back")


def restored(terminal: Terminal) -> bool:
    """Whether the last bytes leave the alternate screen, show the cursor, and end mouse, paste and focus reports."""
    raw = bytes(terminal.raw)
    pairs = ((b"1049h", b"1049l"), (b"25l", b"25h"), (b"2004h", b"2004l"), (b"1004h", b"1004l"), (b"1003h", b"1003l"))
    return all(raw.rfind(b"\x1b[?" + end) > raw.rfind(b"\x1b[?" + begin) for begin, end in pairs if begin in raw)


@pytest.mark.pty
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signal_restores_the_terminal_and_exits_with_128_and_its_number(number: signal.Signals) -> None:
    with start("healthy") as terminal:
        before = terminal.settings()
        terminal.wait_for("low.prio")
        assert terminal.settings() != before
        terminal.signal(number)
        assert terminal.wait_exit() == 128 + number
        assert terminal.settings() == before
        _given_back(terminal)


@pytest.mark.pty
def test_quit_and_ctrl_c_restore_the_terminal() -> None:
    for key in ("q", "ctrl+c"):
        with start("healthy") as terminal:
            before = terminal.settings()
            terminal.wait_for("low.prio")
            terminal.keys(key)
            assert terminal.wait_exit() == 0
            assert terminal.settings() == before
            _given_back(terminal)


@pytest.mark.pty
def test_a_bug_restores_the_terminal_and_says_so_without_secrets() -> None:
    with start("healthy", "crash") as terminal:
        before = terminal.settings()
        terminal.wait_for("low.prio")
        terminal.keys("r")
        assert terminal.wait_exit() == 70
        assert terminal.settings() == before
        said = written(terminal)
        assert b"celerytop has a bug and stopped: RuntimeError" in said and restored(terminal)
        assert b"hunter2" not in said and b"Traceback" not in said


@pytest.mark.pty
def test_a_closed_terminal_ends_it_at_once() -> None:
    with start("healthy", "moving", "patient") as terminal:
        terminal.wait_for("low.prio")
        terminal.hang_up()
        assert terminal.wait_exit() == 128 + signal.SIGHUP, "whatever it would wait for would take an hour"


@pytest.mark.pty
def test_a_signal_ends_it_even_when_the_terminal_takes_no_bytes() -> None:
    with start("healthy", "moving") as terminal:
        terminal.wait_for("low.prio")
        terminal.write("\x13")  # Ctrl-S: not a stop in raw mode, so this proves only that it does no harm
        terminal.signal(signal.SIGTERM)
        assert terminal.wait_exit() == 128 + signal.SIGTERM


@pytest.mark.pty
def test_ctrl_z_gives_the_terminal_back_and_fg_redraws() -> None:
    with start("healthy") as terminal:
        before = terminal.settings()
        terminal.wait_for("low.prio")
        terminal.keys("ctrl+z")
        wait_until(lambda: _stopped(terminal.pid), 30, "stopped")
        assert terminal.settings() == before
        _given_back(terminal)
        drawn = len(terminal.raw)
        terminal.signal(signal.SIGCONT)
        wait_until(lambda: b"low.prio" in terminal.raw[drawn:], 30, "drawn again")
        terminal.keys("2")
        terminal.wait_for("w3@db-7")


def _stopped(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "T"


@pytest.mark.pty
@pytest.mark.parametrize("env", [{"TERM": "linux", "LANG": "C"}, {"LANG": "C"}, {"LC_ALL": "POSIX"}], ids=str)
def test_c_locale_gets_ascii_bytes_only(env: dict[str, str]) -> None:
    with Terminal([*PROGRAM, "hostile"], env=env) as terminal:
        terminal.wait_for("low.prio")
        _visit(terminal)
        assert max(terminal.raw) < 128


@pytest.mark.pty
def test_no_color_sends_no_colour_not_even_grey() -> None:
    with start("healthy", NO_COLOR="1") as terminal:
        terminal.wait_for("low.prio")
        _visit(terminal)
        numbers = {int(part or 0) for found in SGR.findall(bytes(terminal.raw)) for part in found.split(b";")}
        assert numbers <= {0, 1, 2, 3, 4, 7, 9}


@pytest.mark.pty
def test_sixteen_colours_are_enough() -> None:
    with start("healthy", TERM="linux", COLORTERM="") as terminal:
        terminal.wait_for("low.prio")
        _visit(terminal)
        assert not re.search(rb"[34]8;[25];", bytes(terminal.raw))
        assert b"$p" not in terminal.raw and b"\x1b]" not in terminal.raw, "questions a Linux console prints"


@pytest.mark.pty
def test_hostile_text_sends_nothing_but_textuals_own_alphabet() -> None:
    with start("hostile") as terminal:
        terminal.wait_for("low.prio")
        _visit(terminal)
        terminal.keys("q")
        assert terminal.wait_exit() == 0
        rest = ALPHABET.sub(b"", written(terminal)).decode("utf-8")
        assert not [char for char in rest if char < " " or "\x7f" <= char < "\xa0" or "\u202a" <= char <= "\u202e"]


def _visit(terminal: Terminal) -> None:
    """All pages, boxes and details."""
    pages = {"2": "t1@img-1", "3": "c20d41bb", "5": "where the memory is", "6": "elsewhere", "8": "app.join"}
    for key, words in pages.items():
        terminal.keys(key)
        terminal.wait_for(words)
    terminal.keys("1")
    terminal.wait_for("low.prio")
    for key, words in (("?", "Help >"), ("escape", "low.prio"), ("s", "Sort by")):
        terminal.keys(key)
        terminal.wait_for(words)
    terminal.keys("escape")  # and the next key must not come as one
    wait_until(lambda: "Sort by" not in (text := terminal.text) and "low.prio" in text, 30, "the box is closed")
    terminal.keys("enter")
    terminal.wait_for("Queues >")


@pytest.mark.pty
@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
def test_a_refresh_costs_a_slow_line_little(size: tuple[int, int]) -> None:
    with start("healthy", "moving", columns=size[0], rows=size[1]) as terminal:
        terminal.wait_for("low.prio")
        begun = _seconds(terminal)
        first = wait_until(lambda: (now := _seconds(terminal)) > begun and now, 30, "the first pictures are over")
        before = len(terminal.raw)
        last = wait_until(lambda: (now := _seconds(terminal)) >= first + 2 and now, 30, "two more")
        assert (len(terminal.raw) - before) / (last - first) < 2500, "bytes a picture, one for each second it shows"


def _seconds(terminal: Terminal) -> int:
    """What the clock of the screen shows."""
    hours, minutes, seconds = terminal.lines[0].rstrip("Z")[-8:].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds)


@pytest.mark.pty
@pytest.mark.parametrize("term", ["dumb", "", "unknown"])
def test_a_terminal_without_a_screen_is_refused_with_one_sentence(term: str) -> None:
    with start("healthy", TERM=term) as terminal:
        assert terminal.wait_exit() == TerminalError.exit_code
        assert b"\x1b" not in written(terminal)
        (line,) = (line for line in terminal.lines if line)
        assert "celerytop once" in line


def test_not_a_terminal_is_refused() -> None:
    for stdin, stdout in ((Fake(False), Fake()), (Fake(), Fake(False))):
        with pytest.raises(TerminalError, match="celerytop once"):
            check_terminal({"TERM": "xterm"}, stdin, stdout)


def test_what_is_found_out() -> None:
    env = {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
    found = check_terminal(env, Fake(), Fake())
    assert (found.ascii, found.no_color, found.mouse, found.light, found.plain) == (False, False, True, False, False)
    found = check_terminal({**env, "NO_COLOR": "1", "SSH_CONNECTION": "a b"}, Fake(), Fake(encoding="iso8859-1"))
    assert (found.ascii, found.no_color, found.mouse) == (True, True, False)
    assert check_terminal({**env, "NO_COLOR": "", "COLORFGBG": "0;15"}, Fake(), Fake()).light
    assert not check_terminal({**env, "NO_COLOR": ""}, Fake(), Fake()).no_color
    assert check_terminal({"TERM": "linux"}, Fake(), Fake()).plain


def test_locale() -> None:
    assert speaks_utf8({"LC_ALL": "C.UTF-8", "LANG": "C"}, "utf-8")
    assert not speaks_utf8({"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, "utf-8")
    assert speaks_utf8({"LC_CTYPE": "UTF-8"}, "utf-8")
    assert not speaks_utf8({}, "utf-8")

"""The terminal shows what a program draws and delivers what is typed."""

from __future__ import annotations

import signal
import sys

from tests.rig import Terminal, wait_until

PROGRAM = """
import shutil, signal, sys
def draw(*_):
    size = shutil.get_terminal_size()
    print("\\x1b[>1u\\x1b[?2026$p\\x1b[2J\\x1b[H\\x1b[31msize", *size, "\\x1b[0m", flush=True)
signal.signal(signal.SIGWINCH, draw)
draw()
for line in sys.stdin:
    print("typed", line.strip(), flush=True)
"""


def test_screen_keys_and_size() -> None:
    with Terminal([sys.executable, "-c", PROGRAM], columns=60, rows=10) as terminal:
        terminal.wait_for("size 60 10")
        assert terminal.lines[0].startswith("size"), "unknown sequences leave no rubbish"
        assert terminal.cell(0, 0).fg == "red"
        terminal.resize(40, 8)
        terminal.wait_for("size 40 8")
        terminal.write("hello")
        terminal.keys("enter")
        terminal.wait_for("typed hello")
        assert b"\x1b[?2026$p" in terminal.raw
        terminal.keys("ctrl+c")
        assert terminal.wait_exit() != 0


def test_hanging_up_ends_the_program() -> None:
    with Terminal([sys.executable, "-c", PROGRAM]) as terminal:
        terminal.wait_for("size 100 30")
        terminal.hang_up()
        assert wait_until(lambda: terminal.exit_code, message="the program ends") == -signal.SIGHUP

"""The full screen in a real terminal over real brokers and workers: how it starts, what it says, how it leaves."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest

from celerytop.cli import _CUT_OFF
from tests.patient import PATIENT
from tests.rig import RedisServer, Terminal, Worker, free_port, send, wait_until

PROGRAM = [sys.executable, "-m", "celerytop"]
MOUSE = b"\x1b[?1000h"
pytestmark = pytest.mark.pty


def looking(
    url: str, *words: str, columns: int = 100, rows: int = 30, program: list[str] = PROGRAM, **env: str
) -> Terminal:
    return Terminal([*program, "-b", url, *words], columns, rows, env=env)


def leave(terminal: Terminal) -> None:
    """Press q and wait until the program has ended."""
    terminal.keys("q")
    assert terminal.wait_exit(20) == 0


def test_first_screen_and_quit_wait_for_no_broker(redis_server: RedisServer) -> None:
    redis_server.freeze()
    with looking(redis_server.url(), program=PATIENT, SSH_CONNECTION="10.0.0.1 1 10.0.0.2 22") as terminal:
        terminal.wait_for("START", 30)
        terminal.wait_for("workers ?/? up   slots ?/? busy ?   ready ?", 20)
        terminal.wait_for(f"connecting to {redis_server.url()}", 20)
        wait_until(lambda: set(terminal.lines[5].split()) == {"?"}, 30, "a question mark in every cell")
        assert MOUSE not in terminal.raw, "over SSH the terminal's own selection stays"
        terminal.keys("M")
        wait_until(lambda: MOUSE in terminal.raw, 20, "the mouse, asked for")
        leave(terminal)  # with an hour for every wait but this one:
        assert _CUT_OFF < 0.5


def test_broker_down_at_start_is_said_and_found_when_it_comes(redis_server: RedisServer) -> None:
    redis_server.stop()
    with looking(redis_server.url(), columns=80, rows=24) as terminal:
        terminal.wait_for("nobody listens there.", 30)
        terminal.wait_for("STALE", 20)
        terminal.wait_for("wk ?/?", 20)
        redis_server.start()
        terminal.wait_for("LIVE", 30)
        terminal.wait_for("nothing is known to be wrong", 20)
        terminal.wait_for("no queue is known yet", 20)


def test_page_and_filter_of_the_command_line_are_where_it_starts(redis_server: RedisServer) -> None:
    url = redis_server.url()
    for name in ("payments", "reports"):
        send(url, "rig.add", (1, 2), queue=name)
    with looking(url, "--filter", "pay", "--mouse", SSH_CONNECTION="a b") as terminal:
        terminal.wait_for("payments", 30)
        wait_until(lambda: "/pay" in terminal.lines[3], 20, "the filter, above the table")
        assert not [line for line in terminal.lines[5:] if "reports" in line]
        assert MOUSE in terminal.raw
        terminal.keys("escape")
        wait_until(lambda: any("reports" in line for line in terminal.lines[5:]), 20, "all again")
        leave(terminal)
    with looking(url, "--page", "types") as terminal:
        terminal.wait_for("WAITp95", 30)
    with looking(url, "--filter", "stat:x") as terminal:
        assert terminal.wait_exit(30) == 3
        terminal.wait_for("celerytop: The filter knows no `stat:`")
        assert b"\x1b[?1049h" not in terminal.raw, "a mistake is said before the screen opens"


def test_frozen_worker_comes_first_and_says_why_in_a_small_window(
    redis_server: RedisServer, worker_factory: Callable[..., Worker]
) -> None:
    url = redis_server.url()
    well = worker_factory(url, pool="threads", nodename="a-well@rig")
    ill = worker_factory(url, pool="threads", nodename="z-ill@rig")
    with looking(url, "--page", "workers", columns=80, rows=24) as terminal:
        terminal.wait_for(well.nodename, 30)
        terminal.wait_for(ill.nodename, 30)
        ill.freeze()
        terminal.wait_for("FROZEN", 40)
        terminal.keys("g")
        wait_until(lambda: ill.nodename in terminal.lines[5], 20, "the frozen one on top")
        wait_until(lambda: "z-ill@rig: frozen" in terminal.lines[2], 20, "the news")
        wait_until(lambda: re.match(" frozen   .{11}", terminal.lines[-2]), 20, "why, below the table")
        terminal.keys(" ")
        wait_until(lambda: _paused(terminal) >= 1, 20, "a second of pause")
        ill.thaw()
        wait_until(lambda: _paused(terminal) >= 4, 20, "three more")
        assert "FROZEN" in terminal.text, "the view stands still"
        terminal.keys(" ")
        wait_until(lambda: "FROZEN" not in terminal.text, 30, "the watch went on")


def _paused(terminal: Terminal) -> int:
    """Seconds, as the screen says; a slow machine may leave out any of them."""
    found = re.search(r"PAUSED (\d\d):(\d\d)", terminal.text)
    return int(found[1]) * 60 + int(found[2]) if found else -1


def test_tasks_lists_have_the_columns_that_matter_for_them(
    redis_server: RedisServer, worker_factory: Callable[..., Worker]
) -> None:
    url = redis_server.url()
    worker_factory(url, pool="threads")
    with looking(url, "--page", "tasks", columns=100) as terminal:
        terminal.wait_for("LIVE", 30)
        send(url, "rig.fail", ())
        send(url, "rig.add", (1, 2), countdown=600)
        terminal.wait_for("[f]ailed 1", 30)
        terminal.keys("f")
        wait_until(lambda: "EXCEPTION" in (text := terminal.text) and "rig.fail" in text, 20, "what failed, and how")
        terminal.keys("h")
        terminal.wait_for("in 9m", 30)
        terminal.keys("l")
        wait_until(lambda: "rig.fail" in terminal.text and "rig.add" in terminal.text, 20, "all of them")


def test_ctrl_z_closes_the_streams_and_fg_records_the_gap(redis_server: RedisServer) -> None:
    client = redis_server.client()

    def streams() -> int:
        return sum(each["psub"] != "0" for each in client.client_list())

    with looking(redis_server.url(), columns=120) as terminal:
        terminal.wait_for("LIVE", 30)
        wait_until(lambda: streams() == 1, 30, "our stream")
        terminal.keys("ctrl+z")
        wait_until(lambda: psutil.Process(terminal.pid).status() == psutil.STATUS_STOPPED, 20, "stopped")
        wait_until(lambda: streams() == 0, 10, "closed before it was stopped: a reader that is would fill buffers")
        wait_until(lambda: b"\x1b[?1049l" in terminal.raw, 10, "the shell's screen")
        terminal.signal(18)
        wait_until(lambda: streams() == 1, 20, "the stream again")
        terminal.wait_for("gap in events", 30)
        terminal.wait_for("LIVE", 30)


@pytest.mark.timeout(120)
def test_demo_names_itself_and_leaves_nothing_running() -> None:
    with Terminal([*PROGRAM, "demo", "--scenario", "stuck"], 100, 30) as terminal:
        terminal.wait_for("workers 3/3 up", 60)
        assert "demo stuck" in terminal.lines[0]
        family = psutil.Process(terminal.pid).children(recursive=True)
        assert len(family) > 5
        terminal.keys("q")
        assert terminal.wait_exit(30) == 0
    wait_until(lambda: not [each for each in family if _lives(each)], 20, "all of them are gone")


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def test_no_broker_at_that_port_is_no_reason_to_end() -> None:
    with looking(f"redis://127.0.0.1:{free_port()}/0", columns=60, rows=10, program=PATIENT) as terminal:
        terminal.wait_for("STALE", 30)
        for page in "235681":
            terminal.keys(page, "enter", "backspace")
        terminal.resize(59, 9)
        terminal.wait_for("Window too small: 60x10 needed, 59x9 now.", 20)
        terminal.resize(80, 24)
        terminal.wait_for("1Queue", 20)
        leave(terminal)

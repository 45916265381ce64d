"""The full screen in a real terminal over real brokers and workers: how it starts, what it says, how it leaves."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest

from tests.rig import RedisServer, Terminal, Worker, free_port, send, wait_until

PROGRAM = [sys.executable, "-m", "celerytop"]
MOUSE = b"\x1b[?1000h"
pytestmark = pytest.mark.pty


def looking(url: str, *words: str, columns: int = 100, rows: int = 30, **env: str) -> Terminal:
    return Terminal([*PROGRAM, "-b", url, *words], columns, rows, env=env)


def leave(terminal: Terminal) -> float:
    """Press q; seconds until the program has ended."""
    pressed = time.monotonic()
    terminal.keys("q")
    assert terminal.wait_exit(5) == 0
    return time.monotonic() - pressed


def test_first_screen_and_quit_wait_for_no_broker(redis_server: RedisServer) -> None:
    redis_server.freeze()
    with looking(redis_server.url(), SSH_CONNECTION="10.0.0.1 1 10.0.0.2 22") as terminal:
        screen = terminal.wait_for("START", 5)
        assert "workers ?/? up   slots ?/? busy ?   ready ?" in screen
        assert f"connecting to {redis_server.url()}" in terminal.wait_for("connecting to")
        wait_until(lambda: set(terminal.lines[5].split()) == {"?"}, 5, "a question mark in every cell")
        assert MOUSE not in terminal.raw, "over SSH the terminal's own selection stays"
        terminal.keys("M")
        wait_until(lambda: MOUSE in terminal.raw, 5, "the mouse, asked for")
        assert leave(terminal) < 1.0


def test_broker_down_at_start_is_said_and_found_when_it_comes(redis_server: RedisServer) -> None:
    redis_server.stop()
    with looking(redis_server.url(), columns=80, rows=24) as terminal:
        screen = terminal.wait_for("nobody listens there.", 10)
        assert "STALE" in screen and "wk ?/?" in screen
        redis_server.start()
        terminal.wait_for("LIVE", 10)
        assert "no queue is known yet" in terminal.wait_for("nothing is known to be wrong")


def test_page_and_filter_of_the_command_line_are_where_it_starts(redis_server: RedisServer) -> None:
    url = redis_server.url()
    for name in ("payments", "reports"):
        send(url, "rig.add", (1, 2), queue=name)
    with looking(url, "--filter", "pay", "--mouse", SSH_CONNECTION="a b") as terminal:
        terminal.wait_for("payments", 10)
        assert "/pay" in terminal.lines[3]
        assert not [line for line in terminal.lines[5:] if "reports" in line]
        assert MOUSE in terminal.raw
        terminal.keys("escape")
        wait_until(lambda: any("reports" in line for line in terminal.lines[5:]), 5, "all again")
        leave(terminal)
    with looking(url, "--page", "types") as terminal:
        terminal.wait_for("WAITp95")
    with looking(url, "--filter", "stat:x") as terminal:
        assert terminal.wait_exit(5) == 3
        assert "celerytop: The filter knows no `stat:`" in terminal.text
        assert b"\x1b[?1049h" not in terminal.raw, "a mistake is said before the screen opens"


def test_frozen_worker_comes_first_and_says_why_in_a_small_window(
    redis_server: RedisServer, worker_factory: Callable[..., Worker]
) -> None:
    url = redis_server.url()
    well = worker_factory(url, pool="threads", nodename="a-well@rig")
    ill = worker_factory(url, pool="threads", nodename="z-ill@rig")
    with looking(url, "--page", "workers", columns=80, rows=24) as terminal:
        terminal.wait_for(well.nodename, 10)
        terminal.wait_for(ill.nodename, 10)
        ill.freeze()
        terminal.wait_for("FROZEN", 20)
        terminal.keys("g")
        wait_until(lambda: ill.nodename in terminal.lines[5], 5, "the frozen one on top")
        assert "z-ill@rig: frozen" in terminal.lines[2]
        wait_until(lambda: terminal.lines[-2].startswith(" frozen   "), 5, "why, below the table")
        assert len(terminal.lines[-2]) > 20
        terminal.keys(" ")
        terminal.wait_for("PAUSED 00:01", 10)
        ill.thaw()
        terminal.wait_for("PAUSED 00:04", 10)
        assert "FROZEN" in terminal.text, "the view stands still"
        terminal.keys(" ")
        wait_until(lambda: "FROZEN" not in terminal.text, 10, "the watch went on")


def test_tasks_lists_have_the_columns_that_matter_for_them(
    redis_server: RedisServer, worker_factory: Callable[..., Worker]
) -> None:
    url = redis_server.url()
    worker_factory(url, pool="threads")
    with looking(url, "--page", "tasks", columns=100) as terminal:
        terminal.wait_for("LIVE", 10)
        send(url, "rig.fail", ())
        send(url, "rig.add", (1, 2), countdown=600)
        terminal.wait_for("[f]ailed 1", 10)
        terminal.keys("f")
        assert "EXCEPTION" in terminal.wait_for("rig.fail")
        terminal.keys("h")
        terminal.wait_for("in 9m", 10)
        terminal.keys("l")
        wait_until(lambda: "rig.fail" in terminal.text and "rig.add" in terminal.text, 5, "all of them")


def test_ctrl_z_closes_the_streams_and_fg_records_the_gap(redis_server: RedisServer) -> None:
    client = redis_server.client()

    def streams() -> int:
        return sum(each["psub"] != "0" for each in client.client_list())

    with looking(redis_server.url(), columns=120) as terminal:
        terminal.wait_for("LIVE", 10)
        wait_until(lambda: streams() == 1, 5, "our stream")
        terminal.keys("ctrl+z")
        wait_until(lambda: psutil.Process(terminal.pid).status() == psutil.STATUS_STOPPED, 5, "stopped")
        assert streams() == 0, "a reader that is stopped would fill the broker's buffers"
        assert b"\x1b[?1049l" in terminal.raw
        terminal.signal(18)
        wait_until(lambda: streams() == 1, 5, "the stream again")
        terminal.wait_for("gap in events", 10)
        terminal.wait_for("LIVE", 10)


@pytest.mark.timeout(60)
def test_demo_names_itself_and_leaves_nothing_running() -> None:
    with Terminal([*PROGRAM, "demo", "--scenario", "stuck"], 100, 30) as terminal:
        terminal.wait_for("workers 3/3 up", 30)
        assert "demo stuck" in terminal.lines[0]
        family = psutil.Process(terminal.pid).children(recursive=True)
        assert len(family) > 5
        terminal.keys("q")
        assert terminal.wait_exit(15) == 0
    assert not [each for each in family if _lives(each)]


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def test_no_broker_at_that_port_is_no_reason_to_end() -> None:
    with looking(f"redis://127.0.0.1:{free_port()}/0", columns=60, rows=10) as terminal:
        terminal.wait_for("STALE", 10)
        for page in "235681":
            terminal.keys(page, "enter", "backspace")
        terminal.resize(59, 9)
        terminal.wait_for("Window too small: 60x10 needed, 59x9 now.")
        terminal.resize(80, 24)
        terminal.wait_for("1Queue")
        assert leave(terminal) < 1.0

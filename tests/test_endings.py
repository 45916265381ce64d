"""How it ends: signals, closed pipes, full disks. An exit code, at most one sentence, nothing left behind."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.patient import ENDLESS, PATIENT
from tests.rig import RedisServer, Terminal, wait_until

ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT)
PROGRAM = [sys.executable, "-m", "celerytop"]


@pytest.mark.parametrize("words", [("once",), ("--batch", "-n", "99", "-d", "0.2")], ids=["once", "batch"])
@pytest.mark.parametrize("number", ENDS, ids=lambda number: number.name)
def test_a_signal_ends_a_report_with_128_and_its_number(
    redis_server: RedisServer, words: tuple[str, ...], number: signal.Signals
) -> None:
    client = redis_server.client()
    program = subprocess.Popen(
        [*ENDLESS, *words, "-b", redis_server.url()],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_until(lambda: [one for one in client.client_list() if one["name"] == "celerytop"], 30, "it looks")
    program.send_signal(number)
    _, said = program.communicate(timeout=30)  # with all its patience: it waits for nothing
    assert (program.returncode, said) == (128 + number, b"")
    assert not client.keys("*")
    wait_until(lambda: len(client.client_list()) == 1, 20, "its connections are closed")


@pytest.mark.pty
@pytest.mark.parametrize("number", ENDS, ids=lambda number: number.name)
def test_a_signal_ends_the_screen_and_gives_the_terminal_back(
    redis_server: RedisServer, number: signal.Signals
) -> None:
    client = redis_server.client()
    with Terminal([*PATIENT, "-b", redis_server.url()]) as screen:
        before = screen.settings()
        screen.wait_for("LIVE", 30)
        screen.signal(number)
        assert screen.wait_exit(20) == 128 + number
        assert screen.settings() == before
        for end, begin, what in ((b"1049l", b"1049h", "the shell's screen"), (b"25h", b"25l", "the cursor")):
            wait_until(lambda end=end, begin=begin: _last(screen, end) > _last(screen, begin), 20, what)  # type: ignore[misc]
        assert b"Traceback" not in screen.raw
    assert not client.keys("*")


def _last(screen: Terminal, mode: bytes) -> int:
    return screen.raw.rfind(b"\x1b[?" + mode)


def test_nohup_is_obeyed(redis_server: RedisServer) -> None:
    words = ["sh", "-c", "trap '' HUP; exec \"$@\"", "-", *PROGRAM, "--batch", "-n", "9", "-d", "0.1"]
    program = subprocess.Popen(
        [*words, "-b", redis_server.url()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert program.stdout is not None
    program.stdout.readline()
    program.send_signal(signal.SIGHUP)
    _, said = program.communicate(timeout=30)
    assert (program.returncode, said) == (0, b"")


def shell(script: str) -> subprocess.CompletedProcess[str]:
    line = script.replace("celerytop", " ".join(PROGRAM), 1)
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=40, check=False)


def test_a_reader_that_leaves_ends_it_without_a_word(redis_server: RedisServer) -> None:
    done = shell(f"celerytop --batch -n 99 -d 0.1 -b {redis_server.url()} | head -1; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
    assert done.stdout.startswith("celerytop")


@pytest.mark.parametrize(
    "words", ["once -b URL", "once --json -b URL", "--batch -n 9 -b URL", "--help", "once --schema"]
)
def test_a_full_disk_is_one_sentence(redis_server: RedisServer, words: str) -> None:
    done = shell(f"celerytop {words.replace('URL', redis_server.url())} > /dev/full")
    assert done.returncode == 3
    assert done.stderr == "celerytop: cannot write to standard output: No space left on device.\n"


@pytest.mark.parametrize("closed", [">&-", "2>&- >/dev/null", "<&- >/dev/null", "2>/dev/full >/dev/null"])
def test_closed_streams_do_no_harm(redis_server: RedisServer, closed: str) -> None:
    done = shell(f"celerytop once -b {redis_server.url()} {closed}")
    assert (done.returncode, done.stderr) == (0, "")

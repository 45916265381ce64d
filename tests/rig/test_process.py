"""What every test leans on: ports of one's own, conditions that are waited for, time that a load does not wind on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.rig import Stopwatch, eventually, free_port, wait_until
from tests.rig.process import ROOT, stands_still


def test_a_port_is_given_to_one_test_run_only() -> None:
    given = free_port()
    code = f"from tests.rig.process import _reserved, free_port; print(_reserved({given}), _reserved(free_port()))"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    assert told.stdout == "False True\n"


def test_a_condition_is_asked_once_more_when_the_time_is_over() -> None:
    asked: list[float] = []

    def late() -> bool:
        asked.append(time.monotonic())
        time.sleep(0.01)  # as if we had stood still
        return len(asked) > 1

    assert wait_until(late, timeout=0.0)
    with pytest.raises(TimeoutError, match="never: still 0"):
        wait_until(lambda: 0, 0.0, "never")


def test_assertions_are_tried_again_and_the_last_one_is_told() -> None:
    found: list[int] = []

    def third() -> int:
        found.append(len(found))
        assert len(found) == 3, f"only {len(found)}"
        return found[-1]

    assert eventually(third) == 2
    with pytest.raises(AssertionError, match="only 5"):
        eventually(third, timeout=-1.0)


def test_a_process_that_stands_still_is_wound_on_by_one_tick() -> None:
    code = (
        "import os, signal; from tests.rig import Stopwatch\n"
        "with Stopwatch() as watch:\n"
        "    print(flush=True); os.kill(os.getpid(), signal.SIGSTOP)\n"
        "    print(watch.seconds)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    wait_until(lambda: stands_still(process.pid), message="it stands still")
    with Stopwatch() as ours:
        wait_until(lambda: ours.seconds > 0.5)
    os.kill(process.pid, signal.SIGCONT)
    out, _ = process.communicate()
    assert float(out) < 0.5

"""Facts straight from /proc, and from one that is made by hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from celerytop.sources import procfs
from tests.rig import wait_until

pytestmark = pytest.mark.skipif(not procfs.PROC.joinpath("self").exists(), reason="there is no /proc")


def test_says_of_ourselves_what_psutil_says() -> None:
    me = psutil.Process()
    assert procfs.command_words(me.pid) == me.cmdline()
    assert procfs.parent(me.pid) == me.ppid()
    assert procfs.same_machine_name(me.pid)


def test_children_are_those_of_psutil() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        table = procfs.children_of(psutil.pids())
        assert process.pid in table[os.getpid()]
        listed = procfs.children(os.getpid())
        assert listed is None or process.pid in listed
        process.communicate(b"\n")


def test_what_is_gone_is_not_known() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert procfs.command_words(process.pid) is None
    assert procfs.parent(process.pid) is None
    assert procfs.children(process.pid) is None
    assert procfs.wait_channel(process.pid) is None


def test_reads_what_kernels_write(tmp_path: Path) -> None:
    folder = tmp_path / "7"
    for thread, pids in (("7", "9 8 "), ("11", ""), ("12", "10 ")):
        (folder / "task" / thread).mkdir(parents=True)
        (folder / "task" / thread / "children").write_text(pids)
    (folder / "stat").write_text("7 (a ) (b) c) S 3 7 7 0 -1")
    (folder / "cmdline").write_bytes(b"[celeryd: w@h:MainProcess] -active- (worker)\0\0\0")
    (folder / "wchan").write_text("0")
    assert procfs.children(7, tmp_path) == [8, 9, 10]
    assert procfs.parent(7, tmp_path) == 3
    assert procfs.command_words(7, tmp_path) == ["[celeryd:", "w@h:MainProcess]", "-active-", "(worker)"]
    assert procfs.wait_channel(7, tmp_path) is None
    (folder / "wchan").write_text("pipe_read\n")
    assert procfs.wait_channel(7, tmp_path) == "pipe_read"


def test_how_a_process_is_as_psutil_says() -> None:
    code = "print('up', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"up\n"
            real, told = psutil.Process(process.pid), procfs.stat(process.pid)
            assert told is not None
            assert (told.ppid, told.started + psutil.boot_time()) == (os.getpid(), real.create_time())
            process.send_signal(signal.SIGSTOP)
            wait_until(lambda: real.status() == psutil.STATUS_STOPPED, 5, "stopped")
            told, times = procfs.stat(process.pid), real.cpu_times()
            assert told is not None and (told.state, told.cpu_time) == ("stopped", times.user + times.system)
            assert told.rss == pytest.approx(real.memory_info().rss, abs=1 << 20)
        finally:
            process.kill()
    assert procfs.stat(process.pid) is None


def test_states_have_psutil_s_names() -> None:
    named = {getattr(psutil, name) for name in dir(psutil) if name.startswith("STATUS_")}
    assert set(procfs._STATES.values()) <= named


def test_a_stat_that_was_cut_off_is_none(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text("7 (a ) (b) c) S 3 7 7 0 -1")
    assert procfs.stat(7, tmp_path) is None
    rest = " ".join(["0"] * 5 + ["150", "50", "0", "0", "20", "0", "4", "0", "1000", "99", "10", "0"])
    (tmp_path / "7" / "stat").write_text(f"7 (a ) (b) c) D 3 7 7 0 -1 {rest}")
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    assert procfs.stat(7, tmp_path) == procfs.Stat("disk-sleep", 3, 200 / tick, 1000 / tick, 10 * page)


def test_a_thread_that_has_just_ended_hides_no_children(tmp_path: Path) -> None:
    for thread in ("7", "11"):
        (tmp_path / "7" / "task" / thread).mkdir(parents=True)
    (tmp_path / "7" / "task" / "7" / "children").write_text("8 ")
    assert procfs.children(7, tmp_path) is None, "a kernel that does not list children"
    (tmp_path / "7" / "task" / "11").rmdir()
    (tmp_path / "7" / "task" / "11").symlink_to(tmp_path / "gone")
    assert procfs.children(7, tmp_path) == [8]

"""Facts straight from /proc, and from one that is made by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from celerytop.sources import procfs

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

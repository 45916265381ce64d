"""The ladder on a real screen: a task that ignores SIGTERM is not stopped, and the next rung ends it."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from tests.actions.stage import PATIENCE, has_begun, lives
from tests.rig import RedisServer, Terminal, Worker, send, wait_until

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.timeout(150)]


def test_what_celery_says_is_revoked_is_climbed_on(redis_server: RedisServer, tmp_path: Path) -> None:
    url = redis_server.url()
    command = [sys.executable, "-m", "celerytop", "-b", url]
    with (
        Worker(url, concurrency=1) as worker,
        Terminal(command, columns=100, rows=30, env={"XDG_STATE_HOME": str(tmp_path)}) as terminal,
    ):
        terminal.wait_for("QUEUE", PATIENCE)
        (child,) = psutil.Process(worker.pid).children()
        send(url, "rig.ignore_sigterm", (600,))
        wait_until(lambda: has_begun("rig.ignore_sigterm", child.pid), PATIENCE, "it has begun")
        terminal.keys("3")
        terminal.wait_for("STARTED", PATIENCE)
        terminal.keys("K")
        terminal.wait_for("y: terminate", PATIENCE)
        terminal.wait_for(f"{child.pid} still runs exactly this task", PATIENCE)
        terminal.keys("y")
        terminal.wait_for("K next: SIGKILL", PATIENCE)
        terminal.wait_for("NOT STOPPED", PATIENCE)
        assert lives(child.pid)
        terminal.keys("K")
        terminal.wait_for("y: kill", PATIENCE)
        box = terminal.wait_for("Celery says REVOKED", PATIENCE)
        assert "nothing is left to stop" not in box
        terminal.keys("y")
        terminal.wait_for("STOPPED   ", PATIENCE)
        wait_until(lambda: not lives(child.pid), PATIENCE, "it is gone")
        terminal.wait_for("Its process is gone", PATIENCE)

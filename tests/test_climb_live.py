"""The ladder on a real screen: a task that ignores SIGTERM is not stopped, and the next rung ends it."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from tests.actions.stage import lives
from tests.rig import RedisServer, Terminal, Worker, send, wait_until

pytestmark = [pytest.mark.redis, pytest.mark.worker]


def test_what_celery_says_is_revoked_is_climbed_on(redis_server: RedisServer, tmp_path: Path) -> None:
    url = redis_server.url()
    command = [sys.executable, "-m", "celerytop", "-b", url]
    with (
        Worker(url, concurrency=1) as worker,
        Terminal(command, columns=100, rows=30, env={"XDG_STATE_HOME": str(tmp_path)}) as terminal,
    ):
        terminal.wait_for("QUEUE")
        (child,) = psutil.Process(worker.pid).children()
        task_id = str(send(url, "rig.ignore_sigterm", (90,)).id)
        wait_until(lambda: task_id in worker.log, 10, "it has begun")
        terminal.keys("3")
        terminal.wait_for("STARTED", 15)
        terminal.keys("K")
        terminal.wait_for("y: terminate")
        terminal.wait_for(f"{child.pid} still runs exactly this task", 15)
        terminal.keys("y")
        terminal.wait_for("K next: SIGKILL", 20)
        assert "NOT STOPPED" in terminal.text and lives(child.pid)
        terminal.keys("K")
        box = terminal.wait_for("y: kill")
        assert "Celery says REVOKED" in box and "nothing is left to stop" not in box
        terminal.keys("y")
        terminal.wait_for("STOPPED   ", 10)
        wait_until(lambda: not lives(child.pid), 5, "it is gone")
        terminal.wait_for("Its process is gone")

"""Memory is bounded, whatever the cluster sends; what is let go is counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.rig import RedisServer, wait_until
from tests.sources.wired import HEARTBEAT, RECEIVED, STARTED, envelope

MOST = 150 * 2**20
"""Bytes that a busy cluster may add."""
CONFIG = "max_tasks = 20000\n"


def publish(client: Any, events: Iterable[dict[str, Any]]) -> None:
    """PUBLISH one message, as a worker's event buffer does, when the program has read what came before."""
    body = json.dumps([{**event, "timestamp": time.time()} for event in events]).encode()
    client.publish("/0.celeryev/task.multi", envelope(body))
    wait_until(lambda: all(int(one["omem"]) < 2_000_000 for one in client.client_list()), 60, "it reads")


def lives(first: int, number: int) -> list[dict[str, Any]]:
    """Tasks that are received and done."""
    found = []
    for one in range(first, first + number):
        uuid = f"{one:08x}-0000-4000-8000-000000000000"
        found.append({**RECEIVED, "uuid": uuid, "name": f"app.t{one % 50}", "root_id": uuid, "args": f"({one}, 'x')"})
        found.append({**STARTED, "type": "task-succeeded", "uuid": uuid, "runtime": 0.1, "result": "'x'"})
    return found


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_flood_of_everything_stays_within_bounds_and_is_counted(redis_server: RedisServer, tmp_path: Path) -> None:
    client = redis_server.client()
    (tmp_path / "celerytop").mkdir()
    (tmp_path / "celerytop" / "config.toml").write_text(CONFIG)
    out = tmp_path / "out"
    words = ["--batch", "--json", "-n", "999", "-d", "1", "--page", "queues", "-b", redis_server.url()]
    with out.open("wb") as file:
        program = subprocess.Popen(
            [sys.executable, "-m", "celerytop", *words],
            stdout=file, stdin=subprocess.DEVNULL, env={"XDG_CONFIG_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
    try:
        own = psutil.Process(program.pid)
        wait_until(lambda: b"\n" in out.read_bytes(), 40, "the first picture")
        before = own.memory_info().rss
        for first in range(0, 10_000, 500):
            publish(client, ({**HEARTBEAT, "hostname": f"w{one}@h{one}"} for one in range(first, first + 500)))
        pipeline = client.pipeline(transaction=False)
        for number in range(5_000):
            pipeline.sadd("_kombu.binding.celery", f"q{number}\x06\x16\x06\x16q{number}")
            pipeline.lpush(f"q{number}", "x")
        pipeline.execute()
        for first in range(0, 40_000, 250):
            publish(client, lives(first, 250))
        wait_until(lambda: _last(out)["losses"]["forgotten"] >= 40_000 - 20_000, 60, "nothing waits to be folded")
        publish(client, [{**RECEIVED, "args": "x" * 20_000_000}])
        wait_until(lambda: _last(out)["losses"]["bad"] == 1, 60, "nothing that large is taken")
        for first in range(0, 30_000, 500):
            publish(client, ({**STARTED, "uuid": f"u{n}", "hostname": f"e{n}@h"} for n in range(first, first + 500)))
        last = wait_until(lambda: _settled(out), 90, "everything is counted")
        assert own.memory_info().rss - before < MOST, own.memory_info().rss - before
        assert last["losses"]["forgotten"] >= 40_000 - 20_000
        assert last["totals"]["workers"] <= 20_000
        assert any("20,000 node names" in note for note in last["notes"])
        assert len(last["queues"]) == 5_000
    finally:
        program.terminate()
        program.wait(30)


def _settled(out: Path) -> dict[str, Any] | None:
    last = _last(out)
    done = last["losses"]["bad"] == 1 and last["totals"]["ready"] == 5_000 and last["notes"]
    gone = last["losses"]["forgotten"] + last["losses"]["dropped"]
    return last if done and gone >= 40_000 + 30_000 - 20_000 - 400 else None


def _last(out: Path) -> dict[str, Any]:
    """The last whole picture: another may be half written. Not all of the file is read, there are 100 MB of it."""
    with out.open("rb") as file:
        length, end = 1 << 20, file.seek(0, os.SEEK_END)
        while True:
            file.seek(max(0, end - length))
            *whole, _ = file.read(end - file.tell()).split(b"\n")
            if len(whole) > 1 or (whole and length >= end):
                found: dict[str, Any] = json.loads(whole[-1])
                return found
            length *= 4

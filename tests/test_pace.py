"""A broker that answers slowly is asked less, and the screen says so; a fast one as often as ever again."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

import pytest
import redis

from celerytop.build import build
from celerytop.model.snapshot import Snapshot, SourceStatus
from celerytop.options import load
from tests.rig import RedisServer, wait_until

_BUSY = """
local function now() local t = redis.call('TIME'); return t[1] + t[2] / 1000000 end
local till = now() + tonumber(ARGV[1])
while now() < till do end
"""
"""Redis answers nobody meanwhile."""


@pytest.mark.timeout(200)
def test_a_slow_redis_is_asked_less_and_the_screen_says_so(redis_server: RedisServer) -> None:
    client = redis_server.client()
    client.lpush("celery", "x")
    client.sadd("_kombu.binding.celery", "celery\x06\x16\x06\x16celery")
    over = threading.Event()

    def hold() -> None:
        mine = redis_server.client()
        while not over.is_set():
            with suppress(redis.TimeoutError):  # a machine so busy that half a second takes two: it is slow as well
                mine.eval(_BUSY, 0, "0.5")

    options = load({"broker": redis_server.url(), "passive": True}, {}, os.getcwd())
    assert options.broker is not None
    monitor = build(options, options.broker)
    monitor.start()
    thread = threading.Thread(target=hold)
    try:
        wait_until(lambda: "celery" in monitor.latest.queues, 30, "the queue is seen")
        thread.start()
        status, note = wait_until(lambda: _slowed(monitor.picture()), 40, "it is asked half as often, and that is said")
        assert "asked every" in note and "not every 1 s" in note, note
        assert status.state == "UP"
        over.set()
        thread.join()
        before, begun = _lengths_asked(client), time.monotonic()
        wait_until(lambda: not _told(monitor.picture()), 90, "it is fast again")
        asked, took = _lengths_asked(client) - before, time.monotonic() - begun
        # half as often as a fast one, which is asked for four lists a second; and one look before, one behind
        assert asked <= took * 4 / 2 + 2 * 4, (asked, took)
    finally:
        over.set()
        if thread.ident is not None:
            thread.join()
        monitor.stop()


def _told(snapshot: Snapshot) -> str | None:
    return next((note for note in snapshot.notes if "takes" in note), None)


def _slowed(snapshot: Snapshot) -> tuple[SourceStatus, str] | None:
    """How the queues do, and the note, once both are there."""
    status, note = snapshot.source("queues"), _told(snapshot)
    if status is None or note is None or status.asked_every is None or status.usually_every is None:
        return None
    return (status, note) if status.asked_every >= 2 * status.usually_every else None


def _lengths_asked(client: object) -> int:
    stats = client.info("commandstats")  # type: ignore[attr-defined]
    return int(stats["cmdstat_llen"]["calls"])

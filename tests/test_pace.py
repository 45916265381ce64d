"""A broker that answers slowly is asked less, and the screen says so; a fast one as often as ever again."""

from __future__ import annotations

import os
import threading
import time

from celerytop.build import build
from celerytop.options import load
from tests.rig import RedisServer, wait_until

_BUSY = """
local function now() local t = redis.call('TIME'); return t[1] + t[2] / 1000000 end
local till = now() + tonumber(ARGV[1])
while now() < till do end
"""
"""Redis answers nobody meanwhile."""


def test_a_slow_redis_is_asked_less_and_the_screen_says_so(redis_server: RedisServer) -> None:
    client = redis_server.client()
    client.lpush("celery", "x")
    client.sadd("_kombu.binding.celery", "celery\x06\x16\x06\x16celery")
    over = threading.Event()

    def hold() -> None:
        mine = redis_server.client()
        while not over.is_set():
            mine.eval(_BUSY, 0, "0.5")

    options = load({"broker": redis_server.url(), "passive": True}, {}, os.getcwd())
    assert options.broker is not None
    monitor = build(options, options.broker)
    monitor.start()
    thread = threading.Thread(target=hold)
    try:
        wait_until(lambda: "celery" in monitor.latest.queues, 10, "the queue is seen")
        thread.start()
        wait_until(lambda: any("takes" in note for note in monitor.latest.notes), 20, "it says so")
        note = next(note for note in monitor.latest.notes if "takes" in note)
        assert "asked every" in note and "not every 1 s" in note, note
        status = monitor.latest.source("queues")
        assert status is not None and status.state == "UP"
        assert status.asked_every is not None and status.usually_every is not None
        assert status.asked_every >= 2 * status.usually_every
        over.set()
        thread.join()
        before, begun = _lengths_asked(client), time.monotonic()
        wait_until(lambda: not any("takes" in note for note in monitor.latest.notes), 45, "it is fast again")
        rate = (_lengths_asked(client) - before) / (time.monotonic() - begun)
        assert rate < 4 * 0.75, "four lists a second is what is asked of a fast one"
    finally:
        over.set()
        if thread.ident is not None:
            thread.join()
        monitor.stop()


def _lengths_asked(client: object) -> int:
    stats = client.info("commandstats")  # type: ignore[attr-defined]
    return int(stats["cmdstat_llen"]["calls"])

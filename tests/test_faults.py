"""The whole watch, from the outside in: brokers that die, freeze, refuse and fill up while somebody looks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from celerytop.build import build
from celerytop.model.observation import DOWN, UP
from celerytop.model.snapshot import Snapshot
from celerytop.model.worker import ALIVE, UNKNOWN
from celerytop.monitor import Monitor
from celerytop.options import load
from tests.rig import RabbitServer, RedisServer, Worker, free_port, wait_until
from tests.rig.send import send


@contextmanager
def watching(url: str, **flags: object) -> Iterator[Monitor]:
    options = load({"broker": url, "interval": 0.5, **flags}, {}, os.getcwd())
    assert options.broker is not None
    monitor = build(options, options.broker)
    monitor.start()
    try:
        yield monitor
    finally:
        monitor.stop()


def states(snapshot: Snapshot) -> dict[str, str]:
    return {source.name: source.state for source in snapshot.sources if source.name != "host"}


def all_up(monitor: Monitor) -> bool:
    return set(states(monitor.latest).values()) == {UP}


def all_down(monitor: Monitor) -> bool:
    return set(states(monitor.latest).values()) == {DOWN}


def down_since(monitor: Monitor) -> list[float]:
    """When it called each source down."""
    return [one.since_at or 0.0 for one in monitor.latest.sources if one.state == DOWN]


def tried_again_soon(monitor: Monitor) -> bool:
    """No pause before the next attempt keeps it from being back within three seconds."""
    waits = [one.retry_at - time.time() for one in monitor.latest.sources if one.retry_at is not None]
    return bool(waits) and max(waits) <= 1.5


@pytest.fixture(params=["redis", "rabbitmq"])
def server(request: pytest.FixtureRequest) -> RedisServer | RabbitServer:
    name = "redis_server" if request.param == "redis" else "rabbitmq_server"
    found: RedisServer | RabbitServer = request.getfixturevalue(name)
    return found


def flags(server: RedisServer | RabbitServer) -> dict[str, str]:
    return {} if isinstance(server, RedisServer) else {"management_url": server.management_url}


@pytest.mark.timeout(120)
def test_a_frozen_broker_is_stale_within_eight_seconds_and_back_within_three(
    server: RedisServer | RabbitServer,
) -> None:
    with Worker(server.url()) as worker, watching(server.url(), **flags(server)) as monitor:
        send(server.url(), "rig.sleep", (120,))

        def busy() -> bool:
            seen = monitor.latest.workers.get(worker.nodename)
            return all_up(monitor) and seen is not None and seen.state == ALIVE and seen.active == 1

        wait_until(busy, 30, "one busy worker")
        frozen_at = time.time()
        server.freeze()
        wait_until(lambda: all_down(monitor), 30, "every source down")
        assert all(at - frozen_at < 9.0 for at in down_since(monitor)), "by what the program says itself"
        assert tried_again_soon(monitor)
        cut_off = wait_until(lambda: monitor.latest if monitor.latest.cut_off() else None, 30)
        assert cut_off.workers[worker.nodename].state == UNKNOWN, "cut off ourselves: nothing is said of workers"
        assert cut_off.workers[worker.nodename].concurrency == 2, "rows keep their last values"
        assert "celery" in cut_off.queues
        errors = {source.error for source in cut_off.sources if source.state == DOWN}
        assert all(errors)
        server.thaw()
        wait_until(lambda: all_up(monitor), 30, "every source up")
        wait_until(lambda: monitor.latest.workers[worker.nodename].state == ALIVE, 30, "the worker is back")
        assert monitor.latest.gaps, "events may have been lost meanwhile: it says so"


@pytest.mark.timeout(90)
def test_a_killed_redis_is_noticed_at_once_and_watched_again_when_it_is_back(
    redis_server: RedisServer,
) -> None:
    send(redis_server.url(), "rig.add", (1, 2), queue="kept")
    with watching(redis_server.url()) as monitor:
        wait_until(lambda: all_up(monitor) and "kept" in monitor.latest.queues, 30)
        redis_server.kill()
        wait_until(lambda: all_down(monitor), 30, "every source down")
        wait_until(lambda: "refuse" in (monitor.latest.sources[0].error or ""), 30, "the next attempt says why")
        assert tried_again_soon(monitor)
        assert monitor.latest.queues["kept"].messages == 1
        redis_server.restart()
        wait_until(lambda: all_up(monitor), 30, "every source up")


def test_a_broker_that_is_down_at_the_start_is_found_when_it_comes() -> None:
    port = free_port()
    with watching(f"redis://127.0.0.1:{port}/0") as monitor:
        wait_until(lambda: all_down(monitor), 30)
        assert tried_again_soon(monitor)
        with RedisServer(port=port):
            wait_until(lambda: all_up(monitor), 30)


def test_a_wrong_password_is_one_sentence_and_not_hammered() -> None:
    with RedisServer(password="right") as server, watching(server.url(password="wr0ng")) as monitor:
        wait_until(lambda: all_down(monitor), 30)
        status = monitor.latest.sources[0]
        assert "refused" in (status.error or "")
        assert "wr0ng" not in (status.error or "")
        assert status.retry_at is not None and status.since_at is not None
        assert status.retry_at - status.since_at > 3.0


def test_one_missing_right_leaves_the_rest_running() -> None:
    acl = ["look on >pw resetchannels &* ~* +@all -info -publish"]
    with RedisServer(acl=acl) as server, watching(server.url(user="look", password="pw")) as monitor:
        wait_until(lambda: states(monitor.latest).get("control") == DOWN, 30)
        wait_until(lambda: states(monitor.latest).get("queues") == UP, 30)
        sentences = " ".join(source.error or "" for source in monitor.latest.sources)
        assert "publish" in sentences.lower()


def test_keys_that_may_not_be_read_are_told_and_never_counted_as_none() -> None:
    acl = ["part on >pw ~celery* &* +@all", "none on >pw ~* &* -@all"]
    with RedisServer(acl=acl) as server:
        send(server.url(), "rig.add", (1, 2), queue="other")
        with watching(server.url(user="part", password="pw")) as monitor:
            wait_until(lambda: "Needs: ~*" in " ".join(monitor.latest.notes), 30)
            assert monitor.latest.totals.ready is None
        with watching(server.url(user="none", password="pw")) as monitor:
            wait_until(lambda: "needs +scan" in " ".join(monitor.latest.notes), 30)
            assert monitor.latest.totals.ready is None


def test_a_full_redis_is_still_watched(redis_server: RedisServer) -> None:
    send(redis_server.url(), "rig.add", (1, 2), queue="kept")
    with watching(redis_server.url()) as monitor:
        wait_until(lambda: all_up(monitor), 30)
        client = redis_server.client()
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1mb")
        wait_until(lambda: getattr(monitor.latest.broker, "trouble", None), 30, "the trouble is told")
        assert states(monitor.latest)["queues"] == UP
        assert states(monitor.latest)["broker"] == UP
        assert monitor.latest.queues["kept"].messages == 1


def test_a_redis_that_cannot_save_is_still_watched() -> None:
    """It refuses PING too (MISCONF), and answers everything that only reads."""
    args = ("--enable-protected-configs", "yes", "--save", "3600 1")
    with RedisServer(args=args) as server, server.client() as client:
        send(server.url(), "rig.add", (1, 2), queue="kept")
        (server.folder / "folder").mkdir()
        client.config_set("dbfilename", "folder")
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 60, "the save failed")
        with watching(server.url()) as monitor:
            wait_until(lambda: all_up(monitor), 30)
            [since_at] = [one.since_at for one in monitor.latest.sources if one.name == "events"]
            wait_until(lambda: _seen(monitor, "events") > (since_at or 0.0) + 4, 30, "it is asked for signs of life")
            [events] = [one for one in monitor.latest.sources if one.name == "events"]
            assert (events.state, events.since_at) == (UP, since_at)
            assert monitor.latest.queues["kept"].messages == 1
            assert "last save to disk failed" in str(getattr(monitor.latest.broker, "trouble", ""))


def _seen(monitor: Monitor, source: str) -> float:
    return next(one.seen_at or 0.0 for one in monitor.latest.sources if one.name == source)


def test_stopping_leaves_no_thread_and_no_connection(redis_server: RedisServer) -> None:
    import threading

    with watching(redis_server.url()) as monitor:
        wait_until(lambda: all_up(monitor), 30)
        assert len(redis_server.client().client_list()) >= 2
        while_up = threading.active_count()
    wait_until(lambda: threading.active_count() <= while_up - 3, 30)
    client: Any = redis_server.client()
    wait_until(lambda: not [one for one in client.client_list() if one["name"].startswith("celerytop")], 30, "hung up")

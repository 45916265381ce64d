"""Whatever anybody puts on the broker: no crash, it is counted, and not one byte of it is obeyed by a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from celerytop.build import build
from celerytop.model.command import Attend
from celerytop.model.observation import STARTING, UP
from celerytop.model.snapshot import Snapshot
from celerytop.monitor import Monitor
from celerytop.options import load
from celerytop.report.choice import Choice
from celerytop.report.once import as_json
from celerytop.report.table import as_text
from tests.hostile import ESCAPES, FakeWorker, bad_events, odd_events, publish, spoil, unsafe, unsafe_bytes
from tests.rig import RabbitServer, RedisServer, Terminal, wait_until
from tests.written import written

pytestmark = pytest.mark.timeout(180)


@contextmanager
def watching(url: str, **flags: object) -> Iterator[Monitor]:
    options = load({"broker": url, "interval": 0.5, **flags}, {}, os.getcwd())
    assert options.broker is not None
    monitor = build(options, options.broker, attention=Attend(page="all"))
    monitor.start()
    try:
        yield monitor
    finally:
        monitor.stop()


def harmless(snapshot: Snapshot) -> str:
    """What ``once`` would print, after a look at every character of it."""
    for width in (80, 200):
        assert not unsafe(as_text(snapshot, Choice(), width=width), "\n")
    found = as_json(snapshot, Choice())
    assert not unsafe(found)
    return found


@contextmanager
def evil_process(folder: Path) -> Iterator[int]:
    """A process on this host that looks like a worker and has escapes in its command line."""
    script = folder / "celery"
    script.write_text("import time\ntime.sleep(120)\n")
    words = [sys.executable, str(script), "-A", f"app{ESCAPES}", "worker", "-n", f"w{ESCAPES}@%h"]
    process = subprocess.Popen([word.replace("\0", "") for word in words])
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def test_every_hostile_event_is_counted_and_every_other_one_is_folded(redis_server: RedisServer) -> None:
    with watching(redis_server.url()) as monitor:
        wait_until(lambda: (status := monitor.latest.source("events")) and status.state == UP, 30)
        bad, _ = publish(redis_server.client())
        wait_until(lambda: monitor.picture().losses.bad == bad and "failed" in monitor.picture().tasks, 30, "all read")
        seen = monitor.picture()
        assert seen.source("events").state == UP  # type: ignore[union-attr]
        assert seen.bad_events[-1].reason
        assert seen.bad_events[-1].reason in as_text(seen, Choice()), "the last one can be seen"
        assert len([name for name in seen.workers if name.endswith("@evil")]) == 1
        harmless(seen)


def test_keys_messages_answers_and_names_of_clients_may_be_anything(redis_server: RedisServer, tmp_path: Path) -> None:
    client = redis_server.client()
    spoil(client)
    client.config_set("slowlog-log-slower-than", 0)
    client.client_setname("[/bold][red]x")
    with (
        evil_process(tmp_path) as pid,
        FakeWorker(redis_server.url()) as worker,
        watching(redis_server.url()) as monitor,
    ):
        wait_until(lambda: {"ping", "stats", "active_queues"} <= worker.answered, 30, "asked")
        seen = wait_until(lambda: _complete(monitor, pid), 30, "everything has been looked at")
        printed = harmless(seen)
        wait_until(lambda: monitor.looked(4), 30)
        harmless(monitor.picture())
    states = {status.name: (status.state, status.error) for status in seen.sources}
    assert {state for state, _ in states.values()} == {UP}, states
    assert "\\\\x1b]52" in printed and "\\\\u202e" in printed, "shown as what it is"
    assert seen.unacked is not None and seen.unacked.count == 13
    monitor.submit(Attend(page="broker"))


def _complete(monitor: Monitor, pid: int) -> Snapshot | None:
    seen = monitor.picture()
    pids = {process.pid for host in seen.hosts.values() for process in host.processes}
    evil = any("52;c" in name for name in seen.queues)
    if seen.unacked is None or any(status.state == STARTING for status in seen.sources):
        return None
    return seen if evil and seen.broker is not None and pid in pids and len(seen.workers) > 2 else None


PAGES = ("1", "2", "3", "5", "6", "8")
ASCII = {"TERM": "linux", "LANG": "C"}


@pytest.mark.pty
@pytest.mark.parametrize("env", [{}, ASCII], ids=["utf-8", "ascii"])
def test_not_one_byte_of_it_is_obeyed_by_the_terminal(
    redis_server: RedisServer, tmp_path: Path, env: dict[str, str]
) -> None:
    url, client = redis_server.url(), redis_server.client()
    spoil(client)
    program = [sys.executable, "-m", "celerytop", "-b", url]
    with evil_process(tmp_path), FakeWorker(url) as worker, Terminal(program, 160, 50, env=env) as screen:
        wait_until(lambda: "conf" in worker.answered or "active" in worker.answered, 30, "asked")
        bad, _ = publish(client)
        screen.keys("5")  # line 3 has no room for it once the made-up workers are silent
        screen.wait_for("where the memory is")
        screen.keys("end")
        screen.wait_for(f"{bad} bad events refused")
        for page in PAGES if not env else PAGES[1:4]:
            for keys in ((page, "enter", "m", "end", "y"), ("escape",), ("down", "enter"), ("escape",)):
                screen.keys(*keys)
                _settled(screen)
        screen.keys("5")
        screen.wait_for("where the memory is")
        screen.keys("end")
        screen.wait_for("bad: envelope is not UTF-8")
        for key in ("3", "/", "e", "v", "i", "l", "enter", "?", "escape", ":", "escape"):
            screen.keys(key)
        _settled(screen)
        assert screen.exit_code is None
        screen.keys("ctrl+c")
        assert screen.wait_exit() == 0
        drawn = written(screen)
        assert not unsafe_bytes(drawn)
        assert b"Traceback" not in drawn and b"has a bug" not in drawn


def _settled(screen: Terminal) -> None:
    """Wait until it has drawn what the keys asked for: nothing new for a fifth of a second."""
    size, since = -1, time.monotonic()

    def quiet() -> bool:
        nonlocal size, since
        if size != len(screen.raw):
            size, since = len(screen.raw), time.monotonic()
        return time.monotonic() - since > 0.2

    wait_until(quiet, 30, "it draws no more")


def test_hostile_events_on_rabbitmq_are_counted_too(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    import pika

    url = rabbitmq_server.url(rabbitmq_vhost)
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.exchange_declare("celeryev", "topic", durable=True)
    name = "q" + ESCAPES.replace("\r\n", "")  # the server drops these, and pika then waits for ever
    channel.queue_declare(name, durable=True)
    channel.basic_publish("", name, b"\xff not a task")
    channel.queue_declare("celery@[/bold]\x1b[2J.celery.pidbox")
    with watching(url, management_url=rabbitmq_server.management_url) as monitor:
        wait_until(lambda: (status := monitor.latest.source("events")) and status.state == UP, 30, "it listens")
        bad = bad_events()
        for body in (*bad, *odd_events()):
            properties = pika.BasicProperties(content_type=ESCAPES, headers={ESCAPES: ESCAPES})
            channel.basic_publish("celeryev", "task.[red]", body, properties)
        wait_until(lambda: monitor.picture().losses.bad == len(bad), 30, "all bad ones are counted")
        wait_until(lambda: "failed" in monitor.picture().tasks, 30, "the others are folded")
        wait_until(lambda: any("52;c" in name for name in monitor.picture().queues), 30, "the queue is seen")
        wait_until(lambda: {status.state for status in monitor.picture().sources} == {UP}, 30, "every source is up")
        harmless(monitor.picture())
    connection.close()

"""The broker of the workers that run on this host: real ones; none, one and several of them.

Other people's workers may run on this machine: only our own pids are looked at.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from celerytop import config, discover
from celerytop.app_settings import AppQuery
from celerytop.broker_url import parse_url
from celerytop.discover import Found, candidates, find, identity
from celerytop.errors import NoBrokerError, OptionsError
from celerytop.model.address import BrokerSettings
from celerytop.options import Options, load
from celerytop.sources.worker_process import find_mains
from celerytop.sources.worker_start import look as look_at
from tests.rig import RedisServer, Worker, wait_until

SECRET = "hunter2"
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer(password=SECRET) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "SYSTEM", tmp_path / "config.toml")
    monkeypatch.setattr(AppQuery.facts, "__defaults__", (50.0,))  # a slow machine may take longer
    monkeypatch.setattr(discover, "TIMEOUT", 50.0)


def look(pids: list[int], choose: Callable[[tuple[Found, ...]], Found] | None = None) -> Options:
    environ = {"XDG_CONFIG_HOME": "/nonexistent"}
    return find(load({}, environ, Path.cwd()), environ, choose, only_pids=pids)


@contextmanager
def asleep(words: str, folder: Path, **environ: str) -> Iterator[int]:
    """A Python whose command line is ``words``, and that does nothing; its pid. ``celery`` in it is an idle script."""
    script = folder / "celery"
    script.write_text("import time; time.sleep(600)")
    argv = [words] if words.startswith("[") else words.replace("celery", str(script), 1).split()
    argv = argv if argv[0] != str(script) else [sys.executable, *argv]
    process = subprocess.Popen(
        argv, executable=sys.executable, cwd=folder, env={**os.environ, **environ}, stdin=subprocess.PIPE
    )
    try:
        wait_until(
            lambda: psutil.Process(process.pid).cmdline()[:1] in ([one] for one in words.split() + argv), 30, words
        )
        yield process.pid
    finally:
        process.kill()
        process.communicate()


@pytest.mark.worker
def test_one_broker_is_used_and_named(server: RedisServer, worker_factory: Callable[..., Worker]) -> None:
    conf = {"broker_transport_options": {"visibility_timeout": 86400, "global_keyprefix": "px:"}}
    worker = worker_factory(server.url(db=1), pool="prefork", conf=conf)
    options = look([worker.pid, *(child.pid for child in worker.children())])
    assert options.broker is not None
    assert options.broker.address.url == f"redis://***@127.0.0.1:{server.port}/1"
    assert (options.broker.global_keyprefix, options.broker.visibility_timeout) == ("px:", 86400.0)
    assert options.found_by == f"found from worker {worker.nodename}, pid {worker.pid}"
    assert options.app == "tests.rig.app"
    assert SECRET not in repr(options)


@pytest.mark.worker
def test_several_brokers_are_offered(server: RedisServer) -> None:
    urls = [server.url(db=2), server.url(db=3), server.url(db=2)]
    workers = [Worker(url, pool="solo").launch() for url in urls]
    try:
        for worker in workers:
            worker.wait_ready()
        pids = [worker.pid for worker in workers]
        with pytest.raises(NoBrokerError) as caught:
            look(pids)
        assert f"{server.port}/2" in str(caught.value) and f"{server.port}/3" in str(caught.value)
        assert SECRET not in str(caught.value)
        offered: list[Found] = []

        def choose(found: tuple[Found, ...]) -> Found:
            offered.extend(found)
            return found[-1]

        options = look(pids, choose)
        assert [len(found.pids) for found in offered] == [2, 1]
        assert options.broker is not None and options.broker.address.db == 3
        assert offered[0].how.endswith(" and 1 more")
        workers[1].stop()
        assert find_db(pids) == 2
    finally:
        for worker in workers:
            worker.close()


def find_db(pids: list[int]) -> int | None:
    options = look(pids)
    return options.broker.address.db if options.broker else None


def test_none_says_what_was_tried_and_names_the_demo() -> None:
    with pytest.raises(NoBrokerError) as caught:
        look([os.getpid()])
    said = str(caught.value)
    for words in ("-b", "-A", "CELERYTOP_BROKER", "CELERY_BROKER_URL", "config.toml", "workers", "celerytop demo"):
        assert words in said
    assert "\n" not in said


def test_the_app_is_resolved_by_the_workers_own_python(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "shop.py").write_text(
        "import os, sys\nfrom celery import Celery\n"
        f"app = Celery('shop', broker='redis://:{SECRET}@' + os.environ['SHOP_HOST'])\n"
        "app.conf.task_default_queue = os.path.basename(os.getcwd()) + os.environ['OF_SHOP']\n"
    )
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\nOF_SHOP=-shop exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    words = f"{python} celery -A shop worker -n s@%h"
    with asleep(words, tmp_path, SHOP_HOST="shop-db", PYTHONPATH=str(tmp_path / "lib")) as pid:
        (found,), troubles = candidates([pid])
    assert (found.settings.address.endpoints[0].host, troubles, found.app) == ("shop-db", (), "shop")
    assert found.settings.queues == (f"{tmp_path.name}-shop",)


@pytest.mark.parametrize(
    ("words", "environ", "host"),
    [
        (f"celery -A gone -b redis://:{SECRET}@flag worker", {}, "flag"),
        (f"celery -A gone --broker=redis://:{SECRET}@flag worker", {"CELERY_BROKER_URL": "redis://env"}, "flag"),
        ("celery worker", {"CELERY_BROKER_URL": f"redis://:{SECRET}@env"}, "env"),
        ("celery worker", {"BROKER_URL": f"redis://:{SECRET}@click"}, "click"),
        (f"[celeryd: w@h:MainProcess] -active- (-A gone -b redis://:{SECRET}@title worker)", {}, "title"),
        ("[celeryd: w@h:MainProcess] -active-", {"CELERY_BROKER_URL": "redis://env"}, "env"),
    ],
)
def test_command_line_and_environment_are_enough(
    tmp_path: Path, words: str, environ: dict[str, str], host: str
) -> None:
    with asleep(words, tmp_path, **environ) as pid:
        (found,), _ = candidates([pid])
    assert found.settings.address.endpoints[0].host == host
    assert SECRET not in repr(found)


def test_a_title_that_hides_the_environment_is_checked_by_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: RedisServer
) -> None:
    """setproctitle writes over argv and environment; then the app may name another broker than the worker uses."""
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    (tmp_path / "shop.py").write_text(f"from celery import Celery\napp = Celery(broker={server.url()!r})\n")
    title = "[celeryd: w@h:MainProcess] -active- (-A shop worker)"
    connect = f"import socket; s = socket.create_connection(('127.0.0.1', {server.port})); s.recv(1)\n"
    process = subprocess.Popen([title], executable=sys.executable, cwd=tmp_path, env={}, stdin=subprocess.PIPE)
    assert process.stdin is not None
    try:
        # for a moment after exec the kernel shows no command line at all
        wait_until(lambda: psutil.Process(process.pid).cmdline(), 30, "it is started")
        found, (trouble,) = candidates([process.pid])
        assert not found and "hides its environment" in trouble and SECRET not in trouble
        process.stdin.write(connect.encode())
        process.stdin.close()
        (one,) = wait_until(lambda: candidates([process.pid])[0], 30, "connected")
        assert one.settings.address.endpoints[0].port == server.port
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("words", ["celery -A proj beat", "celery flower worker", "[celeryd: w@h:ForkPoolWorker-1]"])
def test_what_is_no_worker_is_left_alone(tmp_path: Path, words: str) -> None:
    with asleep(words, tmp_path, CELERY_BROKER_URL="redis://h") as pid:
        assert candidates([pid]) == ((), ())


def test_a_worker_that_cannot_be_asked_is_named(tmp_path: Path) -> None:
    with (
        asleep("celery -A gone worker -n w1@%h", tmp_path) as pid,
        pytest.raises(NoBrokerError, match=r"w1@.*no module named gone"),
    ):
        look([pid])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_root_asks_another_users_app_as_that_user() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        Path(name).chmod(0o755)
        python = Path(name, "python")
        python.write_text('#!/bin/sh\necho "{\\"ids\\": \\"$(id -u) $(id -G)\\"}"\n')
        python.chmod(0o755)
        facts = AppQuery("x", Path(name), os.environ, str(python), owner=(65534, 65534)).facts()
    assert facts["ids"] == "65534 65534"


@pytest.mark.worker
def test_a_frozen_worker_is_still_found(server: RedisServer, worker_factory: Callable[..., Worker]) -> None:
    worker = worker_factory(server.url(db=4), pool="solo")
    os.kill(worker.pid, signal.SIGSTOP)
    assert find_db([worker.pid]) == 4


def test_an_app_that_cannot_be_asked_is_a_warning_when_the_broker_is_known(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": "/nonexistent", **os.environ}
    options = find(load({"app": "gone", "broker": "redis://h"}, environ, tmp_path), environ)
    assert options.broker is not None and not options.broker.visibility_known
    assert "no module named gone" in options.warnings[-1]
    with pytest.raises(OptionsError, match="no module named gone"):
        find(load({"app": "gone"}, environ, tmp_path), environ)


def test_one_broker_under_two_names_is_one() -> None:
    def of(url: str, global_keyprefix: str = "") -> tuple[object, ...]:
        return identity(BrokerSettings(address=parse_url(url), global_keyprefix=global_keyprefix))

    assert of("redis://localhost/1") == of("redis://:x@127.0.0.1:6379/1")
    assert of("redis://h/1") != of("redis://h/2")
    assert of("redis://h/1") != of("redis://h/1", global_keyprefix="x")
    assert of("amqp://h/a") != of("amqp://h/b")


def test_a_worker_prints_without_its_environment(tmp_path: Path) -> None:
    with asleep("celery worker", tmp_path, DB_PASSWORD=SECRET) as pid:
        main = find_mains([pid])[pid]
        assert SECRET not in repr(look_at(main))

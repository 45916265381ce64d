"""Fixtures over the rig: a fresh Redis, a fresh vhost, workers on demand."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, settings

from tests.rig import Missing, RabbitServer, RedisServer, Sentinel, Worker
from tests.rig.send import close_apps

_vhosts = itertools.count(1)

# A slow machine is no bug, and what is tried is the same in every run.
settings.register_profile("calm", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("calm")


def pytest_configure() -> None:
    """SIGTERM ends the run as Ctrl+C does: the servers and workers are put away.

    In the background of a shell SIGINT and SIGQUIT are ignored, and so they would be by every program that is started.
    """
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


@pytest.fixture(scope="session", autouse=True)
def _state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Audit lines and dumps of the tests are no business of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


def _need(error: Missing) -> None:
    """A missing server skips here and fails where CI promised to have it."""
    if os.environ.get("CI"):
        pytest.fail(str(error))
    pytest.skip(str(error))


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis of one's own: freeze, kill and fill it at will."""
    try:
        server = RedisServer()
    except Missing as error:
        _need(error)
        raise
    with server:
        yield server
        close_apps()


@pytest.fixture
def redis_sentinel() -> Iterator[Sentinel]:
    """A master, a replica and the sentinel that watches them."""
    try:
        sentinel = Sentinel()
    except Missing as error:
        _need(error)
        raise
    with sentinel:
        yield sentinel
        close_apps()


@pytest.fixture(scope="session")
def _rabbitmq() -> Iterator[RabbitServer]:
    try:
        server = RabbitServer()
    except Missing as error:
        _need(error)
        raise
    with server:
        yield server


@pytest.fixture
def rabbitmq_server(_rabbitmq: RabbitServer) -> Iterator[RabbitServer]:
    """The session's RabbitMQ; whatever a test does to it, the next one finds it up."""
    yield _rabbitmq
    close_apps()
    _rabbitmq.thaw()
    if not (_rabbitmq.running and _rabbitmq.ready()):
        _rabbitmq.restart()


@pytest.fixture
def rabbitmq_vhost(rabbitmq_server: RabbitServer) -> Iterator[str]:
    """The name of a fresh vhost; its URL is ``rabbitmq_server.url(rabbitmq_vhost)``."""
    name = f"test{next(_vhosts)}"
    rabbitmq_server.add_vhost(name)
    yield name
    rabbitmq_server.thaw()
    if rabbitmq_server.running and rabbitmq_server.ready():
        close_apps()
        rabbitmq_server.delete_vhost(name)


@pytest.fixture
def worker_factory() -> Iterator[Callable[..., Worker]]:
    """``worker_factory(broker_url, pool="solo")``: a started, ready worker; all stop with the test."""
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(Worker(*args, **kwargs))

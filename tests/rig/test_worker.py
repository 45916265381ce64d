"""A worker of each pool answers on each broker, and the verbs work on it."""

from __future__ import annotations

import signal
from collections.abc import Callable

import psutil
import pytest

from tests.rig import RabbitServer, RedisServer, Worker, rig_app, send, wait_until

Factory = Callable[..., Worker]


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent", "eventlet"])
def test_each_pool_runs_a_task(pool: str, redis_server: RedisServer, worker_factory: Factory) -> None:
    worker = worker_factory(redis_server.url(), pool=pool)
    assert send(redis_server.url(), "rig.add", (2, 3)).get(timeout=40) == 5
    assert len(worker.children()) == (2 if pool == "prefork" else 0)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_rabbitmq_worker_runs_a_task(
    pool: str, rabbitmq_server: RabbitServer, rabbitmq_vhost: str, worker_factory: Factory
) -> None:
    url = rabbitmq_server.url(rabbitmq_vhost)
    worker_factory(url, pool=pool)
    assert send(url, "rig.add", (2, 3)).get(timeout=40) == 5


def test_workflows_run(redis_server: RedisServer, worker_factory: Factory) -> None:
    from celery import chord

    worker_factory(redis_server.url(), pool="threads")
    app = rig_app(redis_server.url())
    header = [app.signature("rig.add", (i, i)) for i in range(3)]
    result = chord(header, app=app)(app.signature("rig.echo"))
    assert result.get(timeout=40) == "(([0, 2, 4],), {})"


def test_frozen_worker_goes_on_after_the_thaw(redis_server: RedisServer, worker_factory: Factory) -> None:
    worker = worker_factory(redis_server.url(), concurrency=1)
    worker.freeze()
    assert psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED
    result = send(redis_server.url(), "rig.add", (1, 1))
    worker.thaw()
    assert result.get(timeout=40) == 2


def test_killed_worker_takes_its_family_along_and_starts_again(
    redis_server: RedisServer, worker_factory: Factory
) -> None:
    worker = worker_factory(redis_server.url())
    send(redis_server.url(), "rig.nested_pool", (30,))
    wait_until(lambda: len(worker.children()) == 5, message="two children, a shell and two sleeps")
    family = worker.children()
    worker.kill()
    assert worker.exit_code == -signal.SIGKILL
    assert psutil.wait_procs(family, timeout=30)[1] == []
    worker.start()
    assert send(redis_server.url(), "rig.add", (1, 1)).get(timeout=40) == 2


def test_stop_is_the_warm_shutdown(redis_server: RedisServer, worker_factory: Factory) -> None:
    worker = worker_factory(redis_server.url(), pool="threads")
    worker.stop()
    assert worker.exit_code == 0
    assert "Warm shutdown" in worker.log

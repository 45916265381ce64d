"""The rows that matter on RabbitMQ: the same words, over another wire."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from celerytop.actions.rabbitmq.link import RabbitLink
from celerytop.broker_url import parse_url
from celerytop.errors import DeniedError
from celerytop.model.action import Revoke, Target
from celerytop.model.address import BrokerSettings
from celerytop.model.outcome import FLAGGED_ONLY, NOT_STOPPED, REFUSED, STOPPED, UNKNOWN, WILL_APPLY_LATER
from celerytop.targets import target_of
from tests.actions.stage import PATIENCE, Stage, grown_tree, lives
from tests.rig import RabbitServer, Worker, wait_until
from tests.rig.send import close_apps

pytestmark = [pytest.mark.rabbitmq, pytest.mark.worker, pytest.mark.timeout(150)]  # a node and workers are started


@pytest.fixture(scope="module")
def stage(_rabbitmq: RabbitServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    _rabbitmq.add_vhost("acting")
    made = Stage(_rabbitmq.url("acting"), Path(tmp_path_factory.mktemp("state")))
    try:
        yield made.employ(prefork=2)
    finally:
        made.close()
        close_apps()
        _rabbitmq.delete_vhost("acting")


def unacked(server: RabbitServer, queue: str) -> int:
    return int(server.api("GET", f"/queues/acting/{queue}").get("messages_unacknowledged", -1))


def test_a_terminate_is_verified_and_acknowledged(stage: Stage, rabbitmq_server: RabbitServer) -> None:
    task_id, pid = stage.start("prefork", "rig.late_sleep", 60)
    assert stage.revoke(task_id, signal="SIGTERM").outcome == STOPPED
    assert not lives(pid)
    assert stage.wait_state(task_id, "REVOKED").terminated
    wait_until(lambda: unacked(rabbitmq_server, "prefork") == 0, PATIENCE, "its message is acknowledged")


def test_the_ladder(stage: Stage) -> None:
    task_id, pid = stage.start("prefork", "rig.ignore_sigterm", 60)
    verdict = stage.revoke(task_id, signal="SIGTERM", wait=0.6)
    assert (verdict.outcome, verdict.next) == (NOT_STOPPED, "SIGKILL") and lives(pid)
    assert stage.revoke(task_id, signal="SIGKILL").outcome == STOPPED and not lives(pid)


def test_the_soft_signal(stage: Stage) -> None:
    task_id, pid = stage.start("prefork", "rig.lock")
    assert stage.revoke(task_id, signal="SIGUSR1").outcome == STOPPED
    assert lives(pid)
    stage.wait_state(task_id, "FAILURE")


def test_what_waits_is_flagged(stage: Stage) -> None:
    assert stage.revoke(stage.send("prefork", "rig.add", 1, 2, countdown=300)).outcome == FLAGGED_ONLY


def test_a_hung_main(stage: Stage) -> None:
    task_id, pid = stage.start("prefork", "rig.nested_pool", 60)
    tree = grown_tree(pid, 4)
    main = stage.workers["prefork"].pid
    seen = replace(target_of(stage.see(), task_id), worker_pid=pid, pid_started_at=psutil.Process(pid).create_time())
    os.kill(main, signal.SIGSTOP)
    try:
        verdict = stage.perform(Revoke(targets=(seen,), signal="SIGTERM")).outcomes[0]
        assert (verdict.outcome, verdict.next) == (WILL_APPLY_LATER, "tree")
        assert stage.kill_tree(seen).outcome == STOPPED
        assert not any(map(lives, tree))
    finally:
        os.kill(main, signal.SIGCONT)


def test_no_worker_holds_nothing(rabbitmq_server: RabbitServer, rabbitmq_vhost: str, tmp_path: Path) -> None:
    stage = Stage(rabbitmq_server.url(rabbitmq_vhost), tmp_path)
    stage.monitor.start()
    try:
        wait_until(lambda: stage.see().hosts, PATIENCE, "this host is seen")  # and on it workers of another vhost
        verdict = stage.perform(Revoke(targets=(Target("x"),))).outcomes[0]
        assert verdict.outcome == REFUSED
    finally:
        stage.close()


def test_a_worker_of_this_host_that_is_not_heard_may_hold_it(
    rabbitmq_server: RabbitServer, rabbitmq_vhost: str, worker_factory: Callable[..., Worker], tmp_path: Path
) -> None:
    worker = worker_factory(rabbitmq_server.url(rabbitmq_vhost), pool="solo")
    stage = Stage(rabbitmq_server.url(rabbitmq_vhost), tmp_path)
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        stage.monitor.start()
        wait_until(lambda: worker.nodename in names_here(stage), PATIENCE, "its process is seen")
        verdict = stage.perform(Revoke(targets=(Target("x"),))).outcomes[0]
        assert verdict.outcome == UNKNOWN and worker.nodename in verdict.sentence
    finally:
        os.kill(worker.pid, signal.SIGCONT)
        stage.close()


def names_here(stage: Stage) -> set[str | None]:
    return {process.nodename for host in stage.see().hosts.values() for process in host.processes}


def test_an_account_that_may_not_publish_is_told_so(
    rabbitmq_server: RabbitServer, rabbitmq_vhost: str, worker_factory: Callable[..., object]
) -> None:
    worker_factory(rabbitmq_server.url(rabbitmq_vhost), nodename="w@h")
    rabbitmq_server.add_user("looker", "pw", "monitoring", {rabbitmq_vhost: (".*ctop.*", "^$", ".*")})
    url = rabbitmq_server.url(rabbitmq_vhost, user="looker", password="pw")
    link = RabbitLink(BrokerSettings(parse_url(url)))
    try:
        with pytest.raises(DeniedError, match="cannot be told"):
            link.control.ask("revoke", {"task_id": ["x"]}, ("w@h",), 1.0)
    finally:
        link.close()

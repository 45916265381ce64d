"""Worker control on RabbitMQ: the same words over another wire, and queues that must be declared as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from celerytop.model.action import AddConsumer, CancelConsumer, RateLimit, RevokeStamped, Shutdown
from celerytop.model.outcome import CANNOT, DONE, FLAGGED_ONLY, STOPPED
from celerytop.undo import paused_here
from tests.actions.crew import Crew, settled_words
from tests.actions.stage import PATIENCE, lives
from tests.rig import RabbitServer, rig_app, wait_until
from tests.rig.send import close_apps

pytestmark = [pytest.mark.rabbitmq, pytest.mark.worker, pytest.mark.timeout(150)]  # a node and workers are started
VHOST = "control"


@pytest.fixture(scope="module")
def crew(_rabbitmq: RabbitServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    _rabbitmq.add_vhost(VHOST)
    made = Crew(_rabbitmq.url(VHOST), Path(tmp_path_factory.mktemp("state")))
    try:
        yield made.hire(
            plain={"concurrency": 2},
            prio={"pool": "threads", "conf": {"task_queue_max_priority": 5}},
        )
    finally:
        made.close()
        close_apps()
        _rabbitmq.delete_vhost(VHOST)


def test_a_paused_queue_keeps_its_message_until_it_is_resumed(crew: Crew) -> None:
    found = crew.do(CancelConsumer(workers=crew.named("plain"), queue="plain"))
    assert settled_words(found) == {"plain": DONE} and crew.queues("plain") == set()
    assert paused_here(crew.see()) == {"plain": crew.named("plain")}
    waits = crew.send("plain", "rig.add", 1, 1)
    wait_until(
        lambda: (queue := crew.see().queues.get("plain")) is not None and queue.messages == 1, PATIENCE, "it waits"
    )
    assert crew.do(AddConsumer(workers=crew.named("plain"), queue="plain"))["plain"].outcome == DONE
    crew.wait_state(waits, "SUCCESS")


def test_a_queue_with_arguments_is_declared_as_the_others_have_it(crew: Crew) -> None:
    """RabbitMQ would close the channel of who declares it otherwise."""
    assert crew.do(AddConsumer(workers=crew.named("plain"), queue="prio"))["plain"].outcome == DONE
    assert crew.do(CancelConsumer(workers=crew.named("prio"), queue="prio"))["prio"].outcome == DONE
    app = rig_app(crew.url, conf={"task_queue_max_priority": 5})
    task = str(app.send_task("rig.add", (1, 2), queue="prio").id)
    assert crew.wait_state(task, "SUCCESS").worker == crew.workers["plain"].nodename
    assert "PRECONDITION_FAILED" not in crew.workers["plain"].log


def test_limits_stamps_and_shutdown_have_the_same_words(crew: Crew) -> None:
    limited = crew.do(RateLimit(workers=crew.named(), task_name="rig.add", rate_limit="100/s"))
    assert settled_words(limited) == {"plain": DONE, "prio": DONE}
    assert (
        crew.do(RateLimit(workers=crew.named("plain"), task_name="rig.x", rate_limit="1/s"))["plain"].outcome == CANNOT
    )
    signature = rig_app(crew.url).signature("rig.sleep", (60,))
    signature.stamp(None, tenant="acme")
    task = str(signature.apply_async(queue="plain").id)
    pid = crew.wait_pid(task)
    stopped = crew.do(RevokeStamped(header="tenant", values=("acme",), workers=crew.named(), signal="SIGTERM"))
    assert settled_words(stopped) == {"plain": STOPPED, "prio": FLAGGED_ONLY}
    assert not lives(pid)
    mains = [worker.pid for worker in crew.workers.values()]
    assert set(settled_words(crew.do(Shutdown(workers=crew.named(), wait=40.0))).values()) == {STOPPED}
    assert not any(map(lives, mains))

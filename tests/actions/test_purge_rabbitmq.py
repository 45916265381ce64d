"""Messages removed, moved, put back and sent on a real RabbitMQ: borrowed, dumped, and only then acknowledged."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pika
import pytest

from celerytop.model.action import MoveMessages, PurgeQueue, Resend, RestoreDump, SendTask
from celerytop.model.outcome import CANNOT, DONE, NOT_DONE, REFUSED, UNKNOWN
from tests.actions.holding import Holding, dumped, fates, ran
from tests.rig import RabbitServer, Worker, rig_app, send, wait_until
from tests.rig.process import ROOT

pytestmark = pytest.mark.timeout(150)  # a node is started
Held = tuple[bytes, dict[str, Any]]
BODY = b'[[1], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'


class Queues:
    """pika, as anybody may use it."""

    def __init__(self, url: str) -> None:
        parameters = pika.URLParameters(url)
        self._connection = pika.BlockingConnection(parameters)
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()

    def make(self, *names: str, **words: Any) -> None:
        for name in names:
            self._channel.queue_declare(name, durable=True, **words)

    def put(self, queue: str, body: bytes, name: str, task_id: str, **words: Any) -> None:
        headers = {"task": name, "id": task_id, "lang": "py", "timelimit": [None, 5], "big": 2**40}
        properties = pika.BasicProperties(
            headers=headers, content_type="application/json", content_encoding="utf-8", delivery_mode=2, **words
        )
        self._channel.basic_publish("", queue, body, properties)

    def count(self, queue: str) -> int:
        return int(self._channel.queue_declare(queue, passive=True).method.message_count)

    def drain(self, queue: str) -> list[Held]:
        found: list[Held] = []
        while (got := self._channel.basic_get(queue, auto_ack=True))[0] is not None:
            found.append((got[2], dict(got[1].__dict__)))
        return found

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def url(rabbitmq_server: RabbitServer, rabbitmq_vhost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return rabbitmq_server.url(rabbitmq_vhost)


@pytest.fixture
def queues(url: str) -> Iterator[Queues]:
    made = Queues(url)
    made.make("celery", "slow")
    yield made
    made.close()


def fill(queues: Queues, count: int) -> list[str]:
    ids = [f"t{n}" for n in range(count)]
    for n, task_id in enumerate(ids):
        queues.put("celery", BODY, "app.a" if n % 2 else "app.b", task_id, priority=n % 5, correlation_id=task_id)
    return ids


def test_all_is_dumped_removed_and_put_back_unchanged(url: str, queues: Queues, tmp_path: Path) -> None:
    held = Holding(url, tmp_path)
    fill(queues, 230)
    queues.put("celery", b"x" * 700_000, "app.big", "big", reply_to="somewhere")
    queues.put("celery", b"", "app.empty", "empty")
    queues.put("celery", b"y" * 200_000, "app.frames", "frames")
    before = queues.drain("celery")
    fill(queues, 230)
    queues.put("celery", b"x" * 700_000, "app.big", "big", reply_to="somewhere")
    queues.put("celery", b"", "app.empty", "empty")
    queues.put("celery", b"y" * 200_000, "app.frames", "frames")
    report = held.report(PurgeQueue(queue="celery"))
    assert report.outcomes[0].outcome == DONE and "233 of 233" in report.outcomes[0].sentence
    assert queues.count("celery") == 0 and dumped(report.dump) == [body for body, _ in before]
    assert held.perform(RestoreDump(path=str(report.dump))).outcome == DONE
    assert queues.drain("celery") == before
    assert held.perform(RestoreDump(path=str(report.dump))).outcome == REFUSED


def test_a_filter_moves_what_it_names_and_gives_the_rest_back(url: str, queues: Queues, tmp_path: Path) -> None:
    held = Holding(url, tmp_path)
    fill(queues, 250)
    report = held.report(MoveMessages(queue="celery", to="slow", filter="name:app.a"))
    assert report.outcomes[0].outcome == DONE and "125 of 125" in report.outcomes[0].sentence
    wait_until(lambda: queues.count("celery") == 125, 20, "the rest is back")
    assert [found["headers"]["id"] for _, found in queues.drain("slow")] == [f"t{n}" for n in range(1, 250, 2)]
    assert [found["headers"]["id"] for _, found in queues.drain("celery")] == [f"t{n}" for n in range(0, 250, 2)]
    assert set(fates(report.dump).values()) == {"m"}


def test_what_amqp_cannot_do_is_said(url: str, queues: Queues, tmp_path: Path) -> None:
    held = Holding(url, tmp_path)
    fill(queues, 3)
    assert held.perform(PurgeQueue(queue="celery", dry_run=True)).sentence == "Would remove 3 of 3."
    assert held.perform(PurgeQueue(queue="celery", filter="name:a", dry_run=True)).outcome == CANNOT
    assert held.perform(PurgeQueue(queue="none")).outcome == REFUSED
    assert held.perform(MoveMessages(queue="celery", to="none")).outcome == REFUSED
    assert held.perform(SendTask(name="rig.add", queue="none")).outcome == REFUSED
    assert held.perform(Resend(task_id="t1")).outcome == REFUSED
    wait_until(lambda: queues.count("celery") == 3, 20, "all are there, and those that were borrowed are back")


@pytest.mark.parametrize(("when", "count"), [("before:commit", 2), ("after:commit", 2)])
def test_a_killed_purge_loses_nothing(url: str, queues: Queues, tmp_path: Path, when: str, count: int) -> None:
    ids = fill(queues, 300)
    command = [sys.executable, "-m", "tests.actions.killed", url, str(tmp_path), when, str(count), "purge"]
    assert subprocess.run(command, cwd=ROOT, check=False, timeout=60).returncode == -signal.SIGKILL
    gone = 200 if when == "after:commit" else 100
    wait_until(lambda: queues.count("celery") == 300 - gone, 20, "what was borrowed is back")
    left = [found["headers"]["id"] for _, found in queues.drain("celery")]
    assert set(left) | set(fates(tmp_path / "dump")) == set(ids)
    outcome = Holding(url, tmp_path).perform(RestoreDump(path=str(tmp_path / "dump")))
    # what was just being removed is gone or not, and no broker tells: it is put back only when told to
    assert outcome.outcome == UNKNOWN and "Of 100 messages nobody knows" in outcome.sentence
    back = [found["headers"]["id"] for _, found in queues.drain("celery")]
    assert back == ids[:100] and not set(back) & set(left)
    forced = Holding(url, tmp_path).perform(RestoreDump(path=str(tmp_path / "dump"), force=True))
    assert forced.outcome == DONE
    assert [found["headers"]["id"] for _, found in queues.drain("celery")] == ids[100:200]


@pytest.mark.parametrize("when", ["before:commit", "after:commit"])
def test_a_killed_restore_puts_nothing_in_twice_unasked(url: str, queues: Queues, tmp_path: Path, when: str) -> None:
    ids = fill(queues, 300)
    assert Holding(url, tmp_path).perform(PurgeQueue(queue="celery", dump=str(tmp_path / "dump"))).outcome == DONE
    command = [sys.executable, "-m", "tests.actions.killed", url, str(tmp_path), when, "1", "restore"]
    assert subprocess.run(command, cwd=ROOT, check=False, timeout=60).returncode == -signal.SIGKILL
    outcome = Holding(url, tmp_path).perform(RestoreDump(path=str(tmp_path / "dump")))
    assert outcome.outcome == UNKNOWN and "Of 200 messages nobody knows" in outcome.sentence
    back = [found["headers"]["id"] for _, found in queues.drain("celery")]
    assert back == (ids if when == "after:commit" else ids[200:])
    again = Holding(url, tmp_path).perform(RestoreDump(path=str(tmp_path / "dump")))
    assert again.outcome == REFUSED and "200 messages nobody knows" in again.sentence
    assert Holding(url, tmp_path).perform(RestoreDump(path=str(tmp_path / "dump"), force=True)).outcome == DONE
    assert [found["headers"]["id"] for _, found in queues.drain("celery")] == ids[:200]


def test_what_an_account_may_not_put_back_is_put_back_later(
    rabbitmq_server: RabbitServer, rabbitmq_vhost: str, url: str, queues: Queues, tmp_path: Path
) -> None:
    """Without write permission on amq.default nothing gets into a queue; that is no reason for doubt."""
    ids = fill(queues, 5)
    path = str(tmp_path / "dump")
    rabbitmq_server.add_user("few", "pw", "", {rabbitmq_vhost: ("^$", "^celery$", ".*")})
    held = Holding(rabbitmq_server.url(rabbitmq_vhost, user="few", password="pw"), tmp_path)
    assert held.perform(PurgeQueue(queue="celery", dump=path)).outcome == DONE
    refused = held.perform(RestoreDump(path=path, to="celery"))
    assert refused.outcome == NOT_DONE and "amq.default" in refused.sentence
    assert Holding(url, tmp_path).perform(RestoreDump(path=path, to="celery")).outcome == DONE
    assert [found["headers"]["id"] for _, found in queues.drain("celery")] == ids


def test_a_sent_message_is_the_one_celery_would_have_sent(url: str, queues: Queues, tmp_path: Path) -> None:
    send(rig_app(url, ""), "rig.add", [2, 3], queue="slow", priority=4, expires=60)
    wait_until(lambda: queues.count("slow") == 1, 20, "Celery's own waits for no confirmation, and has come first")
    report = Holding(url, tmp_path).report(
        SendTask(name="rig.add", args="[2, 3]", queue="slow", priority=4, expires=60)
    )
    assert report.outcomes[0].outcome == DONE and report.new_id
    theirs, ours = queues.drain("slow")
    assert json.loads(ours[0]) == json.loads(theirs[0]) and ours[1]["headers"]["id"] == report.new_id
    for _, found in (ours, theirs):
        for key in ("id", "root_id", "origin", "expires", "argsrepr"):
            assert isinstance(found["headers"].pop(key), str)
        assert 59000 <= int(found.pop("expiration")) <= 60000
        assert found.pop("correlation_id")
        found.pop("reply_to", None)  # Celery writes an empty one
    assert ours[1]["headers"] == theirs[1]["headers"]
    assert {key: ours[1][key] for key in theirs[1]} == theirs[1]


def _produce(app: Any, ids: list[str], purged: threading.Event) -> None:
    for n in range(400):
        if n == 60:
            purged.wait(60)  # else all could be sent, and gone with the first purge, and nothing left to be moved
        ids.append(str(send(app, "rig.sleep", (0.02 if n % 2 else 0.021,)).id))


def test_under_load_every_message_runs_once_or_is_in_the_dump(url: str, tmp_path: Path) -> None:
    held, app = Holding(url, tmp_path), rig_app(url, "")
    ids: list[str] = []
    purged = threading.Event()

    def sent(count: int) -> bool:
        return len(ids) >= count

    with Worker(
        url, pool="threads", concurrency=2, queues=("celery", "slow"), events=False, result_backend=""
    ) as worker:
        producer = threading.Thread(target=_produce, args=(app, ids, purged), daemon=True)
        worker.freeze()  # whoever is faster under load, there is something to remove and to move at first
        producer.start()
        dumps: list[str] = []
        moved: list[str] = []
        for turn in range(6):
            dump = str(tmp_path / f"dump{turn}")
            wait_until(partial(sent, 60 * (turn + 1)), 30, "more than the worker can take has been sent")
            if turn == 2:
                worker.thaw()
            if turn % 2:
                held.perform(MoveMessages(queue="celery", to="slow", filter="args:0.021", dump=dump))
                moved.append(dump)
            else:
                held.perform(PurgeQueue(queue="celery", dump=dump))
                dumps.append(dump)
                purged.set()
        producer.join()
        held.perform(RestoreDump(path=dumps.pop()))
        removed = {task_id for dump in dumps for task_id, fate in fates(dump).items() if fate == "r"}
        expected = [task_id for task_id in ids if task_id not in removed]
        wait_until(lambda: all(ran(worker.log, expected).values()), 30, "all that was not removed has run")
        counts = ran(worker.log, ids)
    assert counts == {task_id: int(task_id not in removed) for task_id in ids}
    assert removed and any("m" in fates(dump).values() for dump in moved), "else nothing was shown"


def test_properties_are_kept_as_they_are_on_the_wire(url: str, queues: Queues, tmp_path: Path) -> None:
    held = Holding(url, tmp_path)
    queues.put("celery", BODY, "app.a", "one", timestamp=1_700_000_000, user_id="guest", app_id="mine")
    report = held.report(PurgeQueue(queue="celery"))
    assert report.dump is not None
    lines = [json.loads(line) for line in Path(report.dump).read_text().splitlines()]
    wire = base64.b64decode(lines[1]["properties"])
    assert pika.BasicProperties().decode(wire).app_id == "mine" and b"timelimit" in wire
    held.perform(RestoreDump(path=report.dump))
    second = held.report(PurgeQueue(queue="celery"))
    assert dumped(second.dump) == [BODY]
    assert json.loads(Path(str(second.dump)).read_text().splitlines()[1])["properties"] == lines[1]["properties"]

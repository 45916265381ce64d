"""Tasks sent by name and sent again: as Celery itself would have, and run by a real worker."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celerytop.model.action import PurgeQueue, Resend, SendTask
from celerytop.model.outcome import DONE, REFUSED
from celerytop.model.task import Task
from tests.actions.holding import Holding, raw_message
from tests.rig import RedisServer, Worker, rig_app, send, wait_until


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[RedisServer, Worker]]:
    with RedisServer() as server, Worker(server.url(), pool="threads", conf={"result_extended": True}) as worker:
        yield server, worker


def opened(raw: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(raw)
    found["body"] = json.loads(base64.b64decode(found["body"]))
    return found


def test_a_sent_message_is_the_one_celery_would_have_sent(site: tuple[RedisServer, Worker], tmp_path: Path) -> None:
    server, _ = site
    client = server.client()
    send(
        rig_app(server.url()), "rig.add", [2, "\u00e9"], {"k": None}, queue="quiet", priority=4, expires=60, countdown=5
    )
    held = Holding(server.url(), tmp_path)
    sent = SendTask(
        name="rig.add", args='[2, "\u00e9"]', kwargs='{"k": null}', queue="quiet", priority=4, expires=60, countdown=5
    )
    report = held.report(sent)
    assert report.outcomes[0].outcome == DONE and report.outcomes[0].sentence == "It waits in quiet."
    ours, theirs = map(opened, client.lrange("quiet\x06\x163", 0, -1))
    assert ours["headers"]["id"] == ours["headers"]["root_id"] == ours["properties"]["correlation_id"] == report.new_id
    for message in (ours, theirs):
        headers, properties = message["headers"], message["properties"]
        for key in ("id", "root_id", "origin", "eta", "expires", "argsrepr", "kwargsrepr"):
            assert isinstance(headers.pop(key), str)
        for key in ("correlation_id", "delivery_tag", "reply_to"):
            assert isinstance(properties.pop(key), str)
        assert 59000 <= int(properties.pop("expiration")) <= 60000
    assert ours == theirs
    client.delete("quiet\x06\x163")


def test_a_worker_runs_it(site: tuple[RedisServer, Worker], tmp_path: Path) -> None:
    server, worker = site
    report = Holding(server.url(), tmp_path).report(SendTask(name="rig.add", args="[20, 22]"))
    assert report.outcomes[0].outcome == DONE and report.new_id is not None
    wait_until(lambda: f"[{report.new_id}] succeeded" in worker.log, 20, "it ran")


@pytest.mark.parametrize(
    "wrong",
    [
        SendTask(name="rig.add", args="{}"),
        SendTask(name="rig.add", args="[NaN]"),
        SendTask(name="rig.add", args="[1"),
        SendTask(name="rig.add", kwargs="[]"),
        SendTask(name=" "),
        SendTask(name="rig.add", countdown=float("inf")),
        SendTask(name="rig.add", priority=-1),
    ],
)
def test_what_is_no_task_is_not_sent(site: tuple[RedisServer, Worker], tmp_path: Path, wrong: SendTask) -> None:
    server, _ = site
    report = Holding(server.url(), tmp_path).report(wrong)
    assert report.outcomes[0].outcome == REFUSED and report.new_id is None


def test_a_waiting_message_is_sent_again_with_its_body_and_headers(
    site: tuple[RedisServer, Worker], tmp_path: Path
) -> None:
    server, worker = site
    client = server.client()
    app = rig_app(server.url())
    first = send(app, "rig.echo", ("x" * 3000,), queue="quiet", headers={"my": "own"}, link=app.signature("rig.echo"))
    held = Holding(server.url(), tmp_path)
    held.tasks = {str(first.id): Task(str(first.id), queue="quiet")}
    report = held.report(Resend(task_id=str(first.id)))
    assert report.outcomes[0].outcome == DONE
    assert any("callbacks" in one.text for one in report.outcomes[0].evidence)
    new, old = map(opened, client.lrange("quiet", 0, -1))
    assert new["body"] == old["body"] and new["headers"]["id"] == report.new_id != old["headers"]["id"]
    same = set(old["headers"]) - {"id", "root_id"}
    assert {key: new["headers"][key] for key in same} == {key: old["headers"][key] for key in same}
    dump = str(tmp_path / "d")
    held.perform(PurgeQueue(queue="quiet", dump=dump))
    again = held.report(Resend(task_id=str(first.id), dump=dump, queue="celery"))
    assert again.outcomes[0].outcome == DONE
    wait_until(lambda: f"[{again.new_id}] succeeded" in worker.log, 20, "the one from the dump ran")


def test_a_finished_task_is_sent_again_from_its_extended_result(
    site: tuple[RedisServer, Worker], tmp_path: Path
) -> None:
    server, worker = site
    done = send(rig_app(server.url()), "rig.echo", (1, [2]), {"k": "v"})
    wait_until(lambda: f"[{done.id}] succeeded" in worker.log, 20, "it ran")
    key = f"celery-task-meta-{done.id}"
    wait_until(lambda: server.client().exists(key), 20, "its result is stored")
    report = Holding(server.url(), tmp_path).report(Resend(task_id=str(done.id)))
    assert report.outcomes[0].outcome == DONE
    wait_until(lambda: f"[{report.new_id}] succeeded" in worker.log, 20, "it ran again")
    wait_until(lambda: worker.log.count("((1, [2]), {") == 2, 20, "with the same arguments")


def test_printed_arguments_are_never_sent(site: tuple[RedisServer, Worker], tmp_path: Path) -> None:
    server, _ = site
    held = Holding(server.url(), tmp_path)
    held.tasks = {"seen": Task("seen", name="rig.echo", args="('x...',)", queue="quiet")}
    refused = held.perform(Resend(task_id="seen"))
    assert refused.outcome == REFUSED and "is text, and may be cut" in refused.sentence
    client = server.client()
    client.set("celery-task-meta-text", json.dumps({"name": "rig.echo", "args": "('x...',)", "kwargs": {}}))
    assert "as text" in held.perform(Resend(task_id="text")).sentence
    client.lpush("old", raw_message("v1", name=""))
    held.tasks["v1"] = Task("v1", queue="old")
    assert "before Celery 4" in held.perform(Resend(task_id="v1")).sentence
    assert not client.exists("quiet")

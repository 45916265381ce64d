"""Guard, audit, do, audit: and a verdict whatever happens in between."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celerytop.actions import doers
from celerytop.actions.actor import Actor, open_link_of
from celerytop.actions.audit import Audit
from celerytop.actions.deed import Deed
from celerytop.broker_url import parse_url
from celerytop.model.action import AnyAction, Resend, Revoke, Target
from celerytop.model.address import BrokerSettings
from celerytop.model.outcome import REFUSED, STOPPED, UNKNOWN, ActionReport
from celerytop.model.snapshot import ClusterInfo, Snapshot
from tests.actions.stage import perform
from tests.rig import RedisServer, Worker, wait_until

TWO = Revoke(targets=(Target("a", worker="w1@h"), Target("b", worker="w1@h")))


def see() -> Snapshot:
    return Snapshot(0.0, ClusterInfo("c", "u", "redis"))


def acted(folder: Path, url: str, action: AnyAction = TWO) -> ActionReport:
    actor = Actor(BrokerSettings(parse_url(url)), cluster="c", allowed=True, audit=Audit("c", folder))
    return perform(actor, action, see)


def test_a_broker_that_is_away_refuses_everything_before_it_is_sent(tmp_path: Path) -> None:
    report = acted(tmp_path, "redis://127.0.0.1:1/0")
    assert [(one.task_id, one.outcome) for one in report.outcomes] == [("a", REFUSED), ("b", REFUSED)]
    assert "refuses the connection" in report.outcomes[0].sentence
    begin, end = map(json.loads, (tmp_path / "audit.jsonl").read_text().splitlines())
    assert (begin["event"], end["event"], end["line"]) == ("begin", "end", 1)
    assert [one["outcome"] for one in end["outcomes"]] == [REFUSED, REFUSED]


def test_a_bug_after_sending_says_that_it_was_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def doer(deed: Deed) -> Iterator[None]:
        deed.settle(STOPPED, "gone", task_id="a")
        deed.say("sent", "something")
        yield
        raise RuntimeError("password=hunter2")

    monkeypatch.setitem(doers.DOERS, Revoke, doer)
    report = acted(tmp_path, "redis://127.0.0.1:1/0")
    assert [(one.task_id, one.outcome) for one in report.outcomes] == [("a", STOPPED), ("b", UNKNOWN)]
    assert "bug" in report.outcomes[1].sentence and "hunter2" not in report.outcomes[1].sentence


def test_an_action_about_one_thing_gets_one_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def doer(deed: Deed) -> Iterator[None]:
        deed.link  # noqa: B018 - opened, and refused
        yield

    monkeypatch.setitem(doers.DOERS, Resend, doer)
    report = acted(tmp_path, "redis://127.0.0.1:1/0", Resend(task_id="t"))
    assert [(one.task_id, one.outcome) for one in report.outcomes] == [("t", REFUSED)]


@pytest.mark.redis
def test_a_signal_that_is_no_way_to_stop_a_task_is_refused(redis_server: RedisServer, tmp_path: Path) -> None:
    report = acted(tmp_path, redis_server.url(), Revoke(targets=TWO.targets, signal="SIGSTOP"))
    assert {one.outcome for one in report.outcomes} == {REFUSED}


@pytest.mark.redis
@pytest.mark.worker
def test_a_prefix_is_kept_and_no_reply_is_left_behind(
    redis_server: RedisServer, worker_factory: Callable[..., Worker]
) -> None:
    options = {"broker_transport_options": {"global_keyprefix": "px:"}}
    worker = worker_factory(redis_server.url(), pool="solo", conf=options)
    client = redis_server.client()
    settings = BrokerSettings(parse_url(redis_server.url()), global_keyprefix="px:")
    link = open_link_of(settings)
    assert link.control.ask("ping", {}, (worker.nodename,), 20.0).by_worker[worker.nodename].ok == "pong"
    assert link.control.tell("revoke", {"task_id": ["x"]}, (worker.nodename,)) == 1
    held = link.control.ask("revoked", {}, (worker.nodename,), 20.0).by_worker[worker.nodename]
    assert held.body == ["x"]
    worker.freeze()
    link.control.ask("active", {}, (worker.nodename,), 0.01)
    link.control.tell("revoke", {"task_id": ["y"]}, (worker.nodename,))
    link.close()
    assert client.keys("px:celerytop-*") == []
    worker.thaw()
    wait_until(lambda: client.keys("px:celerytop-*"), 20, "a late answer has come")
    link = open_link_of(settings)
    assert link.control.ask("ping", {}, (worker.nodename,), 20.0).by_worker
    link.close()
    assert client.keys("px:celerytop-*") == []

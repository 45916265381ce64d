"""Read-only means that nothing can be sent, whatever the action; and no class of action is without its doer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import redis

from celerytop.actions.actor import Actor
from celerytop.actions.audit import Audit
from celerytop.actions.command import MOST_IDS, Question
from celerytop.actions.doers import DOERS
from celerytop.broker_url import parse_url
from celerytop.build import build
from celerytop.model import action as actions
from celerytop.model.action import AnyAction, Target
from celerytop.model.address import BrokerSettings
from celerytop.model.outcome import REFUSED
from celerytop.model.snapshot import ClusterInfo, Snapshot
from celerytop.options import Options, load
from tests.rig import RedisServer, wait_until

ONE = (Target("id-1", worker="w1@h", worker_pid=4242, state="STARTED"),)
W = ("w1@h",)
SAMPLES: dict[type, Any] = {
    actions.Revoke: actions.Revoke(targets=ONE, signal="SIGKILL"),
    actions.KillTree: actions.KillTree(targets=ONE),
    actions.RevokeStamped: actions.RevokeStamped(header="tenant", values=("acme",), workers=W, signal="SIGTERM"),
    actions.PoolGrow: actions.PoolGrow(workers=W),
    actions.PoolShrink: actions.PoolShrink(workers=W),
    actions.Autoscale: actions.Autoscale(workers=W, max=4, min=1),
    actions.AddConsumer: actions.AddConsumer(workers=W, queue="q"),
    actions.CancelConsumer: actions.CancelConsumer(workers=W, queue="q"),
    actions.RateLimit: actions.RateLimit(workers=W, task_name="t", rate_limit="1/m"),
    actions.TimeLimit: actions.TimeLimit(workers=W, task_name="t", soft=1.0, hard=2.0),
    actions.EnableEvents: actions.EnableEvents(workers=W),
    actions.DisableEvents: actions.DisableEvents(workers=W),
    actions.PoolRestart: actions.PoolRestart(workers=W),
    actions.Shutdown: actions.Shutdown(workers=W),
    actions.KillWorker: actions.KillWorker(worker="w1@h", pid=4242, pid_started_at=1.0),
    actions.PurgeQueue: actions.PurgeQueue(queue="q"),
    actions.MoveMessages: actions.MoveMessages(queue="q", to="p"),
    actions.RestoreDump: actions.RestoreDump(path="/nowhere"),
    actions.RestoreUnacked: actions.RestoreUnacked(queue="q"),
    actions.Resend: actions.Resend(task_id="id-1"),
    actions.SendTask: actions.SendTask(name="t"),
}
EVERY = get_args(AnyAction)


def see() -> Snapshot:
    return Snapshot(0.0, ClusterInfo("c", "redis://h", "redis"))


def traffic(client: redis.Redis) -> tuple[object, ...]:
    """All that an action could not do without: a connection, or one of these commands."""
    stats = client.info("commandstats")
    writing = ("publish", "lpush", "rpush", "del", "lrem", "rpop", "lpop", "hdel", "set", "eval", "multi")
    calls = {name: stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in writing}
    return client.info("stats")["total_connections_received"], len(client.client_list()), calls


def test_every_action_has_its_doer_and_its_line_in_this_table() -> None:
    assert set(DOERS) == set(EVERY) == set(SAMPLES)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_an_action_is_whole_in_the_audit_file(kind: type, tmp_path: Path) -> None:
    audit = Audit("c", tmp_path)
    assert audit.before(1, SAMPLES[kind]) == 1
    line = msgspec.json.decode(audit.path.read_bytes())
    assert msgspec.convert(line["action"], kind) == SAMPLES[kind]
    assert line["ids"] or kind is actions.SendTask


@pytest.mark.redis
def test_read_only_sends_nothing_whatever_is_asked(redis_server: RedisServer, tmp_path: Path) -> None:
    actor = Actor(BrokerSettings(parse_url(redis_server.url())), cluster="c", allowed=False, audit=Audit("c", tmp_path))
    client = redis_server.client()
    wait_until(lambda: len(client.client_list()) == 1, 20, "Redis has noticed that others have hung up")
    traffic(client)
    before = traffic(client)
    for kind in EVERY:
        (report,) = actor.perform(1, SAMPLES[kind], see)
        assert report.settled_at is not None and report.audit_line is None
        assert [outcome.outcome for outcome in report.outcomes] == [REFUSED]
        assert "read-only" in report.outcomes[0].sentence
    assert traffic(client) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.redis
@pytest.mark.parametrize("how", ["flag", "environment", "config", "passive"])
def test_each_way_to_forbid_actions_forbids_them(
    how: str, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    url = redis_server.url()
    config = tmp_path / "celerytop" / "config.toml"
    config.parent.mkdir()
    config.write_text(f'[clusters.c]\nbroker = "{url}"\n' + ('actions = "never"\n' if how == "config" else ""))
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
    flags: dict[str, Any] = {"cluster": "c"}
    if how == "environment":
        environ["CELERYTOP_READ_ONLY"] = "1"
    if how in ("flag", "passive"):
        flags["read_only" if how == "flag" else "passive"] = True
    options = load(flags, environ, tmp_path)
    assert options.broker is not None
    monitor = build(options, options.broker)
    monitor.submit(SAMPLES[actions.Revoke])
    settled = wait_until(
        lambda: [one for one in monitor.picture().actions if one.settled_at is not None], 20, "settled"
    )
    assert settled[0].outcomes[0].outcome == REFUSED
    assert not (tmp_path / "state").exists()


@pytest.mark.redis
def test_where_they_are_allowed_they_are_done(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monitor = build(Options(), BrokerSettings(parse_url(redis_server.url())))
    monitor.submit(actions.Revoke(targets=(Target("id-1"),)))
    settled = wait_until(
        lambda: [one for one in monitor.picture().actions if one.settled_at is not None], 20, "settled"
    )
    assert settled[0].audit_line == 1 and (tmp_path / "celerytop" / "audit.jsonl").exists()
    wait_until(lambda: len(redis_server.client().client_list()) == 1, 20, "its connection is closed")
    assert redis_server.client().keys("*") == []


def test_a_command_names_its_workers_and_takes_a_bounded_number_of_ids() -> None:
    for nobody in ((), ("",), "w1@h"):
        with pytest.raises(ValueError, match="broadcast"):
            Question("revoke", {"task_id": ["a"]}, nobody)
    Question("revoke", {"task_id": ["a"] * MOST_IDS}, ("w1@h",))
    with pytest.raises(ValueError, match="more than"):
        Question("revoke", {"task_id": ["a"] * (MOST_IDS + 1)}, ("w1@h",))

"""No line on disk, no action."""

from __future__ import annotations

import getpass
import json
import os
import resource
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from celerytop.actions.actor import Actor
from celerytop.actions.audit import Audit, AuditError, state_dir
from celerytop.broker_url import parse_url
from celerytop.model.action import PurgeQueue, Revoke, SendTask, Target
from celerytop.model.address import BrokerSettings
from celerytop.model.outcome import DONE, REFUSED, ActionReport, Outcome
from celerytop.model.snapshot import ClusterInfo, Snapshot
from tests.actions.stage import perform
from tests.rig import RedisServer

ACTION = Revoke(targets=(Target("id-1", worker="w1@h"),), signal="SIGTERM")


def lines(audit: Audit) -> list[dict[str, object]]:
    return [json.loads(line) for line in audit.path.read_text().splitlines()]


def test_it_says_who_did_what_from_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CLIENT", "10.1.2.3 50000 22")
    audit = Audit("prod", tmp_path / "celerytop")
    assert [audit.before(7, ACTION), audit.before(8, ACTION)] == [1, 2]
    line = lines(audit)[0]
    assert line["ssh_client"] == "10.1.2.3 50000 22" and line["uid"] == os.getuid()
    assert getpass.getuser() in str(line["user"]) and line["pid"] == os.getpid()
    assert (line["cluster"], line["command"], line["ids"], line["number"]) == ("prod", "revoke", ["id-1"], 7)
    assert stat.S_IMODE(audit.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(audit.path.parent.stat().st_mode) == 0o700


def test_syslog_is_told_before_and_after_and_that_a_count_is_no_purge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("syslog.syslog", lambda level, words: told.append(words))
    audit = Audit("prod", tmp_path)
    for number, dry_run in enumerate((False, True), 1):
        action = PurgeQueue(queue="pay", dry_run=dry_run)
        done = Outcome("purge_queue", DONE, 0.0, queue="pay")
        line = audit.before(number, action)
        audit.after(ActionReport(number, action, began_at=0.0, deadline_at=1.0, outcomes=(done,), audit_line=line))
    assert [words.partition("on prod: ")[2] for words in told[::2]] == [
        "purge_queue pay",
        "purge_queue (only counts) pay",
    ]
    assert told[1::2] == ["purge_queue on prod: pay DONE", "purge_queue (only counts) on prod: pay DONE"]


def test_it_lies_in_the_state_directory() -> None:
    assert state_dir({"XDG_STATE_HOME": "/x"}) == Path("/x/celerytop")
    assert state_dir({"XDG_STATE_HOME": "x"}) == Path.home() / ".local/state/celerytop"
    assert state_dir({}) == Path.home() / ".local/state/celerytop"


def test_arguments_are_masked(tmp_path: Path) -> None:
    audit = Audit("prod", tmp_path)
    audit.before(1, SendTask(name="login", args='["ann"]', kwargs='{"password": "hunter2", "n": 1}'))
    assert "hunter2" not in audit.path.read_text() and "ann" in audit.path.read_text()


def test_what_stands_in_the_file_cannot_stop_an_action(tmp_path: Path) -> None:
    audit = Audit("prod", tmp_path)
    host = socket.gethostname()
    for odd in ({}, {"pid": None}, {"pid": "x", "ids": 3}, {"pid": 2**40}, {"pid": 2**22 + 7, "ids": [1, None]}):
        begin = json.dumps({"event": "begin", "host": host, **odd})
        audit.path.write_bytes(begin.encode() + b'\n[]\n"x"\n{"event": "end"}\n\xff\n' + b"[" * 5000 + b"\n")
        audit.before(1, ACTION)
        told = audit.cut_off()
        assert told is None or "has no outcome" in told


def test_a_line_cut_by_a_full_disk_stays_alone(tmp_path: Path) -> None:
    audit = Audit("prod", tmp_path)
    audit.before(1, ACTION)
    with audit.path.open("a") as file:
        file.write('{"half')
    assert audit.before(2, ACTION) == 3
    whole = audit.path.read_text().splitlines()
    assert [json.loads(whole[0])["number"], json.loads(whole[2])["number"]] == [1, 2]


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    audit = Audit("prod", tmp_path)
    audit.path.write_text("")
    audit.path.chmod(0o666)
    audit.before(1, ACTION)
    assert stat.S_IMODE(audit.path.stat().st_mode) == 0o600


def test_our_own_link_is_followed_and_a_pipe_or_folder_is_no_audit_file(tmp_path: Path) -> None:
    audit = Audit("prod", tmp_path)
    audit.path.symlink_to(tmp_path / "elsewhere.jsonl")
    assert audit.before(1, ACTION) == 1
    assert (tmp_path / "elsewhere.jsonl").read_text().count("\n") == 1
    audit.path.unlink()
    os.mkfifo(audit.path)
    with pytest.raises(AuditError):
        audit.before(2, ACTION)
    audit.path.unlink()
    audit.path.mkdir()
    with pytest.raises(AuditError):
        audit.before(2, ACTION)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a link that belongs to somebody else")
def test_somebody_elses_link_is_not_followed(tmp_path: Path) -> None:
    audit = Audit("prod", tmp_path)
    audit.path.symlink_to(tmp_path / "trap")
    os.lchown(audit.path, 12345, 12345)
    with pytest.raises(AuditError, match="somebody else"):
        audit.before(1, ACTION)
    assert not (tmp_path / "trap").exists()


def see() -> Snapshot:
    return Snapshot(0.0, ClusterInfo("c", "u", "redis"))


@contextmanager
def no_room() -> Iterator[None]:
    """No file of ours can grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)


@pytest.mark.redis
@pytest.mark.parametrize("how", ["folder is a file", "no room"])
def test_what_cannot_be_audited_is_not_done(how: str, redis_server: RedisServer, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    audit = Audit("prod", folder)
    settings = BrokerSettings(parse_url(redis_server.url()))
    actor = Actor(settings, cluster="prod", allowed=True, audit=audit)
    client = redis_server.client()
    client.ping()
    before = client.info("stats")["total_connections_received"]
    if how == "folder is a file":
        folder.write_text("")
        report = perform(actor, ACTION, see)
    else:
        folder.mkdir()
        with no_room():
            report = perform(actor, ACTION, see)
    assert report.outcomes[0].outcome == REFUSED and report.audit_line is None
    assert "audit" in report.outcomes[0].sentence and report.outcomes[0].task_id == "id-1"
    assert client.info("stats")["total_connections_received"] == before

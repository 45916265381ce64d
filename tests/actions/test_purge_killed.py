"""celerytop is killed between the dump and the removal: nothing is lost, nothing comes back twice."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from celerytop.actions.redis.messages import RedisMessages
from celerytop.errors import BrokerError
from celerytop.model.action import MoveMessages, PurgeQueue, RestoreDump
from celerytop.model.outcome import DONE, REFUSED, UNKNOWN
from tests.actions.holding import Holding, dumped, raw_message
from tests.rig import RedisServer
from tests.rig.process import ROOT

ENTRIES = [raw_message(f"a{n}") for n in range(1200)]


def killed(url: str, folder: Path, when: str, count: int, *words: str) -> None:
    """Run it until it is killed."""
    command = [sys.executable, "-m", "tests.actions.killed", url, str(folder), when, str(count), *words]
    assert subprocess.run(command, cwd=ROOT, check=False, timeout=60).returncode == -signal.SIGKILL


@pytest.mark.parametrize(("when", "count"), [("before:script", 1), ("after:script", 1), ("after:script", 2)])
def test_a_killed_purge_is_undone_to_the_message(
    redis_server: RedisServer, tmp_path: Path, when: str, count: int
) -> None:
    client = redis_server.client()
    client.lpush("celery", *ENTRIES)
    killed(redis_server.url(), tmp_path, when, count, "purge")
    left = client.lrange("celery", 0, -1)
    assert set(left) | set(dumped(tmp_path / "dump")) == set(ENTRIES)
    held = Holding(redis_server.url(), tmp_path)
    report = held.report(RestoreDump(path=str(tmp_path / "dump")))
    assert report.outcomes[0].outcome == (REFUSED if len(left) == len(ENTRIES) else DONE)
    killed_before = "purge_queue celery on c by"
    assert any(killed_before in one.text and "has no outcome" in one.text for one in report.steps)
    assert not any("has no outcome" in one.text for one in held.report(RestoreDump(path="/none")).steps)
    assert sorted(client.lrange("celery", 0, -1)) == sorted(ENTRIES)
    assert client.keys("*celerytop*") == []


def test_one_killed_while_it_dumps_has_removed_nothing(redis_server: RedisServer, tmp_path: Path) -> None:
    client = redis_server.client()
    client.lpush("celery", *ENTRIES)
    killed(redis_server.url(), tmp_path, "before:dump", 600, "purge")
    assert sorted(client.lrange("celery", 0, -1)) == sorted(ENTRIES)
    again = Holding(redis_server.url(), tmp_path).perform(RestoreDump(path=str(tmp_path / "dump")))
    assert again.outcome == REFUSED and client.llen("celery") == len(ENTRIES)


def test_a_killed_move_leaves_each_message_in_one_queue(redis_server: RedisServer, tmp_path: Path) -> None:
    client = redis_server.client()
    client.lpush("celery", *ENTRIES)
    killed(redis_server.url(), tmp_path, "after:script", 2, "move", "slow")
    assert client.llen("slow") > 0
    held = Holding(redis_server.url(), tmp_path)
    assert held.perform(RestoreDump(path=str(tmp_path / "dump"))).outcome == REFUSED
    assert held.perform(MoveMessages(queue="celery", to="slow", dump=str(tmp_path / "d2"))).outcome == DONE
    assert client.lrange("slow", 0, -1) == list(reversed(ENTRIES)) and not client.llen("celery")


def test_a_killed_restore_of_an_account_that_may_not_write_it_down_puts_nothing_in_twice(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """Its broker remembers nothing, as RabbitMQ."""
    client = redis_server.client()
    client.lpush("celery", *ENTRIES)
    rights = "on >pw ~celery* ~unacked* &* +@all"
    words = ["SETUSER", "act", *rights.split(), "-get", "-set"]
    client.execute_command("ACL", *words)  # type: ignore[no-untyped-call]
    url = redis_server.url(user="act", password="pw")
    held = Holding(url, tmp_path)
    assert held.perform(PurgeQueue(queue="celery", dump=str(tmp_path / "dump"))).outcome == DONE
    killed(url, tmp_path, "after:restore", 2, "restore")
    there = client.llen("celery")
    outcome = held.perform(RestoreDump(path=str(tmp_path / "dump")))
    assert outcome.outcome == UNKNOWN and "200 messages nobody knows" in outcome.sentence and there == 400
    assert client.lrange("celery", 0, -1) == list(reversed(ENTRIES))


@pytest.mark.parametrize("when", ["before:restore", "after:restore"])
def test_a_killed_restore_goes_on_where_it_was(redis_server: RedisServer, tmp_path: Path, when: str) -> None:
    client = redis_server.client()
    client.lpush("celery", *ENTRIES)
    held = Holding(redis_server.url(), tmp_path)
    held.perform(PurgeQueue(queue="celery", dump=str(tmp_path / "dump")))
    killed(redis_server.url(), tmp_path, when, 2, "restore")
    assert held.perform(RestoreDump(path=str(tmp_path / "dump"))).outcome == DONE
    assert client.lrange("celery", 0, -1) == list(reversed(ENTRIES))
    assert client.keys("*celerytop*") == []


def test_an_answer_that_is_lost_leaves_no_doubt(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has removed them, and we do not hear of it: the verdict says so, and the broker remembers."""
    client = redis_server.client()
    client.lpush("celery", *ENTRIES)
    original, calls = RedisMessages._by_script, [0]

    def deaf(*args: Any) -> str:
        calls[0] += 1
        was = original(*args)
        if calls[0] == 2:
            raise BrokerError("Redis has hung up")
        return was

    monkeypatch.setattr(RedisMessages, "_by_script", deaf)
    held = Holding(redis_server.url(), tmp_path)
    outcome = held.perform(PurgeQueue(queue="celery", dump=str(tmp_path / "dump")))
    assert outcome.outcome == UNKNOWN and "hung up" in outcome.sentence and 0 < client.llen("celery") < len(ENTRIES)
    assert held.perform(RestoreDump(path=str(tmp_path / "dump"))).outcome == DONE
    assert sorted(client.lrange("celery", 0, -1)) == sorted(ENTRIES)

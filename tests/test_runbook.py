"""``celerytop revoke``, ``purge`` and ``restore``: what they print and how they end is what happened."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from celerytop.model.outcome import WORDS
from tests.actions.stage import PATIENCE, has_begun, lives
from tests.rig import RabbitServer, RedisServer, Terminal, Worker, free_port, wait_until
from tests.rig.process import ROOT
from tests.rig.send import send


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


@pytest.fixture
def run(tmp_path: Path) -> Any:
    def run_it(*words: str, url: str, **env: str) -> Ended:
        done = subprocess.run(
            [sys.executable, "-m", "celerytop", *words, "-b", url],
            check=False, capture_output=True, text=True, cwd=ROOT, timeout=50, stdin=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path), **env},
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr)

    return run_it


@pytest.fixture
def busy(redis_server: RedisServer) -> Iterator[tuple[str, Worker, str, psutil.Process]]:
    """A prefork worker that sleeps in a task."""
    url, client = redis_server.url(), redis_server.client()
    with Worker(url, concurrency=1) as worker:
        task_id = send(url, "rig.sleep", (300,), ignore_result=True).id
        wait_until(lambda: task_id in worker.log, PATIENCE, "it is received")
        wait_until(lambda: not client.hlen("unacked"), PATIENCE, "it has begun")
        (child,) = worker.children()
        yield url, worker, task_id, child


def test_a_task_that_is_terminated_is_said_to_be_stopped_when_its_process_is_gone(busy: Any, run: Any) -> None:
    url, worker, task_id, child = busy
    done = run("revoke", task_id, "--terminate", "--yes", "--json", url=url)
    assert done.code == 0, done
    assert not lives(child.pid)
    (outcome,) = done.told["outcomes"]
    assert done.told["schema"] == 1
    assert (outcome["command"], outcome["task_id"], outcome["worker"]) == ("revoke", task_id, worker.nodename)
    assert outcome["outcome"] == "STOPPED" and outcome["outcome"] in WORDS
    assert outcome["evidence"][0]["source"] == "host", "the strongest first"
    assert outcome["at"] > 1.7e9


def test_a_running_task_that_is_only_revoked_is_not_stopped(busy: Any, run: Any) -> None:
    url, _, task_id, child = busy
    done = run("revoke", task_id, "--yes", "--wait", "2", url=url)
    assert done.code == 1, done
    assert done.out.startswith("NOT STOPPED"), done.out
    assert child.is_running()


def test_a_task_that_waits_is_flagged_and_that_is_what_was_asked_for(busy: Any, run: Any) -> None:
    url, worker, _, _ = busy
    waiting = send(url, "rig.add", (1, 2), ignore_result=True).id
    wait_until(lambda: waiting in worker.log, PATIENCE, "it is reserved")
    done = run("revoke", waiting, "--yes", "--json", url=url)
    assert (done.code, done.told["outcomes"][0]["outcome"]) == (0, "FLAGGED_ONLY"), done


@pytest.mark.rabbitmq
def test_a_busy_solo_worker_that_only_its_process_tells_of_may_run_it(
    rabbitmq_server: RabbitServer, rabbitmq_vhost: str, run: Any
) -> None:
    url = rabbitmq_server.url(rabbitmq_vhost)
    with Worker(url, pool="solo", concurrency=1, events=False, result_backend="") as worker:
        task_id = send(url, "rig.sleep", (300,), ignore_result=True).id
        wait_until(lambda: task_id in worker.log, PATIENCE, "it is received, and nothing else is done any more")
        done = run(
            "revoke", task_id, "--terminate", "--yes", "--json", url=url, CELERYTOP_MANAGEMENT="http://127.0.0.1:9"
        )
        (one,) = done.told["outcomes"]
        assert (one["outcome"], done.code) == ("UNKNOWN", 1)
        assert worker.nodename in one["sentence"]
        worker.kill()


def test_an_id_that_is_nowhere_is_not_verified_to_be_anything(busy: Any, run: Any) -> None:
    done = run("revoke", "misspelt", "--yes", url=busy[0])
    assert done.code == 1 and "no queue has its message" in done.out, done
    again = run("revoke", "misspelt", "--terminate", "--yes", url=busy[0])
    assert again.code == 1 and again.out.startswith("UNKNOWN"), again


def test_one_rung_a_command(redis_server: RedisServer, run: Any) -> None:
    url = redis_server.url()
    with Worker(url, concurrency=1, events=False) as worker:
        (child,) = psutil.Process(worker.pid).children()
        task_id = send(url, "rig.ignore_sigterm", (60,), ignore_result=True).id
        wait_until(lambda: has_begun("rig.ignore_sigterm", child.pid), PATIENCE, "it has begun")
        first = run("revoke", task_id, "--terminate", "--wait", "1", "--yes", url=url)
        assert first.code == 1 and first.out.startswith("NOT STOPPED"), first
        then = run("revoke", task_id, "--signal", "KILL", "--yes", url=url)
        assert then.code == 0 and then.out.startswith("STOPPED"), then
        assert not lives(child.pid)


@pytest.mark.parametrize("how", [("--read-only",), ("CELERYTOP_READ_ONLY",)])
def test_nothing_is_sent_in_read_only_mode_and_the_command_is_shown(busy: Any, run: Any, how: tuple[str]) -> None:
    url, worker, task_id, child = busy
    words, env = ((), {how[0]: "1"}) if how[0].startswith("CELERY") else (how, {})
    done = run("revoke", task_id, "--signal", "kill", "--yes", *words, url=url, **env)
    assert done.code == 1 and done.out.startswith("REFUSED"), done
    assert "celery" in done.err and "terminate" in done.err and task_id in done.err and worker.nodename in done.err
    assert child.is_running()


def test_nobody_to_ask_and_no_yes_changes_nothing(busy: Any, run: Any) -> None:
    url, _, task_id, child = busy
    done = run("revoke", task_id, "--terminate", url=url)
    assert (done.code, done.out) == (2, ""), done
    assert "--yes" in done.err and child.is_running()


def test_a_person_is_told_what_it_does_and_asked(busy: Any, tmp_path: Path) -> None:
    url, _, task_id, child = busy
    command = [sys.executable, "-m", "celerytop", "revoke", task_id, "--terminate", "-b", url]
    with Terminal(command, columns=120, rows=30, env={"XDG_STATE_HOME": str(tmp_path)}) as terminal:
        terminal.wait_for("Go on?", PATIENCE)
        assert "rig.sleep" in terminal.text and child.is_running()
        terminal.write("n\r")
        assert terminal.wait_exit(PATIENCE) == 1
        assert "nothing was sent" in terminal.text
    assert child.is_running()


def test_a_broker_that_is_not_there_is_exit_code_three(run: Any) -> None:
    done = run("revoke", "some-id", "--yes", "--json", url=f"redis://127.0.0.1:{free_port()}/0")
    assert (done.code, done.out) == (3, ""), done
    assert "refuses the connection" in done.err


def test_messages_are_counted_purged_and_restored(redis_server: RedisServer, run: Any, tmp_path: Path) -> None:
    url, client = redis_server.url(), redis_server.client()
    for number in range(6):
        send(url, "rig.add" if number % 2 else "rig.echo", (number,), ignore_result=True)
    before: Any = client.lrange("celery", 0, -1)
    dry = run("purge", "celery", "--filter", "name:rig.add", "--dry-run", "--json", url=url)
    assert dry.code == 0 and client.llen("celery") == 6, dry
    dump = str(tmp_path / "kept")
    done = run("purge", "celery", "--filter", "name:rig.add", "--dump", dump, "--yes", "--json", url=url)
    assert (done.code, done.told["dump"], client.llen("celery")) == (0, dump, 3), done
    assert Path(dump).stat().st_mode & 0o777 == 0o600
    back = run("restore", dump, "--yes", "--json", url=url)
    assert back.code == 0, back
    assert sorted(client.lrange("celery", 0, -1)) == sorted(before), "byte for byte"
    again = run("restore", dump, "--yes", "--json", url=url)
    assert again.code == 1 and client.llen("celery") == 6, "never twice unless it is forced"


def test_a_count_in_read_only_mode_says_where_to_look_and_names_no_purge(redis_server: RedisServer, run: Any) -> None:
    done = run("purge", "celery", "--dry-run", "--read-only", url=redis_server.url())
    assert done.code == 1 and done.out.startswith("REFUSED") and "page by page" in done.out, done
    assert "celery purge" not in done.err.replace(redis_server.url(), "") and "purge -Q" not in done.err

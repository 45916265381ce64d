"""``celerytop once``: one truthful picture, from real brokers and real workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from tests.patient import PATIENT
from tests.rig import RabbitServer, RedisServer, Worker, free_port, wait_until
from tests.rig.send import close_apps, send

WorkerFactory = Callable[..., Worker]
PROGRAM = [sys.executable, "-m", "celerytop"]
pytestmark = pytest.mark.timeout(180)


def celerytop(
    *words: str, env: dict[str, str] | None = None, program: list[str] = PROGRAM
) -> subprocess.CompletedProcess[str]:
    """Run the real command, as a person's script would: no terminal, no standard input."""
    return subprocess.run(
        [*program, *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
        env=env,
    )


def once(*words: str, **how: Any) -> dict[str, Any]:
    done = celerytop("once", "--json", *words, **how)
    assert done.returncode == 0, done.stderr
    parsed = json.loads(done.stdout)
    assert isinstance(parsed, dict)
    return parsed


@pytest.fixture(params=["redis", "rabbitmq"])
def broker_url(request: pytest.FixtureRequest) -> str:
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        return server.url()
    rabbit: RabbitServer = request.getfixturevalue("rabbitmq_server")
    return rabbit.url(request.getfixturevalue("rabbitmq_vhost"))


def _extra(broker_url: str, request: pytest.FixtureRequest) -> list[str]:
    if not broker_url.startswith("amqp"):
        return []
    rabbit: RabbitServer = request.getfixturevalue("rabbitmq_server")
    return ["--management-url", rabbit.management_url]


@pytest.fixture
def busy(
    broker_url: str, worker_factory: WorkerFactory, request: pytest.FixtureRequest
) -> tuple[dict[str, Any], Worker, set[str]]:
    """What ``once`` says of a worker with two running tasks, the worker, and the ids of the two."""
    worker = worker_factory(broker_url, concurrency=2)
    running = {send(broker_url, "rig.sleep", (60,)).id for _ in range(2)}
    for _ in range(20):
        send(broker_url, "rig.sleep", (60,))
    for _ in range(3):
        send(broker_url, "rig.add", (1, 2), queue="nobody")
    more = _extra(broker_url, request)

    def both_run() -> dict[str, Any] | None:
        seen = once("-b", broker_url, *more)
        busy = [task for task in seen["tasks"] if task["state"] == "STARTED" and task["worker_pid"]]
        told = [one["processed"] for one in seen["workers"]]  # by its own count, which may be a moment older
        return seen if len(busy) == 2 and told == [2] else None

    return wait_until(both_run, 60, "two running tasks"), worker, running


def test_once_tells_queues_and_workers(busy: tuple[dict[str, Any], Worker, set[str]]) -> None:
    seen, worker, _ = busy
    assert seen["schema"] == 1
    assert abs(seen["at"] - time.time()) < 30
    assert {source["state"] for source in seen["sources"]} == {"UP"}, seen["sources"]

    queues = {queue["name"]: queue for queue in seen["queues"]}
    assert queues["nobody"]["messages"] == 3
    assert queues["nobody"]["consumers"] == 0
    assert queues["celery"]["consumers"] == 1
    assert queues["celery"]["messages"] >= 20 - 8, "all but what the worker has prefetched: 4 a slot"

    [mine] = seen["workers"]
    assert mine["nodename"] == worker.nodename
    assert mine["state"] == "alive"
    assert mine["pool"] == "prefork"
    assert (mine["concurrency"], mine["active"], mine["processed"]) == (2, 2, 2)
    assert set(mine["processes"]) == {child.pid for child in worker.children()}


def test_once_tells_tasks_and_where_they_run(busy: tuple[dict[str, Any], Worker, set[str]]) -> None:
    seen, worker, running = busy
    children = {child.pid for child in worker.children()}
    active = {task["task_id"]: task for task in seen["tasks"] if task["state"] == "STARTED"}
    assert set(active) == running
    for task in active.values():
        assert task["name"] == "rig.sleep"
        assert task["worker"] == worker.nodename
        assert task["worker_pid"] in children
        assert task["queue"] == "celery"
        assert task["runtime"] > 0
    processes = {process["pid"]: process for host in seen["hosts"] for process in host["processes"]}
    assert children <= set(processes)
    assert {processes[task["worker_pid"]]["task_id"] for task in active.values()} == running


def test_every_connection_of_a_worker_is_joined_to_it(
    broker_url: str, worker_factory: WorkerFactory, request: pytest.FixtureRequest
) -> None:
    """RabbitMQ's API lists a connection some seconds after it was opened: until then it is not known."""
    worker = worker_factory(broker_url, concurrency=1)
    more = _extra(broker_url, request)

    def joined() -> bool:
        clients = once("-b", broker_url, "--page", "broker", *more)["broker"]["client_list"]
        assert clients != [], "this program is connected: nobody listed means not known"
        mine = [client for client in clients or () if client["worker"] == worker.nodename]
        return len(mine) >= 2 and {client["pid"] for client in mine} == {worker.pid}

    wait_until(joined, 60, "all of the worker's connections, by their sockets")


def test_once_is_valid_by_its_own_schema(redis_server: RedisServer, worker_factory: WorkerFactory) -> None:
    worker_factory(redis_server.url(), pool="threads")
    send(redis_server.url(), "rig.sleep", (30,))
    printed = celerytop("once", "--schema")
    assert printed.returncode == 0
    schema = json.loads(printed.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(once("-b", redis_server.url()), schema)
    broken = {**once("-b", redis_server.url()), "queues": "none"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_once_as_text_has_the_tables_and_no_escape(redis_server: RedisServer, worker_factory: WorkerFactory) -> None:
    worker = worker_factory(redis_server.url())
    send(redis_server.url(), "rig.add", (1, 2), queue="nobody")
    done = celerytop("once", "-b", redis_server.url())
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "nobody" in done.stdout
    assert "NO CONSUMER" in done.stdout.upper()
    assert worker.nodename[:8] in done.stdout
    assert all(len(line) <= 120 for line in done.stdout.splitlines())


def test_page_and_filter_choose_rows(redis_server: RedisServer) -> None:
    for queue in ("alpha", "beta"):
        send(redis_server.url(), "rig.add", (1, 2), queue=queue)
    seen = once("-b", redis_server.url(), "--page", "queues", "--filter", "name:alp")
    assert [queue["name"] for queue in seen["queues"]] == ["alpha"]
    assert seen["workers"] == []
    assert seen["hosts"] == []
    wrong = celerytop("once", "-b", redis_server.url(), "--filter", "runtime:>x")
    assert wrong.returncode == 3
    assert len(wrong.stderr.strip().splitlines()) == 1


def test_what_ails_the_broker_is_said_on_every_page(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1mb")
    assert "\n! Redis is full: " in celerytop("once", "-b", redis_server.url(), "--page", "types").stdout
    assert once("-b", redis_server.url(), "--page", "types")["notes"][0].startswith("Redis is full: ")


def test_secrets_in_arguments_are_masked(redis_server: RedisServer, worker_factory: WorkerFactory) -> None:
    worker_factory(redis_server.url())
    send(redis_server.url(), "rig.sleep", (30, {"password": "hunter2", "card": "4111111111111111"}))
    for form in ("--json", "--page=tasks"):
        done = celerytop("once", "-b", redis_server.url(), form)
        assert "rig.sleep" in done.stdout
        assert "hunter2" not in done.stdout
        assert "4111111111111111" not in done.stdout


def test_batch_prints_n_pictures(redis_server: RedisServer) -> None:
    done = celerytop("--batch", "-n", "2", "-d", "0.5", "-b", redis_server.url())
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("celerytop  ") == 2
    lines = celerytop("--batch", "-n", "2", "-d", "0.5", "--json", "-b", redis_server.url()).stdout.splitlines()
    first, second = (json.loads(line) for line in lines)
    assert second["at"] - first["at"] >= 0.4


def test_a_refused_management_api_is_not_waited_for(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    refused = rabbitmq_server.management_url.replace("//", "//guest:wr0ng@")
    # its next attempt, and all patience with it, would be an hour long
    seen = once("-b", rabbitmq_server.url(rabbitmq_vhost), "--management-url", refused, program=PATIENT)
    states = {source["name"]: source["state"] for source in seen["sources"]}
    assert states.pop("management") == "DOWN"
    assert set(states.values()) == {"UP"}
    assert any("without the management API" in note for note in seen["notes"])
    assert "refuses the login" in seen["broker"]["management"]


def test_a_batch_goes_on_while_the_broker_is_frozen(redis_server: RedisServer) -> None:
    words = ["-b", redis_server.url(), "--batch", "--json", "-n", "40", "-d", "0.5"]
    with subprocess.Popen(
        [sys.executable, "-m", "celerytop", *words], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as running:
        assert running.stdout is not None
        seen: list[set[str]] = []
        for line in running.stdout:
            sources = json.loads(line)["sources"]
            seen.append({source["state"] for source in sources if source["name"] != "host"})
            if len(seen) == 1:
                redis_server.freeze()
            elif seen[-1] == {"DOWN"}:
                redis_server.thaw()
            elif {"DOWN"} in seen:
                break
        running.terminate()
    assert seen[0] == {"UP"}
    assert {"DOWN"} in seen and seen[-1] != {"DOWN"}, "it told of the outage, and of its end"


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_nobody_there_is_exit_3_and_one_sentence(scheme: str) -> None:
    done = celerytop("once", "--json", "-b", f"{scheme}://:sEcr3t@127.0.0.1:{free_port()}/")
    assert done.returncode == 3
    assert done.stdout == ""
    sentences = [line for line in done.stderr.splitlines() if "ps" not in line]
    assert len(sentences) == 1
    assert "sEcr3t" not in done.stderr


def test_a_wrong_password_is_exit_3_and_never_printed() -> None:
    with RedisServer(password="right") as server:
        url = server.url(password="wr0ngPw")
        done = celerytop("once", "--json", "-b", url)
    assert done.returncode == 3
    assert "refused" in done.stderr.lower()
    assert "wr0ngPw" not in done.stderr + done.stdout


def test_a_password_on_the_command_line_gets_a_warning() -> None:
    with RedisServer(password="s3same") as server:
        done = celerytop("once", "--json", "-b", server.url())
        quiet = celerytop("once", "--json", env={"CELERYTOP_BROKER": server.url(), "PATH": "/usr/bin:/bin"})
    assert done.returncode == quiet.returncode == 0
    assert "CELERYTOP_BROKER" in done.stderr
    assert quiet.stderr == ""
    assert "s3same" not in done.stderr + done.stdout + quiet.stdout


def test_without_a_terminal_the_screen_points_to_once(redis_server: RedisServer) -> None:
    done = celerytop("-b", redis_server.url())
    assert done.returncode == 2
    assert "celerytop once" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


LOOK = """look on >PW resetchannels &/0.celeryev* ~* -@all +hello +auth +ping +select +reset +psubscribe +punsubscribe
 +info +dbsize +scan +type +pttl +exists +llen +lindex +lrange +strlen +hlen +hget +hscan +zcard +zrange +zscore +scard
 +smembers +sscan +memory|usage +memory|stats +client|setname +client|list +client|id +slowlog|get +slowlog|len
 +latency|latest +config|get +acl|whoami"""


def _with_heartbeat(*words: str, **how: Any) -> dict[str, Any]:
    """``once`` where no worker can be asked: it has waited as long as a heartbeat takes; one may be late."""

    def heard() -> dict[str, Any] | None:
        seen = once(*words, **how)
        (events,) = (source for source in seen["sources"] if source["name"] == "events")
        assert seen["at"] - events["since_at"] >= 2.0, "Celery's interval"
        return seen if seen["workers"] else None

    return wait_until(heard, 60, "a heartbeat")


def test_a_look_only_account_is_told_which_right_is_missing() -> None:
    with RedisServer(acl=[" ".join(LOOK.split())]) as server, Worker(server.url()) as worker:
        for _ in range(4):
            send(server.url(), "rig.sleep", (30,))
        env = {**os.environ, "CELERYTOP_BROKER": server.url(user="look", password="PW")}
        wait_until(lambda: worker.log.count("] received") == 4, 30, "all four are taken")
        seen = _with_heartbeat(env=env)
        close_apps()
    states = {source["name"]: source["state"] for source in seen["sources"]}
    assert states == {"events": "UP", "control": "DOWN", "queues": "UP", "broker": "UP", "host": "UP"}
    assert any("may not publish" in note and "+publish &/0.celery.pidbox" in note for note in seen["notes"])
    assert {one["nodename"]: one["state"] for one in seen["workers"]} == {worker.nodename: "alive"}
    assert [(queue["name"], queue["unacked"]) for queue in seen["queues"]] == [("celery", 2)]


def test_a_refusal_is_said_at_once() -> None:
    """Not after a second attempt: that would be an hour later here."""
    with RedisServer(password="right") as server:
        done = celerytop("once", "-b", f"redis://127.0.0.1:{server.port}/0", program=PATIENT)
        assert done.returncode == 3
        assert "wants a password" in done.stderr


def test_a_solo_worker_that_was_busy_before_is_shown(redis_server: RedisServer, worker_factory: WorkerFactory) -> None:
    url = redis_server.url()
    solo = worker_factory(url, pool="solo", nodename="alone@elsewhere")
    running = send(url, "rig.sleep", (60,)).id
    wait_until(lambda: f"[{running}] received" in solo.log, 30, "it runs")
    [worker] = once("-b", url)["workers"]
    assert (worker["nodename"], worker["state"], worker["pid"]) == ("alone@elsewhere", "busy-solo", solo.pid)
    assert worker["pool"] == "solo"


def test_a_solo_worker_of_rabbitmq_that_was_busy_before_is_not_called_frozen(
    rabbitmq_server: RabbitServer, rabbitmq_vhost: str, worker_factory: WorkerFactory
) -> None:
    url = rabbitmq_server.url(rabbitmq_vhost)
    solo = worker_factory(url, pool="solo", nodename="alone@elsewhere")
    running = send(url, "rig.sleep", (90,)).id
    wait_until(lambda: f"[{running}] received" in solo.log, 30, "it runs")
    words = ("-b", url, "--management-url", rabbitmq_server.management_url)
    seen: list[dict[str, Any]] = []

    def busy() -> bool:  # the management API lists its connections some seconds late
        seen[:] = once(*words)["workers"]
        return [worker["state"] for worker in seen] == ["busy-solo"]

    wait_until(busy, 60, "its process is known by its connection")
    assert (seen[0]["nodename"], seen[0]["pool"], seen[0]["pid"]) == ("alone@elsewhere", "solo", solo.pid)


def test_passive_publishes_nothing_and_waits_for_heartbeats(
    redis_server: RedisServer, worker_factory: WorkerFactory
) -> None:
    worker = worker_factory(redis_server.url(), events=False)
    with redis_server.client() as client:
        listener = client.pubsub()
        listener.subscribe("/0.celery.pidbox")
        assert listener.get_message(timeout=5)
        seen = _with_heartbeat("-b", redis_server.url(), "--passive")
        assert listener.get_message(timeout=0.2) is None
        listener.close()
    assert [(one["nodename"], one["state"]) for one in seen["workers"]] == [(worker.nodename, "alive")]

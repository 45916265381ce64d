"""What workers answer, from Celery 4.4 to 5.7, with literal samples; and what they should never answer."""

from __future__ import annotations

import base64
import doctest
import json
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celerytop.model.observation import (
    Conf,
    InspectedTask,
    Pong,
    QueuesConsumed,
    RefusedReply,
    Registered,
    Reply,
    RevokedIds,
    StatsReply,
    TasksListed,
)
from celerytop.model.worker import ConsumedQueue, Rusage
from celerytop.sources import asking, wire_bad, wire_fields, wire_reply
from celerytop.sources.asking import METHODS
from celerytop.sources.redis import channels
from celerytop.sources.wire_reply import BODY_LIMIT, decode_envelope, decode_reply
from tests.sources.wired import PATIENT

JSON = "application/json"


def reply(method: str, content: Any, content_type: str | None = JSON) -> Reply:
    (found,) = decode_reply(method, json.dumps({"p1@h": content}).encode(), content_type, 0.005)
    return found


PREFORK: dict[str, Any] = {
    "total": {"fapp.sleep": 2},
    "pid": 18578,
    "clock": "38",
    "uptime": 8,
    "prefetch_count": 9,
    "pool": {
        "implementation": "celery.concurrency.prefork:TaskPool",
        "max-concurrency": 2,
        "processes": [18585, 18586],
        "max-tasks-per-child": "N/A",
        "put-guarded-by-semaphore": False,
        "timeouts": [0, 0],
        "writes": {"total": 2, "avg": "0.50", "all": "0.50, 0.50", "raw": "1, 1", "strategy": "fair"},
    },
    "broker": {"transport_options": {"sentinel_kwargs": {"password": "hunter2"}}},
    "rusage": {"utime": 0.42, "stime": 0.08, "maxrss": 61560, "minflt": 22396},
}


def _stats(content: dict[str, Any]) -> StatsReply:
    found = reply("stats", content)
    assert isinstance(found, StatsReply)
    return found


def test_stats() -> None:
    found = _stats(PREFORK)
    assert (found.nodename, found.pid, found.pool, found.concurrency) == ("p1@h", 18578, "prefork", 2)
    assert (found.processes, found.prefetch_count, found.uptime) == ((18585, 18586), 9, 8.0)
    assert found.total == {"fapp.sleep": 2}
    assert found.rusage == Rusage(0.42, 0.08, 61560 * 1024)
    assert "hunter2" not in str(found)


def test_a_grown_pool_has_as_many_slots_as_processes() -> None:
    """prefork goes on telling the max-concurrency it began with."""
    grown = {**PREFORK, "pool": {**PREFORK["pool"], "processes": [18585, 18586, 18587]}}
    assert _stats(grown).concurrency == 3
    green = {"implementation": "celery.concurrency.gevent:TaskPool", "max-concurrency": 12}
    assert _stats({**PREFORK, "pool": green}).concurrency == 12


@pytest.mark.parametrize(
    ("pool", "kind"),
    [
        ({"implementation": "celery.concurrency.prefork:TaskPool"}, "prefork"),
        ({"implementation": "celery.concurrency.thread:TaskPool", "threads": 2}, "threads"),
        ({"implementation": "celery.concurrency.gevent:TaskPool"}, "gevent"),
        ({"implementation": "celery.concurrency.eventlet:TaskPool", "free-threads": 0}, "eventlet"),
        ({"implementation": "celery.concurrency.solo:TaskPool", "processes": [19628]}, "solo"),
        # 4.4 and 5.2 do not tell
        ({"max-concurrency": 2, "processes": [1, 2], "writes": {"avg": "100.00%"}}, "prefork"),
        ({"max-concurrency": 2, "threads": 2}, "threads"),
        ({"max-concurrency": 3, "free-threads": 0, "running-threads": 3}, "eventlet"),
        ({"max-concurrency": 1, "processes": [1], "put-guarded-by-semaphore": True, "timeouts": []}, "solo"),
        ({"max-concurrency": 3}, None),
        ({"implementation": 5}, None),
    ],
)
def test_the_pool_is_told_or_guessed(pool: dict[str, Any], kind: str | None) -> None:
    found = _stats({**PREFORK, "pool": pool})
    assert found.pool == kind
    assert (found.processes is not None) == (kind == "prefork" and "processes" in pool)


ACTIVE: dict[str, Any] = {
    "id": "89a3",
    "name": "fapp.sleep",
    "args": [8, "x", {"a": [1, 2, 3]}],
    "kwargs": {"k": "v"},
    "type": "fapp.sleep",
    "hostname": "p1@h",
    "time_start": 1795404798.5695302,
    "acknowledged": True,
    "delivery_info": {"exchange": "", "routing_key": "qp", "priority": 3, "redelivered": False},
    "worker_pid": 19426,
}


def listed(method: str, tasks: Any) -> TasksListed:
    found = reply(method, tasks)
    assert isinstance(found, TasksListed)
    return found


def test_active() -> None:
    expected = InspectedTask(
        "89a3",
        name="fapp.sleep",
        args="(8, 'x', {'a': [1, 2, 3]})",
        kwargs="{'k': 'v'}",
        time_start=1795404798.5695302,
        worker_pid=19426,
        acknowledged=True,
        queue="qp",
        exchange="",
        priority=3,
        redelivered=False,
    )
    assert listed("active", [ACTIVE]).tasks == (expected,)
    safe = {**ACTIVE, "args": "(8, 'x', {'a': [1, 2, 3]})", "kwargs": "{'k': 'v'}"}
    assert listed("active", [safe]).tasks == (expected,)


def test_a_greenlets_number_is_no_pid() -> None:
    assert listed("active", [{**ACTIVE, "worker_pid": 140578594420224}]).tasks[0].worker_pid is None


def test_reserved_of_5_2_lacks_times_and_redelivered() -> None:
    old = {**ACTIVE, "time_start": None, "worker_pid": None, "delivery_info": {"redelivered": None}}
    (task,) = listed("reserved", [old]).tasks
    assert (task.time_start, task.worker_pid, task.redelivered, task.queue) == (None, None, None, None)


def test_scheduled() -> None:
    entry = {"eta": "2026-11-23T03:35:23.500000+00:00", "priority": 6, "request": ACTIVE}
    (task,) = listed("scheduled", [entry]).tasks
    assert (task.task_id, task.eta_at) == ("89a3", 1795404923.5)


def test_big_lists_and_big_arguments_are_cut_and_said_so() -> None:
    found = listed("reserved", [{**ACTIVE, "id": str(n)} for n in range(1500)])
    assert (len(found.tasks), found.total) == (1000, 1500)
    (task,) = listed("reserved", [{**ACTIVE, "args": ["x" * 2_000_000]}]).tasks
    assert task.args is not None
    assert len(task.args) == 4096


def test_entries_that_are_no_tasks_are_left_out_and_counted() -> None:
    found = listed("active", [ACTIVE, 5, None, {"id": 7}, {"id": ""}, [], {**ACTIVE, "name": "\x1b[2J"}])
    assert [task.name for task in found.tasks] == ["fapp.sleep", "\\x1b[2J"]
    assert found.total == 7


def test_active_queues() -> None:
    content = [
        {
            "name": "q1",
            "exchange": {"name": "celery", "type": "direct"},
            "routing_key": "q1",
            "queue_arguments": {"x-queue-type": "quorum", "x-max-priority": 9},
            "durable": True,
        },
        {"name": "q2", "exchange": "plain", "queue_arguments": None},
        {"name": 5},
        "q3",
    ]
    found = reply("active_queues", content)
    assert isinstance(found, QueuesConsumed)
    assert found.queues == (
        ConsumedQueue("q1", "celery", "direct", "q1", "quorum", 9),
        ConsumedQueue("q2", "plain"),
    )


def test_registered_and_revoked() -> None:
    found = reply("registered", ["fapp.add", "fapp.quick [rate_limit=1/m]", 5, "\x1b"])
    assert isinstance(found, Registered)
    assert found.names == ("fapp.add", "fapp.quick [rate_limit=1/m]", "\\x1b")
    revoked = reply("revoked", [str(n) for n in range(50_000)])
    assert isinstance(revoked, RevokedIds)
    assert (len(revoked.ids), revoked.total) == (1000, 50_000)


def test_conf_is_redacted_and_read_for_queues() -> None:
    content = {
        "broker_url": "redis://u:hunter2@h/0",
        "broker_failover_x": "amqp://u:a@h//;amqp://u2:hunter2@h2//",
        "broker_transport_options": {
            "visibility_timeout": 86400,
            "sentinel_kwargs": {"password": "hunter2", "ssl": True},
        },
        "my_token": "hunter2",
        "aws_secret": ["hunter2"],
        "task_acks_late": True,
        "task_default_queue": "main",
        "task_queues": [
            "<unbound Queue high -> <unbound Exchange high(direct)> -> high>",
            {"name": "low"},
            "plain",
        ],
        "task_routes": [{"app.*": {"queue": "routed"}, "x": "short"}, ["y", {"queue": "ignored"}]],
        "title\x1b": "\x1b]0;x\x07",
    }
    found = reply("conf", content)
    assert isinstance(found, Conf)
    assert "hunter2" not in str(found)
    assert "\x1b" not in str(found.settings)
    assert found.settings["task_acks_late"] == "True"
    assert found.settings["broker_url"] == "redis://u:***@h/0"
    assert found.visibility_timeout == 86400
    assert found.queues[:6] == ("main", "high", "low", "plain", "routed", "short")


# ------------------------------------------------------------------------------------------ refused, hostile
def test_errors_pickles_and_giants_are_refused_with_a_sentence() -> None:
    assert reply("stats", {"error": "KeyError('bogus')"}) == RefusedReply("p1@h", "stats", "KeyError('bogus')")
    pickled = pickle.dumps({"p1@h": {"ok": "pong"}})
    (found,) = decode_reply("ping", pickled, "application/x-python-serialize", 0.1)
    assert found == RefusedReply("p1@h", "ping", "the answer is pickled and was not opened")
    (found,) = decode_reply("ping", b"\x81", "application/x-msgpack", 0.1)
    assert isinstance(found, RefusedReply)
    assert "application/x-msgpack" in found.error
    (found,) = decode_reply("reserved", b"[" * (BODY_LIMIT + 1), JSON, 0.1)
    assert isinstance(found, RefusedReply)
    assert "32 MB" in found.error


def test_ping_is_answered_in_any_words() -> None:
    assert reply("ping", {"ok": "pong"}) == Pong("p1@h", 0.005)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"42", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 40_000])
@pytest.mark.parametrize("method", METHODS)
def test_garbage_is_refused(method: str, body: bytes) -> None:
    (found,) = decode_reply(method, body, JSON, 0.1)
    assert isinstance(found, RefusedReply)


@pytest.mark.parametrize("content", [None, 5, "x", [], {}, {"pool": 5}, {"pool": {"processes": "x"}}, [[[]]]])
@pytest.mark.parametrize("method", METHODS)
def test_answers_of_another_form_do_no_harm(method: str, content: Any) -> None:
    assert reply(method, content).nodename == "p1@h"


@given(
    st.sampled_from(METHODS),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from([*PREFORK, *ACTIVE, *PREFORK["pool"], "eta", "request", "ok"]), inner)
        ),
        max_leaves=20,
    ),
)
@settings(PATIENT, max_examples=400)
def test_any_answer(method: str, content: Any) -> None:
    reply(method, content)


@given(
    st.sampled_from(METHODS), st.binary(max_size=200), st.sampled_from([JSON, None, "application/x-python-serialize"])
)
@settings(PATIENT, max_examples=300)
def test_any_bytes(method: str, noise: bytes, content_type: str | None) -> None:
    assert decode_reply(method, noise, content_type, 0.0)
    decode_envelope(noise)


def test_the_redis_envelope() -> None:
    whole = {"body": base64.b64encode(b"{}").decode(), "headers": {"ticket": "t1", "clock": 20}, "content-type": JSON}
    found = decode_envelope(json.dumps(whole).encode())
    assert (found.ticket, found.body, found.content_type) == ("t1", b"{}", JSON)
    assert decode_envelope(b"junk").ticket == ""


@pytest.mark.parametrize("module", [asking, wire_bad, wire_fields, wire_reply, channels])
def test_the_examples_in_docstrings(module: Any) -> None:
    assert doctest.testmod(module).failed == 0

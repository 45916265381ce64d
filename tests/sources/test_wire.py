"""Events off the wire: every type and its traps, and whatever hypothesis makes up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celerytop.model.event import (
    Event,
    TaskCancelled,
    TaskFailed,
    TaskReceived,
    TaskRejected,
    TaskRetried,
    TaskRevoked,
    TaskSent,
    TaskStarted,
    TaskSucceeded,
    WorkerHeartbeat,
    WorkerOffline,
    WorkerOnline,
)
from celerytop.model.text import LIMIT, clean, clean_lines
from celerytop.sources.wire import Decoder, decode_redis
from tests.sources.wired import HEARTBEAT, NOW, PATIENT, RECEIVED, STAMP, STARTED, assert_harmless, envelope, through

TYPES: list[tuple[dict[str, Any], Event]] = [
    (STARTED, TaskStarted("7428", NOW, "w1@h")),
    (
        RECEIVED,
        TaskReceived("ef78", NOW, "w1@h", "fapp.add", "(6, 4)", "{}", "51be", "7428", 0),
    ),
    (
        {**RECEIVED, "type": "task-sent", "queue": "celery", "exchange": "", "routing_key": "celery"},
        TaskSent(
            "ef78",
            NOW,
            "w1@h",
            "fapp.add",
            "(6, 4)",
            "{}",
            "51be",
            "7428",
            0,
            None,
            None,
            "celery",
            "",
            "celery",
            16190,
        ),
    ),
    (
        {**STARTED, "type": "task-succeeded", "result": "'ok'", "runtime": 0.25},
        TaskSucceeded("7428", NOW, "w1@h", "'ok'", 0.25),
    ),
    # gevent's bogus success of a terminated task
    (
        {**STARTED, "type": "task-succeeded", "result": None, "runtime": None},
        TaskSucceeded("7428", NOW, "w1@h", None, None),
    ),
    (
        {**STARTED, "type": "task-failed", "exception": "NotRegistered('nope.x')"},
        TaskFailed("7428", NOW, "w1@h", "NotRegistered('nope.x')", None),
    ),
    (
        {**STARTED, "type": "task-retried", "exception": "OSError()", "traceback": "a\n  b\n"},
        TaskRetried("7428", NOW, "w1@h", "OSError()", "a\n  b\n"),
    ),
    (
        {**STARTED, "type": "task-revoked", "terminated": True, "signum": 9, "expired": False},
        TaskRevoked("7428", NOW, "w1@h", True, 9, False),
    ),
    # Celery 4.4's second copy
    (
        {**STARTED, "type": "task-revoked", "terminated": True, "signum": "9", "expired": False},
        TaskRevoked("7428", NOW, "w1@h", True, 9, False),
    ),
    (
        {**STARTED, "type": "task-revoked", "terminated": None, "signum": None, "expired": True},
        TaskRevoked("7428", NOW, "w1@h", None, None, True),
    ),
    ({**STARTED, "type": "task-rejected", "requeue": True}, TaskRejected("7428", NOW, "w1@h", True)),
    ({**STARTED, "type": "task-cancelled"}, TaskCancelled("7428", NOW, "w1@h")),
    (HEARTBEAT, WorkerHeartbeat("w1@h", NOW, 16190, 2.0, 0, 7, "py-celery", "5.7.0", "Linux")),
    # forced by the ``heartbeat`` command: partial
    ({**STAMP, "type": "worker-heartbeat", "freq": 5}, WorkerHeartbeat("w1@h", NOW, 16190, 5.0)),
    (
        {**HEARTBEAT, "type": "worker-online", "utcoffset": -9},
        WorkerOnline("w1@h", NOW, 16190, 2.0, 0, 7, "py-celery", "5.7.0", "Linux"),
    ),
    ({**STAMP, "type": "worker-offline"}, WorkerOffline("w1@h", NOW, 16190)),
]


@pytest.mark.parametrize(("event", "expected"), TYPES, ids=[str(event["type"]) for event, _ in TYPES])
def test_every_type(event: dict[str, Any], expected: Event) -> None:
    for received in (*through(event), *through([event])):
        assert received.events == [expected]
        assert (received.bad, received.last_bad, received.other) == (0, None, 0)


def test_a_retry_names_itself_as_its_parent_and_that_is_kept_for_the_fold() -> None:
    (event,) = through({**RECEIVED, "root_id": "ef78", "parent_id": "ef78"})[0].events
    assert isinstance(event, TaskReceived)
    assert event.parent_id == event.uuid


def test_a_batch_keeps_its_order_and_holds_each_name_once() -> None:
    decoder = Decoder()
    batch = [{**RECEIVED, "uuid": str(number), "hostname": f"w{number % 2}@h"} for number in range(48)]
    received = decoder.feed_redis(
        [envelope(json.dumps(batch[:24]).encode()), envelope(json.dumps(batch[24:]).encode())], NOW
    )
    events = [event for event in received.events if isinstance(event, TaskReceived)]
    assert [event.uuid for event in events] == [str(number) for number in range(48)]
    assert len({id(event.name) for event in events}) == 1
    assert len({id(event.hostname) for event in events}) == 2


@pytest.mark.parametrize("kind", ["worker-elect", "worker-elect-ack", "task-custom", "my-event"])
def test_events_of_other_types_are_counted_as_other(kind: str) -> None:
    for received in through([STARTED, {**STAMP, "type": kind}]):
        assert (len(received.events), received.bad, received.other) == (1, 0, 1)


# -------------------------------------------------------------------------------------------------- fuzzing
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(sorted({*RECEIVED, *HEARTBEAT, "queue", "signum", "runtime", "traceback", "result"}))


@given(st.binary(max_size=300))
@settings(PATIENT, max_examples=300)
def test_any_bytes(noise: bytes) -> None:
    for received in (decode_redis(noise, NOW), *through(noise)):
        assert_harmless(received)


@given(
    st.sampled_from([event for event, _ in TYPES]),
    st.dictionaries(FIELDS, JSON, max_size=4),
    st.booleans(),
)
@settings(PATIENT, max_examples=500)
def test_any_values_in_any_fields(event: dict[str, Any], fields: dict[str, Any], listed: bool) -> None:
    strange = {**event, **fields}
    for received in through([strange, STARTED] if listed else strange):
        assert len(received.events) + received.bad + received.other == 1 + listed
        assert_harmless(received)


@given(JSON)
@settings(PATIENT, max_examples=300)
def test_any_json(content: Any) -> None:
    for received in (decode_redis(json.dumps(content).encode(), NOW), *through(content)):
        assert not received.events
        assert_harmless(received)


TEXTS = st.text(alphabet='ab"\\\n\t/\x07\x7fné', max_size=12)


@given(args=TEXTS, told=TEXTS, traceback=st.none() | TEXTS)
@PATIENT
def test_texts_are_clean_however_they_were_escaped(args: str, told: str, traceback: str | None) -> None:
    """Most messages need no cleaning, which is seen by their escapes: line ends are allowed in tracebacks only."""
    failed = {**STARTED, "type": "task-failed", "exception": told, "traceback": traceback}
    for received in through([failed, {**RECEIVED, "args": args}, failed]):
        first, second, third = received.events
        assert isinstance(first, TaskFailed)
        assert isinstance(second, TaskReceived)
        assert (first.exception, second.args) == (clean(told, LIMIT), clean(args, LIMIT))
        assert first.traceback == (traceback if traceback is None else clean_lines(traceback))
        assert first == third

"""Everything hostile that was ever tried on a monitor: counted, never an exception, nothing harmful kept."""

from __future__ import annotations

import json
import pickle
import sys
from typing import Any

import pytest

from celerytop.sources.wire import BODY_LIMIT, Decoder
from tests.sources.wired import HEARTBEAT, NOW, RECEIVED, STAMP, STARTED, assert_harmless, envelope, through


def changed(event: dict[str, Any], /, **fields: Any) -> dict[str, Any]:
    return {**event, **fields}


def lacking(event: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key not in fields}


REFUSED: list[tuple[Any, str]] = [
    (lacking(STARTED, "type"), "no type"),
    (lacking(STARTED, "hostname"), "no hostname"),
    (lacking(STARTED, "timestamp"), "no timestamp"),
    (lacking(STARTED, "uuid"), "no uuid"),
    (lacking({**STAMP, "type": "custom"}, "timestamp"), "unknown type custom without a timestamp and hostname"),
    (changed(STARTED, type=5), "type is not a string"),
    (changed(STARTED, type=None), "type is not a string"),
    (changed(STARTED, timestamp=float("nan")), "timestamp is NaN or infinite"),
    (changed(STARTED, timestamp=float("inf")), "timestamp is NaN or infinite"),
    (changed(STARTED, timestamp="soon"), "timestamp is not a number"),
    (changed(STARTED, timestamp=None), "timestamp is not a number"),
    (changed(STARTED, timestamp=True), "timestamp is not a number"),
    (changed(STARTED, timestamp=-1e12), "timestamp is not within ten years of now"),
    (changed(STARTED, timestamp=1e18), "timestamp is not within ten years of now"),
    (changed(STARTED, timestamp=10**400), "timestamp is out of range"),
    (changed(STARTED, uuid=["a"]), "uuid is not a string"),
    (changed(STARTED, uuid=""), "uuid is empty or longer than 512 characters"),
    (changed(STARTED, uuid="x" * 5000), "uuid is empty or longer than 512 characters"),
    (changed(STARTED, hostname={"a": 1}), "hostname is not a string"),
    (changed(HEARTBEAT, hostname=""), "hostname is empty"),
    (changed(RECEIVED, name=5), "name is not a string"),
    (changed(RECEIVED, args=[1, 2]), "args is not a string"),
    (changed(RECEIVED, retries=-1), "retries is out of range"),
    (changed(RECEIVED, retries=10**30), "retries is out of range"),
    (changed(HEARTBEAT, freq="x"), "freq is not a number"),
    (changed(HEARTBEAT, freq=0), "freq is out of range"),
    (changed(HEARTBEAT, freq=float("nan")), "freq is NaN or infinite"),
    (changed(HEARTBEAT, active="many"), "active is not a whole number"),
    (changed(HEARTBEAT, processed=10**30), "processed is out of range"),
    (changed(HEARTBEAT, pid=-5), "pid is out of range"),
    (changed(STARTED, type="task-succeeded", runtime=-1), "runtime is out of range"),
    (changed(STARTED, type="task-succeeded", runtime=1e300), "runtime is out of range"),
    (changed(STARTED, type="task-revoked", signum=10**9), "signum is out of range"),
    (42, "not an object"),
    (None, "not an object"),
    ("task-started", "not an object"),
    ([None, 42, "x", [STARTED], True][0:1], "not an object"),
    (b"", "not JSON"),
    (b"{", "not JSON"),
    (b"not json at all", "not JSON"),
    (b'{"type": "task-started", "uuid": "\xff\xfe"', "not UTF-8"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"a":' * 40_000, "nested too deeply"),
    (pickle.dumps(STARTED), "pickled or msgpack: only JSON events are read"),
    (b'{"type":"task-started","timestamp":' + b"9" * 5000 + b"}", "not JSON"),
    (b" " * (BODY_LIMIT + 1), "larger than 256 KB"),
    (changed(RECEIVED, args="x" * BODY_LIMIT), "larger than 256 KB"),
]


@pytest.mark.parametrize(("event", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_bad_events_are_counted_with_a_reason_and_cost_nobody_else(event: Any, reason: str) -> None:
    for received in through(event):
        assert (received.events, received.bad, received.other) == ([], 1, 0)
        assert received.last_bad is not None
        assert received.last_bad.reason == reason
        assert_harmless(received)
    if not isinstance(event, bytes) and "larger" not in reason and not isinstance(event, list):
        for received in through([STARTED, event, RECEIVED]):
            assert (len(received.events), received.bad) == (2, 1)


ENVELOPES: list[tuple[bytes, str]] = [
    (b"", "envelope is not JSON"),
    (b"garbage", "envelope is not JSON"),
    (b'{"a": "\xff"}', "envelope is not UTF-8"),
    (b"[]", "envelope is not an object"),
    (b"null", "envelope is not an object"),
    (b"42", "envelope is not an object"),
    (b"{}", "envelope has no body"),
    (b'{"body": null}', "envelope has no body"),
    (b'{"body": {"type": "task-started"}}', "envelope has no body"),
    (b'{"status": "SUCCESS", "result": 3}', "envelope has no body"),
    (b'{"body": "%%%not base64%%%"}', "body is not base64"),
    (envelope(b"{}", properties={"body_encoding": "rot13"}, body="%%"), "body encoding is rot13, not base64"),
    (b'{"a":' * 40_000, "envelope is nested too deeply"),
    (b'{"body": "' + b"A" * 20_000_000 + b'"}', "larger than 256 KB"),
    (envelope(json.dumps(changed(RECEIVED, args="x" * 20_000_000)).encode()), "larger than 256 KB"),
    (pickle.dumps({"body": "x"}), "envelope is not UTF-8"),
]


@pytest.mark.parametrize(("payload", "reason"), ENVELOPES, ids=range(len(ENVELOPES)))
def test_bad_envelopes_are_counted_with_a_reason(payload: bytes, reason: str) -> None:
    received = Decoder().feed_redis([payload, envelope(json.dumps(STARTED).encode())], NOW)
    assert (len(received.events), received.bad) == (1, 1)
    assert received.last_bad is not None
    assert received.last_bad.reason == reason
    assert_harmless(received)


KEPT: list[dict[str, Any]] = [
    # fields celerytop does not read may be anything
    changed(STARTED, clock=None),
    changed(STARTED, clock="x"),
    changed(STARTED, utcoffset="x"),
    changed(STARTED, utcoffset=float("nan")),
    changed(HEARTBEAT, loadavg=[float("inf"), "x"]),
    # attributes of Celery's own classes: setting them made Flower answer HTTP 500 until its restart
    changed(HEARTBEAT, event="x", heartbeats="y", __class__="z", update=1),
    # what a terminal or a markup language would obey
    changed(RECEIVED, name="x.y\x1b[31m\x07", args="\x1b]52;c;aGk=\x07", hostname="w\x9b31m@h"),
    changed(RECEIVED, name="a\r\nforged: line", kwargs="\x00\x08\x7f\x85", root_id="weird\x1b[1mid"),
    changed(RECEIVED, args="<script>alert(1)</script>", kwargs="[/bold] [red]x[/red] [link=http://x]"),
    changed(RECEIVED, name="bidi \u202e\u2066", args="zero\u200bwidth \ufeff\u2028", hostname="h\u202e"),
    changed(RECEIVED, uuid="id\x1b[2J", name="lone \ud800 surrogate"),
    changed(RECEIVED, args="z" + "\u0301" * 500, name="\ue000 private \U000e0041"),
    changed(RECEIVED, name="n" * 100_000, args="a" * 100_000),
    changed(STARTED, type="task-failed", exception="E\x1b(0", traceback="a\n\x1b[2Jb\r\n" + "l\n" * 20_000),
    changed(RECEIVED, type="task-sent", queue="q\x1b[0m", exchange="e\n", routing_key="\u202e"),
    changed(HEARTBEAT, sw_ident="\x1b]0;x\x07", sw_ver="\n"),
    changed(RECEIVED, eta="\x1b", expires="\x1b"),
]


@pytest.mark.parametrize("event", KEPT, ids=range(len(KEPT)))
def test_odd_events_are_kept_and_come_out_harmless(event: dict[str, Any]) -> None:
    for received in (*through(event), *through([STARTED, event])):
        assert received.bad == 0
        assert received.events
        assert_harmless(received)


def test_a_refused_event_is_shown_without_its_secrets() -> None:
    (received, _) = through(changed(RECEIVED, retries="x", kwargs="{'password': 'hunter2'}", args="('\x1b',)"))
    assert received.last_bad is not None
    assert received.last_bad.hostname == "w1@h"
    assert "hunter2" not in received.last_bad.excerpt
    assert 0 < len(received.last_bad.excerpt) <= 200


def test_made_up_names_without_end_do_not_fill_the_memory() -> None:
    decoder = Decoder()
    for start in range(0, 60_000, 1000):
        batch = [changed(STARTED, hostname=f"w{number}@h") for number in range(start, start + 1000)]
        assert len(decoder.feed_amqp([json.dumps(batch).encode()], NOW).events) == 1000
    assert len(decoder._known) <= 50_000


def test_a_list_of_a_hundred_thousand_bad_ones_takes_no_time() -> None:
    body = b"[" + b"1," * 100_000 + b"1]"
    calls: list[str] = []
    sys.setprofile(lambda _frame, event, _what: calls.append(event))
    try:
        received = Decoder().feed_amqp([body], NOW)
    finally:
        sys.setprofile(None)
    assert len(calls) < 1000, "nothing is done for each of them"
    assert received.bad == 100_001
    assert received.last_bad is not None
    assert received.last_bad.reason == "one of a list of 100,001 is bad"

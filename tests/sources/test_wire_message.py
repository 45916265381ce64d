"""Task messages as they lie in Redis."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celerytop.sources.wire_message import decode_message, decode_unacked
from tests.sources.wired import PATIENT

MESSAGE: dict[str, Any] = {
    "body": "W1sxXSwge30s",
    "content-encoding": "utf-8",
    "content-type": "application/json",
    "headers": {
        "lang": "py",
        "task": "fapp.big",
        "id": "8702",
        "eta": "2026-11-23T03:35:23+00:00",
        "expires": None,
        "group": "bb52",
        "retries": 1,
        "root_id": "51be",
        "parent_id": None,
        "argsrepr": "(5, '\x1b')",
        "kwargsrepr": "{}",
        "origin": "gen22578@vm",
    },
    "properties": {
        "correlation_id": "8702",
        "delivery_info": {"exchange": "", "routing_key": "celery", "redelivered": True},
        "priority": 3,
        "body_encoding": "base64",
        "delivery_tag": "ee8c",
    },
}


def test_a_message_is_read_by_its_headers() -> None:
    raw = json.dumps({**MESSAGE, "content-type": "application/x-python-serialize"}).encode()
    found = decode_message(raw, "celery")
    assert found is not None
    assert (found.task_id, found.name, found.queue, found.root_id) == ("8702", "fapp.big", "celery", "51be")
    assert (found.eta_at, found.expires_at, found.retries, found.priority) == (1795404923.0, None, 1, 3)
    assert (found.args, found.group, found.redelivered, found.size) == ("(5, '\\x1b')", "bb52", True, len(raw))
    held = decode_unacked(json.dumps([MESSAGE, "", "other"]).encode(), 1795404923.0)
    assert held is not None
    assert (held.task_id, held.queue, held.reserved_at) == ("8702", "other", 1795404923.0)


def _with(embed: object) -> dict[str, Any]:
    body = base64.b64encode(json.dumps([[1], {}, embed]).encode()).decode()
    return {**MESSAGE, "body": body}


def test_what_comes_after_it_stands_in_a_small_body() -> None:
    embed = {"chain": [{"task": "c.last"}, {"task": "b.next"}], "chord": {"task": "settle"}, "callbacks": None}
    held = decode_unacked(json.dumps([_with(embed), "", "q"]).encode())
    assert held is not None and (held.steps, held.chord_body) == (("b.next", "c.last"), "settle")
    inside = {"chain": [{"task": "c.last", "options": {"chord": {"task": "settle"}}}, {"task": "b.next", "options": 3}]}
    headed = decode_message(json.dumps(_with(inside)).encode(), whole=True)
    assert headed is not None and (headed.steps, headed.chord_body) == (("b.next", "c.last"), "settle")
    waiting = decode_message(json.dumps(_with({"chain": None, "chord": None})).encode(), whole=True)
    assert waiting is not None and (waiting.steps, waiting.chord_body) == ((), None)
    unopened = decode_message(json.dumps(_with(embed)).encode())
    assert unopened is not None and unopened.steps is None
    odd: list[object] = [{"chain": 5}, {"chord": "x"}, [], {"chain": [{"task": 1}, 7]}]
    for strange in odd:
        found = decode_unacked(json.dumps([_with(strange), "", "q"]).encode())
        assert found is not None and found.chord_body is None and not found.steps
    large = decode_unacked(json.dumps([_with({"chain": [{"task": "x" * 20_000}]}), "", "q"]).encode())
    assert large is not None and large.steps is None


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"null", b"job 5", b"\x80\x04", b'{"headers":' * 30_000, b'{"headers": []}']
)
def test_foreign_list_entries_are_no_messages(raw: bytes) -> None:
    assert decode_message(raw) is None
    assert decode_unacked(raw) is None
    assert decode_unacked(b"[" + raw + b', "", "q"]') is None


def test_names_from_python_file_systems_survive() -> None:
    strange = {**MESSAGE, "headers": {**MESSAGE["headers"], "argsrepr": "('caf\udce9',)", "stamps": float("nan")}}
    found = decode_message(json.dumps(strange).encode())
    assert found is not None
    assert found.args == "('caf?',)"


@given(st.binary(max_size=200))
@settings(PATIENT, max_examples=300)
def test_any_bytes(noise: bytes) -> None:
    decode_message(noise)
    decode_unacked(noise)

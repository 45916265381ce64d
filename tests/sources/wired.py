"""Events as they come off the wire, and what must be true of whatever is made of them."""

from __future__ import annotations

import base64
import json
import unicodedata
from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings

from celerytop.model.observation import EventsReceived
from celerytop.model.text import LIMIT
from celerytop.sources.wire import decode_amqp, decode_redis

NOW = 1795404538.0
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""How fast this machine is has nothing to do with it."""
STAMP: dict[str, Any] = {"hostname": "w1@h", "utcoffset": 0.0, "pid": 16190, "clock": 83, "timestamp": NOW}
STARTED = {**STAMP, "type": "task-started", "uuid": "7428"}
RECEIVED = {
    **STAMP,
    "type": "task-received",
    "uuid": "ef78",
    "name": "fapp.add",
    "args": "(6, 4)",
    "kwargs": "{}",
    "root_id": "51be",
    "parent_id": "7428",
    "retries": 0,
    "eta": None,
    "expires": None,
}
HEARTBEAT = {
    **STAMP,
    "type": "worker-heartbeat",
    "freq": 2.0,
    "active": 0,
    "processed": 7,
    "loadavg": [0.28, 0.27, 0.13],
    "sw_ident": "py-celery",
    "sw_ver": "5.7.0",
    "sw_sys": "Linux",
}


def envelope(body: bytes, /, **changes: Any) -> bytes:
    """What a worker PUBLISHes, its body base64."""
    whole = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"hostname": "w1@h"},
        "properties": {
            "delivery_mode": 1,
            "delivery_info": {"exchange": "celeryev", "routing_key": "task.multi"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": "a73c0997",
        },
    }
    return json.dumps({**whole, **changes}).encode()


def through(event: Any) -> list[EventsReceived]:
    """Both brokers' ways."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return [decode_redis(envelope(body), NOW), decode_amqp(body, NOW)]


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from strings(getattr(value, field))


def assert_harmless(received: EventsReceived) -> None:
    """Nothing in it could move a cursor, hide a text or fill the memory."""
    for one in (*received.events, received.last_bad):
        for text in strings(one):
            unsafe = [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp")]
            assert not [char for char in unsafe if char != "\n"], text
            assert len(text) < 5 * LIMIT

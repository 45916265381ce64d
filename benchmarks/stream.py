"""A recorded stream of events, as Celery's workers write it: 2,000 workers, flows, failures, retries, heartbeats.

About 390 bytes of JSON an event. The same number of tasks always gives the same events; only the moments are those of
now, for a monitor that met an old stream would correct clocks instead of reading.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from typing import NamedTuple

WORKERS = 2000
NAMES = [f"shop.{part}.tasks.{verb}" for part in ("orders", "mail", "search") for verb in ("send", "sync", "index")]
SPAN = 3.0
"""Seconds over which the moments of the whole stream are spread."""


class Message(NamedTuple):
    """One message on the events exchange."""

    routing_key: str
    hostname: str
    body: bytes
    events: int


def messages(tasks: int, batch: int, now: float) -> Iterator[Message]:
    """The stream of ``tasks`` tasks, ``batch`` events to a message; ``now`` is its first moment."""
    chance = random.Random(7)
    waiting: dict[str, list[bytes]] = {}
    for number in range(tasks):
        at = now + SPAN * number / tasks
        worker = f"celery@worker-{number // 8 % WORKERS}.fleet.example.com"
        if number % 25 == 0:
            yield _beat(f"celery@worker-{number // 25 % WORKERS}.fleet.example.com", at, number)
        for hostname, event in _life(number, worker, at, chance.random()):
            events = waiting.setdefault(hostname, [])
            events.append(event)
            if len(events) == batch:
                yield _message(hostname, waiting.pop(hostname))
    for hostname, events in waiting.items():
        yield _message(hostname, events)


def envelope(message: Message) -> bytes:
    """The message as kombu PUBLISHes it to Redis."""
    return (
        b'{"body": "%b", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"hostname": '
        b'"%b"}, "properties": {"delivery_mode": 1, "delivery_info": {"exchange": "celeryev", "routing_key": "%b"}, '
        b'"priority": 0, "body_encoding": "base64", "delivery_tag": "5c2d8e94-6b3c-4a5e-8f17-0d1b2c3e4f50"}}'
    ) % (base64.b64encode(message.body), message.hostname.encode(), message.routing_key.encode())


def _message(hostname: str, events: list[bytes]) -> Message:
    if len(events) > 1:
        return Message("task.multi", hostname, b"[" + b", ".join(events) + b"]", len(events))
    kind = events[0].partition(b'"type": "')[2].partition(b'"')[0].decode()
    return Message(kind.replace("-", "."), hostname, events[0], 1)


def _life(number: int, worker: str, at: float, chance: float) -> Iterator[tuple[str, bytes]]:
    """(who sends it, event) from sent to its end; one in ten has a parent, one in three is told by its producer."""
    uuid = f"{number:08x}-9b1d-4c3a-8e5f-{number:012x}"
    root = f"{number - number % 10:08x}-9b1d-4c3a-8e5f-{number - number % 10:012x}"
    call = (
        f'"uuid": "{uuid}", "name": "{NAMES[number % len(NAMES)]}", "args": "({number}, \'customer-{number}\', 2.5)", '
        f"\"kwargs\": \"{{'retry': True, 'channel': 'newsletter-{number % 100}', 'locale': 'de_DE'}}\", "
        f'"root_id": "{root}", "parent_id": {"null" if root == uuid else chr(34) + root + chr(34)}, "retries": 0, '
        f'"eta": null, "expires": null'
    )
    if number % 3 == 0:
        producer = f"gen{number % 5}@web-{number % 20}.fleet.example.com"
        where = '"queue": "orders", "exchange": "", "routing_key": "orders"'
        yield producer, _event("task-sent", producer, at, f"{call}, {where}")
    yield worker, _event("task-received", worker, at + 0.005, call)
    yield worker, _event("task-started", worker, at + 0.01, f'"uuid": "{uuid}"')
    wrong = f'"uuid": "{uuid}", "exception": "TimeoutError(\'took too long\')", "traceback": "{_TRACEBACK}"'
    if chance < 0.03:
        yield worker, _event("task-retried", worker, at + 0.04, wrong)
    elif chance < 0.05:
        yield worker, _event("task-failed", worker, at + 0.04, wrong)
    else:
        done = f'"uuid": "{uuid}", "result": "{{\'sent\': {number}}}", "runtime": {0.01 + chance / 10:.6f}'
        yield worker, _event("task-succeeded", worker, at + 0.05, done)


_LINE = 'File \\"/app/tasks.py\\", line 12, in run\\n    raise TimeoutError\\n'
_TRACEBACK = f"Traceback (most recent call last):\\n  {_LINE}  {_LINE}"
_PADDING = '"utcoffset": 0, "pid": 4242, "clock": 1234567, "delivery": "a field that no monitor keeps"'


def _event(kind: str, hostname: str, at: float, fields: str) -> bytes:
    return f'{{"hostname": "{hostname}", {_PADDING}, {fields}, "timestamp": {at:.6f}, "type": "{kind}"}}'.encode()


def _beat(hostname: str, at: float, number: int) -> Message:
    fields = (
        f'"freq": 2.0, "sw_ident": "py-celery", "sw_ver": "5.7.0", "sw_sys": "Linux", "active": {number % 8}, '
        f'"processed": {number}, "loadavg": [0.1, 0.2, 0.3]'
    )
    return Message("worker.heartbeat", hostname, _event("worker-heartbeat", hostname, at, fields), 1)

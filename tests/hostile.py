"""Everything hostile that can lie on a broker or come from it, put there for real; and what must hold of all output."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import unicodedata
from collections.abc import Iterator
from typing import Any, Self

import redis

from tests.rig.process import wait_until
from tests.sources.test_wire_hostile import ENVELOPES, KEPT, REFUSED, changed
from tests.sources.wired import HEARTBEAT, NOW, RECEIVED, STARTED, envelope

ESCAPES = "\x1b]52;c;!\x07\x1b[2J\x9b31m\r\nforged\u202e\u200b[/bold][red]x[/red][link=http://x]"
"""Clipboard, clear screen, C1, line feed, bidi, zero width, markup."""
CHANNEL = "/0.celeryev/worker.heartbeat"
PIDBOX = "/0.celery.pidbox"
NASTY_NAME = f"w{ESCAPES}@evil"
ALPHABET = re.compile(
    rb"\x1b\[[0-9;]*m|\x1b\[[0-9;]*H|\x1b\[\?[0-9]+[hl]|\x1b\[\?[0-9]+\$p|\x1b\[[<>][0-9]*u|\x1b\]22;[a-z-]*\x07|"
    rb"\x1b\]52;c;[A-Za-z0-9+/=]*\x07|[\r\n]"
)
"""All that Textual itself sends: attributes, cursor, modes and questions about them, keyboard, pointer, copying."""
_UNSAFE = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})


def unsafe(text: str, allowed: str = "") -> list[str]:
    """Characters a terminal would obey, or that hide what is written."""
    return [char for char in text if unicodedata.category(char) in _UNSAFE and char not in allowed]


def unsafe_bytes(raw: bytes) -> list[str]:
    """The same in what was written to a terminal, beside Textual's own sequences."""
    return unsafe(ALPHABET.sub(b"", raw).decode("utf-8", "replace"))


def _now(event: Any) -> bytes:
    """The event as bytes, as if it were sent now."""
    if isinstance(event, bytes):
        return event
    return json.dumps(event).replace(repr(NOW), repr(time.time())).encode()


def bad_events() -> list[bytes]:
    """Every message body that must be refused, one event each."""
    return [_now(event) for event, _ in REFUSED]


def bad_envelopes() -> list[bytes]:
    """Every Redis payload that must be refused."""
    return [payload for payload, _ in ENVELOPES]


def odd_events() -> list[bytes]:
    """Every event that is folded although it looks strange, and one with markup and escapes everywhere."""
    everywhere = {"uuid": f"id{ESCAPES}", "hostname": NASTY_NAME, "name": f"app{ESCAPES}", "args": f"({ESCAPES!r},)"}
    more = [
        changed(RECEIVED, **everywhere, kwargs=ESCAPES, root_id=ESCAPES, parent_id=ESCAPES),
        changed(STARTED, uuid=f"id{ESCAPES}", hostname=NASTY_NAME),
        changed(RECEIVED, **{**everywhere, "uuid": "failed"}),
        changed(STARTED, type="task-failed", uuid="failed", exception=ESCAPES, traceback=f"File x\n{ESCAPES}\n"),
        changed(HEARTBEAT, hostname=NASTY_NAME, active=1, sw_ident=ESCAPES, sw_ver=ESCAPES),
    ]
    return [_now(event) for event in [*KEPT, *more]]


def message(**headers: Any) -> bytes:
    """A task message as kombu leaves it in a Redis list."""
    found = {"lang": "py", "task": f"app{ESCAPES}", "id": f"id{ESCAPES}", "argsrepr": ESCAPES, "origin": ESCAPES}
    return json.dumps({"body": "e30=", "headers": {**found, **headers}, "properties": {"priority": 0}}).encode()


def spoil(client: redis.Redis) -> None:
    """Fill a Redis with what no Celery would write: keys of the wrong type, binary names, messages that are none."""
    junk: list[Any] = [b"", b"\xff\xfe\x00", b"not json", b"[" * 100_000, b"null", b"42", b"[]", b'{"headers": 5}']
    junk += [b'{"headers": {"task": ["x"], "eta": 1e999}}', b"x" * 3_000_000, message(), message(eta=ESCAPES)]
    client.sadd("_kombu.binding.celery", "celery\x06\x16\x06\x16celery", b"\xff\x06\x16\x06\x16\xff\xfe", b"", ESCAPES)
    client.sadd(f"_kombu.binding.{ESCAPES}", f"{ESCAPES}\x06\x16\x06\x16q{ESCAPES}")
    client.set("_kombu.binding.notaset", ESCAPES)
    for name in (b"celery", f"q{ESCAPES}".encode(), b"\xff\xfe", b"celery\x06\x163"):
        client.rpush(name, *junk)
    client.set("celery\x06\x166", "a string, not a list")
    for number, value in enumerate([*junk, json.dumps([json.loads(message()), ESCAPES, f"q{ESCAPES}"]).encode()]):
        client.hset("unacked", f"tag{number}{ESCAPES}", value)
        client.zadd("unacked_index", {f"tag{number}{ESCAPES}": [1.0, 1e300, -1e300, time.time()][number % 4]})
    client.zadd("unacked_index", {"endless": float("inf"), "tag without a message": 5.0})
    client.rpush("celerytop-x.reply.celery.pidbox", *junk)


def _answers(method: str) -> Iterator[bytes]:
    """Bodies nobody should answer with."""
    good = {"celery@" + ESCAPES: {"ok": "pong"}}
    task = {"id": ESCAPES, "name": ESCAPES, "args": [ESCAPES], "kwargs": {"a": ESCAPES}, "worker_pid": 10**30}
    strange: list[Any] = [
        good, 42, None, [], "x", {}, {ESCAPES: None}, {ESCAPES: {"error": ESCAPES}}, {"": {}}, {"a" * 100_000: {}},
        {"w@h": [task, 5, None, {"id": 5}, {"eta": ESCAPES, "request": task}]},
        {"w@h": {"pool": {"implementation": ESCAPES, "max-concurrency": "x", "processes": [10**30, "x", -1]},
                 "total": {ESCAPES: 10**30, "x": -1}, "rusage": {"utime": "x", "maxrss": 10**400}, "uptime": "soon",
                 "pid": -7}},
        {"w@h": [{"name": ESCAPES, "exchange": {"name": 5, "type": []}, "routing_key": {}}, {"name": 7}]},
        {"w@h": {ESCAPES: ESCAPES, "broker_url": f"redis://u:{ESCAPES}@h", "task_queues": [ESCAPES, {"name": 3}]}},
        {f"n{number}": {"ok": "pong"} for number in range(100)},
        {"w@h": ["x" * 100] * 100_000},
    ]  # fmt: skip
    for one in strange:
        yield json.dumps(one).encode()
    yield from (b"", b"\xff\xfe", b"{" * 100_000, b'{"w@h": NaN}', b'{"w@h": {"pid": ' + b"9" * 5000 + b"}}")


class FakeWorker:
    """Answers every control command with garbage, all of it, for as long as the block lasts."""

    def __init__(self, url: str) -> None:
        self._client: redis.Redis = redis.Redis.from_url(url)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._ended = threading.Event()
        self.ready = threading.Event()
        self.answered: set[str] = set()
        """Commands it has been asked."""

    def _serve(self) -> None:
        heard: Any = self._client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        heard.subscribe(PIDBOX)
        self.ready.set()
        while not self._ended.is_set():
            got = heard.get_message(timeout=0.05)
            if got is None:
                continue
            asked = json.loads(base64.b64decode(json.loads(got["data"])["body"]))
            queue, ticket, method = asked["reply_to"]["routing_key"], asked["ticket"], asked["method"]
            kinds = ["application/json", "application/x-python-serialize", ESCAPES, None]
            for number, body in enumerate(_answers(method)):
                whole: dict[str, Any] = {"body": base64.b64encode(body).decode(), "headers": {"ticket": ticket}}
                whole["content-type"] = kinds[number % 8] if number % 8 < 4 else "application/json"
                self._client.lpush(queue, json.dumps(whole))
            self._client.lpush(queue, b"\xff", b"{}", b"[]", b'{"headers": {"ticket": 5}}', b"x" * 1000)
            self.answered.add(method)
        heard.close()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self.ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(30)
        self._client.close()


def publish(client: redis.Redis) -> tuple[int, int]:
    """PUBLISH everything; (how many must be refused, how many must be folded)."""
    bad = [envelope(body) for body in bad_events()] + bad_envelopes()
    odd = [envelope(body) for body in odd_events()]
    for payload in (*bad, *odd):
        client.publish(CHANNEL, payload)
        if len(payload) > 1_000_000:  # Redis cuts off who lets 32 MB lie
            wait_until(lambda: not any(int(one["omem"]) for one in client.client_list()), 30, "it is read")
    return len(bad), len(odd)

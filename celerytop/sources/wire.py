"""Celery's events: bytes -> typed, clean structs. Never an exception, whatever the bytes are.

The usual message is decoded whole in one call straight into structs, and only looked at where it matters. A message
that this refuses is looked at again, event by event, so that one bad event costs only itself and gets its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import force_setattr

from celerytop.model.event import (
    BadEvent,
    Event,
    TaskReceived,
    TaskRevoked,
    TaskSent,
    TaskSucceeded,
    WorkerHeartbeat,
    WorkerOffline,
    WorkerOnline,
)
from celerytop.model.observation import EventsReceived
from celerytop.model.secret import mask_args
from celerytop.model.text import LIMIT, clean, clean_lines
from celerytop.sources.wire_bad import Refused, explain_envelope, one_by_one
from celerytop.sources.wire_fields import NAME_LIMIT, UNREADABLE, YEARS, integer, near

BODY_LIMIT = 256 * 1024
"""Bytes of one message's JSON beyond which it is refused unread."""
_PAYLOAD_LIMIT = BODY_LIMIT * 4 // 3 + 16 * 1024
_INTERNED = 50_000
_EXCERPT = 200
_USUAL = 1024
"""Bytes of an event that is too short to hold a text worth cutting."""
_RUNTIME, _FREQ = YEARS, 86400.0
_PID = _SMALL = 2**31

_list = msgspec.json.Decoder(list[Event])
_one = msgspec.json.Decoder(Event)


class _Envelope(msgspec.Struct, gc=False):
    body: bytes  # msgspec undoes base64; any other body_encoding fails here and is told by name


_envelope = msgspec.json.Decoder(_Envelope)

_NAMES = ("hostname", "name", "queue", "exchange", "routing_key", "sw_ident", "sw_ver", "sw_sys")
_IDS = ("uuid", "root_id", "parent_id", "eta", "expires")
_TEXTS = ("args", "kwargs", "result", "exception")
_LIMITS = {**dict.fromkeys(_NAMES + _IDS, NAME_LIMIT), **dict.fromkeys(_TEXTS, LIMIT)}
_STRINGS: dict[type, tuple[tuple[str, int], ...]] = {
    kind: tuple((field, _LIMITS[field]) for field in kind.__struct_fields__ if field in _LIMITS)
    for kind in Event.__args__
}
_NONE = {empty: empty for empty in ("()", "[]", "{}")}
"""What most tasks have for arguments, held once."""
_Check: TypeAlias = Callable[[Any], str | None]


class Decoded:
    """What came out of some messages so far."""

    __slots__ = ("_last", "bad", "events", "other")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.bad = 0
        self.other = 0
        """Well-formed events of types celerytop does not know."""
        self._last: tuple[str, str | None, bytes] | None = None

    def refuse(self, reason: str, raw: bytes, hostname: str | None = None, count: int = 1) -> None:
        """Count a bad event, or a whole list of them."""
        self.bad += count
        self._last = (reason, hostname, raw[: 4 * _EXCERPT])

    def last_bad(self, now: float) -> BadEvent | None:
        """The last one that was refused, fit to be shown."""
        if self._last is None:
            return None
        reason, hostname, raw = self._last
        excerpt = clean(mask_args(raw.decode("utf-8", "replace")), _EXCERPT)
        return BadEvent(now, clean(reason, _EXCERPT), hostname and clean(hostname, NAME_LIMIT), excerpt)


class Decoder:
    """Decodes batches; remembers the names it has seen, so that each is held once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def feed_redis(self, payloads: Iterable[bytes], now: float) -> EventsReceived:
        """Decode kombu's virtual-transport envelopes, as PUBLISHed; ``now`` is Unix seconds."""
        into = Decoded()
        for payload in payloads:
            if len(payload) > _PAYLOAD_LIMIT:
                into.refuse("larger than 256 KB", payload)
                continue
            try:
                body = _envelope.decode(payload).body
            except UNREADABLE:
                into.refuse(explain_envelope(payload), payload)
                continue
            self._body(body, into, now)
        return _received(into, now)

    def feed_amqp(self, bodies: Iterable[bytes], now: float) -> EventsReceived:
        """Decode AMQP message bodies, plain JSON; ``now`` is Unix seconds."""
        into = Decoded()
        for body in bodies:
            self._body(body, into, now)
        return _received(into, now)

    def _body(self, body: bytes, into: Decoded, now: float) -> None:
        """One message: an event, or a list of events (``task.multi``)."""
        if len(body) > BODY_LIMIT:
            into.refuse("larger than 256 KB", body)
            return
        try:
            found = _list.decode(body) if body[:1] == b"[" else (_one.decode(body),)
        except UNREADABLE:
            self._one_by_one(body, into, now)
            return
        # Printable ASCII without an escape but \" cannot hold anything that needs cleaning.
        # `in` stops at memchr's speed: counting at once took as long as checking all fields.
        harmless = body.isascii() and b"\x7f" not in body
        if harmless and b"\\" in body:
            harmless = body.count(b"\\") == body.count(b'\\"')
        if harmless and len(body) <= _USUAL * len(found) and self._usual(found, now):
            into.events += found
        else:
            self._keep(found, into, now, body)

    def _usual(self, found: Sequence[Any], now: float) -> bool:
        """Check and intern what may be wrong with clean events of usual length; ``False``: look closer."""
        low, high = now - YEARS, now + YEARS
        known = self._known
        hostname = kept = ""
        for event in found:
            if not low < event.timestamp < high:
                return False
            if event.hostname != hostname:
                hostname = event.hostname
                kept = known.get(hostname) or self._intern(hostname)
            force_setattr(event, "hostname", kept)
            kind = event.__class__
            if _CHECKS[kind](event) is not None:
                return False
            if kind is TaskReceived or kind is TaskSent:
                self._intern_names(event)
        return True

    def _one_by_one(self, body: bytes, into: Decoded, now: float) -> None:
        for one in one_by_one(body, now):
            if isinstance(one, Refused):
                into.refuse(one.reason, one.excerpt, one.hostname, one.count)
            elif one is None:
                into.other += 1
            else:
                self._keep((one,), into, now, body)

    def _keep(self, found: Iterable[Event], into: Decoded, now: float, body: bytes) -> None:
        """Keep what is in order, clean, cut, its names interned; refuse the rest."""
        for event in found:
            if not near(event.timestamp, now):
                into.refuse("timestamp is not within ten years of now", body, event.hostname)
            elif (reason := _CHECKS[event.__class__](event)) is not None:
                into.refuse(reason, body, event.hostname)
            else:
                _clean(event)
                force_setattr(event, "hostname", self._known.get(event.hostname) or self._intern(event.hostname))
                if isinstance(event, TaskReceived | TaskSent):
                    self._intern_names(event)
                into.events.append(event)

    def _intern_names(self, event: Any) -> None:
        known = self._known
        if event.root_id == event.uuid:  # most tasks are their own root: hold that once
            force_setattr(event, "root_id", event.uuid)
        for field in ("args", "kwargs"):
            if (value := getattr(event, field)) in _NONE:
                force_setattr(event, field, _NONE[value])
        if (name := event.name) is not None:
            force_setattr(event, "name", known.get(name) or self._intern(name))
        if event.__class__ is TaskSent:
            for field in ("queue", "exchange", "routing_key"):
                if value := getattr(event, field):
                    force_setattr(event, field, known.get(value) or self._intern(value))

    def _intern(self, name: str) -> str:
        """Hold each name once. The table is emptied when somebody makes up names without end."""
        if len(self._known) >= _INTERNED:
            self._known.clear()
        kept = clean(name, NAME_LIMIT)
        if kept == name:
            self._known[name] = name
        return kept


def decode_redis(payload: bytes, now: float) -> EventsReceived:
    """Decode one envelope."""
    return Decoder().feed_redis((payload,), now)


def decode_amqp(body: bytes, now: float) -> EventsReceived:
    """Decode one AMQP body."""
    return Decoder().feed_amqp((body,), now)


def _received(into: Decoded, now: float) -> EventsReceived:
    return EventsReceived(now, into.events, into.bad, into.last_bad(now) if into.bad else None, into.other)


def _clean(event: Event) -> None:
    for field, limit in _STRINGS[event.__class__]:
        value = getattr(event, field)
        if isinstance(value, str) and (len(value) > limit or not (value.isascii() and value.isprintable())):
            force_setattr(event, field, clean(value, limit))
    traceback = getattr(event, "traceback", None)
    if traceback is not None:
        force_setattr(event, "traceback", clean_lines(traceback))


def _check_task(event: Any) -> str | None:
    return None if 0 < len(event.uuid) <= NAME_LIMIT else "uuid is empty or longer than 512 characters"


def _check_named(event: Any) -> str | None:
    retries = event.retries
    if retries is not None and not 0 <= retries < _SMALL:
        return "retries is out of range"
    return None if 0 < len(event.uuid) <= NAME_LIMIT else "uuid is empty or longer than 512 characters"


def _check_succeeded(event: Any) -> str | None:
    runtime = event.runtime
    if runtime is not None and not 0 <= runtime < _RUNTIME:
        return "runtime is out of range"
    return None if 0 < len(event.uuid) <= NAME_LIMIT else "uuid is empty or longer than 512 characters"


def _check_revoked(event: Any) -> str | None:
    """Celery 4.4 sends ``signum`` as a string in its second copy."""
    signum = event.signum
    if isinstance(signum, str):
        signum = int(signum) if signum.isascii() and signum.isdecimal() and len(signum) < 4 else None
        force_setattr(event, "signum", signum)
    if signum is not None and integer(signum, 0, 128) is None:
        return "signum is out of range"
    return _check_task(event)


def _check_worker(event: Any) -> str | None:
    if not event.hostname:
        return "hostname is empty"
    freq = event.freq
    if freq is not None and not 0 < freq <= _FREQ:
        return "freq is out of range"
    for field, limit in (("pid", _PID), ("active", _SMALL), ("processed", 2**53)):
        value = getattr(event, field)
        if value is not None and not 0 <= value < limit:
            return f"{field} is out of range"
    return None


_CHECKS: dict[type, _Check] = {
    **dict.fromkeys(Event.__args__, _check_task),
    TaskSent: _check_named,
    TaskReceived: _check_named,
    TaskSucceeded: _check_succeeded,
    TaskRevoked: _check_revoked,
    WorkerOnline: _check_worker,
    WorkerHeartbeat: _check_worker,
    WorkerOffline: _check_worker,
}

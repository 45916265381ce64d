"""Celery's events: bytes -> typed, clean structs. Never an exception, whatever the bytes are.

The usual message is decoded whole in one call straight into structs, and only looked at where it matters. A message
that this refuses is looked at again, event by event, so that one bad event costs only itself and gets its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from operator import or_
from types import GenericAlias
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import force_setattr

from celerytop.model.event import (
    BadEvent,
    Event,
    TaskFailed,
    TaskReceived,
    TaskRetried,
    TaskRevoked,
    TaskSent,
    TaskStarted,
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
_LINE_END, _QUOTE = b'n"'
_USUAL = 1024
"""Bytes of an event that is too short to hold a text worth cutting."""

_list = msgspec.json.Decoder(list[Event])
_one = msgspec.json.Decoder(Event)


class _Skipped(msgspec.Struct, gc=False, tag_field="type"):
    """An event that is counted and dropped: none of its fields is made a string."""


class _SentSkipped(_Skipped, tag="task-sent"): ...


class _ReceivedSkipped(_Skipped, tag="task-received"): ...


class _StartedSkipped(_Skipped, tag="task-started"): ...


_FIRST: dict[type, str] = {
    kind: kind.__struct_config__.tag  # type: ignore[misc]
    for kind in (TaskSent, TaskReceived, TaskStarted, _SentSkipped, _ReceivedSkipped, _StartedSkipped)
}
"""Events that are dropped first, and their names."""
_kinds: Any = reduce(or_, (set(Event.__args__) - _FIRST.keys()) | {_SentSkipped, _ReceivedSkipped, _StartedSkipped})
_thin: msgspec.json.Decoder[list[Any]] = msgspec.json.Decoder(GenericAlias(list, (_kinds,)))
"""Lists of which only heartbeats and what ends a task is kept: takes half as long."""


class _Envelope(msgspec.Struct, gc=False):
    # msgspec undoes base64, in 0.8 us an event of a list of 24; any other body_encoding fails here and is told by name.
    # Rejected: cutting the body out by its quotes (no faster), binascii (2.0 us).
    body: bytes


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

    __slots__ = ("_last", "bad", "dropped", "events", "other", "thin")

    def __init__(self, thin: bool = False) -> None:
        self.thin = thin
        """Only heartbeats and events that end a task are kept."""
        self.dropped: Counter[str] = Counter()
        """By type."""
        self.events: list[Event] = []
        self.bad = 0
        self.other = 0
        """Well-formed events of types celerytop does not know."""
        self._last: tuple[str, str | None, bytes] | None = None

    def refuse(self, reason: str, raw: bytes, hostname: str | None = None, count: int = 1) -> None:
        """Count a bad event, or a whole list of them."""
        self.bad += count
        self._last = (reason, hostname, raw[: 4 * _EXCERPT])

    def spare(self, found: Sequence[Any]) -> list[Any]:
        """Only what should be kept when there is too much; the others are counted."""
        kept = [event for event in found if event.__class__ not in _FIRST]
        if len(kept) < len(found):
            self.dropped.update(_FIRST[event.__class__] for event in found if event.__class__ in _FIRST)
        return kept

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
        self._closer: dict[type, _Check] = {
            **_CHECKS,
            TaskReceived: self._intern_received,
            TaskSent: self._intern_names,
        }

    def feed_redis(self, payloads: Iterable[bytes], now: float, *, thin: bool = False) -> EventsReceived:
        """Decode kombu's virtual-transport envelopes, as PUBLISHed; ``now`` is Unix seconds.

        ``thin``: keep only heartbeats and events that end a task; the others are counted as dropped.
        """
        into = Decoded(thin)
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
            found = (_thin if into.thin else _list).decode(body) if body[:1] == b"[" else (_one.decode(body),)
        except UNREADABLE:
            self._one_by_one(body, into, now)
            return
        short = len(body) <= _USUAL * len(found)
        if into.thin:
            found = into.spare(found)
        # Printable ASCII without an escape but \" cannot hold anything that needs cleaning; nor can line ends that
        # are all in tracebacks (two of three lists of 24 have one of those when 5 % fail).
        lines = _escaped_lines(body) if short and body.isascii() and b"\x7f" not in body else -1
        if (lines == 0 or (lines > 0 and lines == _line_ends(found))) and self._usual(found, now):
            into.events += found
        else:
            self._keep(found, into, now, body)

    def _usual(self, found: Sequence[Any], now: float) -> bool:
        """Check and intern what may be wrong with clean events of usual length; ``False``: look closer.

        What msgspec checks while it decodes (``model.event``) is not looked at again: a call for each event took as
        long as all the rest here.
        """
        low, high = now - YEARS, now + YEARS
        known, closer = self._known, self._closer
        hostname = kept = ""
        for event in found:
            if not low < event.timestamp < high:
                return False
            if event.hostname != hostname:
                hostname = event.hostname
                kept = known.get(hostname) or self._intern(hostname)
            force_setattr(event, "hostname", kept)
            look = closer.get(event.__class__)
            if look is not None and look(event) is not None:
                return False
        return True

    def _one_by_one(self, body: bytes, into: Decoded, now: float) -> None:
        for one in one_by_one(body, now):
            if isinstance(one, Refused):
                into.refuse(one.reason, one.excerpt, one.hostname, one.count)
            elif one is None:
                into.other += 1
            else:
                self._keep(into.spare((one,)) if into.thin else (one,), into, now, body)

    def _keep(self, found: Iterable[Event], into: Decoded, now: float, body: bytes) -> None:
        """Keep what is in order, clean, cut, its names interned; refuse the rest."""
        for event in found:
            if not near(event.timestamp, now):
                into.refuse("timestamp is not within ten years of now", body, event.hostname)
            elif (check := _CHECKS.get(event.__class__)) is not None and (reason := check(event)) is not None:
                into.refuse(reason, body, event.hostname)
            else:
                _clean(event)
                force_setattr(event, "hostname", self._known.get(event.hostname) or self._intern(event.hostname))
                if isinstance(event, TaskReceived | TaskSent):
                    self._closer[event.__class__](event)
                into.events.append(event)

    def _intern_received(self, event: Any) -> str | None:
        name, args, kwargs = event.name, event.args, event.kwargs
        if name is not None:
            force_setattr(event, "name", self._known.get(name) or self._intern(name))
        if event.root_id == event.uuid:  # most tasks are their own root: hold that once
            force_setattr(event, "root_id", event.uuid)
        if args is not None and len(args) == 2:
            force_setattr(event, "args", _NONE.get(args, args))
        if kwargs is not None and len(kwargs) == 2:
            force_setattr(event, "kwargs", _NONE.get(kwargs, kwargs))
        return None

    def _intern_names(self, event: Any) -> str | None:
        self._intern_received(event)
        for field in ("queue", "exchange", "routing_key"):
            if value := getattr(event, field):
                force_setattr(event, field, self._known.get(value) or self._intern(value))
        return None

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
    bad = into.last_bad(now) if into.bad else None
    dropped = into.dropped
    return EventsReceived(now, into.events, into.bad, bad, into.other, dropped.total() if dropped else 0, dropped)


def _escaped_lines(body: bytes) -> int:
    """How many line ends it has; -1 when it has another escape than these and quotes.

    ``find`` goes at memchr's speed. Counting the three escapes takes 1.0 us an event of a list of 24, this 0.05.
    """
    lines = 0
    at = body.find(b"\\")
    while at >= 0:
        escaped = body[at + 1]  # there is one: it is JSON
        if escaped == _LINE_END:
            lines += 1
        elif escaped != _QUOTE:
            return -1
        at = body.find(b"\\", at + 2)
    return lines


def _line_ends(found: Sequence[Any]) -> int:
    """Of all tracebacks that need not be cut."""
    number = 0
    for event in found:
        kind = event.__class__
        if (kind is TaskFailed or kind is TaskRetried) and event.traceback is not None:
            if len(event.traceback) > LIMIT:
                return -1
            number += event.traceback.count("\n")
    return number


def _clean(event: Event) -> None:
    for field, limit in _STRINGS[event.__class__]:
        value = getattr(event, field)
        if isinstance(value, str) and (len(value) > limit or not (value.isascii() and value.isprintable())):
            force_setattr(event, field, clean(value, limit))
    traceback = getattr(event, "traceback", None)
    if traceback is not None:
        force_setattr(event, "traceback", clean_lines(traceback))


def _check_revoked(event: Any) -> str | None:
    """Celery 4.4 sends ``signum`` as a string in its second copy."""
    signum = event.signum
    if isinstance(signum, str):
        signum = int(signum) if signum.isascii() and signum.isdecimal() and len(signum) < 4 else None
        force_setattr(event, "signum", signum)
    if signum is not None and integer(signum, 0, 128) is None:
        return "signum is out of range"
    return None


def _check_worker(event: Any) -> str | None:
    return None if event.hostname else "hostname is empty"


_CHECKS: dict[type, _Check] = {
    TaskRevoked: _check_revoked,
    WorkerOnline: _check_worker,
    WorkerHeartbeat: _check_worker,
    WorkerOffline: _check_worker,
}
"""What msgspec cannot check while it decodes."""

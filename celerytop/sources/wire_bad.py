"""Events that were refused at first sight: which of them are good after all, and what is wrong with the others."""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from celerytop.model.event import Event
from celerytop.model.text import clean
from celerytop.sources.wire_fields import UNREADABLE, is_mapping, near, number

_KINDS: dict[str, type] = {kind.__struct_config__.tag: kind for kind in Event.__args__}
_FLOATS = ("timestamp", "runtime", "freq", "expires")
_BATCH = 1000
"""Celery sends 24 at a time; to look at each of 100,000 bad ones would take a second."""
_WORDS = {
    "float": "a number",
    "int": "a whole number",
    "str": "a string",
    "bool": "true or false",
    "object": "an object",
}


class Refused(msgspec.Struct, frozen=True, gc=False):
    """One event that is bad, and why."""

    reason: str
    excerpt: bytes
    hostname: str | None = None
    count: int = 1


def one_by_one(body: bytes, now: float) -> Iterator[Event | Refused | None]:
    """Look at every event of a body alone; ``None`` is a well-formed one of a type celerytop does not know.

    Python's json is used here because it reads what Python's json writes: NaN, lone surrogates.
    """
    if body[:1] == b"\x80":
        yield Refused("pickled or msgpack: only JSON events are read", body)
        return
    try:
        found = json.loads(body)
    except RecursionError:
        yield Refused("nested too deeply", body)
        return
    except UNREADABLE as error:
        yield Refused("not UTF-8" if isinstance(error, UnicodeDecodeError) else "not JSON", body)
        return
    if isinstance(found, list) and len(found) > _BATCH:
        yield Refused(f"one of a list of {len(found):,} is bad", body, count=len(found))
        return
    for one in found if isinstance(found, list) else (found,):
        try:
            yield _one(one, now)
        except UNREADABLE as error:
            yield Refused(_reason(str(error)), _excerpt(one), _hostname(one))


def _one(found: object, now: float) -> Event | Refused | None:
    """Convert one event.

    Raises:
        msgspec.ValidationError: a field is missing or mistyped.
    """
    if not is_mapping(found):
        return Refused("not an object", _excerpt(found))
    if "type" not in found:
        return Refused("no type", _excerpt(found), _hostname(found))
    tag = found["type"]
    if not isinstance(tag, str):
        return Refused("type is not a string", _excerpt(found), _hostname(found))
    for field in _FLOATS:
        if isinstance(found.get(field), float) and number(found[field]) is None:
            return Refused(f"{field} is NaN or infinite", _excerpt(found), _hostname(found))
    kind = _KINDS.get(tag)
    if kind is not None:
        event: Event = msgspec.convert(found, kind)
        return event
    at = number(found.get("timestamp"))
    if at is None or not near(at, now) or not isinstance(found.get("hostname"), str):
        return Refused(f"unknown type {clean(tag, 60)} without a timestamp and hostname", _excerpt(found))
    return None


def _reason(error: str) -> str:
    """msgspec's words in ours.

    >>> _reason("Object missing required field `uuid`"), _reason("Expected `float`, got `str` - at `$.timestamp`")
    ('no uuid', 'timestamp is not a number')
    """
    if missing := re.search(r"missing required field `(\w+)`", error):
        return f"no {missing[1]}"
    field = re.search(r"at `\$\.(\w+)", error)
    if field and re.search(r"` (of length )?[<>]=? ", error):
        return (
            f"{field[1]} is empty or longer than 512 characters"
            if field[1] == "uuid"
            else f"{field[1]} is out of range"
        )
    expected = re.search(r"Expected `(\w+)", error)
    if field and expected:
        return f"{field[1]} is not {_WORDS.get(expected[1], expected[1])}"
    return f"{field[1]} is out of range" if field else "a field has the wrong type"


def _hostname(found: object) -> str | None:
    hostname = found.get("hostname") if is_mapping(found) else None
    return hostname[:512] if isinstance(hostname, str) else None


def _excerpt(found: Any) -> bytes:
    try:
        return json.dumps(found)[:800].encode()
    except UNREADABLE:
        return b""


def explain_envelope(payload: bytes) -> str:
    """One phrase for what is wrong with a Redis envelope."""
    try:
        found = json.loads(payload)
    except RecursionError:
        return "envelope is nested too deeply"
    except UNREADABLE as error:
        return f"envelope is not {'UTF-8' if isinstance(error, UnicodeDecodeError) else 'JSON'}"
    if not is_mapping(found):
        return "envelope is not an object"
    body = found.get("body")
    if not isinstance(body, str):
        return "envelope has no body"
    properties = found.get("properties")
    encoding = properties.get("body_encoding") if is_mapping(properties) else None
    if encoding not in (None, "base64"):
        return f"body encoding is {clean(str(encoding), 40)}, not base64"
    try:
        binascii.a2b_base64(body, strict_mode=True)
    except ValueError:
        return "body is not base64"
    return "envelope has fields of the wrong type"

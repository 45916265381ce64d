"""One untrusted value from decoded JSON -> one typed and clean, or ``None`` when it is not what it should be."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeGuard, TypeVar

import msgspec

from celerytop.model.text import LIMIT, clean

NAME_LIMIT = 512
"""Longest task id, task name, node name or queue name kept, in characters."""
PID_LIMIT = 2**22
"""Linux' largest pid (``/proc/sys/kernel/pid_max``); a greenlet's "pid" is an address far above it."""
PATIENCE = 256 * 1024
"""Bytes beyond which nothing malformed is looked at twice."""
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""All that JSON decoding raises on hostile bytes: broken, not UTF-8, mistyped, 4,300 digits, 100k brackets."""

_INT_LIMIT = 2**53
YEARS = 10 * 366 * 86400.0
"""Ten of them: a moment further from now is no clock."""

T = TypeVar("T")


def decode(decoder: msgspec.json.Decoder[T], raw: bytes) -> T | None:
    r"""Decode JSON; ``None`` when it is not what ``decoder`` expects.

    Python's json writes NaN and lone surrogates (file names), which msgspec refuses: those get a second look.

    >>> decode(msgspec.json.Decoder(list[float | None]), b"[NaN]"), decode(msgspec.json.Decoder(list[str]), b"[1]")
    ([None], None)
    """
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        return None
    except UNREADABLE:
        return _decode_mended(decoder, raw)


def _decode_mended(decoder: msgspec.json.Decoder[T], raw: bytes) -> T | None:
    if len(raw) > PATIENCE:
        return None
    try:
        content = json.loads(raw, parse_constant=lambda _: None)
        return decoder.decode(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))
    except UNREADABLE:
        return None


def is_mapping(value: object) -> TypeGuard[Mapping[str, Any]]:
    """A JSON object."""
    return isinstance(value, dict)


def text(value: object, limit: int = LIMIT) -> str | None:
    r"""A string, cleaned and cut.

    >>> text("a\x1bb"), text(5), text("")
    ('a\\x1bb', None, '')
    """
    return clean(value, limit) if isinstance(value, str) else None


def name(value: object) -> str | None:
    """A name: as ``text``, shorter, and not empty."""
    return clean(value, NAME_LIMIT) if isinstance(value, str) and value else None


def integer(value: object, low: int = 0, high: int = _INT_LIMIT) -> int | None:
    """A whole number in range; ``True`` is none.

    >>> integer(3), integer(True), integer(-1), integer("3"), integer(10**30)
    (3, None, None, None, None)
    """
    return value if type(value) is int and low <= value <= high else None


def pid(value: object) -> int | None:
    """A process id this kernel could have given.

    >>> pid(19426), pid(140578594420224), pid(0)
    (19426, None, None)
    """
    return integer(value, 1, PID_LIMIT)


def number(value: object) -> float | None:
    """A finite number.

    >>> number(2), number(float("nan")), number("2")
    (2.0, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def flag(value: object) -> bool | None:
    """A JSON true or false."""
    return value if isinstance(value, bool) else None


def near(moment_at: float, now: float) -> bool:
    """Whether a moment is within ten years of now: anything else is no clock.

    >>> near(1e18, 1.8e9), near(float("nan"), 1.8e9), near(1.79e9, 1.8e9)
    (False, False, True)
    """
    return -YEARS < moment_at - now < YEARS


def moment(value: object) -> float | None:
    """Unix seconds of an ISO 8601 string or a number, as ``eta`` and ``expires`` are written; naive is UTC.

    >>> moment("2026-11-23T03:35:23+00:00"), moment("2026-11-23T03:35:23Z"), moment(5.0), moment("soon")
    (1795404923.0, 1795404923.0, 5.0, None)
    """
    if not isinstance(value, str):
        return number(value)
    if len(value) > 64:
        return None
    try:
        parsed = datetime.fromisoformat(value)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None

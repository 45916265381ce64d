"""The one place where text from the wire becomes harmless: no escape byte, no bidi, no endless string.

Everything a producer or a worker can write (task names, ids, arguments, exceptions, queue names, node names) is
under somebody else's control, and a terminal obeys escape sequences. ``clean`` runs at ingest, once; whatever is in the
model may be printed as it is.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

LIMIT = 4096
"""Longest text kept, in characters; a cut text ends in ``…``."""

_SYMBOLS = {"\n": "⏎", "\r": "␍", "\t": "⇥"}
_UNSAFE = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
_MARKS_PER_BASE = 3


def clean(text: str, limit: int = LIMIT) -> str:
    r"""Make ``text`` safe to print: control, format, private and surrogate characters become visible escapes.

    >>> clean("app.add"), clean("\x1b[31mred"), clean("a\u202eb"), clean("x\ud800")
    ('app.add', '\\x1b[31mred', 'a\\u202eb', 'x\\ud800')
    >>> clean("one\ntwo\x00"), clean("abcdef", 4)
    ('one⏎two\\x00', 'abc…')
    """
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isascii() and text.isprintable():  # the usual case: 0.1 us
        return text
    return _escape(text)


def clean_lines(text: str, limit: int = 4 * LIMIT) -> str:
    r"""Clean every line of ``text`` and keep its line ends: for tracebacks, the only text with lines of its own.

    >>> clean_lines("a\n  b\x1b")
    'a\n  b\\x1b'
    """
    return "\n".join(clean(line) for line in text[:limit].split("\n"))


def some(words: Sequence[object], most: int, between: str = ", ") -> str:
    """The first ``most`` words, and how many more there are.

    >>> some(["a", "b"], 2), some([1, 2, 3], 2), some([], 2)
    ('a, b', '1, 2 and 1 more', '')
    """
    shown = between.join(map(str, words[:most]))
    return f"{shown} and {len(words) - most:,} more" if len(words) > most else shown


def _escape(text: str) -> str:
    out: list[str] = []
    marks = 0
    for char in text:
        category = unicodedata.category(char)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if category in _UNSAFE:
            out.append(_SYMBOLS.get(char) or _code(char))
        elif marks <= _MARKS_PER_BASE:
            out.append(char)
    return "".join(out)


def _code(char: str) -> str:
    point = ord(char)
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"

"""Numbers, times and names as people read them: one fixed form each, for the screen and for the text report.

Everywhere: not known is ``?``, does not apply is ``-``, zero is ``0``.
"""

from __future__ import annotations

import math
import time
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

UNKNOWN = "?"
NONE = "-"
"""Does not apply."""

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = ".:-=+*#@"
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB", "EB")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def count(number: float | None) -> str:
    """A number of things, thousands apart; from ten million on shortened, so that a column stays a column.

    >>> count(1204), count(0), count(None), count(123_456_789)
    ('1,204', '0', '?', '123M')
    """
    if number is None or number != number:
        return UNKNOWN
    if abs(number) < 10_000_000:
        return f"{number:,.0f}"
    return _digits(number / 1e6) + "M" if abs(number) < 1e9 else f"{number / 1e9:,.3g}G"


def duration(seconds: float | None) -> str:
    """A length of time in at most six cells.

    >>> [duration(t) for t in (0, 0.0042, 0.6, 25, 78, 724, 11220, 187200, 8.7e6)]
    ['0s', '4ms', '0.6s', '25s', '1m18s', '12m04s', '3h07m', '2d04h', '100d']
    >>> duration(None), duration(math.inf), duration(-3.2)
    ('?', 'never', '-3.2s')
    """
    if seconds is None or seconds != seconds:
        return UNKNOWN
    if seconds < 0:
        return "-" + duration(-seconds)
    if seconds == math.inf:
        return "never"
    if seconds < 9.95:
        return _short(seconds)
    whole = round(seconds)
    return f"{whole}s" if whole < _MINUTE else _two(whole)


def _short(seconds: float) -> str:
    if seconds >= 0.0995:
        return f"{seconds:.1f}s"
    if seconds < 0.00005:
        return "<.1ms" if seconds else "0s"
    return f"{seconds * 1000:.0f}ms" if seconds >= 0.0095 else f"{seconds * 1000:.1g}ms"


def _two(whole: int) -> str:
    """The two largest units."""
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02d}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02d}m"
    days = whole // _DAY
    return f"{days}d{whole % _DAY // _HOUR:02d}h" if days < 100 else _years(days)


def _years(days: int) -> str:
    return f"{days}d" if days < 10_000 else f"{days // 365}y"


def clock_duration(seconds: float | None) -> str:
    """A running time that ticks: hours, minutes, seconds in eight cells.

    >>> clock_duration(2530.9), clock_duration(None), clock_duration(360_000 + 125)
    ('00:42:10', '?', '4d04h02m')
    """
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    whole = max(0, int(seconds))
    if whole < 100 * _HOUR:
        return f"{whole // _HOUR:02d}:{whole % _HOUR // _MINUTE:02d}:{whole % _MINUTE:02d}"
    days, rest = divmod(whole, _DAY)
    return f"{days}d{rest // _HOUR:02d}h{rest % _HOUR // _MINUTE:02d}m" if days < 10 else _two(whole)


def size(number: float | None, signed: bool = False) -> str:
    """Bytes with three digits and their unit (1 KB is 1,024 bytes), in at most seven cells and a sign.

    >>> [size(n) for n in (0, 999, 512 * 1024, 1.9 * 2**30, 2.914 * 2**30, 24.31 * 2**20, 1023 * 2**20)]
    ['0 B', '999 B', '512 KB', '1.9 GB', '2.91 GB', '24.3 MB', '1.0 GB']
    >>> size(None), size(2**22, signed=True), size(-300, signed=True)
    ('?', '+4.0 MB', '-300 B')
    """
    if number is None or not math.isfinite(number):
        return UNKNOWN
    sign = "-" if number < 0 else "+" if signed and number else ""
    value = abs(number)
    power = 0
    while value >= 999.5 and power < len(_UNITS) - 1:
        value /= 1024
        power += 1
    return f"{sign}{value:.0f} B" if not power else f"{sign}{_digits(value)} {_UNITS[power]}"


def _digits(value: float) -> str:
    """Three digits; a last zero behind the point is dropped, the one before it is not."""
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    if abs(value) >= 9.995:
        return f"{value:.1f}"
    text = f"{value:.2f}"
    return text[:-1] if text.endswith("0") else text


def rate(number: float | None, signed: bool = False) -> str:
    """Something a second, or a percentage: one digit behind the point, more for rare, none for many.

    >>> rate(11.31), rate(18.4, signed=True), rate(-0.3), rate(0), rate(None)
    ('11.3', '+18.4', '-0.3', '0.0', '?')
    >>> rate(0.04), rate(4210.7), rate(0.001)
    ('0.04', '4,211', '<.01')
    """
    if number is None or not math.isfinite(number):
        return UNKNOWN
    sign = "-" if number < 0 else "+" if signed and number else ""
    value = abs(number)
    if value >= 999.95:
        return sign + (f"{value:,.0f}" if value < 99_999.5 else f"{value / 1000:,.0f}k")
    if value >= 0.095 or value == 0:
        return f"{sign}{value:.1f}"
    return f"{sign}{value:.2f}" if value >= 0.005 else sign + "<.01"


def percent(part: float | None) -> str:
    """A part of one as a percentage.

    >>> percent(0.592), percent(0), percent(None), percent(0.004), percent(0.0001), percent(1)
    ('59%', '0%', '?', '0.4%', '<.1%', '100%')
    """
    if part is None or not math.isfinite(part):
        return UNKNOWN
    value = part * 100
    if 0 < value < 0.05:
        return "<.1%"
    return f"{value:.1f}%" if 0 < value < 0.95 else f"{value:.0f}%"


def ago(seconds: float | None) -> str:
    """How long ago.

    >>> ago(34), ago(None), ago(0.01)
    ('34s ago', '?', 'now')
    """
    if seconds is None:
        return UNKNOWN
    return "now" if seconds < 0.05 else f"{duration(seconds)} ago"


def clock(at: float | None, utc: bool = False) -> str:
    """Time of day of a Unix moment, local unless ``utc``.

    >>> clock(0, utc=True), clock(None)
    ('00:00:00', '?')
    """
    return _time("%H:%M:%S", at, utc)


def moment(at: float | None, now: float, utc: bool = False) -> str:
    """A moment in full: time of day to a tenth of a second, and the date when it is not of the last 12 hours.

    >>> moment(0.31, 5.0, utc=True), moment(0, 1e6, utc=True), moment(None, 5.0)
    ('00:00:00.3', '1970-01-01 00:00:00', '?')
    """
    if at is None or not abs(now - at) <= 12 * _HOUR:
        return _time("%Y-%m-%d %H:%M:%S", at, utc)
    tenths = math.floor(at * 10) / 10
    return f"{clock(tenths, utc)}.{int(tenths * 10) % 10}"


def _time(pattern: str, at: float | None, utc: bool) -> str:
    if at is None or not math.isfinite(at):
        return UNKNOWN
    try:
        return time.strftime(pattern, time.gmtime(at) if utc else time.localtime(at))
    except (OverflowError, ValueError, OSError):  # a year the C library does not know
        return UNKNOWN


def sparkline(values: Sequence[float | None], width: int, ascii: bool = False, floor: float = 0.0) -> str:
    """The last ``width`` cells of a history, newest at the right, between ``floor`` and its highest value.

    A gap is where nothing was measured; zero has the lowest block. Too many values: the highest of each cell.

    >>> sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8), sparkline([0, None, 8], 5), sparkline([3, 3], 2)
    ('▁▂▃▄▅▆▇█', '  ▁ █', '██')
    >>> sparkline([0, 4, 8], 3, ascii=True), sparkline([0, 0], 2), sparkline([1, 9, 2, 3], 2)
    ('.+@', '▁▁', '█▃')
    """
    blocks = _ASCII_BLOCKS if ascii else _BLOCKS
    cells = _resample(values, width)
    top = max((cell for cell in cells if cell is not None), default=0.0)
    span = top - floor
    out = []
    for cell in cells:
        if cell is None:
            out.append(" ")
        else:
            part = min(1.0, max(0.0, (cell - floor) / span)) if span > 0 else 0.0
            out.append(blocks[math.floor(part * (len(blocks) - 1) + 0.5)])
    return "".join(out).rjust(width)


def _resample(values: Sequence[float | None], width: int) -> list[float | None]:
    known = [None if value is None or not math.isfinite(value) else value for value in values]
    if len(known) <= width:
        return known
    out: list[float | None] = []
    for cell in range(width):
        part = known[cell * len(known) // width : (cell + 1) * len(known) // width]
        out.append(max((value for value in part if value is not None), default=None))
    return out


def bar(part: float | None, width: int, ascii: bool = False) -> str:
    """A part of one as a bar; anything above zero shows at least one cell.

    >>> bar(0.5, 4), bar(0.5, 4, ascii=True), bar(0.001, 4), bar(None, 4), bar(7, 4)
    ('██░░', '##--', '█░░░', '?   ', '████')
    """
    if part is None or not math.isfinite(part):
        return UNKNOWN.ljust(width)
    full, empty = ("#", "-") if ascii else ("█", "░")
    filled = round(min(1.0, max(0.0, part)) * width)
    if part > 0 and not filled:
        filled = 1
    return full * filled + empty * (width - filled)


def cells(text: str) -> int:
    """How many cells of a terminal ``text`` takes: wide East Asian characters two, combining marks none.

    >>> cells("abc"), cells("日本"), cells("e\u0301")
    (3, 4, 1)
    """
    return len(text) if text.isascii() else _wide(text)


@lru_cache(maxsize=4096)
def _wide(text: str) -> int:
    """Remembered, for a screen shows the same cut texts again and again, and each is measured three times."""
    return sum(map(_cell, text))


def _cell(char: str) -> int:
    if char < "\u0300":
        return 1
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def cut(text: str, width: int, ascii: bool = False) -> str:
    """At most ``width`` cells of ``text``; what is cut ends in ``…``.

    >>> cut("abcdef", 4), cut("abcd", 4), cut("日本語", 4), cut("abcdef", 4, ascii=True), cut("ab", 0)
    ('abc…', 'abcd', '日…', 'ab..', '')
    """
    if cells(text) <= width:
        return text
    tail = ".." if ascii and width > 3 else "~" if ascii else "…"
    room = width - len(tail)
    if room < 0:
        return ""
    used = 0
    for index, char in enumerate(text):
        used += _cell(char)
        if used > room:
            return text[:index] + tail
    return text


def pad(text: str, width: int, align: str = "left", ascii: bool = False) -> str:
    """Exactly ``width`` cells: cut or filled up.

    >>> pad("ab", 4) + "|", pad("ab", 4, "right"), pad("日本語", 4) + "|"
    ('ab  |', '  ab', '日… |')
    """
    text = cut(text, width, ascii)
    room = " " * (width - cells(text))
    return room + text if align == "right" else text + room


def plain(text: str) -> str:
    """Only ASCII, for terminals that can draw nothing else: as many cells, ``?`` for what has no likeness.

    >>> plain("app.add"), plain("a…⏎"), plain("日")
    ('app.add', 'a~.', '??')
    """
    if text.isascii():
        return text
    return "".join(_LIKE.get(char) or (char if char < "\x80" else "?" * _cell(char)) for char in text)


_LIKE = dict(zip(_BLOCKS, _ASCII_BLOCKS, strict=True)) | dict(zip("…⏎⇥␍–—→·█░", "~. .-->.#-", strict=True))

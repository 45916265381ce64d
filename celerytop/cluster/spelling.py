"""What Celery writes in more than one way, in one way."""

from __future__ import annotations

import re
import signal
from datetime import UTC, datetime

_RAISED = re.compile(r"(?P<kind>[A-Za-z_][\w.]*)(?::\s*(?P<text>.*))?")
_HIDDEN = "ExceptionWithTraceback("


def moment(text: str | float | None) -> float | None:
    """Unix seconds of an ISO date, UTC unless it says otherwise; ``None`` of anything else.

    >>> moment("2026-11-23T03:35:23.5+00:00"), moment("2026-11-23T03:35:23.5"), moment("soon"), moment(None)
    (1795404923.5, 1795404923.5, None, None)
    """
    if not isinstance(text, str):
        return text if text is not None and text > 1e9 else None  # a smaller number is no date
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def signal_number(told: int | str | None) -> int | None:
    """The number of a signal: Celery 4.4 tells it as a string in its second copy of task-revoked.

    >>> signal_number(9), signal_number("9"), signal_number("SIGTERM"), signal_number("?")
    (9, 9, 15, None)
    """
    if told is None or isinstance(told, int):
        return told
    if told.isascii() and told.isdecimal():
        return int(told) if len(told) < 4 else None
    named = signal.Signals.__members__.get(told)
    return int(named) if named is not None else None


def real_exception(exception: str | None, traceback: str | None) -> str | None:
    r"""What was raised: a lost worker's event hides it in the last line of the traceback.

    >>> real_exception("ExceptionWithTraceback()", "Traceback\n  File\nbilliard.exceptions.WorkerLostError: gone\n")
    "WorkerLostError('gone')"
    >>> real_exception("KeyError('x')", "Traceback"), real_exception("ExceptionWithTraceback()", None)
    ("KeyError('x')", 'ExceptionWithTraceback()')
    """
    if exception is None or not exception.startswith(_HIDDEN) or not traceback:
        return exception
    for line in reversed(traceback.split("\n")):
        if line and line[0] not in " \t" and (raised := _RAISED.fullmatch(line.strip())):
            kind, text = raised["kind"].rpartition(".")[2], raised["text"]
            if text and text.startswith(f"{kind}("):  # its text is its repr: TimeLimitExceeded(30,)
                return str(text)
            return f"{kind}({text!r})" if text else f"{kind}()"
    return exception

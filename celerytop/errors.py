"""Every error celerytop shows, one tree.

::

    CelerytopError
    ├── OptionsError          a flag, a variable or the config file is wrong             exit 3
    │   └── NoBrokerError     no broker was found, or several: says what was tried       exit 3
    ├── TerminalError         not a terminal, or one that cannot be drawn on             exit 2
    ├── OutputError           what is printed cannot be written                          exit 3, 141 for a closed pipe
    └── SourceError           a source cannot look
        ├── BrokerError       the broker does not answer, or answers with an error
        │   ├── RefusedError  login refused, vhost missing: trying again at once is no use
        │   └── DeniedError   this one command is not allowed; the rest goes on
        └── HostError         this machine's processes cannot be read

``str(error)`` is one sentence for a user, without a secret in it.
"""

from __future__ import annotations

import os
import signal
from typing import Self

from celerytop.model.secret import mask_args
from celerytop.model.text import clean

CRASHED = 70
"""Exit code after a bug."""


class CelerytopError(Exception):
    """Base of all."""

    exit_code = 3


class OptionsError(CelerytopError):
    """A flag, a variable or the config file is wrong."""


class NoBrokerError(OptionsError):
    """No broker was found, or more than one."""


class TerminalError(CelerytopError):
    """The terminal cannot show the full screen."""

    exit_code = 2


class OutputError(CelerytopError):
    """What is printed cannot be written: a full disk, or the reader of the pipe has gone, which needs no words."""

    @classmethod
    def of(cls, why: str | None) -> Self:
        """With the system's words; ``None`` is a closed pipe."""
        made = cls(f"cannot write to standard output: {why}." if why else "")
        made.exit_code = cls.exit_code if why else 128 + signal.SIGPIPE
        return made


class SourceError(CelerytopError):
    """A source cannot look."""


class BrokerError(SourceError):
    """The broker does not answer, or answers with an error."""


class RefusedError(BrokerError):
    """The broker refuses us: wrong password, missing vhost. Do not hammer."""


class DeniedError(BrokerError):
    """One command is not allowed."""


class HostError(SourceError):
    """This machine's processes cannot be read."""


def crash_text(error: BaseException) -> str:
    """A bug in a few lines: what and where, no data but the message, no secret."""
    trace = error.__traceback__
    where = "?"
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if "celerytop" in name:
            where = f"{name.rpartition('celerytop' + os.sep)[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"celerytop has a bug and stopped: {bug(error)} ({where}).\nIt has changed nothing in the cluster."


def bug(error: BaseException) -> str:
    """An unexpected exception in one phrase: its message may quote what came from the wire."""
    return clean(mask_args(f"{type(error).__name__}: {error}"[:1000]), 200)

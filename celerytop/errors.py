"""Every error celerytop shows, one tree.

::

    CelerytopError
    ├── OptionsError          a flag, a variable or the config file is wrong             exit 3
    │   └── NoBrokerError     no broker was found, or several: says what was tried       exit 3
    ├── TerminalError         not a terminal, or one that cannot be drawn on             exit 2
    └── SourceError           a source cannot look
        ├── BrokerError       the broker does not answer, or answers with an error
        │   ├── RefusedError  login refused, vhost missing: trying again at once is no use
        │   └── DeniedError   this one command is not allowed; the rest goes on
        └── HostError         this machine's processes cannot be read

``str(error)`` is one sentence for a user, without a secret in it.
"""

from __future__ import annotations


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

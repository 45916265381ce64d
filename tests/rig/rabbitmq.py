"""A throw-away RabbitMQ node with its management plugin."""

from __future__ import annotations

import glob
import http.client
import json
import os
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from tests.rig.process import Child, Missing, accepts, free_port, wait_until

# One scheduler of each kind and no busy waiting: many nodes share few cores here.
ERLANG = "+S 1:1 +SDcpu 1:1 +SDio 2 +A 2 +sbwt none +sbwtdcpu none +sbwtdio none"

# The classic format: translating the new one costs 3 s at every start.
CONFIG = """
[{{rabbit, [
    {{tcp_listeners, [{{"127.0.0.1", {port}}}]}},
    {{loopback_users, []}},
    {{heartbeat, 60}},
    {{disk_free_limit, 1000000}},
    {{collect_statistics_interval, 1000}}{more}
  ]}},
  {{rabbitmq_management, [{{tcp_config, [{{ip, "127.0.0.1"}}, {{port, {management_port}}}]}}]}}
].
"""


def rabbitmq_scripts() -> Path:
    """The folder of the real scripts: Debian's wrappers insist on ``su rabbitmq``.

    Raises:
        Missing: RabbitMQ is not installed.
    """
    patterns = ("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin", "/opt/homebrew/opt/rabbitmq/sbin")
    for folder in (Path(name) for pattern in patterns for name in sorted(glob.glob(pattern), reverse=True)):
        if (folder / "rabbitmq-server").exists():
            return folder
    raise Missing("rabbitmq-server is not installed")


class _Epmd(Child):
    """Erlang's port mapper; our own, in the foreground, so that it ends with the node."""

    def __init__(self) -> None:
        super().__init__("epmd")
        self.port = free_port()

    def command(self) -> Sequence[str]:
        return ["epmd", "-port", str(self.port), "-address", "127.0.0.1"]

    def ready(self) -> bool:
        return accepts(self.port)


class RabbitServer(Child):
    """One node: user guest/guest, vhost ``/``, management on a port of its own. Up in 8 to 10 s."""

    patience = 15.0

    def __init__(self, port: int | None = None, settings: Sequence[str] = ()) -> None:
        """Choose ports; nothing is started yet. ``settings`` of ``rabbit``: ``["{channel_max, 8}"]``."""
        super().__init__("rabbitmq")
        self.scripts = rabbitmq_scripts()
        self.port = port or free_port()
        self.management_port = free_port()
        self._dist_port = free_port()
        self._epmd = _Epmd()
        more = "".join(f",\n    {setting}" for setting in settings)
        text = CONFIG.format(port=self.port, management_port=self.management_port, more=more)
        (self.folder / "rabbitmq.config").write_text(text)
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        (self.folder / "env.conf").write_text("")

    def command(self) -> Sequence[str]:
        """The server in the foreground."""
        return [str(self.scripts / "rabbitmq-server")]

    def environment(self) -> Mapping[str, str]:
        """Every path in our folder, every port our own; the command line tools get the same."""
        return {
            "HOME": str(self.folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd.port),
            "RABBITMQ_NODENAME": f"rig{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.config"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "generated"),
            "RABBITMQ_PID_FILE": str(self.folder / "rabbitmq.pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG,
            "RABBITMQ_CTL_ERL_ARGS": ERLANG,
            # No shell stays between us and the node: it would survive us when we are killed.
            "RUNNING_UNDER_SYSTEMD": "true",
            "LANG": "C.UTF-8",
        }

    def launch(self) -> Self:
        """Start epmd first, then the node."""
        if not self._epmd.running:
            self._epmd.start()
        return super().launch()

    def start(self, timeout: float = 150.0) -> Self:
        """Start and wait until AMQP and management answer."""
        return super().start(timeout)

    def restart(self, timeout: float = 150.0) -> Self:
        """Stop and start again: same ports, same durable queues."""
        return super().restart(timeout)

    def ready(self) -> bool:
        """AMQP accepts and management knows the user."""
        if not accepts(self.port):
            return False
        try:
            self.api("GET", "/whoami")
        except (OSError, http.client.HTTPException):
            return False
        return True

    def close(self) -> None:
        """Stop the node and its epmd for good."""
        super().close()
        self._epmd.close()

    # ----------------------------------------------------------------------------------------- the inside
    def ctl(self, *words: str, timeout: float = 120.0) -> str:
        """``rabbitmqctl words``: about a second, as it starts an Erlang of its own."""
        done = subprocess.run(
            [str(self.scripts / "rabbitmqctl"), "-q", *words],
            env={**os.environ, **self.environment()},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def stop_app(self) -> None:
        """Close every connection and stop the broker inside the running Erlang node."""
        self.ctl("stop_app")

    def start_app(self) -> None:
        """Bring back what :meth:`stop_app` stopped."""
        self.ctl("start_app")
        wait_until(self.ready, 120, "RabbitMQ is back")

    def set_alarm(self) -> None:
        """Memory alarm: every publishing connection is blocked."""
        self.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
        wait_until(self._alarmed, 60, "the memory alarm")

    def clear_alarm(self) -> None:
        """End the memory alarm."""
        self.ctl("set_vm_memory_high_watermark", "0.4")
        wait_until(lambda: not self._alarmed(), 60, "no memory alarm")

    def _alarmed(self) -> bool:
        """By the health check: it is right at once, ``mem_alarm`` of a node after six seconds."""
        try:
            self.api("GET", "/health/checks/alarms")
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            return True
        return False

    # ------------------------------------------------------------------------------------ the management API
    def api(self, method: str, path: str, body: Any = None) -> Any:
        """One call of ``/api``; the decoded answer, None when there is no body."""
        request = urllib.request.Request(f"{self.management_url}/api{path}", method=method)
        request.add_header("Authorization", "Basic " + b64encode(b"guest:guest").decode())
        request.add_header("Content-Type", "application/json")
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(request, data, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def add_vhost(self, name: str) -> str:
        """Create a vhost that guest may use; its AMQP URL."""
        self.api("PUT", f"/vhosts/{quote(name, safe='')}")
        self.permit("guest", name)
        return self.url(name)

    def delete_vhost(self, name: str) -> None:
        """Delete a vhost with its queues; connections in it are closed."""
        self.api("DELETE", f"/vhosts/{quote(name, safe='')}")

    def add_user(
        self,
        name: str,
        password: str,
        tags: str = "",
        permissions: Mapping[str, tuple[str, str, str]] | None = None,
    ) -> None:
        """Create a user; ``permissions`` maps vhost to (configure, write, read) patterns."""
        self.api("PUT", f"/users/{quote(name, safe='')}", {"password": password, "tags": tags})
        for vhost, rights in (permissions or {}).items():
            self.permit(name, vhost, rights)

    def permit(self, user: str, vhost: str, rights: tuple[str, str, str] = (".*", ".*", ".*")) -> None:
        """Set a user's (configure, write, read) patterns in a vhost."""
        body = dict(zip(("configure", "write", "read"), rights, strict=True))
        self.api("PUT", f"/permissions/{quote(vhost, safe='')}/{quote(user, safe='')}", body)

    def delete_user(self, name: str) -> None:
        """Delete a user."""
        self.api("DELETE", f"/users/{quote(name, safe='')}")

    # ------------------------------------------------------------------------------------------------ facts
    def url(self, vhost: str = "/", user: str = "guest", password: str = "guest") -> str:
        """``amqp://`` URL of a vhost."""
        login = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return f"amqp://{login}@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    @property
    def management_url(self) -> str:
        """``http://127.0.0.1:port``, without a login."""
        return f"http://127.0.0.1:{self.management_port}"

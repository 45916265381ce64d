"""A Redis broker's own health: INFO, and while somebody looks CLIENT LIST and SLOWLOG."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from celerytop.model.address import BrokerSettings
from celerytop.model.broker import BrokerClient, OwnCost, RedisBroker, SlowCommand
from celerytop.model.observation import BrokerMeasured, Observation
from celerytop.model.secret import redact_url
from celerytop.model.text import clean
from celerytop.sources.base import Interest
from celerytop.sources.redis.connection import CLIENT_NAME
from celerytop.sources.redis.info import broker_from, parse_info, size, words
from celerytop.sources.redis.pipeline import Command, Pipeline, answered, ill, whole

CLIENTS_LIMIT = 800
"""Clients up to which CLIENT LIST takes the server less than a millisecond; above, only subscribers are listed."""
SLOW_ENTRIES = 10
_COMMAND_LIMIT = 160
_FIRST_LOOKS = 3
"""Looks that list the clients whatever is on screen: they tell which mute workers there are on this machine."""
_INFO_LACKS = (("maxmemory", "maxmemory"), ("maxmemory_policy", "maxmemory-policy"), ("maxclients", "maxclients"))
"""(INFO's field, CONFIG's name): fields that old versions leave out."""


class RedisBrokerProbe:
    """Satisfies ``Probe``."""

    name = "broker"

    def __init__(self, settings: BrokerSettings, pipeline: Pipeline, cost: Callable[[], OwnCost]) -> None:
        self.every = 5.0
        self._waited = 0.0
        self._db = settings.address.db
        self._pipeline = pipeline
        self._cost = cost
        self._watched = False
        self._looks = 0
        self._own_address: str | None = None
        self._own_id: int | None = None
        self._connections = 0
        self._busy_since: float | None = None

    @property
    def took(self) -> float:
        """See ``Probe``."""
        return self._pipeline.waited - self._waited

    def attend(self, interest: Interest) -> None:
        """Look closer and more often while the broker is on screen."""
        self._watched = interest.page in ("broker", "all")
        self.every = 2.0 if interest.page == "broker" else 5.0

    def reset(self) -> None:
        """Another connection: find out anew which of the clients we are."""
        self._own_address = self._own_id = None

    def poll(self) -> Iterator[Observation]:
        """INFO, and what it does not say."""
        now = time.time()
        self._waited = self._pipeline.waited
        (reply,) = self._pipeline.ask(("INFO",))
        if isinstance(reply, Exception) and ill(reply):
            yield BrokerMeasured(now, self._ill(reply, now))
            return
        self._busy_since = None
        info = parse_info(reply)
        extra = self._extra(info)
        broker = broker_from(info, self._db, now, extra)
        self._looks += 1
        clients = self._clients(broker) if self._watched or self._looks <= _FIRST_LOOKS else None
        slowlog = self._slowlog() if self._watched else None
        yield BrokerMeasured(now, _complete(broker, clients, slowlog, self._own_cost(), self._pipeline.denied))

    # ------------------------------------------------------------------------------------------------ inside
    def _ill(self, refusal: Exception, now: float) -> RedisBroker:
        """It answers, but refuses even INFO: a script runs."""
        self._busy_since = self._busy_since or now
        seconds = now - self._busy_since
        since = f" since {seconds:.0f} s" if seconds >= 1 else ""
        return RedisBroker(
            now,
            trouble=f"a script blocks Redis{since}: it answers nothing else until the script ends "
            "or somebody calls SCRIPT KILL",
            cost=self._own_cost(),
        )

    def _extra(self, info: Mapping[str, str]) -> Mapping[str, str]:
        """CONFIG GET of what this version's INFO lacks, and of what decides whether a failed save stops writes."""
        wanted = [name for field, name in _INFO_LACKS if info and field not in info]
        if info.get("rdb_last_bgsave_status", "ok") != "ok":
            wanted += ["stop-writes-on-bgsave-error", "save"]
        found: dict[str, str] = {}
        for reply in self._pipeline.ask(*(("CONFIG", "GET", name) for name in wanted)):
            found.update(words(reply))
        return found

    def _clients(self, broker: RedisBroker) -> tuple[BrokerClient, ...] | None:
        if self._own_id is None:
            self._own_id = whole(self._pipeline.ask(("CLIENT", "ID"))[0])
        many = broker.clients is not None and broker.clients > CLIENTS_LIMIT
        command: Command = ("CLIENT", "LIST", "TYPE", "pubsub") if many else ("CLIENT", "LIST")
        (reply,) = self._pipeline.ask(command)
        if not isinstance(reply, bytes):
            return None
        rows = [_fields(line) for line in reply.decode("utf-8", "replace").splitlines() if line]
        own = next((row for row in rows if row.get("id") == str(self._own_id)), None)
        if own is not None:
            self._own_address = own.get("addr", "")
        clients = tuple(_client(row, self._is_own(row)) for row in rows)
        self._connections = sum(client.own for client in clients) + (own is None)
        return clients

    def _is_own(self, row: Mapping[str, str]) -> bool:
        """Ours by number; else by the name all our connections have, from this host and user."""
        if row.get("id") == str(self._own_id):
            return True
        same_host = self._own_address is not None and _host(row.get("addr", "")) == _host(self._own_address)
        return row.get("name") == CLIENT_NAME and same_host

    def _slowlog(self) -> tuple[SlowCommand, ...] | None:
        (reply,) = self._pipeline.ask(("SLOWLOG", "GET", SLOW_ENTRIES))
        if not answered(reply) or not isinstance(reply, list):
            return None
        return tuple(_slow(entry) for entry in reply if isinstance(entry, list) and len(entry) >= 4)

    def _own_cost(self) -> OwnCost:
        cost = self._cost()
        if not self._connections:
            return cost
        return OwnCost(self._connections, cost.commands, cost.bytes_in, cost.bytes_out, cost.rate)


def _complete(
    broker: RedisBroker,
    clients: tuple[BrokerClient, ...] | None,
    slowlog: tuple[SlowCommand, ...] | None,
    cost: OwnCost,
    denied: tuple[str, ...],
) -> RedisBroker:
    return msgspec.structs.replace(broker, client_list=clients, slowlog=slowlog, cost=cost, denied=denied)


def _fields(line: str) -> dict[str, str]:
    """One line of CLIENT LIST: ``key=value`` words; no value holds a space."""
    return dict(word.partition("=")[::2] for word in line.split(" "))


def _client(row: Mapping[str, str], own: bool) -> BrokerClient:
    return BrokerClient(
        address=clean(row.get("addr", "?"), 128),
        name=clean(row["name"], 128) if row.get("name") else None,
        user=clean(row["user"], 128) if row.get("user") else None,
        command=clean(row["cmd"], 64) if row.get("cmd") not in (None, "", "NULL") else None,
        idle=size(row.get("idle")),
        age=size(row.get("age")),
        output_buffer=size(row.get("omem")),
        own=own,
        db=int(row["db"]) if row.get("db", "").isdigit() else None,
    )


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def _slow(entry: list[Any]) -> SlowCommand:
    """Its name and first argument only: the others may be somebody's data."""
    arguments = [word.decode("utf-8", "replace") for word in entry[3] if isinstance(word, bytes)]
    shown = " ".join(clean(redact_url(word), _COMMAND_LIMIT // 2) for word in arguments[:2])
    more = f" … {len(arguments) - 2} more" if len(arguments) > 2 else ""
    client = entry[4].decode("utf-8", "replace") if len(entry) > 4 and isinstance(entry[4], bytes) else ""
    return SlowCommand(
        at=float(entry[1]),
        duration=entry[2] / 1e6,
        command=shown + more,
        client=clean(client, 128) or None,
    )

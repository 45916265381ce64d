"""What only the management API can say: unacked, rates, memory, nodes, alarms, connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from celerytop.errors import BrokerError, DeniedError, RefusedError
from celerytop.model.address import BrokerSettings
from celerytop.model.observation import BrokerMeasured, Observation, QueuesMeasured
from celerytop.sources.base import Interest
from celerytop.sources.rabbitmq.connection import INSTANCE
from celerytop.sources.rabbitmq.picture import Picture
from celerytop.sources.rabbitmq.rows import (
    CONNECTION_COLUMNS,
    CONSUMER_COLUMNS,
    NODE_COLUMNS,
    OVERVIEW_COLUMNS,
    QUEUE_COLUMNS,
    Listing,
    alarms,
    client,
    dig,
    node,
    overview,
    owners,
    rows,
)
from celerytop.sources.wire_fields import integer

if TYPE_CHECKING:
    from celerytop.sources.rabbitmq.api import Api

PAGE = 500
"""Rows of one request."""
MANY = 1000
"""Queues above which they are listed every 30 s only."""
SLOW = 0.1
"""Seconds for a request above which it is made half as often."""
BUDGET = 4.0
"""Seconds for one poll; what is due then waits for the next."""
KEPT = 20.0
"""Seconds for which a list of connections counts after it was due again."""
CLIENT_PAGES = frozenset({"broker", "workers", "all"})
"""Pages that show connections."""


class Look:
    """One of the things asked, with its own pace."""

    def __init__(self, every: float, ask: Callable[[float], Iterator[Observation]]) -> None:
        self.every = every
        self.ask = ask
        self.due_at = 0.0
        self._usual = every

    def took(self, seconds: float, requests: int, now: float, least: float = 0.0) -> None:
        """Set the next time; slower while the server is slow, the usual again when it is not."""
        slow = seconds > SLOW * max(1, requests)
        self.every = min(self.every * 2, 60.0) if slow else max(self._usual, self.every / 2)
        self.due_at = now + max(self.every, least)


class Management:
    """Asks the API; tells its part of the picture."""

    name = "management"
    every = 1.0
    took = 0.0

    def __init__(self, settings: BrokerSettings, picture: Picture) -> None:
        self._settings = settings
        self._picture = picture
        self._interest = Interest()
        self._api: Api | None = None
        self._vhost = quote(settings.address.vhost, safe="")
        self._total = 0
        self._facts: dict[str, Any] = {}
        self._alarms = Look(4.0, self._ask_alarms)
        self._looks = [
            self._alarms,
            Look(5.0, self._ask_queues),
            Look(10.0, self._ask_nodes),
            Look(5.0, self._ask_overview),
        ]
        self._clients = Look(10.0, self._ask_clients)
        self._denied: set[str] = set()

    # ------------------------------------------------------------------------------------------ connection
    def connect(self) -> None:
        """Find a server of the list whose API lets us in.

        Raises:
            BrokerError: none; the picture says so too.
        """
        from celerytop.sources.rabbitmq.api import apis  # urllib3: 50 ms that the first screen need not wait for

        self.close()
        errors: list[BrokerError] = []
        deadline = time.monotonic() + 4.0
        try:
            for api in apis(self._settings):
                if errors and time.monotonic() > deadline:
                    break
                try:
                    api.get("/overview", columns=OVERVIEW_COLUMNS)
                except BrokerError as error:
                    errors.append(error)
                    api.close()
                else:
                    self._begin(api)
                    return
        except RefusedError as error:  # the URL itself is no good
            errors.append(error)
        told = next((error for error in errors if isinstance(error, RefusedError)), errors[-1])
        self._picture.lose_management(time.time(), str(told))
        raise told

    def _begin(self, api: Api) -> None:
        self._api = api
        self._denied.clear()
        for look in (*self._looks, self._clients):
            look.due_at = 0.0

    def close(self) -> None:
        """Hang up."""
        if self._api is not None:
            self._meter(self._api)
            self._picture.meters["management"].connections = 0
            self._api.close()
            self._api = None

    # ------------------------------------------------------------------------------------------------ probe
    def attend(self, interest: Interest) -> None:
        """Connections only while somebody looks at them."""
        self._interest = interest

    def poll(self) -> Iterator[Observation]:
        """Ask what is due."""
        if self._api is None:
            raise BrokerError("not connected")
        started, self.took = time.monotonic(), 0.0
        looks = [*self._looks, *([self._clients] if self._interest.page in CLIENT_PAGES else [])]
        due = [look for look in looks if look.due_at <= started]
        try:
            for look in due:
                if time.monotonic() < started + BUDGET:
                    yield from self._timed(look, self._api)
        except BrokerError as error:
            broker = self._picture.lose_management(time.time(), str(error))
            yield BrokerMeasured(broker.measured_at, broker)
            raise
        if started > self._clients.due_at + KEPT:  # nobody looks at them any more
            self._facts.pop("client_list", None)
        if due:
            self._meter(self._api)
            self._picture.deny("management", tuple(self._denied))
            yield BrokerMeasured(
                time.time(), self._picture.tell(time.time(), **{"client_list": None, **self._facts}, management=None)
            )

    def _timed(self, look: Look, api: Api) -> Iterator[Observation]:
        started, before = time.monotonic(), api.requests
        least = 0.0
        try:
            yield from look.ask(time.time())
        except DeniedError as error:
            self._denied.add(f"tag monitoring, for {str(error).rpartition(' ')[2]}")
            least = 60.0
        now = time.monotonic()
        self.took = max(self.took, (now - started) / max(1, api.requests - before))
        look.took(now - started, api.requests - before, now, least)

    def _meter(self, api: Api) -> None:
        meter = self._picture.meters["management"]
        meter.connections = 1
        meter.commands += api.requests
        meter.bytes_in += api.bytes_in
        api.requests = api.bytes_in = 0

    # ------------------------------------------------------------------------------------------------ looks
    def _get(self, path: str, columns: tuple[str, ...] = (), **query: str | int) -> Any:
        if self._api is None:
            raise BrokerError("not connected")
        return self._api.get(path, columns, **query)

    def _ask_alarms(self, _at: float) -> Iterator[Observation]:
        """First of all: it is right within 10 ms, ``mem_alarm`` of a node after 6 s. The watchdog of this lane, too."""
        self._facts["alarms"] = alarms(self._get("/health/checks/alarms"))
        return iter(())

    def _ask_queues(self, at: float) -> Iterator[Observation]:
        listing, number, pages = Listing(self._settings), 0, 1
        started = time.monotonic()
        while number < pages and time.monotonic() < started + BUDGET:
            number += 1
            told = self._get(f"/queues/{self._vhost}", QUEUE_COLUMNS, page=number, page_size=PAGE)
            pages = integer(dig(told, "page_count")) or 1
            self._total = integer(dig(told, "total_count")) or 0
            listing.add(rows(told), at)
        self._looks[1].every = max(self._looks[1].every, 30.0) if self._total > MANY else self._looks[1].every
        self._picture.listed = frozenset(listing.names)
        self._picture.nodes = frozenset(listing.nodes) if number >= pages else None
        self._picture.asked.set()
        self._facts |= {
            "delayed": listing.delayed,
            "messages": listing.messages if number >= pages else None,
            "unacked": listing.unacked if number >= pages else None,
            "hidden_queues": listing.hidden,
            "hidden_memory": listing.hidden_memory,
        }
        note = f"{self._total:,} queues: only the first {number * PAGE:,} are listed" if number < pages else None
        yield QueuesMeasured(at, tuple(listing.queues), note=note)

    def _ask_overview(self, _at: float) -> Iterator[Observation]:
        self._facts |= overview(self._get("/overview", OVERVIEW_COLUMNS))
        if self._denied:  # without the tag monitoring only our own connections are counted and listed
            self._facts |= {"clients": None, "channels": None}
        return iter(())

    def _ask_nodes(self, _at: float) -> Iterator[Observation]:
        self._facts["nodes"] = tuple(node(row) for row in rows(self._get("/nodes", NODE_COLUMNS)))
        return iter(())

    def _ask_clients(self, at: float) -> Iterator[Observation]:
        """Everybody's. The API lists a connection up to six seconds after it was opened: none is "not known yet"."""
        self._facts["client_list"] = None
        if self._denied:
            raise DeniedError(f"management API: user {self._settings.address.username} may not read /connections")
        workers = owners(self._get(f"/consumers/{self._vhost}", CONSUMER_COLUMNS), self._settings)
        told = self._get("/connections", CONNECTION_COLUMNS, page=1, page_size=PAGE)
        self._facts["client_list"] = tuple(client(row, workers, INSTANCE, at) for row in rows(told)) or None
        return iter(())

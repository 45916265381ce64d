"""What to ask workers when, and who has answered: the half of remote control that needs no socket.

A control source of any broker does this in ``poll``::

    asking.attend(interest)
    round_ = asking.begin()                        # None: nothing is due
    for request in round_.requests:
        listening = publish(request.body(my_reply_queue))
        round_.expect(request, listening)          # a count (Redis); or names: round_.expect_names (RabbitMQ)
    while (left := round_.remaining()) > 0:        # ends early when everybody worth waiting for has answered
        reply = receive(timeout=left)
        if reply is not None:
            round_.take(reply.ticket, reply.body, reply.content_type)
    yield asking.settle(round_)

All requests of a round share one reply queue and are told apart by their ticket. Replies to older tickets (a busy
solo worker, a thawed one) are counted and ignored. Names believed silent are asked for a ping and nothing else, so
that nothing piles up for them to answer later.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Mapping

import msgspec

from celerytop.model.observation import Pong, Reply, WorkersAnswered
from celerytop.sources.base import Interest
from celerytop.sources.ration import Ration
from celerytop.sources.wire_reply import decode_reply

WINDOW = 1.0
"""Seconds a round waits at most."""
GRACE = 0.05
"""Seconds it waits for those who are not expected to answer."""
HEAVY = 1024 * 1024
"""Bytes of a reply beyond which that worker is asked ten times less often."""

_NEVER = float("-inf")
_SELDOM, _OFTEN, _SOON = 300.0, 5.0, 3.0
_JUST_NOW = 1.0
_JITTER = 0.1
"""Seconds by which a poll may come early and still count as on time."""
_NOBODY, _STRAGGLERS, _SOMEBODY = "nobody", "those who may answer", "somebody who should"
_PACES: Mapping[str, Mapping[str, float]] = {
    "ping": {"": _OFTEN},
    "stats": {"": _OFTEN, "workers": 2.0},
    "active": {"": 10.0, "tasks": 3.0, "workers": 3.0, "all": 3.0},
    "reserved": {"": 30.0, "tasks": 10.0, "all": 10.0},
    "scheduled": {"": 30.0, "tasks": 10.0, "all": 10.0},
    "active_queues": {"": 15.0},
    "registered": {"": _SELDOM},
    "revoked": {"": _SELDOM},
    "conf": {"": _SELDOM},
}
"""Seconds between two askings of everyone, by the page on screen ("" is any other)."""
_LOOKED_INTO: Mapping[str, float] = {
    "stats": 2.0,
    "active": 3.0,
    "reserved": 10.0,
    "scheduled": 10.0,
    "conf": 60.0,
    "registered": 60.0,
    "revoked": 30.0,
}
"""Seconds between two askings of the one worker somebody looks into."""
_ARGUMENTS: Mapping[str, Mapping[str, object]] = {
    "active": {"safe": True},  # strings, not objects of any size; ignored by Celery 4.4
    "registered": {"taskinfoitems": ["rate_limit"]},
}
METHODS = tuple(_PACES)


class Request(msgspec.Struct, frozen=True):
    """One command to publish."""

    method: str
    destination: tuple[str, ...] | None
    """Node names; ``None`` is everyone."""
    ticket: str

    def message(self, queue: str, exchange: str = "") -> dict[str, object]:
        """The command as kombu's Mailbox writes it; replies come through the anonymous exchange."""
        return {
            "method": self.method,
            "arguments": _ARGUMENTS.get(self.method, {}),
            "destination": self.destination,
            "pattern": None,
            "matcher": None,
            "ticket": self.ticket,
            "reply_to": {"exchange": exchange, "routing_key": queue},
        }

    def body(self, queue: str, exchange: str = "") -> bytes:
        """``message`` as JSON."""
        return msgspec.json.encode(self.message(queue, exchange))


class _Open:
    """One request that is under way."""

    __slots__ = ("answered", "listening", "missing", "request", "size", "tally")

    def __init__(self, request: Request, awaited: frozenset[str]) -> None:
        self.request = request
        self.missing = set(awaited if request.destination is None else request.destination)
        self.answered: set[str] = set()
        self.tally = self.size = 0
        self.listening: int | None = None


class Round:
    """One window: what was asked, who is expected, who has answered."""

    def __init__(
        self, requests: tuple[Request, ...], awaited: frozenset[str], mute: int, clock: Callable[[], float]
    ) -> None:
        self.requests = requests
        self.awaited = awaited
        """Node names that should answer a broadcast; others may."""
        self.replies: list[Reply] = []
        self.heavy: list[tuple[str, str]] = []
        """(method, node name) of replies that were too big to ask for often."""
        self.late = 0
        self.present: tuple[str, ...] = ()
        self.absent: tuple[str, ...] = ()
        self._names_told = False
        self._clock = clock
        self._began = self._last = clock()
        self._open = {request.ticket: _Open(request, awaited) for request in requests}
        self._mute = mute

    def expect(self, request: Request, listening: int) -> None:
        """Say how many subscribers the broker passed this request to."""
        self._open[request.ticket].listening = listening

    def expect_names(self, present: Collection[str], absent: Collection[str] = ()) -> None:
        """Say whose pidbox exists and whose does not, where the broker tells names and not a number."""
        self.present, self.absent, self._names_told = tuple(present), tuple(absent), True
        for under_way in self._open.values():
            if under_way.request.destination is None:
                under_way.missing.update(present)
            under_way.missing.difference_update(absent, under_way.answered)

    @property
    def expected(self) -> int | None:
        """How many listen, as far as the broker says."""
        counts = [one.listening for one in self._open.values() if one.listening is not None]
        return max(counts) if counts else len(self.present) if self._names_told else None

    @property
    def outstanding(self) -> int:
        """Replies that may still come, where the broker has told how many listen."""
        return sum(max(0, (one.listening or 0) - one.tally) for one in self._open.values())

    def take(self, ticket: str, body: bytes, content_type: str | None = None) -> None:
        """Take in one reply, whatever it is."""
        under_way = self._open.get(ticket)
        if under_way is None:
            self.late += 1
            return
        self._last = self._clock()
        under_way.tally += 1
        under_way.size += len(body)
        method = under_way.request.method
        for reply in decode_reply(method, body, content_type, self._last - self._began):
            self.replies.append(reply)
            under_way.missing.discard(reply.nodename)
            under_way.answered.add(reply.nodename)
            if len(body) > HEAVY:
                self.heavy.append((method, reply.nodename))

    def remaining(self) -> float:
        """Seconds it is still worth waiting; 0.0 when all have answered or the window is over."""
        now = self._clock()
        left = self._began + WINDOW - now
        states = {self._waits_for(one) for one in self._open.values()}
        if left <= 0 or states == {_NOBODY}:
            return 0.0
        return left if _SOMEBODY in states else max(0.0, min(left, self._last + GRACE - now))

    def _waits_for(self, one: _Open) -> str:
        if one.listening is not None and one.tally >= one.listening:
            return _NOBODY
        if one.missing:
            return _SOMEBODY
        if one.request.destination is not None or self._names_told:
            return _NOBODY
        if one.listening is None:
            return _STRAGGLERS if self.awaited else _SOMEBODY
        return _STRAGGLERS if one.listening - one.tally <= self._mute else _SOMEBODY

    def sizes(self) -> list[tuple[str, int, int]]:
        """(method, bytes, replies) of what was answered."""
        return [(one.request.method, one.size, one.tally) for one in self._open.values() if one.tally]

    def pongs(self) -> list[str]:
        """Node names that answered the ping, twice when two workers use one."""
        return [reply.nodename for reply in self.replies if isinstance(reply, Pong)]

    def unanswered_pings(self) -> int | None:
        """Listeners without a pong; ``None`` when there was no ping, or no count."""
        for one in self._open.values():
            if one.request.method == "ping" and one.listening is not None:
                return max(0, one.listening - one.tally)
        return None

    @property
    def took(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._began


class Asking:
    """Keeps the schedule over rounds, and learns who answers."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        """Start with everything due.

        Args:
            clock: monotonic seconds, for windows and paces.
            wall: Unix seconds, for the observation.
        """
        self._clock = clock
        self._wall = wall
        self._interest = Interest()
        self.forget()

    def forget(self) -> None:
        """Make everything due again: after a new connection."""
        self._asked: dict[str, float] = dict.fromkeys(METHODS, _NEVER)
        self._looked: dict[str, float] = {}
        self._heavy: dict[tuple[str, str], float] = {}
        self._met: frozenset[str] = frozenset()
        self._answering: frozenset[str] = frozenset()
        self._missed: frozenset[str] = frozenset()
        self._mute = 0
        self._silent: frozenset[str] = frozenset()
        """Who has missed a ping since it last answered one."""
        self._again = False
        """Somebody has just begun to: where pings are rare, one more soon."""
        self._ration = Ration()

    def attend(self, interest: Interest) -> None:
        """Learn what the screen shows and who is believed alive or silent."""
        if interest.worker != self._interest.worker:
            self._looked = {}
        self._interest = interest

    def paces(self) -> Mapping[str, float]:
        """Seconds between two askings of everyone by method, on the page now shown."""
        page = self._interest.page
        found = self._ration.paces({method: paces.get(page, paces[""]) for method, paces in _PACES.items()})
        return {**found, "ping": _SOON} if self._again and found["ping"] > _OFTEN else found

    def begin(self) -> Round | None:
        """The round that is due now, or ``None``. Publish its requests at once: its window is open."""
        now = self._clock()
        quiet = self._missed.union(self._interest.quiet)
        known = self._answering.union(self._interest.workers) - quiet
        fresh = known - self._met
        requests: list[Request] = []
        for method, pace in self.paces().items():
            if now - self._asked[method] >= pace - _JITTER:
                requests += self._of_everyone(method, known, bool(quiet), now)
            elif method != "ping":
                requests += _request(method, fresh | (known & self._of_interest(method, now)))
        self._met = known
        return Round(tuple(requests), known, self._mute, self._clock) if requests else None

    def settle(self, round_: Round) -> WorkersAnswered:
        """Learn from a round that is over, and tell it."""
        now = self._clock()
        paces = self.paces()
        for method, nodename in round_.heavy:
            self._heavy[method, nodename] = now + 10 * paces[method]
        for sizes in round_.sizes():
            self._ration.learn(*sizes)
        unanswered = round_.unanswered_pings()
        pongs = frozenset(round_.pongs())
        if any(request.method == "ping" for request in round_.requests):
            self._answering, self._ration.workers = pongs, len(pongs)
            self._missed = round_.awaited - pongs
            self._again = bool(self._missed - self._silent)
            self._silent = (self._silent | self._missed) - pongs
            self._mute = unanswered or 0
        if all(request.destination is None for request in round_.requests[1:]) and len(round_.requests) > 5:
            self._met |= pongs  # a first round: all that answered the ping were asked the rest too
        return WorkersAnswered(
            at=self._wall(),
            asked=tuple(dict.fromkeys(request.method for request in round_.requests)),
            replies=tuple(round_.replies),
            expected=round_.expected,
            asked_workers=_all_asked(round_.requests),
            present=round_.present,
            absent=round_.absent or self._gone(pongs, unanswered),
            late=round_.late,
            window=round_.took,
        )

    def _of_everyone(self, method: str, known: frozenset[str], quiet: bool, now: float) -> list[Request]:
        self._asked[method] = now
        heavy = {nodename for (which, nodename), until in self._heavy.items() if which == method and until > now}
        if method == "ping" or not (quiet or heavy):
            return [Request(method, None, uuid.uuid4().hex)]
        return _request(method, known - heavy)

    def _of_interest(self, method: str, now: float) -> frozenset[str]:
        """The worker somebody looks into, when it is time to ask it again; at once when that is new."""
        worker = self._interest.worker
        if worker is None or method not in _LOOKED_INTO or self._heavy.get((method, worker), 0.0) > now:
            return frozenset()
        pace = _LOOKED_INTO[method] if method in self._looked else _JUST_NOW
        if now - max(self._asked[method], self._looked.get(method, _NEVER)) < pace - _JITTER:
            return frozenset()
        self._looked[method] = now
        return frozenset({worker})

    def _gone(self, pongs: frozenset[str], unanswered: int | None) -> tuple[str, ...]:
        """Names believed to be there, though every listener has answered: they listen no more."""
        if unanswered != 0:
            return ()
        believed = {*self._interest.workers, *self._interest.quiet}
        return tuple(sorted(believed - pongs))


def _request(method: str, names: Collection[str]) -> list[Request]:
    return [Request(method, tuple(sorted(names)), uuid.uuid4().hex)] if names else []


def _all_asked(requests: tuple[Request, ...]) -> tuple[str, ...] | None:
    """Union of the destinations; ``None`` when any was a broadcast."""
    names: set[str] = set()
    for request in requests:
        if request.destination is None:
            return None
        names.update(request.destination)
    return tuple(sorted(names))

"""Queue lengths when the broker is RabbitMQ: exact, without a right, without the management API."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from celerytop.errors import BrokerError
from celerytop.model.address import BrokerSettings
from celerytop.model.observation import (
    BrokerMeasured,
    Observation,
    QueueSampled,
    QueuesMeasured,
)
from celerytop.model.queue import Queue, QueueSample
from celerytop.model.text import clean
from celerytop.sources.base import Interest
from celerytop.sources.rabbitmq.connection import Link, translated
from celerytop.sources.rabbitmq.declare import Answer, Declarer
from celerytop.sources.rabbitmq.names import plumbing, speakable
from celerytop.sources.rabbitmq.picture import Picture

DEFAULT_QUEUE = "celery"
DECLARES_A_SECOND = 200
"""Passive declares: 1,000 queues are counted every five seconds."""
SLOWEST = 6.0
"""Seconds between two rounds, however many queues there are: after eight without news the page is called stale."""
NOT_SAMPLED = "RabbitMQ cannot show messages without marking them redelivered: not looked at"


class RabbitQueues:
    """Counts the queues that are known by name."""

    name = "queues"
    took = 0.0

    def __init__(self, settings: BrokerSettings, picture: Picture) -> None:
        self.every = 1.0
        self.link: Link | None = None
        self._settings = settings
        self._picture = picture
        self._interest = Interest()
        self._declarer: Declarer | None = None
        self._named: dict[str, _Named] = {}
        self._named_from: tuple[frozenset[str], tuple[str, ...]] | None = None

    def use(self, link: Link | None) -> None:
        """Ask over this connection from now on."""
        self.link = link
        self._declarer = Declarer(link) if link is not None else None

    def attend(self, interest: Interest) -> None:
        """Take over the names; often while somebody looks, less often above 200 of them."""
        self._interest = interest
        self.every = 1.0 if interest.page in ("queues", "all") else 2.0

    def poll(self) -> Iterator[Observation]:
        """Count all of them in one round trip."""
        if self._declarer is None:
            raise BrokerError("not connected")
        names, begun = self._names(), time.monotonic()
        with translated(self._settings.address, self._declarer.link.place):
            answers = self._declarer.ask(names)
        self.took = time.monotonic() - begun
        self.every = max(self.every, min(len(names) / DECLARES_A_SECOND, SLOWEST))
        at = time.time()
        measured = tuple(
            _queue(names[name], answer, at)
            for name, answer in answers.items()
            if answer.exists or names[name].wanted  # nobody has named ``celery``: it need not be there
        )
        note = "the broker is slow: not every queue was counted" if len(answers) < len(names) else None
        yield QueuesMeasured(at, measured, note=note)
        if self._interest.queue is not None:
            total = answers.get(self._interest.queue, Answer()).messages or 0
            yield QueueSampled(at, QueueSample(self._interest.queue, at, total, 0, note=NOT_SAMPLED))

    def _names(self) -> dict[str, _Named]:
        """Every name worth asking; looked through again only when there are other names."""
        listed, told = self._picture.listed, self._interest.queues
        if self._named_from != (listed, told):
            self._named = _worth_asking(self._settings, listed, told)
            self._named_from = listed, told
        return self._named


class _Named(NamedTuple):
    """What is known of a queue before it is asked."""

    shown: str
    """Its name as it may be drawn."""
    known_by: tuple[str, ...]
    wanted: bool
    """Somebody has named it: that it is missing is worth a line."""


def _worth_asking(settings: BrokerSettings, listed: frozenset[str], told: tuple[str, ...]) -> dict[str, _Named]:
    as_written = {clean(name, 255): name for name in listed}  # what we were told may be cleaned already
    set_up = frozenset(settings.queues)
    named = [as_written.get(name, name) for name in (*settings.queues, *told)]
    wanted = {*named, *listed}
    return {
        name: _Named(
            clean(name, 255),
            (("settings",) if name in set_up else ()) + (("management",) if name in listed else ()),
            name in wanted,
        )
        for name in dict.fromkeys((DEFAULT_QUEUE, *named, *sorted(listed)))
        if speakable(name) and not plumbing(name, settings)
    }


def _queue(named: _Named, answer: Answer, at: float) -> Queue:
    return Queue(
        named.shown,
        messages=answer.messages,
        consumers=answer.consumers,
        exists=answer.exists,
        known_by=named.known_by,
        measured_at=at,
    )


class RabbitServer:
    """What AMQP itself tells of the broker: version, and that it is there."""

    name = "broker"
    every = 5.0
    took = 0.0

    def __init__(self, settings: BrokerSettings, picture: Picture) -> None:
        self.link: Link | None = None
        self._settings = settings
        self._picture = picture

    def use(self, link: Link | None) -> None:
        """Ask over this connection from now on."""
        self.link = link

    def attend(self, interest: Interest) -> None:
        """Nothing depends on it."""

    def poll(self) -> Iterator[Observation]:
        """Look whether the connection lives; pass on all that both lanes know."""
        if self.link is None:
            raise BrokerError("not connected")
        with translated(self._settings.address, self.link.place):
            self.link.pump()
        at = time.time()
        yield BrokerMeasured(at, self._picture.tell(at, version=self.link.version))

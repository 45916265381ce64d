"""Queue lengths when the broker is RabbitMQ: exact, without a right, without the management API."""

from __future__ import annotations

import time
from collections.abc import Iterator

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
MANY = 300
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

    def use(self, link: Link | None) -> None:
        """Ask over this connection from now on."""
        self.link = link
        self._declarer = Declarer(link) if link is not None else None

    def attend(self, interest: Interest) -> None:
        """Take over the names; often while somebody looks, less often above 300 of them."""
        self._interest = interest
        self.every = 1.0 if interest.page in ("queues", "all") else 2.0

    def poll(self) -> Iterator[Observation]:
        """Count all of them in one round trip."""
        if self._declarer is None:
            raise BrokerError("not connected")
        names, wanted = self._names()
        with translated(self._settings.address, self._declarer.link.place):
            answers = self._declarer.ask(names)
        if len(names) > MANY:
            self.every = 4.0
        at = time.time()
        measured = tuple(
            _queue(name, answer, names[name], at)
            for name, answer in answers.items()
            if answer.exists or name in wanted  # nobody has named ``celery``: it need not be there
        )
        note = "the broker is slow: not every queue was counted" if len(answers) < len(names) else None
        yield QueuesMeasured(at, measured, note=note)
        if self._interest.queue is not None:
            total = answers.get(self._interest.queue, Answer()).messages or 0
            yield QueueSampled(at, QueueSample(self._interest.queue, at, total, 0, note=NOT_SAMPLED))

    def _names(self) -> tuple[dict[str, tuple[str, ...]], set[str]]:
        """Every name worth asking with how this module knows of it; and those that somebody has named."""
        listed, settings = self._picture.listed, self._settings
        as_written = {clean(name, 255): name for name in listed}  # what we were told may be cleaned already
        named = [as_written.get(name, name) for name in (*settings.queues, *self._interest.queues)]
        names = {
            name: (("settings",) if name in settings.queues else ()) + (("management",) if name in listed else ())
            for name in dict.fromkeys((DEFAULT_QUEUE, *named, *sorted(listed)))
            if speakable(name) and not plumbing(name, settings)
        }
        return names, {*named, *listed}


def _queue(name: str, answer: Answer, known_by: tuple[str, ...], at: float) -> Queue:
    return Queue(
        clean(name, 255),
        messages=answer.messages,
        consumers=answer.consumers,
        exists=answer.exists,
        known_by=known_by,
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

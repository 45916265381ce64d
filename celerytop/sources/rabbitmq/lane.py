"""The connections to RabbitMQ, and what is asked over each.

Three for AMQP besides HTTP, because an alarm blocks every connection that publishes, and an event stream must never
wait for an answer: events (events.py), control, and counting.
"""

from __future__ import annotations

from celerytop.model.address import BrokerSettings
from celerytop.sources.base import Lane, Probe
from celerytop.sources.rabbitmq.connection import Link, connect
from celerytop.sources.rabbitmq.control import RabbitControl
from celerytop.sources.rabbitmq.management import Management
from celerytop.sources.rabbitmq.picture import Picture
from celerytop.sources.rabbitmq.queues import RabbitQueues, RabbitServer


class AmqpLane:
    """Probes over one AMQP connection."""

    def __init__(
        self,
        name: str,
        settings: BrokerSettings,
        picture: Picture,
        probes: tuple[RabbitQueues | RabbitServer | RabbitControl, ...],
    ) -> None:
        self.name = name
        self.probes: tuple[Probe, ...] = probes
        self._users = probes
        self._settings = settings
        self._meter = picture.meters[name]
        self._link: Link | None = None

    def connect(self) -> None:
        """Open the connection anew."""
        self.close()
        self._link = connect(self._settings)
        self._meter.follow(self._link)
        try:
            for user in self._users:
                user.use(self._link)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close it; exclusive queues go with it."""
        link, self._link = self._link, None
        if link is not None:
            self._meter.follow(None)
            for user in self._users:
                user.use(None)
            link.close()


class ManagementLane:
    """The management API: HTTP, a thread of its own, so that its slowness delays nothing."""

    name = "management"

    def __init__(self, settings: BrokerSettings, picture: Picture) -> None:
        self._management = Management(settings, picture)
        self.probes: tuple[Probe, ...] = (self._management,)

    def connect(self) -> None:
        """Find out whether it is there."""
        self._management.connect()

    def close(self) -> None:
        """Hang up."""
        self._management.close()


def rabbit_lanes(settings: BrokerSettings, passive: bool = False) -> tuple[Lane, ...]:
    """All lanes of a cluster on RabbitMQ, besides the event stream; ``passive`` leaves out what publishes."""
    picture = Picture(settings)
    counting = AmqpLane("queues", settings, picture, (RabbitQueues(settings, picture), RabbitServer(settings, picture)))
    control = AmqpLane("control", settings, picture, (RabbitControl(settings, picture),))
    return (counting, *(() if passive else (control,)), ManagementLane(settings, picture))

"""The connection of one action to RabbitMQ."""

from __future__ import annotations

from celerytop.actions.rabbitmq.control import RabbitAsker
from celerytop.actions.rabbitmq.messages import RabbitMessages
from celerytop.model.address import BrokerSettings
from celerytop.sources.rabbitmq.connection import Link as Amqp
from celerytop.sources.rabbitmq.connection import connect


class RabbitLink:
    """Satisfies ``Link``. Connected when it is made."""

    def __init__(self, settings: BrokerSettings) -> None:
        """Connect.

        Raises:
            BrokerError: no server lets us in.
        """
        self.settings = settings
        self.amqp: Amqp = connect(settings)
        """The connection itself, for those who handle messages."""
        self._control: RabbitAsker | None = None
        self._messages: RabbitMessages | None = None

    @property
    def control(self) -> RabbitAsker:
        """Commands to workers.

        Raises:
            RefusedError: this account may not have a queue for the replies.
        """
        if self._control is None:
            self._control = RabbitAsker(self.settings, self.amqp)
        return self._control

    @property
    def messages(self) -> RabbitMessages:
        """What lies in the queues."""
        if self._messages is None:
            self._messages = RabbitMessages(self.settings, self.amqp)
        return self._messages

    def close(self) -> None:
        """Hang up; the reply queue goes with the connection. Never raises."""
        self.amqp.close()

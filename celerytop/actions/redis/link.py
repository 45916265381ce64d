"""The connection of one action to Redis."""

from __future__ import annotations

import redis

from celerytop.actions.redis.control import RedisAsker
from celerytop.actions.redis.messages import RedisMessages
from celerytop.actions.redis.unacked import UnackedMessages
from celerytop.model.address import BrokerSettings
from celerytop.sources.redis.connection import connect


class RedisLink:
    """Satisfies ``Link``. Connected when it is made."""

    def __init__(self, settings: BrokerSettings) -> None:
        """Connect.

        Raises:
            BrokerError: no server lets us in.
        """
        self.settings = settings
        self._client = connect(settings.address)
        self._control: RedisAsker | None = None
        self._messages: RedisMessages | None = None

    @property
    def client(self) -> redis.Redis:
        """The connection itself, for those who handle messages. RESP2, decodes nothing, no retries."""
        return self._client

    @property
    def control(self) -> RedisAsker:
        """Commands to workers."""
        if self._control is None:
            self._control = RedisAsker(self.settings, self._client)
        return self._control

    @property
    def messages(self) -> RedisMessages:
        """What lies in the queues."""
        if self._messages is None:
            self._messages = RedisMessages(self.settings, self._client)
        return self._messages

    @property
    def unacked(self) -> UnackedMessages:
        """What workers have taken and not acknowledged."""
        return UnackedMessages(self.settings, self._client)

    def close(self) -> None:
        """Delete the reply list and hang up. Never raises."""
        if self._control is not None:
            self._control.close()
        try:
            self._client.close()
        except (redis.RedisError, OSError):
            return

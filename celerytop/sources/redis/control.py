"""Asking workers over Redis, without kombu: PUBLISH to the pidbox channel, BRPOP of one reply list.

PUBLISH says how many are listening, so a round ends as soon as all have answered. Replies come through the anonymous
exchange: no binding is written, and the list exists only while a reply lies in it.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import redis

from celerytop.errors import DeniedError
from celerytop.model.address import BrokerSettings
from celerytop.model.observation import WorkersAnswered
from celerytop.sources.asking import Asking, Round
from celerytop.sources.base import Interest
from celerytop.sources.redis.channels import channels
from celerytop.sources.redis.connection import HasClient, db_of, translate, translated
from celerytop.sources.redis.failure import user_of
from celerytop.sources.wire_reply import decode_envelope

_FEW = 2
"""Replies outstanding up to which each is fetched by itself."""
_MOMENT = 0.002
"""Seconds in which the others that answer at once have answered."""


class RedisControl:
    """Rounds of questions to all workers; satisfies Probe."""

    name = "control"
    every = 1.0
    took = 0.0

    def __init__(
        self,
        settings: BrokerSettings,
        lane: HasClient,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Nothing is opened; every poll uses the client ``lane`` has then."""
        self._settings = settings
        self._lane = lane
        self._client: redis.Redis | None = None
        self._asking = Asking(clock, wall)
        self._exchange = f"{settings.control_exchange}.pidbox"
        self._channels = channels(settings, self._exchange)
        self._queue = f"celerytop-{uuid.uuid4().hex[:8]}.reply.celery.pidbox"
        self.reply_key = settings.global_keyprefix + self._queue
        """The Redis list replies come in."""
        self._in_bulk = True
        self._fractions = True

    def attend(self, interest: Interest) -> None:
        """Learn what is shown and who is believed alive or silent."""
        self._asking.attend(interest)

    def poll(self) -> Iterator[WorkersAnswered]:
        """Hold the round that is due, if any; one second at most.

        Raises:
            DeniedError: this account may not publish or fetch.
            BrokerError: Redis does not answer, or with an error.
        """
        client, self.took = self._lane.client, 0.0
        if client is not self._client:
            self._client = client
            self._channels = channels(self._settings, self._exchange, db_of(client))
            self._asking.forget()
        round_ = self._asking.begin()
        if round_ is None:
            return
        with translated(self._settings.address):
            self._publish(client, round_)
            while (left := round_.remaining()) > 0:
                for raw in self._fetch(client, left, round_.outstanding):
                    reply = decode_envelope(raw)
                    round_.take(reply.ticket, reply.body, reply.content_type)
        yield self._asking.settle(round_)

    def close(self) -> None:
        """Delete the reply list, in which late answers may lie. Never raises."""
        client, self._client = self._client, None
        if client is not None:
            try:
                client.delete(self.reply_key)
            except (redis.RedisError, OSError):
                return

    def _publish(self, client: redis.Redis, round_: Round) -> None:
        """Publish all requests in one go; each is told how many listen."""
        pipeline = client.pipeline(transaction=False)
        for request in round_.requests:
            for channel in self._channels:
                pipeline.publish(channel, command_envelope(self._exchange, request.body(self._queue)))
        begun = time.monotonic()
        answers = pipeline.execute(raise_on_error=False)
        self.took = time.monotonic() - begun
        for answer in answers:
            if isinstance(answer, redis.exceptions.NoPermissionError):
                raise DeniedError(self._denied("publish", " ".join(f"&{name}" for name in self._channels)))
            if isinstance(answer, Exception):
                raise translate(answer, self._settings.address) from answer
        width = len(self._channels)
        for index, request in enumerate(round_.requests):
            round_.expect(request, sum(answers[index * width : (index + 1) * width]))

    def _fetch(self, client: redis.Redis, timeout: float, outstanding: int) -> Sequence[bytes]:
        """The first reply that comes within ``timeout``, and those that lie there a moment later.

        Woken for each of them, Redis and we would do three times the work.
        """
        try:
            first: Any = client.brpop([self.reply_key], timeout=self._seconds(timeout))
        except redis.exceptions.NoPermissionError as error:
            raise DeniedError(self._denied("brpop", f"~{self.reply_key}")) from error
        except redis.ResponseError as error:
            if "not an integer" not in str(error) or not self._fractions:
                raise
            self._fractions = False  # before Redis 6
            return []
        if not first:
            return []
        return [first[1], *(self._lying(client) if outstanding > _FEW and self._in_bulk else ())]

    def _lying(self, client: redis.Redis) -> Sequence[bytes]:
        """At most a hundred at once."""
        time.sleep(_MOMENT)
        try:
            found: Any = client.rpop(self.reply_key, 100)
        except redis.ResponseError:  # before Redis 6.2, or not allowed
            self._in_bulk = False
            return ()
        return found or ()

    def _seconds(self, timeout: float) -> float:
        return max(0.005, timeout) if self._fractions else math.ceil(timeout)

    def _denied(self, command: str, what: str) -> str:
        who = user_of(self._settings.address)
        return f"user {who} may not {command}: workers cannot be asked. Needs: +{command} {what}"


def command_envelope(exchange: str, body: bytes) -> bytes:
    """A command to workers as kombu's virtual transport would PUBLISH it; ``body`` becomes base64."""
    return msgspec.json.encode(
        {
            "body": body,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"clock": 0, "expires": 0},
            "properties": {
                "delivery_mode": 1,
                "delivery_info": {"exchange": exchange, "routing_key": ""},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid.uuid4()),
            },
        }
    )

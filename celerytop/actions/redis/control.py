"""Commands to named workers over Redis: PUBLISH to the pidbox channel, BRPOP of a reply list of our own."""

from __future__ import annotations

import contextlib
import math
import time
import uuid
from collections import deque
from collections.abc import Mapping
from typing import Any

import redis

from celerytop.actions.command import Question
from celerytop.actions.link import Answers
from celerytop.errors import CelerytopError, DeniedError
from celerytop.model.address import BrokerSettings
from celerytop.sources.redis.channels import channels
from celerytop.sources.redis.connection import connect, db_of, translated
from celerytop.sources.redis.control import command_envelope
from celerytop.sources.redis.failure import user_of
from celerytop.sources.wire_reply import decode_envelope

_owing: deque[str] = deque(maxlen=200)
"""Reply lists of earlier actions into which a worker that hung then may have written since: a busy solo worker answers
when its task has ended, to whoever asked. Each action cleans up behind the ones before it.
"""


def sweep(settings: BrokerSettings) -> None:
    """Before celerytop ends: delete what came after the last action. Never raises."""
    names = tuple(_owing)
    if not names:
        return
    with contextlib.suppress(CelerytopError, redis.RedisError, OSError):
        client = connect(settings.address)
        try:
            client.delete(*names)
        finally:
            client.close()


class RedisAsker:
    """Satisfies ``Control`` over a connection it does not own."""

    def __init__(self, settings: BrokerSettings, client: redis.Redis) -> None:
        self._settings = settings
        self._client = client
        self._exchange = f"{settings.control_exchange}.pidbox"
        self._channels = channels(settings, self._exchange, db_of(client))
        self._queue = f"celerytop-{uuid.uuid4().hex[:8]}.reply.celery.pidbox"
        self.reply_key = settings.global_keyprefix + self._queue
        """The Redis list replies come in."""
        self._fractions = True
        self._owed = False
        """Somebody who was asked may still answer."""
        self._broken = False
        """Redis has not answered: it is not waited for once more, to say goodbye."""

    def ask(self, method: str, arguments: Mapping[str, Any], workers: tuple[str, ...], timeout: float) -> Answers:
        """Publish and wait; ends as soon as all that were named have answered, or when nobody listens.

        Raises:
            BrokerError: Redis does not answer, or with an error.
            DeniedError: this account may not publish or fetch.
            ValueError: a bug: nobody named, or too many ids.
        """
        question = Question(method, arguments, workers)
        self._broken = True
        with translated(self._settings.address):
            listening = self._publish(question, self._queue)
            deadline = time.monotonic() + timeout
            while listening and question.missing and (left := deadline - time.monotonic()) > 0:
                self._take(question, left)
        self._broken = False
        self._owed = self._owed or (listening > 0 and bool(question.missing))
        return question.answers(listening)

    def tell(self, method: str, arguments: Mapping[str, Any], workers: tuple[str, ...]) -> int:
        """Publish; nobody answers.

        Raises:
            BrokerError: Redis does not answer, or with an error.
            DeniedError: this account may not publish.
            ValueError: a bug: nobody named, or too many ids.
        """
        with translated(self._settings.address):
            return self._publish(Question(method, arguments, workers), None)

    def close(self) -> None:
        """Delete the reply list, in which late answers may lie, and those of earlier actions. Never raises."""
        if self._owed or self._broken:
            _owing.append(self.reply_key)
        if not self._broken:
            with contextlib.suppress(redis.RedisError, OSError):
                self._client.delete(self.reply_key, *_owing)

    def _publish(self, question: Question, reply_queue: str | None) -> int:
        """How many were listening, over both forms of the channel's name."""
        content = command_envelope(self._exchange, question.body(reply_queue))
        pipeline = self._client.pipeline(transaction=False)
        for channel in self._channels:
            pipeline.publish(channel, content)
        try:
            return sum(int(count) for count in pipeline.execute())
        except redis.exceptions.NoPermissionError as error:
            raise DeniedError(self._denied("publish", " ".join(f"&{name}" for name in self._channels))) from error

    def _take(self, question: Question, left: float) -> None:
        # Redis 5 knows no fractions of a second; our socket gives up after 3 s, so no single wait is as long
        wait = min(left, 2.0)
        try:
            found: Any = self._client.brpop(
                [self.reply_key], timeout=max(0.005, wait) if self._fractions else math.ceil(wait)
            )
        except redis.exceptions.NoPermissionError as error:
            raise DeniedError(self._denied("brpop", f"~{self.reply_key}")) from error
        except redis.ResponseError as error:
            if "not an integer" not in str(error) or not self._fractions:
                raise
            self._fractions = False
            return
        if found:
            reply = decode_envelope(found[1])
            question.take(reply.ticket, reply.body, reply.content_type)

    def _denied(self, command: str, what: str) -> str:
        who = user_of(self._settings.address)
        return f"user {who} may not {command}: workers cannot be told anything. Needs: +{command} {what}"

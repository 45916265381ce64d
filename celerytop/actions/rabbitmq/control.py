"""Commands to named workers over RabbitMQ: published to the pidbox exchange, answered into an exclusive queue."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

import pika
from pika.exceptions import ChannelClosed

from celerytop.actions.command import Question
from celerytop.actions.link import Answers
from celerytop.errors import BrokerError, DeniedError
from celerytop.model.address import BrokerSettings
from celerytop.model.text import clean
from celerytop.sources.rabbitmq.connection import Channel, Link, translated
from celerytop.sources.rabbitmq.control import ARGUMENTS
from celerytop.sources.rabbitmq.failure import ACCESS_REFUSED, NOT_FOUND, denial

EXPIRATION = "5000"
"""ms until the broker throws a mere question away that no worker has fetched; a command waits as long as it may."""
SETTLE = 0.05
"""Seconds in which a broker that refuses a message has said so."""
QUESTIONS = frozenset(
    ("ping", "stats", "conf", "active", "reserved", "scheduled", "query_task", "revoked", "registered", "active_queues")
)


class RabbitAsker:
    """Satisfies ``Control`` over a connection it does not own."""

    def __init__(self, settings: BrokerSettings, link: Link) -> None:
        """Declare the queue for replies.

        Raises:
            RefusedError: this account may not.
            BrokerError: no answer.
        """
        self._settings = settings
        self._link = link
        self._exchange = f"{settings.control_exchange}.pidbox"
        self._queue = f"{settings.event_exchange}.ctop.{uuid.uuid4().hex}.reply"
        self._replies: list[tuple[str, str | None, bytes]] = []
        self._publishing: Channel | None = None
        with translated(settings.address, link.place, final=True):
            channel = link.channel()
            channel.call(
                channel.impl.queue_declare, queue=self._queue, exclusive=True, auto_delete=True, arguments=ARGUMENTS
            )
            channel.call(
                channel.impl.basic_consume,
                queue=self._queue,
                on_message_callback=self._on_reply,
                auto_ack=True,
                exclusive=True,
            )

    def ask(self, method: str, arguments: Mapping[str, Any], workers: tuple[str, ...], timeout: float) -> Answers:
        """Publish and wait; ends as soon as all that were named have answered, or when nobody can listen.

        Raises:
            BrokerError: the connection is lost, or an alarm blocks whoever publishes.
            DeniedError: this account may not publish.
            ValueError: a bug: nobody named, or too many ids.
        """
        question = Question(method, arguments, workers)
        with translated(self._settings.address, self._link.place):
            self._link.pump()
            self._unblocked()
            self._publish(question, self._queue)
            listening = self._gather(question, timeout)
        return question.answers(listening)

    def tell(self, method: str, arguments: Mapping[str, Any], workers: tuple[str, ...]) -> int | None:
        """Publish; nobody answers.

        Raises:
            BrokerError: the connection is lost, or an alarm blocks whoever publishes.
            DeniedError: this account may not publish.
            ValueError: a bug: nobody named, or too many ids.
        """
        with translated(self._settings.address, self._link.place):
            self._link.pump()
            self._unblocked()
            self._publish(Question(method, arguments, workers), None)
            self._link.wait(self._refused, SETTLE)  # a channel that is refused is closed at once
            if self._refused():
                self._explain()
                return 0
            return None

    def _gather(self, question: Question, timeout: float) -> int | None:
        deadline = time.monotonic() + timeout
        while question.missing and (left := deadline - time.monotonic()) > 0:
            self._link.wait(lambda: self._replies or self._link.blocked or self._refused(), left)
            for ticket, content_type, body in self._replies:
                question.take(ticket, body, content_type)
            self._replies.clear()
            if self._refused():
                self._explain()
                return 0  # the first worker declares the exchange: there is none
            if question.missing:
                self._unblocked()
        return None

    def _publish(self, question: Question, reply_queue: str | None) -> None:
        if self._publishing is None or not self._publishing.open:
            self._publishing = self._link.channel()
        self._link.commands += 1
        self._publishing.impl.basic_publish(
            self._exchange,
            "",
            question.body(reply_queue),
            pika.BasicProperties(
                content_type="application/json",
                content_encoding="utf-8",
                delivery_mode=1,
                expiration=EXPIRATION if question.method in QUESTIONS else None,
                headers={"clock": 0, "expires": int(time.time()) + 5},  # pika cannot write kombu's float
            ),
        )

    def _unblocked(self) -> None:
        if self._link.blocked:
            reason = clean(self._link.blocked, 64)
            raise BrokerError(f"{self._link.place} has an alarm and takes no messages ({reason}): nothing can be sent")

    def _refused(self) -> bool:
        return self._publishing is not None and self._publishing.closed

    def _explain(self) -> None:
        """Why the broker has closed the publishing channel; returns when only the exchange is missing."""
        channel, self._publishing = self._publishing, None
        reason = channel.reason if channel is not None else None
        if isinstance(reason, ChannelClosed) and reason.reply_code == NOT_FOUND:
            return
        if isinstance(reason, ChannelClosed) and reason.reply_code == ACCESS_REFUSED:
            told = denial(str(reason.reply_text), self._settings.address)
            raise DeniedError(f"{told}: workers cannot be told anything")
        if reason is not None:
            raise reason

    def _on_reply(self, _channel: Any, _method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        ticket = (properties.headers or {}).get("ticket")
        self._replies.append((str(ticket), properties.content_type, body))

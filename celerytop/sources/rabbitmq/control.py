"""Asking workers over RabbitMQ, without kombu.

On a connection of its own: an alarm blocks whoever publishes, and a blocked connection cannot count queues either.
An account that may only look has a queue for replies and may not publish: this source says so, the rest goes on.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pika
from pika.exceptions import ChannelClosed

from celerytop.errors import BrokerError, DeniedError
from celerytop.model.address import BrokerSettings
from celerytop.model.observation import BrokerMeasured, Observation
from celerytop.model.text import clean
from celerytop.sources.asking import Asking, Request, Round
from celerytop.sources.base import Interest
from celerytop.sources.rabbitmq.connection import Channel, Link, translated
from celerytop.sources.rabbitmq.declare import Declarer
from celerytop.sources.rabbitmq.failure import ACCESS_REFUSED, NOT_FOUND, denial
from celerytop.sources.rabbitmq.names import pidbox
from celerytop.sources.rabbitmq.picture import Picture

ARGUMENTS = {
    "x-message-ttl": 10_000,
    "x-expires": 60_000,
    "x-max-length": 10_000,
    "x-max-length-bytes": 64 << 20,
    "x-overflow": "drop-head",
}
EXPIRATION = "5000"
"""ms after which the broker throws a command away that no worker has fetched."""
PROBED = 20
"""Silent workers whose pidbox is looked at in one round: each costs the broker a line in its log."""
PATIENCE = 0.4
"""Seconds the first round waits for the management API to say who is there."""
LULL = 0.3
"""Seconds without a reply that end a round when nobody knows who is there, but somebody has answered."""
DENIED_PAUSE = 30.0
"""Seconds until a right that was missing is tried again."""


class RabbitControl:
    """Publishes to the pidbox exchange, reads replies from an exclusive queue."""

    name = "control"
    every = 1.0
    took = 0.0

    def __init__(self, settings: BrokerSettings, picture: Picture) -> None:
        self._settings = settings
        self._picture = picture
        self._exchange = f"{settings.control_exchange}.pidbox"
        self._asking = Asking()
        self._interest = Interest()
        self._link: Link | None = None
        self._reading: Channel | None = None
        self._publishing: Channel | None = None
        self._declarer: Declarer | None = None
        self._queue = ""
        self._heard = 0
        self._replies: list[tuple[str, str | None, bytes]] = []
        self._denied: tuple[float, str] | None = None
        """Until when not to publish again, and which right is missing."""
        self._first = True
        self._wary = False
        """The last round met an alarm: try with a ping before anything else is published."""

    # ------------------------------------------------------------------------------------------ connection
    def use(self, link: Link | None) -> None:
        """Ask over this connection from now on.

        Raises:
            RefusedError: this account may not even have a queue for the replies.
        """
        self._link = link
        self._reading = self._publishing = None
        self._declarer = None
        self._replies.clear()
        if link is None:
            return
        self._asking.forget()
        self._declarer = Declarer(link)
        self._queue = f"{self._settings.event_exchange}.ctop.{uuid.uuid4().hex}.reply"
        with translated(self._settings.address, link.place, final=True):
            channel = link.channel()
            channel.call(
                channel.impl.queue_declare,
                queue=self._queue,
                exclusive=True,
                auto_delete=True,
                arguments=ARGUMENTS,
            )
            channel.call(
                channel.impl.basic_consume,
                queue=self._queue,
                on_message_callback=self._on_reply,
                auto_ack=True,
                exclusive=True,
            )
            self._reading = channel

    def _on_reply(self, _channel: Any, _method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        ticket = (properties.headers or {}).get("ticket")
        self._replies.append((str(ticket), properties.content_type, body))

    # ------------------------------------------------------------------------------------------------ probe
    def attend(self, interest: Interest) -> None:
        """Take over who is believed there."""
        self._interest = interest
        self._asking.attend(interest)

    def poll(self) -> Iterator[Observation]:
        """One round, if any is due."""
        link = self._link
        if link is None:
            raise BrokerError("not connected")
        with translated(self._settings.address, link.place):
            link.pump()
            self._prove(link)
            round_ = self._begin(link)
            if round_ is not None:
                self._hold(link, round_)
        if link.blocked:
            yield from self._blocked(link.blocked)
        elif round_ is not None:
            self._wary, self._denied = False, None
            self._picture.deny("control", ())
            self._picture.tell(time.time(), blocked=None)
            yield self._asking.settle(round_)

    def _prove(self, link: Link) -> None:
        """Have the broker say something if it has not since the last poll: a frozen one swallows commands."""
        if link.bytes_in == self._heard and self._reading is not None and not link.blocked:
            self._reading.call(self._reading.impl.queue_declare, queue=self._queue, passive=True)
        self._heard = link.bytes_in

    def _begin(self, link: Link) -> Round | None:
        if link.blocked:
            return None
        if self._first:  # who is there is told at once by the management API, or after a second by silence
            self._first = False
            self._picture.asked.wait(PATIENCE)
        if self._denied is not None and time.monotonic() < self._denied[0]:
            raise DeniedError(self._denied[1])
        return self._asking.begin()

    def _hold(self, link: Link, round_: Round) -> None:
        """Publish, wait for those who should answer, look for those who did not."""
        self._expect_listed(round_)
        requests = list(round_.requests)
        if self._wary:
            self._publish(link, requests.pop(0))
            link.wait(lambda: link.blocked or self._replies, 0.25)
        if not link.blocked:
            for request in requests:
                self._publish(link, request)
        self._gather(link, round_)
        if not link.blocked:
            self._look_for(round_)

    def _gather(self, link: Link, round_: Round) -> None:
        heard = time.monotonic()
        unknown = not (round_.awaited or round_.present)
        while not link.blocked and (left := round_.remaining()) > 0:
            link.wait(lambda: self._replies or link.blocked or self._refused(), min(left, 0.1))
            if self._replies:
                heard = time.monotonic()
            for ticket, content_type, body in self._replies:
                round_.take(ticket, body, content_type)
            self._replies.clear()
            if self._refused():
                self._give_up(round_)
            if unknown and round_.replies and time.monotonic() - heard > LULL:
                break

    def _expect_listed(self, round_: Round) -> None:
        """The management API knows every pidbox; without it a round waits for those who are believed there."""
        nodes = self._picture.nodes
        if nodes is not None:
            round_.expect_names(nodes - set(self._interest.quiet))

    def _publish(self, link: Link, request: Request) -> None:
        if self._publishing is None or not self._publishing.open:
            self._publishing = link.channel()
        link.commands += 1
        self._publishing.impl.basic_publish(
            self._exchange,
            "",
            request.body(self._queue),
            pika.BasicProperties(
                content_type="application/json",
                content_encoding="utf-8",
                delivery_mode=1,
                expiration=EXPIRATION,
                headers={"clock": 0, "expires": int(time.time()) + 5},  # pika cannot write kombu's float
            ),
        )

    # -------------------------------------------------------------------------------------------- refusals
    def _refused(self) -> bool:
        return self._publishing is not None and self._publishing.closed

    def _give_up(self, round_: Round) -> None:
        """The broker has closed the publishing channel: nobody listens yet, or we may not."""
        channel, self._publishing = self._publishing, None
        reason = channel.reason if channel is not None else None
        if not isinstance(reason, ChannelClosed):
            return
        if reason.reply_code == NOT_FOUND:  # the first worker declares the exchange
            for request in round_.requests:
                round_.expect(request, 0)
        elif reason.reply_code == ACCESS_REFUSED:
            self._picture.deny("control", (f"write on exchange {self._exchange}",))
            told = f"{denial(str(reason.reply_text), self._settings.address)}: workers cannot be asked"
            self._denied = (time.monotonic() + DENIED_PAUSE, told)
            raise DeniedError(told)
        else:
            raise reason

    def _blocked(self, reason: str) -> Iterator[Observation]:
        self._wary = True
        at, reason = time.time(), clean(reason, 64)
        yield BrokerMeasured(at, self._picture.tell(at, blocked=reason))
        what = reason.removeprefix("low on ").partition(" ")[0]
        raise DeniedError(
            f"{what} alarm: RabbitMQ blocks publishers ({reason}), workers cannot be asked and cannot report"
        )

    # ------------------------------------------------------------------------------------- who did not answer
    def _look_for(self, round_: Round) -> None:
        """A 404 says a silent worker is gone, a locked queue that its connection is there."""
        asked = any(request.method == "ping" and request.destination is None for request in round_.requests)
        if not asked or self._declarer is None or round_.expected == 0:
            return
        believed = {*self._interest.workers, *self._interest.quiet, *(self._picture.nodes or ())}
        silent = sorted(believed.difference(round_.pongs()))[:PROBED]
        boxes = {pidbox(nodename, self._settings): nodename for nodename in silent}
        answers = self._declarer.ask(boxes) if boxes else {}
        alive = {boxes[box]: answer.locked or bool(answer.consumers) for box, answer in answers.items()}
        there = [nodename for nodename, lives in alive.items() if lives]
        round_.present = tuple(dict.fromkeys([*round_.pongs(), *there]))
        round_.absent = tuple(nodename for nodename, lives in alive.items() if not lives)

"""Passive declares, pipelined: exact counts of a thousand queues in one round trip, with no right but the vhost's.

A queue that is missing or somebody's own closes the channel and takes the rest of the pipeline with it, and writes a
line into the broker's log. So names that failed are left alone for a while, and then asked last.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec
from pika import spec
from pika.exceptions import ChannelClosed

from celerytop.errors import BrokerError
from celerytop.sources.rabbitmq.connection import ANSWER_TIMEOUT, Channel, Link
from celerytop.sources.rabbitmq.failure import NOT_FOUND, RESOURCE_LOCKED, frozen, translate

PATIENCE = (3.0, 6.0, 15.0, 30.0)
"""Seconds until a name that failed is asked again, by how often it has failed."""
BUDGET = 5.0
"""Seconds for one round; what is left then is asked the next time."""
CAREFUL = 16
"""Names sent at once after one was refused."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a passive declare says of one queue."""

    messages: int | None = None
    """Ready ones."""
    consumers: int | None = None
    exists: bool | None = True
    locked: bool = False
    """Exclusive to another connection, which therefore lives."""


MISSING = Answer(exists=False)
LOCKED = Answer(locked=True)
MUTE = Answer()
"""It exists, but its node is down: no figures."""


class _Failed(msgspec.Struct):
    answer: Answer
    times: int
    again_at: float


class Declarer:
    """Asks over one connection, which it does not own; remembers what is not worth asking again at once."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._channel: Channel | None = None
        self._answers: dict[str, Answer] = {}
        self._order: list[str] = []
        self._failed: dict[str, _Failed] = {}

    def ask(self, names: Iterable[str]) -> dict[str, Answer]:
        """The answer for each name; names the time did not suffice for are left out.

        Raises:
            BrokerError: the connection is lost or mute.
        """
        now = time.monotonic()
        names = list(names)
        self._failed = {name: self._failed[name] for name in names if name in self._failed}
        due = [name for name in names if name not in self._failed]
        due += [name for name, failed in self._failed.items() if failed.again_at <= now]
        answers = {name: failed.answer for name, failed in self._failed.items()}
        size = len(due)
        while due and time.monotonic() < now + BUDGET:
            done, refused = self._burst(due[:size])
            size = CAREFUL if refused is not None else size * 4  # what follows a refusal was sent in vain
            answers |= done
            for name in done:
                self._failed.pop(name, None)
            if refused is not None:
                answers[due[len(done)]] = self._fail(due[len(done)], refused)
            due = due[len(done) + (refused is not None) :]
        return answers

    def forget(self) -> None:
        """Ask the ones that failed anew the next time."""
        for failed in self._failed.values():
            failed.again_at = 0.0

    def _burst(self, names: list[str]) -> tuple[dict[str, Answer], ChannelClosed | None]:
        """Send all, read all. Answers come in order, so the one that closed the channel is the next unanswered."""
        channel = self._open()
        self._order.clear()
        self._answers = {}
        for name in names:
            # Channel.queue_declare would wait for each answer before it sends the next: 132 ms, not 13, for 1,000.
            channel.impl._send_method(spec.Queue.Declare(queue=name, passive=True, arguments={}))
        self.link.commands += len(names)
        if not self._drain(channel, len(names)):
            raise frozen(self.link.place)
        if channel.reason is None:
            return self._answers, None
        if not isinstance(channel.reason, ChannelClosed):
            raise translate(channel.reason, self.link.address, self.link.place)
        return self._answers, channel.reason

    def _drain(self, channel: Channel, wanted: int) -> bool:
        """Until all have answered; as long as answers come, it is not frozen."""
        seen = -1
        while seen < len(self._order) < wanted and not channel.closed:
            seen = len(self._order)
            self.link.wait(lambda: len(self._order) >= wanted or channel.closed, ANSWER_TIMEOUT)
        return len(self._order) >= wanted or channel.closed

    def _open(self) -> Channel:
        if self._channel is None or not self._channel.open:
            self._channel = self.link.channel()
            self._channel.impl.add_callback(self._on_answer, [spec.Queue.DeclareOk], one_shot=False)
        return self._channel

    def _on_answer(self, frame: object) -> None:
        told = frame.method  # type: ignore[attr-defined]
        self._order.append(told.queue)
        self._answers[told.queue] = Answer(told.message_count, told.consumer_count)

    def _fail(self, name: str, refused: ChannelClosed) -> Answer:
        if refused.reply_code == RESOURCE_LOCKED:
            answer = LOCKED
        elif refused.reply_code == NOT_FOUND:
            answer = MUTE if "down or inaccessible" in str(refused.reply_text) else MISSING
        else:
            raise BrokerError(str(translate(refused, self.link.address, self.link.place)))
        times = self._failed[name].times + 1 if name in self._failed else 0
        wait = PATIENCE[min(times, len(PATIENCE) - 1)]
        self._failed[name] = _Failed(answer, times, time.monotonic() + wait)
        return answer

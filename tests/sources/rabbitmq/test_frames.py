"""Our walk over AMQP's frames finds what pika's decoder finds, however the bytes arrive and whatever they are."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from pika import frame, spec
from pika.channel import ContentFrameAssembler
from pika.exceptions import InvalidFrameError

from celerytop.sources.rabbitmq.connection import connect
from celerytop.sources.rabbitmq.frames import Connection, Deliveries, Lengths, Taker, passive_declare
from tests.rig import RabbitServer, wait_until
from tests.sources.rabbitmq.open_lanes import channel_of, settings_for

LARGEST = 131_072
OURS, OTHER = 1, 2
"""Channels: the one with a taker, and another."""


class Pika:
    """pika's own decoder and assembler of messages, for one channel; all other frames in order."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.others: list[str] = []
        self._assembler = ContentFrameAssembler()

    def take(self, value: Any) -> None:
        """One frame."""
        content = value.channel_number == OURS and (
            isinstance(value, frame.Header | frame.Body) or isinstance(value.method, spec.Basic.Deliver)
        )
        if not content:
            self.others.append(repr(value))
            return
        whole = self._assembler.process(value)
        if whole is not None:
            self.bodies.append(whole[2])

    def read(self, data: bytes) -> None:
        """All of a stream."""
        while data:
            size, value = frame.decode_frame(data)
            if not size:
                break
            self.take(value)
            data = data[size:]


class Fed(Connection):
    """A connection without a socket: it is given bytes, and shows what it leaves to pika."""

    def __init__(self, taker: Taker) -> None:
        self.takers = {OURS: taker}
        self.params = SimpleNamespace(frame_max=LARGEST)
        self.left = Pika()
        self.turns = 0
        """Frames left to pika."""
        self._frame_buffer = b""
        self.bytes_received = 0

    def _process_frame(self, value: Any) -> None:
        self.turns += 1
        before = len(self.left.bodies)
        self.left.take(value)
        taker = self.takers[OURS]
        if isinstance(taker, Deliveries) and len(self.left.bodies) > before:
            taker.add(self.left.bodies[-1])  # as pika's callback does

    def feed(self, chunks: Iterable[bytes]) -> None:
        """Bytes as they arrive."""
        for chunk in chunks:
            self._on_data_available(chunk)


def chopped(stream: bytes, chance: random.Random, longest: int) -> Iterator[bytes]:
    """The stream in pieces of random length."""
    at = 0
    while at < len(stream):
        size = chance.randint(1, longest)
        yield stream[at : at + size]
        at += size


def delivered(body: bytes, tag: int, channel: int = OURS, largest: int = LARGEST) -> list[bytes]:
    """The frames of one message."""
    deliver = spec.Basic.Deliver("ctag1.0", tag, False, "celeryev", "task.multi")
    properties = spec.BasicProperties("application/json", "utf-8", {"hostname": "w1@h"}, 1, 0)
    room = largest - 8
    parts = [body[at : at + room] for at in range(0, len(body), room)]
    return [
        frame.Method(channel, deliver).marshal(),
        frame.Header(channel, len(body), properties).marshal(),
        *(frame.Body(channel, part).marshal() for part in parts),
    ]


def made(chance: random.Random, messages: int) -> bytes:
    """A stream as a broker may send: messages of every size, and what comes between them and between their frames."""
    others = [
        frame.Heartbeat().marshal(),
        frame.Method(0, spec.Connection.Blocked("low on memory")).marshal(),
        frame.Method(OTHER, spec.Queue.DeclareOk("q", 3, 1)).marshal(),
        b"".join(delivered(b"not ours", 1, OTHER)),
    ]
    between = [*others, frame.Method(OURS, spec.Queue.DeclareOk("q", 3, 1)).marshal()]
    sizes = (0, 1, 7, 600, 600, 600, 600, 4096)
    found: list[bytes] = []
    for tag in range(messages):
        # a body that looks like frames must stay a body
        body = (found[-1] if found and tag % 5 == 0 else chance.randbytes(chance.choice(sizes)))[:5000]
        largest = 512 if tag % 7 == 0 else LARGEST
        for part in delivered(body, tag, largest=largest):
            found.append(part)
            if chance.random() < 0.05:
                found.append(chance.choice(others))
        if chance.random() < 0.1:
            found.append(chance.choice(between))
    return b"".join(found)


@pytest.mark.parametrize("longest", [1, 9, 64, 1000, 70_000])
def test_any_chunks_give_what_pika_reads(longest: int) -> None:
    chance = random.Random(longest)
    for _ in range(20 if longest > 1 else 3):
        stream = made(chance, 60)
        pika = Pika()
        pika.read(stream)
        ours = Fed(Deliveries())
        ours.feed(chopped(stream, chance, longest))
        taken = ours.takers[OURS]
        assert isinstance(taken, Deliveries)
        assert taken.bodies == pika.bodies
        assert taken.size == sum(map(len, pika.bodies))
        assert ours.left.others == pika.others
        assert ours.bytes_received == len(stream)


def test_usual_messages_stay_in_order_and_never_reach_pika() -> None:
    chance = random.Random(1)
    bodies = [chance.randbytes(chance.randint(1, 2000)) for _ in range(500)]
    stream = b"".join(part for tag, body in enumerate(bodies) for part in delivered(body, tag))
    for longest in (100, 5000, 65_536):
        taken = Deliveries()
        ours = Fed(taken)
        ours.feed(chopped(stream, chance, longest))
        assert taken.bodies == bodies
        assert ours.turns == 0


def test_a_message_without_a_body_does_not_wait_for_the_next() -> None:
    ours = Fed(taken := Deliveries())
    ours.feed([b"".join(delivered(b"", 1))])
    assert taken.bodies == [b""]


def test_a_heartbeat_at_the_end_does_not_wait() -> None:
    ours = Fed(taken := Deliveries())
    ours.feed([b"".join(delivered(b"{}", 1)) + frame.Heartbeat().marshal()])
    assert taken.bodies == [b"{}"]
    assert ours.turns == 1


def test_lengths_are_read_as_pika_reads_them() -> None:
    chance = random.Random(2)
    told = [(chance.randrange(2**32), chance.randrange(2**32)) for _ in range(300)]
    names = ["q" * chance.choice((1, 20, 255)) for _ in told]
    frames = [
        frame.Method(OURS, spec.Queue.DeclareOk(name, *two)).marshal() for name, two in zip(names, told, strict=True)
    ]
    frames[100:100] = [frame.Heartbeat().marshal(), frame.Method(OTHER, spec.Queue.DeclareOk("x", 1, 1)).marshal()]
    closed = frame.Method(OURS, spec.Channel.Close(404, "NOT_FOUND", 50, 10)).marshal()
    for longest in (3, 50, 10_000):
        lengths = Lengths()
        ours = Fed(lengths)
        ours.feed(chopped(b"".join(frames) + closed, chance, longest))
        assert lengths.told == told
        assert ours.turns == 3
        assert "Channel.Close" in ours.left.others[-1]


@pytest.mark.parametrize("name", ["q", "mail", "x" * 255, "päckchen\u2713"])
def test_a_passive_declare_is_pikas(name: str) -> None:
    theirs = frame.Method(7, spec.Queue.Declare(queue=name, passive=True, arguments={})).marshal()
    assert passive_declare(7, name) == theirs


def test_hostile_bytes_end_in_an_error_or_in_what_pika_reads_too() -> None:
    """Whatever is wrong with the frames, nothing hangs, nothing is made up, and pika would not have read on either."""
    chance = random.Random(3)
    stream = made(chance, 12)
    wrong = 0
    for _ in range(2000):
        spoilt = bytearray(stream)
        for _ in range(chance.randint(1, 3)):
            spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
        pika, ours = Pika(), Fed(taken := Deliveries())
        theirs = _raised(lambda pika=pika, spoilt=spoilt: pika.read(bytes(spoilt)))
        error = _raised(lambda ours=ours, spoilt=spoilt: ours.feed([bytes(spoilt)]))
        wrong += error is not None
        if theirs is None and error is None:
            assert taken.bodies == pika.bodies
        if error is not None:
            too_large = isinstance(error, InvalidFrameError) and "agreed upon" in str(error)
            assert theirs is not None or too_large
    assert wrong > 20


def _raised(call: Any) -> Exception | None:
    try:
        call()
    except Exception as error:
        return error
    return None


def test_a_frame_larger_than_agreed_is_no_reason_to_wait_for_it() -> None:
    for begun in (b"\x01\x00\x01\xff\xff\xff\xff", b"\x03\x00\x01\x7f\xff\xff\xff", b"\x01\x00\x01\x00\x03\x00\x00"):
        with pytest.raises(InvalidFrameError):
            Fed(Deliveries()).feed([begun + b"\x00\x3c\x00\x3c"])


@pytest.mark.rabbitmq
def test_a_recorded_stream_in_any_chunks(
    rabbitmq_server: RabbitServer, rabbitmq_vhost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [2, 500, 0, 700, LARGEST - 8, LARGEST - 7, 300_000, 1, *[400] * 50]
    bodies = [bytes([97 + number % 26]) * size for number, size in enumerate(sizes)]
    with channel_of(rabbitmq_server, rabbitmq_vhost) as other:
        link = connect(settings_for(rabbitmq_server, rabbitmq_vhost))
        recorded: list[bytes] = []
        read = link.impl._on_data_available

        def record(data: bytes) -> None:
            recorded.append(data)
            read(data)

        monkeypatch.setattr(link.impl, "_on_data_available", record)
        channel, taken = link.channel(), Deliveries()
        queue = channel.call(channel.impl.queue_declare, queue="", exclusive=True).queue
        channel.call(
            channel.impl.basic_consume,
            queue=queue,
            on_message_callback=lambda *told: taken.add(told[3]),
            auto_ack=True,
        )
        channel.show(taken)
        for body in bodies:
            other.basic_publish("", queue, body)
        assert link.wait(lambda: len(taken.bodies) == len(bodies), 60)
        link.close()
    assert taken.bodies == bodies, "in order"
    stream, chance = b"".join(recorded), random.Random(4)
    pika = Pika()
    pika.read(stream)
    assert pika.bodies == bodies
    for longest in (50, 4096, 65_536, len(stream)):
        replayed = Deliveries()
        ours = Fed(replayed)
        ours.feed(chopped(stream, chance, longest))
        assert replayed.bodies == bodies
        assert ours.left.others == pika.others


@pytest.mark.rabbitmq
def test_a_consumer_that_is_cancelled_and_a_channel_that_is_closed_are_heard(
    rabbitmq_server: RabbitServer, rabbitmq_vhost: str
) -> None:
    with channel_of(rabbitmq_server, rabbitmq_vhost) as other:
        other.queue_declare("seen")
        link = connect(settings_for(rabbitmq_server, rabbitmq_vhost))
        channel, taken, cancelled = link.channel(), Deliveries(), list[Any]()
        channel.impl.add_on_cancel_callback(cancelled.append)
        channel.call(channel.impl.basic_consume, queue="seen", on_message_callback=lambda *_: None, auto_ack=True)
        channel.show(taken)
        other.basic_publish("", "seen", b"one")
        assert link.wait(lambda: taken.bodies, 60)
        other.queue_delete("seen")
        assert link.wait(lambda: cancelled, 60)
        channel.impl.queue_declare("seen", passive=True)
        assert link.wait(lambda: channel.closed, 60)
        assert not link.impl.takers, "its number will be another channel's"
        again = link.channel()
        other.queue_declare("seen")
        answer = again.call(again.impl.queue_declare, queue="seen", passive=True)
        assert (answer.queue, answer.message_count) == ("seen", 0)
        link.close()
        wait_until(lambda: not link.open)

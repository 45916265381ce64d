"""What waits to be folded, and what goes when it is too much."""

from __future__ import annotations

from collections import Counter

import pytest
import redis

from celerytop.sources.redis.backlog import SLICE, Backlog

BASE = b"/0.celeryev"
ROOM = 10 * SLICE
STATES = ("sent", "received", "started", "succeeded", "failed")


def message(channel: bytes, payload: bytes = b"x") -> list[bytes]:
    return [b"pmessage", b"/0.celeryev*", channel, payload]


def read(number: int) -> list[list[bytes]]:
    """One of each kind."""
    kinds = (b"task.sent", b"task.received", b"task.started", b"task.succeeded", b"task.failed", b"worker.heartbeat")
    return [message(BASE + b"/" + kind, b"%d %b" % (number, kind)) for kind in kinds]


def filled(reads: int) -> Backlog:
    backlog = Backlog([BASE], ROOM)
    for number in range(reads):
        backlog.add(SLICE, read(number))
    return backlog


def test_as_long_as_there_is_room_everything_comes_out_in_order() -> None:
    backlog = filled(10)
    for number in range(10):
        taken = backlog.take()
        assert taken.payloads == [one[3] for one in read(number)]
        assert (taken.thin, taken.dropped) == (False, 0)
    assert not backlog


def test_the_oldest_is_thinned_by_kind_until_there_is_room() -> None:
    backlog = filled(12)
    for number in range(2):
        taken = backlog.take()
        assert taken.payloads == [
            b"%d task.succeeded" % number,
            b"%d task.failed" % number,
            b"%d worker.heartbeat" % number,
        ]
        assert (taken.thin, taken.dropped) == (True, 3)
    assert backlog.take().payloads[0] == b"2 task.sent"


def test_what_ends_a_task_goes_when_nothing_else_is_left_and_what_shows_a_worker_last_of_all() -> None:
    backlog = filled(25)  # twice the room is never exceeded
    spared = backlog.take()
    assert spared.payloads == [b"%d worker.heartbeat" % number for number in range(5)], "the oldest first"
    taken = backlog.take()
    assert taken.payloads[0].startswith(b"5 ")
    assert spared.dropped + taken.dropped == 5 * 5 + 6 - len(taken.payloads)
    assert spared.kinds == dict.fromkeys((f"task-{what}" for what in STATES), 5)


def test_each_event_comes_out_or_is_counted_by_its_kind() -> None:
    backlog = filled(60)
    kinds: Counter[str] = Counter()
    while backlog:
        payloads, _, dropped = backlog.take()
        kinds.update(dropped)
        kinds.update(payload.split()[1].decode().replace(".", "-") for payload in payloads)
    assert kinds == {"worker-heartbeat": 60, **{f"task-{what}": 60 for what in STATES}}


def test_even_a_flood_of_heartbeats_is_bounded_and_its_oldest_go_first() -> None:
    backlog = Backlog([BASE], ROOM)
    beats = [b"%d" % number + b"x" * 1000 for number in range(100_000)]
    for first in range(0, len(beats), 100):
        backlog.add(100_000, [message(BASE + b"/worker.heartbeat", beat) for beat in beats[first : first + 100]])
    kept: list[bytes] = []
    dropped = 0
    while backlog:
        taken = backlog.take()
        kept += taken.payloads
        dropped += taken.kinds["worker-heartbeat"]
    assert kept == beats[-len(kept) :]
    assert len(kept) + dropped == len(beats)
    assert sum(map(len, kept)) < 2.5 * ROOM


def test_small_reads_are_put_together() -> None:
    backlog = Backlog([BASE], ROOM)
    for number in range(8):
        backlog.add(SLICE // 4, read(number))
    assert len(backlog.take().payloads) == 4 * 6
    assert len(backlog.take().payloads) == 4 * 6
    assert not backlog


def test_a_large_read_is_folded_in_slices() -> None:
    backlog = Backlog([BASE], ROOM)
    backlog.add(4 * SLICE, [one for number in range(100) for one in read(number)])
    sizes = []
    while backlog:
        sizes.append(len(backlog.take().payloads))
    assert sum(sizes) == 600
    assert max(sizes) <= 150


def test_lists_dropped_unread_are_counted_by_their_size() -> None:
    backlog = Backlog([BASE], ROOM)
    for _ in range(50):
        backlog.learn(12_000, 24)
    for _ in range(20):
        backlog.add(SLICE, [message(BASE + b"/task.multi", b"x" * 12_000) for _ in range(10)])
    taken = backlog.take()
    assert not taken.payloads
    assert taken.dropped == taken.kinds["unread"] == pytest.approx(240, abs=3)


def test_other_channels_are_left_alone_and_an_error_is_raised() -> None:
    backlog = Backlog([BASE], ROOM)
    backlog.add(10, [message(b"/0.celeryev2/task.multi"), message(BASE, b"ours"), b"PONG", redis.ResponseError("no")])
    with pytest.raises(redis.ResponseError):
        backlog.take()
    backlog.add(10, [message(b"/0.celeryev2/task.multi"), message(BASE, b"ours"), b"PONG"])
    assert backlog.take().payloads == [b"ours"]

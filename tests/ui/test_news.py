"""Line 3 of the header: the worst first, and no kind of trouble hides another."""

from __future__ import annotations

import msgspec
import pytest

from celerytop.model.broker import RabbitBroker, RedisBroker
from celerytop.model.event import BadEvent
from celerytop.model.observation import DOWN
from celerytop.model.queue import Queue
from celerytop.model.snapshot import Gap, Losses, Snapshot, SourceStatus
from celerytop.model.worker import ALIVE, FROZEN, GONE, SILENT, Worker
from celerytop.ui.news import news
from celerytop.ui.widgets.header import news_line, totals_line
from tests.ui import snapshots
from tests.ui.snapshots import AT


def calm(**changed: object) -> Snapshot:
    """Nothing is wrong but what is given."""
    return msgspec.structs.replace(
        snapshots.healthy(), queues={}, workers={}, gaps=(), notes=(), losses=Losses(), broker=None, **changed
    )


def line(snapshot: Snapshot, width: int) -> str:
    return "".join(text for text, _ in news_line(news(snapshot), width))


QUEUE = Queue("payments", messages=8114, consumers=0, state="no consumer")
SHED = Losses(dropped=12_007, dropped_by_kind={"task-sent": 2, "unread": 5, "task-received": 12_000})
BAD_EVENT = BadEvent(AT, "not JSON")
DOWN_SOURCE = SourceStatus("queues", DOWN, "Redis refuses LLEN.", seen_at=AT - 9, retry_at=AT + 4, attempts=4)


@pytest.mark.parametrize(
    ("changed", "tone", "words", "page"),
    [
        ({"queues": {"q": QUEUE}}, "bad", "payments: no consumer, 8,114 ready", "1"),
        ({"queues": {"q": Queue("q", messages=500, consumers=2, state="growing")}}, "warn", "q: grows, 500 ready", "1"),
        ({"workers": {"w": Worker("w@h", state=FROZEN, seen_at=AT - 60)}}, "bad", "w@h: frozen 1m00s", "2"),
        ({"workers": {"w": Worker("w@h", state=SILENT, seen_at=AT - 60)}}, "bad", "w@h: silent 1m00s", "2"),
        ({"workers": {"w": Worker("w@h", state=GONE, seen_at=AT - 60)}}, "warn", "w@h: gone 1m00s", "2"),
        ({"workers": {"w": Worker("w@h", state=ALIVE, pids=(1, 2))}}, "bad", "w@h: 2 processes use this name", "2"),
        ({"broker": RedisBroker(AT, trouble="Redis is full")}, "bad", "Redis is full", "5"),
        (
            {"broker": RabbitBroker(AT, alarms=("memory on r@a",))},
            "bad",
            "alarm: memory on r@a, nobody can publish",
            "5",
        ),
        ({"sources": (DOWN_SOURCE,)}, "bad", "Redis refuses LLEN.", "5"),
        ({"gaps": (Gap(AT - 20, AT - 10, "lost"),)}, "note", "gap in events: 10s, lost", "3"),
        ({"losses": Losses(dropped=2)}, "warn", "2 events dropped", "5"),
        (
            {"losses": Losses(not_read_for=3.21)},
            "warn",
            "task events not read for 3.2s: more came than could be read",
            "5",
        ),
        ({"losses": SHED}, "warn", "12,007 events dropped (12,000 task-received, 5 unread and 1 more)", "5"),
        ({"losses": Losses(bad=1), "bad_events": (BAD_EVENT,)}, "note", "1 bad event (last: not JSON)", "5"),
        ({"losses": Losses(forgotten=120)}, "note", "120 tasks forgotten", "5"),
        ({"notes": ("w@h sends no task events",)}, "dim", "w@h sends no task events", ""),
    ],
)
def test_every_kind_of_trouble_has_a_word_and_a_page(
    changed: dict[str, object], tone: str, words: str, page: str
) -> None:
    first = news(msgspec.structs.replace(calm(), **changed))[0]
    assert (first.tone, first.text, first.page) == (tone, words, page)


def test_a_few_messages_more_are_no_news() -> None:
    assert news(calm()) == []
    few = Queue("q", messages=4, consumers=1, state="growing")
    assert news(msgspec.structs.replace(calm(), queues={"q": few})) == []


def test_many_of_one_kind_are_counted_so_that_the_other_kind_is_seen() -> None:
    queues = {f"q{i}": msgspec.structs.replace(QUEUE, name=f"q{i}", messages=i + 1) for i in range(30)}
    workers = {f"w{i}": Worker(f"w{i}@h", state=SILENT, seen_at=AT) for i in range(12)}
    found = news(msgspec.structs.replace(calm(), queues=queues, workers=workers))
    assert [item.text for item in found] == [
        "30 queues have no consumer, 30 ready in q29",
        "12 workers silent: w0@h and others",
    ]


@pytest.mark.parametrize(("width", "end"), [(60, "  +2 more"), (80, "  +1 more"), (120, "[1]")])
def test_what_does_not_fit_is_counted(width: int, end: str) -> None:
    now = msgspec.structs.replace(
        calm(),
        queues={"q": QUEUE},
        workers={"w": Worker("w7@web", state=FROZEN, seen_at=AT - 60)},
        losses=Losses(forgotten=1234),
    )
    text = line(now, width)
    assert text.startswith("! payments: no consumer, 8,114 ready")
    assert end in text and text.endswith("[1]") and len(text) <= width
    assert ("w7@web: frozen 1m00s" in text) is (width >= 80)
    assert ("1,234 tasks forgotten" in text) is (width >= 120)


def test_the_next_attempt_is_told_where_there_is_room() -> None:
    now = msgspec.structs.replace(calm(), sources=(DOWN_SOURCE,))
    assert line(now, 80).startswith("X Redis refuses LLEN. Try 5 in 4.0s.")
    assert line(now, 30) == "X Redis refuses LLEN.      [5]"


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("make", [snapshots.healthy, snapshots.empty, snapshots.stale])
def test_the_numbers_of_the_cluster_fit_every_window(make: object, width: int) -> None:
    assert callable(make)
    text = "".join(part for part, _ in totals_line(make(), width))
    assert len(text) <= width and text.endswith(("/min", "/s"))

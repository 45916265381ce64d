"""One grammar for the screen's filter and for --filter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celerytop.model.host import Process
from celerytop.model.queue import Queue
from celerytop.model.snapshot import ClusterInfo, Snapshot
from celerytop.model.task import Task
from celerytop.model.worker import ConsumedQueue, Worker
from celerytop.select import FilterError, ordered, parse, views

NOW = 1000.0
TASK = Task(
    "7b2e1f3c",
    name="app.pay",
    state="STARTED",
    worker="w1@db-7",
    queue="payments",
    args="(8841, 'two words')",
    started_at=940.0,
    sent_at=900.0,
    retries=2,
    worker_pid=4711,
    root_id="0a77",
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pay",
        "PAY",
        "7b2e",
        "db-7",
        "payments 8841",
        "state:started",
        "name:app.pay state:STARTED worker:w1 queue:pay args:8841",
        '"two words"',
        'args:"two words"',
        "runtime:>30",
        "runtime:>=60",
        "runtime:1m",
        "runtime:50..70",
        "runtime:<2m",
        "runtime:..1h",
        "age:>90",
        "retries:2",
        "pid:4711",
        "!state:SUCCESS",
        "!refund",
        "~^app\\.(pay|mail)$",
        "name:~pay$",
        "!name:~^mail",
        "root:0a",
    ],
)
def test_matches(text: str) -> None:
    assert parse(text).matches(TASK, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "refund",
        "state:SUCCESS",
        "!state:STARTED",
        "runtime:>60",
        "runtime:<30",
        "runtime:61..",
        "pay refund",
        "name:~^pay",
        "messages:>0",
        "parent:x",
    ],
)
def test_does_not_match(text: str) -> None:
    assert not parse(text).matches(TASK, NOW)


@pytest.mark.parametrize("text", ["runtime:>x", "runtime:", "nofield:1", "~[", "name:~(", "retries:two"])
def test_nonsense_is_one_sentence(text: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse(text)
    assert len(str(caught.value).splitlines()) == 1


def test_not_known_matches_no_number() -> None:
    assert not parse("runtime:>0").matches(Task("x"), NOW)
    assert not parse("messages:0").matches(Queue("q"), NOW)
    assert parse("!messages:0").matches(Queue("q"), NOW)


def test_other_rows() -> None:
    worker = Worker("w1@h", state="busy-solo", pool="solo", queues=(ConsumedQueue("emails"),))
    assert parse("state:busy pool:solo queue:emails w1").matches(worker, NOW)
    assert parse("messages:>100 name:cel").matches(Queue("celery", messages=101), NOW)
    process = Process(4711, 1, 400.0, "child", 4690, nodename="w1@h", status="stopped", cpu_percent=99.0)
    assert parse("state:stopped cpu:>90 age:10m pid:4711").matches(process, NOW)


def test_unknown_is_last_both_ways_and_equal_rows_keep_their_order() -> None:
    rows = [("a", 2), ("b", None), ("c", 1), ("d", 2)]
    assert "".join(name for name, _ in ordered(rows, lambda row: row[1])) == "cadb"
    assert "".join(name for name, _ in ordered(rows, lambda row: row[1], reverse=True)) == "adcb"


@given(st.lists(st.one_of(st.none(), st.integers(0, 5))), st.booleans(), st.integers(1, 4))
def test_a_page_is_the_beginning_of_the_whole(keys: list[int | None], reverse: bool, limit: int) -> None:
    rows = list(enumerate(keys))
    whole = ordered(rows, lambda row: row[1], reverse)
    assert ordered(rows, lambda row: row[1], reverse, limit) == whole[:limit]


@given(st.text(alphabet='ab:~!"<>=.0 9[(*\\', max_size=20))
def test_any_text_is_a_filter_or_a_sentence(text: str) -> None:
    try:
        parse(text).matches(TASK, NOW)
    except FilterError as error:
        assert str(error)


def test_views() -> None:
    tasks = {
        task.task_id: task
        for task in (
            TASK,
            Task("r", state="RECEIVED"),
            Task("r2", state="RECEIVED", place="reserved"),
            Task("e", state="RECEIVED", eta_at=2000.0),
            Task("f", state="FAILURE"),
            Task("s", state="SUCCESS"),
            Task("v", state="REVOKED"),
        )
    }
    snapshot = Snapshot(NOW, ClusterInfo("c", "redis://", "redis"), tasks=tasks)
    ids = {name: set(views(snapshot, name).ids) for name in ("active", "reserved", "scheduled", "failed")}
    assert ids == {"active": {"7b2e1f3c"}, "reserved": {"r", "r2"}, "scheduled": {"e"}, "failed": {"f"}}
    assert list(views(snapshot, "recent").ids) == list(tasks)[::-1]
    counts = {"active": 1, "reserved": 2, "scheduled": 1, "failed": 1, "recent": len(tasks)}
    assert all(views(snapshot, name).counts == counts for name in counts)

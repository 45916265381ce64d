"""Tables: what fits which window, in what order columns go, unknown is never zero, secrets stay masked."""

from __future__ import annotations

import doctest
import importlib
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from celerytop.columns import (
    COLUMNS,
    DEFAULT_SORT,
    Look,
    fit,
    heading,
    process_tone,
    queue_tone,
    row_cells,
    sort_key,
    table_width,
    task_tone,
    type_tone,
    worker_tone,
)
from celerytop.format import cells
from celerytop.model.host import Host, Process
from celerytop.model.queue import Queue
from celerytop.model.series import Quantiles
from celerytop.model.snapshot import ClusterInfo, Snapshot
from celerytop.model.task import Task, TaskType
from celerytop.model.worker import ConsumedQueue, Rusage, Worker

AT = 1_700_000_000.0
LOOK = Look(utc=True)
TONES: dict[str, Callable[[Any, Snapshot], str]] = {
    "queues": queue_tone,
    "workers": worker_tone,
    "tasks": task_tone,
    "hosts": process_tone,
    "types": type_tone,
}
MAIN = Process(
    4690, 1, AT - 900, "main", 4690, "w3@db-7", "sleeping", 1.0, 9.0, 2**27, 1024.0, 4, 31, 2, "celery", "ep_poll"
)
CHILD = msgspec.structs.replace(
    MAIN, pid=4711, ppid=4690, role="child", cpu_percent=50.5, task_id="7b2e1f3c-90ab", task_name="app.pay"
)
TASK = Task(
    "7b2e1f3c-90ab",
    "app.pay",
    "STARTED",
    "w3@db-7",
    4711,
    started_at=AT - 2530,
    args="('k',)",
    kwargs="{'token': 'hunter2'}",
)
USUAL = TaskType("app.pay", 40, 30, 1, rate=2.4, share=0.5, runtime=Quantiles(30, 18.0, 31.0, 44.0, 61.0))


def picture(**facts: Any) -> Snapshot:
    """A small cluster."""
    base: dict[str, Any] = {
        "types": {"app.pay": USUAL}, "tasks": {TASK.task_id: TASK},
        "hosts": {"db-7": Host("db-7", AT, processes=(MAIN, CHILD))},
        "workers": {"w3@db-7": Worker("w3@db-7", host="db-7", pid=4690)},
    }  # fmt: skip
    return Snapshot(AT, ClusterInfo("prod", "redis://", "redis"), **{**base, **facts})


def texts(
    page: str, row: object, snapshot: Snapshot | None = None, look: Look = LOOK, width: int = 400
) -> dict[str, str]:
    """Key to text of a row, with every column chosen."""
    columns = COLUMNS[page]
    widths = fit(columns, width, [column.key for column in columns])
    drawn = row_cells(row, snapshot or picture(), look, widths)[1:]
    return {column.key: cell.text.strip() for (column, _), cell in zip(widths, drawn, strict=True)}


def titles(page: str, width: int) -> list[str]:
    """The titles that fit."""
    return [column.title for column, _ in fit(COLUMNS[page], width)]


UNKNOWN: dict[str, object] = {
    "queues": Queue("q"),
    "workers": Worker("w"),
    "tasks": Task("t"),
    "hosts": Process(1, None, 0.0, "child", 1),
    "types": TaskType("y"),
}


@pytest.mark.parametrize("module", ["column", "queues", "workers", "tasks", "processes", "types"])
def test_examples_in_the_docstrings(module: str) -> None:
    assert doctest.testmod(importlib.import_module(f"celerytop.columns.{module}")).failed == 0


# ---------------------------------------------------------------------------------------------------- widths
@pytest.mark.parametrize("page", COLUMNS)
@pytest.mark.parametrize("width", [60, 79, 80, 99, 100, 120, 200, 500])
def test_a_row_fits_its_window(page: str, width: int) -> None:
    widths = fit(COLUMNS[page], width)
    assert table_width(widths) <= width
    line = row_cells(UNKNOWN[page], picture(), LOOK, widths)
    assert cells(line[0].text + " ".join(cell.text for cell in line[1:])) == table_width(widths)
    head = heading(widths)
    assert len(head) == len(line)
    assert [cells(cell.text) for cell in head] == [cells(cell.text) for cell in line]


@pytest.mark.parametrize("page", COLUMNS)
@pytest.mark.parametrize("width", [1, 5, 20, 40])
def test_a_window_too_small_is_no_error(page: str, width: int) -> None:
    widths = fit(COLUMNS[page], width)
    assert widths
    assert table_width(widths) <= max(2, width)


def test_eighty_columns_show_the_queues_of_the_mock_up() -> None:
    assert titles("queues", 80) == ["QUEUE", "READY", "UNACK", "10 min", "NET/s", "DRAINS", "OLDEST", "CONS", "STATE"]


def test_a_hundred_columns_show_in_and_out_and_a_longer_trend() -> None:
    assert titles("queues", 100) == [
        "QUEUE", "READY", "UNACK", "BACKLOG 10 min", "IN/s", "OUT/s", "NET/s", "DRAINS", "OLDEST", "CONS", "STATE",
    ]  # fmt: skip


@pytest.mark.parametrize("page", COLUMNS)
def test_columns_go_one_after_another_and_never_come_back(page: str) -> None:
    shown = [set(titles(page, width)) - {"BACKLOG 10 min", "10 min"} for width in range(200, 59, -1)]
    assert all(narrow <= wide for wide, narrow in pairwise(shown))


def test_args_go_first_then_what_is_usual() -> None:
    order: list[str] = []
    for width in range(150, 59, -1):
        order += [title for title in titles("tasks", 150) if title not in titles("tasks", width) and title not in order]
    assert order[:3] == ["ARGS", "P50 / P95", "PID"]


def test_chosen_columns_are_shown_and_only_those() -> None:
    widths = fit(COLUMNS["queues"], 120, ["queue", "memory", "state"])
    assert [column.key for column, _ in widths] == ["queue", "memory", "state"]


def test_nothing_chosen_leaves_the_first_column() -> None:
    assert [column.key for column, _ in fit(COLUMNS["queues"], 80, [])] == ["queue"]


def test_room_that_is_left_goes_to_names_but_not_without_end() -> None:
    widths = dict((column.key, cells) for column, cells in fit(COLUMNS["queues"], 300))
    assert widths["queue"] == 48


@pytest.mark.parametrize("page", COLUMNS)
def test_every_column_is_explained_and_its_key_is_its_own(page: str) -> None:
    keys = [column.key for column in COLUMNS[page]]
    assert len(set(keys)) == len(keys)
    assert all(column.help and "\n" not in column.help and len(column.help) <= 90 for column in COLUMNS[page])
    assert DEFAULT_SORT[page][0] in keys


# ---------------------------------------------------------------------------------------------- known, unknown
@pytest.mark.parametrize("page", COLUMNS)
def test_what_is_not_known_is_never_a_number(page: str) -> None:
    counted = {"failed", "retried", "succeeded", "revoked", "received"}  # by celerytop itself: zero is known
    named = {"queue", "worker", "id", "state", "type", "process", "why"}
    for key, text in texts(page, UNKNOWN[page]).items():
        if key not in counted | named:
            assert text in ("?", "-", "?/?", "- / -"), key


@pytest.mark.parametrize("page", COLUMNS)
def test_what_is_not_known_sorts_last_both_ways(page: str) -> None:
    rows: dict[str, tuple[object, str]] = {
        "queues": (Queue("q", 5), "ready"), "workers": (Worker("w", reserved=1), "reserved"),
        "tasks": (Task("t", retries=1), "retries"), "hosts": (MAIN, "rss"), "types": (USUAL, "rate"),
    }  # fmt: skip
    known, key = rows[page]
    column = next(column for column in COLUMNS[page] if column.key == key)
    for reverse in (False, True):
        rows_: Sequence[object] = [UNKNOWN[page], known]
        assert sorted(rows_, key=sort_key(column, picture(), reverse), reverse=reverse)[0] is known


def test_zero_is_zero() -> None:
    queue = Queue("q", 0, 0, 0, in_rate=0.0, out_rate=0.0, net_rate=0.0, state="idle")
    shown = texts("queues", queue)
    assert (shown["ready"], shown["unacked"], shown["consumers"], shown["in"]) == ("0", "0", "0", "0.0")
    assert (shown["drains"], shown["oldest"]) == ("-", "-")


# ------------------------------------------------------------------------------------------------------ rows
def test_a_queue_nobody_consumes() -> None:
    queue = Queue(
        "q", 8114, 0, 0, state="no consumer", net_rate=11.3, drains_in=math.inf, oldest_age=724, oldest_at_least=True
    )
    shown = texts("queues", queue)
    assert (shown["state"], shown["drains"], shown["oldest"], shown["net"]) == (
        "NO CONSUMER",
        "never",
        ">12m04s",
        "+11.3",
    )
    line = row_cells(queue, picture(), LOOK, fit(COLUMNS["queues"], 80), queue_tone(queue, picture()))
    assert (line[0].text, line[0].tone) == ("!", "bad")


@pytest.mark.parametrize(
    ("facts", "mark", "word"),
    [
        ({"state": "alive"}, " ", "ok"),
        ({"state": "alive", "task_events": False}, " ", "no -E"),
        ({"state": "alive", "skew": 41.0}, "~", "CLK +41s"),
        ({"state": "alive", "pids": (1, 2)}, "!", "TWO NAMES"),
        ({"state": "silent"}, "!", "SILENT"),
        ({"state": "busy-solo"}, "~", "BUSY SOLO"),
        ({"state": "frozen"}, "!", "FROZEN"),
        ({"state": "gone"}, "x", "GONE"),
        ({"state": "unknown"}, "?", "?"),
    ],
)
def test_the_state_of_a_worker_has_a_sign_and_a_word(facts: dict[str, Any], mark: str, word: str) -> None:
    worker = Worker("w@h", **facts)
    assert texts("workers", worker)["state"] == word
    line = row_cells(worker, picture(), LOOK, fit(COLUMNS["workers"], 80), worker_tone(worker, picture()))
    assert line[0].text == mark


def test_a_worker_here_is_measured_and_one_elsewhere_is_its_own_word() -> None:
    here = Worker("w3@db-7", host="db-7", pid=4690, rusage=Rusage(1.0, 1.0, 999))
    shown = texts("workers", here)
    assert (shown["cpu"], shown["rss"], shown["growth"]) == ("51.5", "256 MB", "+7.03 MB")
    far = Worker("w1@web-1", host="web-1", uptime=100.0, rusage=Rusage(8.0, 2.0, 96 * 2**20))
    shown = texts("workers", far)
    assert (shown["cpu"], shown["rss"], shown["growth"]) == ("~10.0", "~96.0 MB", "-")


def test_processes_are_joined_by_host_and_pid_when_the_name_is_not_known() -> None:
    nameless = tuple(msgspec.structs.replace(process, nodename=None) for process in (MAIN, CHILD))
    snapshot = picture(hosts={"db-7": Host("db-7", AT, processes=nameless)})
    assert texts("workers", snapshot.workers["w3@db-7"], snapshot)["rss"] == "256 MB"
    elsewhere = Worker("w3@db-8", host="db-8", pid=4690)
    assert texts("workers", elsewhere, snapshot)["rss"] == "?"


def test_worker_queues_and_slots() -> None:
    worker = Worker("w", active=3, concurrency=8, queues=(ConsumedQueue("a"), ConsumedQueue("b")), pool="prefork")
    shown = texts("workers", worker)
    assert (shown["busy"], shown["queues"], shown["pool"]) == ("3/8", "a,b", "pref")
    assert texts("workers", Worker("w", queues=()))["queues"] == "-"


# ----------------------------------------------------------------------------------------------------- tasks
@pytest.mark.parametrize(
    ("ran", "count", "mark", "ratio"),
    [(10.0, 30, " ", "0.3 x"), (40.0, 30, "~", "1.3 x"), (2530.0, 30, "!", "82 x"), (2530.0, 19, " ", "-")],
)
def test_a_running_task_is_compared_with_its_type(ran: float, count: int, mark: str, ratio: str) -> None:
    usual = msgspec.structs.replace(USUAL, runtime=Quantiles(count, 18.0, 31.0))
    snapshot = picture(types={"app.pay": usual})
    task = msgspec.structs.replace(TASK, started_at=AT - ran)
    assert texts("tasks", task, snapshot)["ratio"] == ratio
    line = row_cells(task, snapshot, LOOK, fit(COLUMNS["tasks"], 80), task_tone(task, snapshot))
    assert line[0].text == mark


def test_a_failed_task_is_marked_failed() -> None:
    task = msgspec.structs.replace(TASK, state="FAILURE", runtime=2.0, exception="E('password=hunter2')")
    assert task_tone(task, picture()) == "failed"
    shown = texts("tasks", task)
    assert shown["runtime"] == "2.0s"
    assert "hunter2" not in shown["exception"]


def test_a_running_task_has_a_clock_and_a_waiting_one_none() -> None:
    assert texts("tasks", TASK)["runtime"] == "00:42:10"
    assert texts("tasks", Task("t", state="RECEIVED"))["runtime"] == "-"


def test_secrets_in_arguments_are_masked_until_asked_for() -> None:
    shown = texts("tasks", TASK)["args"]
    assert "hunter2" not in shown and "'k'" in shown and "***" in shown
    look = msgspec.structs.replace(LOOK, unmasked=frozenset({TASK.task_id}))
    assert "hunter2" in texts("tasks", TASK, look=look)["args"]


# --------------------------------------------------------------------------------------------------- others
def test_a_process_shows_its_task() -> None:
    shown = texts("hosts", CHILD)
    assert shown["process"] == "child 4711"
    assert shown["task"] == "7b2e1f3c app.pay"
    assert shown["time"] == "42m10s"
    assert process_tone(msgspec.structs.replace(CHILD, status="stopped"), picture()) == "bad"


def test_failures_of_a_type_count_from_twenty_runs_on() -> None:
    assert type_tone(TaskType("y", succeeded=1, failed=1, failure_rate=0.5), picture()) == ""
    assert type_tone(TaskType("y", succeeded=10, failed=10, failure_rate=0.5), picture()) == "bad"
    assert type_tone(TaskType("y", succeeded=90, failed=10, failure_rate=0.1), picture()) == "warn"


@pytest.mark.parametrize("page", COLUMNS)
def test_ascii_is_ascii_and_as_wide(page: str) -> None:
    rows: dict[str, object] = {
        "queues": Queue("日本語…", 3), "workers": Worker("wö@日本"), "tasks": Task("t", "日本", args="('ü',)"),
        "hosts": CHILD, "types": TaskType("日本"),
    }  # fmt: skip
    widths = fit(COLUMNS[page], 100)
    line = row_cells(rows[page], picture(), Look(ascii=True), widths)
    assert all(cell.text.isascii() for cell in line)
    assert [len(cell.text) for cell in line[1:]] == [width for _, width in widths]


@pytest.mark.parametrize("page", COLUMNS)
def test_tones_are_only_those_a_theme_knows(page: str) -> None:
    snapshot = picture()
    for row in (UNKNOWN[page],):
        assert TONES[page](row, snapshot) in ("", "note", "warn", "bad", "dim", "failed", "unknown")
        for column in COLUMNS[page]:
            assert column.tone(row, snapshot) in ("", "note", "warn", "bad", "dim"), column.key


def test_a_task_that_ended_untold_is_not_shown_as_running() -> None:
    ended = Task("a", "app.pay", "STARTED", "w@h", 7, started_at=AT - 100, finished_at=AT - 90, runtime=10.0)
    usual = TaskType("app.pay", runtime=Quantiles(50, p95=1.0))
    snapshot = picture(tasks={"a": ended}, types={"app.pay": usual})
    shown = {column.key: column.text(ended, snapshot, LOOK) for column in COLUMNS["tasks"]}
    assert (shown["state"], shown["runtime"], shown["ratio"]) == ("ENDED ?", "10s", "10 x")
    assert task_tone(ended, snapshot) == ""


def test_what_nobody_tells_of_a_type_or_a_worker_is_not_zero() -> None:
    snapshot = picture()
    types = {column.key: column for column in COLUMNS["types"]}
    untold, idle = TaskType("app.mail", rate=None), TaskType("app.mail", rate=0.0)
    keys = ("rate", "p95", "failures", "retried", "succeeded", "failed")
    assert [types[key].text(untold, snapshot, LOOK) for key in keys] == ["?"] * 6
    assert [types[key].text(idle, snapshot, LOOK) for key in keys] == ["0.0", "-", "-", "0", "0", "0"]
    failed = next(column for column in COLUMNS["workers"] if column.key == "failed")
    assert failed.text(Worker("w@h", task_events=False), snapshot, LOOK) == "?"
    assert failed.text(Worker("w@h", task_events=True), snapshot, LOOK) == "0"

"""The full pages about a queue, a worker, a task: their text, the walk from one to the next, what must not leak."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from celerytop.columns import Look
from celerytop.format import cells
from celerytop.model.command import Attend
from celerytop.model.host import Process
from celerytop.model.queue import Queue
from celerytop.model.snapshot import Snapshot
from celerytop.model.task import Task
from celerytop.model.worker import Worker
from celerytop.ui.app import CelerytopApp
from celerytop.ui.details import family, forecast, queue, task, worker
from celerytop.ui.details.line import Line, Target, plain_text
from celerytop.ui.feed import StillFeed
from celerytop.ui.screens.broker import broker_lines
from celerytop.ui.screens.queue_detail import QueueDetail
from celerytop.ui.screens.task_detail import TaskDetail
from celerytop.ui.screens.worker_detail import WorkerDetail
from celerytop.ui.widgets.walk import Walk
from tests.ui import details_snapshots as pictures
from tests.ui import golden, snapshots
from tests.ui.details_driver import drive
from tests.ui.details_snapshots import CHARGE, JOIN, ROOT, WAITS
from tests.ui.drive import Driver
from tests.ui.snapshots import AT, PAY

LOOK = Look(utc=True)
FAILED = "e1f2a900-0000-4000-8000-000000000008"


def all_texts(snapshot: Snapshot, look: Look, width: int) -> dict[str, list[Line]]:
    """Every full page of every queue, worker and task."""
    pages = {f"queue {name}": queue.lines(snapshot, name, look, width) for name in snapshot.queues}
    pages |= {f"worker {name}": worker.lines(snapshot, name, look, width) for name in snapshot.workers}
    pages |= {f"task {key}": task.lines(snapshot, key, look, width) for key in snapshot.tasks}
    pages["waiting"] = task.lines(snapshot, WAITS, look, width)
    pages["nobody"] = task.lines(snapshot, "nobody", look, width)
    pages["broker"] = broker_lines(snapshot, look, width, own=True)
    return pages


@pytest.mark.parametrize("module", ["line", "forecast", "task", "redis", "cost", "family", "queue", "worker", "rabbit"])
def test_examples_in_the_docstrings(module: str) -> None:
    assert doctest.testmod(importlib.import_module(f"celerytop.ui.details.{module}")).failed == 0


# ---------------------------------------------------------------------------------------------------- golden
SCREENS: dict[str, Callable[[], Any]] = {
    "queue": lambda: QueueDetail("payments"),
    "queue_unacked": lambda: QueueDetail("celery"),
    "worker": lambda: WorkerDetail("w3@db-7"),
    "worker_elsewhere": lambda: WorkerDetail("w1@web-1"),
    "task": lambda: TaskDetail(PAY),
    "task_failed": lambda: TaskDetail(FAILED),
    "task_waiting": lambda: TaskDetail(WAITS),
}


@pytest.mark.parametrize("size", [(80, 24), (100, 30)], ids=["80x24", "100x30"])
@pytest.mark.parametrize("name", SCREENS)
def test_screen(name: str, size: tuple[int, int]) -> None:
    async def deed(driver: Driver, app: CelerytopApp, feed: StillFeed) -> None:
        app.push_screen(SCREENS[name]())
        await driver.settle()
        golden.check(f"{name}_{size[0]}x{size[1]}", golden.shown(app))

    drive(pictures.full(), deed, size)


# ------------------------------------------------------------------------------------------------------ text
@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("ascii", [False, True])
def test_tables_never_overflow_and_ascii_is_ascii(width: int, ascii: bool) -> None:
    for name, lines in all_texts(pictures.full(), Look(ascii=ascii, utc=True), width).items():
        for each in lines:
            assert not ascii or each.text.isascii(), (name, each.text)
            if each.target is not None and not each.text.startswith((" worker", " queue")) and width >= 80:
                assert cells(each.text) <= width, (name, each.text)


def test_hostile_text_breaks_no_page() -> None:
    for snapshot in (snapshots.hostile(), snapshots.empty(), snapshots.stale(), snapshots.healthy()):
        for lines in all_texts(snapshot, LOOK, 80).values():
            assert lines


def test_hostile_names_reach_no_terminal() -> None:
    nasty = snapshots.hostile()

    async def deed(driver: Driver, app: CelerytopApp, feed: StillFeed) -> None:
        screens = [QueueDetail(key) for key in list(nasty.queues)[:2]]
        screens += [WorkerDetail(key) for key in list(nasty.workers)[:2]]  # type: ignore[misc]
        screens += [TaskDetail(key) for key in list(nasty.tasks)[:3]]  # type: ignore[misc]
        for screen in screens:
            app.push_screen(screen)
            await driver.settle()
            text = "".join(golden.shown(app).split("\n"))
            assert text.isprintable() or "\x1b" not in text
            lines = [app.screen.query_one(Walk).render_line(y) for y in range(20)]
            for strip in lines:
                shown = strip.apply_filter(app._filters[0], app.screen.background_colors[1])
                assert all(segment.text.isprintable() for segment in shown if not segment.control)

    drive(nasty, deed, (80, 24))


def test_what_is_not_known_is_never_zero() -> None:
    bare = Snapshot(AT, snapshots.CLUSTER, queues={"q": Queue("q")}, workers={"w": Worker("w")}, tasks={"t": Task("t")})
    text = plain_text(queue.lines(bare, "q", LOOK, 100))
    assert "? ready" in text and "unacked ?" in text and "in ?/s" in text and "not known yet" in text
    text = plain_text(worker.lines(bare, "w", LOOK, 100))
    assert "? busy of ?" in text and "ping ?" in text and "up ?" in text and "it has not told which" in text
    text = plain_text(task.lines(bare, "t", LOOK, 100))
    assert "retries ?" in text and "args       ?" in text and "no event of it has been seen" in text


def test_things_that_are_gone_are_said_to_be() -> None:
    empty = snapshots.empty()
    assert "not known (any more)" in plain_text(queue.lines(empty, "q", LOOK, 80))
    assert "not known (any more)" in plain_text(worker.lines(empty, "w", LOOK, 80))
    assert "Nothing is known of this task" in plain_text(task.lines(empty, "t", LOOK, 80))


def test_a_queue_that_cannot_be_looked_into_says_why() -> None:
    note = "RabbitMQ cannot show messages without taking them."
    shut = msgspec.structs.replace(pictures.sample(), note=note, sampled=0, by_name=())
    full = pictures.full()
    text = plain_text(queue.lines(msgspec.structs.replace(full, samples={"payments": shut}), "payments", LOOK, 80))
    assert note in text
    assert "next to run" not in text


def test_processes_of_another_machine_are_not_pretended() -> None:
    text = plain_text(worker.lines(pictures.full(), "w1@web-1", LOOK, 80))
    assert "web-1 is not this machine" in text
    assert "main process only" in text


def test_forecasts() -> None:
    def said(**facts: Any) -> str:
        return forecast.backlog(Queue("q", **facts))[0]

    assert said(messages=8114, net_rate=11.3, drains_in=float("inf")) == "at +11.3/s: 10,000 in 2m47s, never drains"
    assert said(messages=300, net_rate=-3.0, drains_in=100.0) == "at -3.0/s: empty in 1m40s"
    assert said(messages=0, net_rate=0.0) == "nothing waits"
    assert said(messages=9, net_rate=0.0) == "too few messages for a forecast"
    assert said(messages=9) == "not known yet"


# -------------------------------------------------------------------------------------------------- timeline
def test_the_timeline_is_in_order_whatever_the_clocks_say() -> None:
    odd = Task(
        "t",
        "app.x",
        "SUCCESS",
        sent_at=AT - 5,
        received_at=AT - 5.2,
        started_at=AT - 5,
        finished_at=AT - 1,
        runtime=4.0,
    )
    bare = Snapshot(AT, snapshots.CLUSTER, tasks={"t": odd})
    lines = [each.text for each in task.lines(bare, "t", LOOK, 100)]
    steps = [text.split() for text in lines if ":" in text and text.startswith("  ")]
    assert [step[2] if step[1].startswith(("+", "-")) else step[1] for step in steps] == [
        "received", "sent", "started", "succeeded",
    ]  # fmt: skip
    assert "ran 4.0s" in lines[[*map(lambda text: "succeeded" in text, lines)].index(True)]


def test_a_process_is_shown_only_while_it_runs_this_very_task() -> None:
    full = pictures.full()
    assert "process 4711 on db-7" in plain_text(task.lines(full, PAY, LOOK, 100))
    host = full.hosts["db-7"]
    other = tuple(_running(process, "another") for process in host.processes)
    moved = msgspec.structs.replace(full, hosts={"db-7": msgspec.structs.replace(host, processes=other)})
    assert "process 4711" not in plain_text(task.lines(moved, PAY, LOOK, 100))


def _running(process: Process, task_id: str) -> Process:
    return msgspec.structs.replace(process, task_id=task_id if process.task_id else None)


def test_a_traceback_is_shown_line_by_line_with_its_exception_and_without_secrets() -> None:
    text = plain_text(task.lines(pictures.full(), FAILED, LOOK, 100))
    assert "CardError: declined" in text
    assert '  File "/srv/app/pay.py", line 41, in pay' in text
    assert "4111111111111111" not in text


def test_secrets_are_masked_until_asked_for() -> None:
    full = pictures.full()
    for lines in all_texts(full, LOOK, 200).values():
        assert "4111111111111111" not in plain_text(lines)
        assert "hunter2" not in plain_text(lines)
    asked = msgspec.structs.replace(LOOK, unmasked=frozenset({PAY}))
    assert "4111111111111111" in plain_text(task.lines(full, PAY, asked, 100))


# ---------------------------------------------------------------------------------------------------- family
def test_the_family_goes_from_the_root_down_to_the_children() -> None:
    members = [each.target for each in family.family(pictures.full(), pictures.family()[PAY], LOOK, 100) if each.target]
    assert members == [Target("task", key) for key in (ROOT, CHARGE, JOIN, FAILED)]


def test_ids_that_go_round_in_a_circle_end() -> None:
    circle = {key: Task(key, parent_id=parent, root_id="b") for key, parent in (("a", "b"), ("b", "c"), ("c", "a"))}
    snapshot = Snapshot(AT, snapshots.CLUSTER, tasks=circle, children={"a": ("c",), "b": ("a",), "c": ("b",)})
    assert family.ancestors(snapshot, circle["a"]) == ["c", "b"]
    assert task.lines(snapshot, "a", LOOK, 80)
    own = Task("r", parent_id="r", root_id="r")
    assert family.ancestors(Snapshot(AT, snapshots.CLUSTER, tasks={"r": own}), own) == []


def test_many_children_are_summed_up() -> None:
    children = tuple(f"child-{number}" for number in range(1000))
    parent = Task("p", "app.group", "SUCCESS")
    snapshot = Snapshot(AT, snapshots.CLUSTER, tasks={"p": parent}, children={"p": children})
    lines = task.lines(snapshot, "p", LOOK, 80)
    assert len(lines) < 100
    assert "and 950 more children" in plain_text(lines)


# -------------------------------------------------------------------------------------------------- the walk
def test_enter_walks_up_and_down_and_escape_comes_back() -> None:
    async def deed(driver: Driver, app: CelerytopApp, feed: StillFeed) -> None:
        app.push_screen(TaskDetail(PAY))
        await driver.settle()
        walk = app.screen.query_one(Walk)
        assert walk.target == Target("worker", "w3@db-7")
        await driver.press("down", "down")
        assert walk.target == Target("task", ROOT)
        await driver.press("down", "enter")
        assert isinstance(app.screen, TaskDetail) and app.screen.key == CHARGE
        assert feed.commands[-1] == Attend(page="tasks", task_id=CHARGE)
        await driver.press("escape")
        assert isinstance(app.screen, TaskDetail) and app.screen.key == PAY
        assert app.screen.query_one(Walk).target == Target("task", CHARGE)
        assert feed.commands[-1] == Attend(page="tasks", task_id=PAY)
        await driver.press("escape")
        assert app.screen_stack == [app.main]

    drive(pictures.full(), deed)


def test_enter_on_a_message_and_on_a_process_opens_the_task() -> None:
    async def deed(driver: Driver, app: CelerytopApp, feed: StillFeed) -> None:
        app.push_screen(QueueDetail("payments"))
        await driver.settle()
        assert feed.commands[-1] == Attend(page="queues", queue="payments")
        await driver.press("n", "enter")
        assert isinstance(app.screen, TaskDetail)
        await driver.press("escape", "escape")
        app.push_screen(WorkerDetail("w3@db-7"))
        await driver.settle()
        assert feed.commands[-1] == Attend(page="workers", worker="w3@db-7")
        await driver.press("enter")
        assert isinstance(app.screen, TaskDetail) and app.screen.key == PAY

    drive(pictures.full(), deed)


def test_the_cursor_stays_on_what_it_stood_on_when_lines_come_and_go() -> None:
    async def deed(driver: Driver, app: CelerytopApp, feed: StillFeed) -> None:
        app.push_screen(TaskDetail(PAY))
        await driver.settle()
        await driver.press("down", "down", "down")
        walk = app.screen.query_one(Walk)
        before = walk.cursor
        full = pictures.full()
        tasks = dict(full.tasks)
        tasks[PAY] = msgspec.structs.replace(tasks[PAY], expires_at=AT + 60, exception="E('again')")
        feed.publish(msgspec.structs.replace(full, at=AT + 1, tasks=tasks))
        await driver.settle()
        await driver.settle()
        assert walk.target == Target("task", CHARGE)
        assert walk.cursor != before

    drive(pictures.full(), deed)


def test_m_shows_the_arguments_of_this_task_and_hides_them_again() -> None:
    async def deed(driver: Driver, app: CelerytopApp, feed: StillFeed) -> None:
        app.push_screen(TaskDetail(PAY))
        await driver.settle()
        assert "4111111111111111" not in golden.shown(app)
        await driver.press("m")
        assert "4111111111111111" in golden.shown(app)
        await driver.press("m")
        assert "4111111111111111" not in golden.shown(app)

    drive(pictures.full(), deed)


def test_y_copies_the_id() -> None:
    async def deed(driver: Driver, app: CelerytopApp, feed: StillFeed) -> None:
        app.push_screen(TaskDetail(PAY))
        await driver.settle()
        await driver.press("y")
        assert app.clipboard == PAY

    drive(pictures.full(), deed)


def test_a_page_key_leads_from_any_depth_to_that_page() -> None:
    async def deed(driver: Driver, app: CelerytopApp, feed: StillFeed) -> None:
        app.push_screen(TaskDetail(PAY))
        app.push_screen(WorkerDetail("w3@db-7"))
        await driver.settle()
        await driver.press("2")
        assert app.screen_stack == [app.main]
        assert app.main.page == "workers"

    drive(pictures.full(), deed)


def test_stale_details_keep_their_last_values() -> None:
    async def deed(driver: Driver, app: CelerytopApp, feed: StillFeed) -> None:
        app.push_screen(QueueDetail("payments"))
        await driver.settle()
        assert "8,114 ready" in golden.shown(app)
        assert app.screen.query_one(Walk).tone == "dim"

    drive(snapshots.stale(), deed)


def test_a_task_that_ended_untold_is_gone_from_its_worker_and_says_so() -> None:
    here, worker_name = "ended-0000", "w3@db-7"
    ended = Task(here, "app.mail", "STARTED", worker_name, started_at=AT - 30, finished_at=AT - 20, runtime=10.0)
    snapshot = msgspec.structs.replace(pictures.full(), tasks={**pictures.full().tasks, here: ended})
    assert here[:8] not in plain_text(worker.lines(snapshot, worker_name, LOOK, 120))
    text = plain_text(task.lines(snapshot, here, LOOK, 120))
    assert "ran 10s; how it ended nobody told" in text and "has been running" not in text
    assert task.title(snapshot, here)[0][0] == "ENDED ?"

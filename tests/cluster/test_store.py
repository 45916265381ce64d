"""Bounded memory: what is over is forgotten first, and counted; children are linked and forgotten too."""

from __future__ import annotations

import gc
import random
import sys

import psutil
import pytest

from celerytop.cluster import store as module
from celerytop.cluster.store import Children, TaskStore
from celerytop.model.event import Event, TaskReceived, TaskSent, TaskStarted, TaskSucceeded
from celerytop.model.observation import EventsReceived
from celerytop.model.task import Task, whole
from tests.cluster.feeding import T0, Fed, fail, run


def test_what_is_over_goes_first_and_is_counted() -> None:
    store = TaskStore(10)
    for number in range(5):
        store.put(None, Task(f"open{number}", state="STARTED"))
    for number in range(8):
        done = Task(f"done{number}", state="SUCCESS", finished_at=1.0)
        store.put(None, done)
    assert len(store.tasks) == 10
    assert (store.forgotten, store.forgotten_unfinished) == (3, 0)
    assert [task_id for task_id in store.tasks if task_id.startswith("done")] == [f"done{n}" for n in range(3, 8)]


def test_unfinished_tasks_go_when_nothing_is_over() -> None:
    store = TaskStore(100)
    for number in range(130):
        store.put(None, Task(f"{number}", state="RECEIVED"))
    assert len(store.tasks) == 100
    assert store.forgotten == store.forgotten_unfinished == 30
    assert next(iter(store.tasks)) == "30"


def test_a_task_that_runs_again_is_not_forgotten_as_over() -> None:
    store = TaskStore(2)
    over = Task("a", state="SUCCESS", finished_at=1.0)
    again = Task("a", state="STARTED")
    store.put(None, over)
    store.put(over, again)
    store.put(None, Task("b", state="SUCCESS", finished_at=2.0))
    store.put(None, Task("c", state="RECEIVED"))
    assert set(store.tasks) == {"a", "c"}


def test_a_picture_never_changes_after() -> None:
    store = TaskStore(10)
    store.put(None, Task("a"))
    before = store.picture()
    assert store.picture() is before
    store.put(None, Task("b", parent_id="a"))
    assert (set(before), set(store.picture())) == ({"a"}, {"a", "b"})
    assert store.children.picture() == {"a": ("b",)}


def test_children_are_linked_once_in_order_and_bounded() -> None:
    children = Children(5000)
    for number in range(20_000):
        children.link("one" if number < 10_000 else f"p{number}", f"c{number}")
    links = children.picture()
    assert sum(len(ids) for ids in links.values()) <= 5000
    assert "one" not in links
    assert links["p19999"] == ("c19999",)
    children.link("p19999", "more")
    assert children.picture()["p19999"] == ("c19999", "more")


def _thousand(number: int, chance: random.Random) -> EventsReceived:
    """A thousand tasks with parents; one in ten never ends."""
    at = T0 + number
    events: list[Event] = []
    for place in range(1000):
        uuid, parent = f"{number}-{place}", f"{number}-{chance.randrange(place + 1)}"
        events.append(TaskReceived(uuid, at, "w1@h", name=f"app.t{place % 40}", parent_id=parent, root_id=uuid))
        if place % 10:
            events += [TaskStarted(uuid, at, "w1@h"), TaskSucceeded(uuid, at, "w1@h", "1", 0.1)]
    return EventsReceived(at, events)


def test_memory_stays_flat_while_300_000_tasks_come_and_go() -> None:
    fed, chance, process = Fed(max_tasks=10_000), random.Random(3), psutil.Process()
    sizes = []
    for number in range(300):
        fed.cluster.apply(_thousand(number, chance))
        if number % 30 == 29:
            seen = fed.at(number)
            assert len(seen.tasks) <= 10_000
            assert sum(len(ids) for ids in seen.children.values()) <= 10_000
            gc.collect()
            sizes.append(process.memory_info().rss)
    snapshot = fed.at(300)
    losses = snapshot.losses
    assert losses.forgotten == 300_000 - len(snapshot.tasks)
    assert losses.forgotten_unfinished > 0
    assert sizes[-1] - sizes[3] < 10 << 20, sizes


def test_churn_through_a_full_store_keeps_the_newest() -> None:
    fed = Fed(max_tasks=50)
    for number in range(500):
        fed.events(number / 10, *run(f"{number}", number / 10))
    assert list(fed.at(50).tasks) == [str(number) for number in range(450, 500)]


def test_what_families_and_calls_share_is_held_once() -> None:
    fed = Fed()
    for uuid in ("root", *(f"child{number}" for number in range(3))):
        parent = "".join(("ro", "ot")) if uuid != "root" else None  # another object, as it comes off the wire
        root_id, kwargs = "".join(("ro", "ot")), "".join(("{'a': ", "12}"))
        received = TaskReceived(uuid, T0, "w1@h", kwargs=kwargs, root_id=root_id, parent_id=parent)
        fed.events(1, received, TaskStarted(uuid, T0, "w1@h"))
    tasks = fed.at(2).tasks
    root = tasks["root"]
    assert root.root_id is root.task_id
    for uuid in ("child0", "child1", "child2"):
        assert tasks[uuid].root_id is tasks[uuid].parent_id is root.task_id
        assert tasks[uuid].kwargs is root.kwargs
    assert fed.at(2).children == {"root": ("child0", "child1", "child2")}


def test_most_tasks_are_half_as_large_and_read_like_any_other() -> None:
    fed = Fed()
    fed.events(1, *run("done", 1.0), *fail("failed", 1.0), TaskSent("sent", T0, "gen1@h", queue="low"))
    tasks = fed.at(2).tasks
    assert {key: sys.getsizeof(task) for key, task in tasks.items()} == {"done": 144, "failed": 288, "sent": 176}
    assert all(isinstance(task, Task) for task in tasks.values())
    done = tasks["done"]
    assert (done.exception, done.eta_at, done.place, done.ran(T0), done.sender) == (None, None, None, 1.0, None)
    assert repr(whole(done)) == repr(done)
    assert whole(tasks["failed"]) is tasks["failed"]


def test_pictures_are_what_is_held_however_much_came_between_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHANGED_AT_ONCE", 40)
    chance, store = random.Random(7), TaskStore(500)
    taken = []
    for number in range(4000):
        task_id = f"{chance.randrange(max(1, number - 300), number + 2)}"
        before, over = store.tasks.get(task_id), chance.random() < 0.6
        state, finished_at = ("SUCCESS", float(number)) if over else ("STARTED", None)
        store.put(before, Task(task_id, state=state, finished_at=finished_at, parent_id=f"{number // 9}"))
        store.settle()
        if chance.random() < 0.02:
            taken.append((store.picture(), dict(store.tasks), store.lists(), store.children.picture()))
    for seen, held, lists, children in taken:
        assert {task_id: id(task) for task_id, task in seen.items()} == {key: id(task) for key, task in held.items()}
        assert lists is not None and set(lists.live) <= set(seen)
        assert sum(map(len, children.values())) <= 500 + 4096

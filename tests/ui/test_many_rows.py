"""Very many rows: what is read all at once and ordered by a sample is what would be found one by one."""

from __future__ import annotations

import random
from functools import partial

import msgspec
import pytest

from celerytop import columns as col
from celerytop.model.task import Task
from celerytop.select import parse
from celerytop.ui.arrange import ordered
from celerytop.ui.sift import Sift
from tests.ui import snapshots
from tests.ui.drive import Driver, drive


@pytest.mark.parametrize("column", col.TASKS, ids=lambda column: column.key)
def test_values_of_many_are_those_of_each(column: col.Column) -> None:
    now = snapshots.huge(200)
    tasks = [*now.tasks.values(), Task("bare"), Task("odd", state="WEIRD", eta_at=5.0, priority=3, parent_id="p")]
    if column.values is not None:
        assert list(column.values(tasks, now)) == [column.value(task, now) for task in tasks]
    else:
        assert column.key in ("verdict", "place", "usual", "waited"), "100,000 of these are read one by one"


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kinds", [2, 30, 100_000])
@pytest.mark.parametrize("unknown", [0.0, 0.3, 0.999])
def test_the_first_of_many_are_the_first_of_all(reverse: bool, kinds: int, unknown: float) -> None:
    chance = random.Random(kinds)
    values = [None if chance.random() < unknown else chance.randrange(kinds) for _ in range(6000)]
    ids = [str(number) for number in range(6000)]
    whole = ordered(ids, values, reverse)
    known = sorted((value for value in values if value is not None), reverse=reverse)
    assert [values[int(each)] for each in whole] == known + [None] * (6000 - len(known))
    for limit in (1, 40, 700, 5999):
        assert ordered(ids, values, reverse, limit)[:limit] == whole[:limit]


def test_a_picture_makes_only_the_texts_of_what_has_changed() -> None:
    now = snapshots.huge(30_000)
    sift = Sift("tas")
    sift.keep(list(now.tasks), now.tasks, now.at)
    before = dict(sift._texts)
    later = dict(now.tasks)
    one = next(iter(later))
    later[one] = msgspec.structs.replace(later[one], state="SUCCESS", retries=9)
    later["new"] = Task("new", "app.task1")
    ids = list(later)
    sift.keep(ids, later, now.at + 1)
    typed = Sift("task", sift)
    assert len(typed.keep(ids, later, now.at + 1)) == 30_001
    made = [task for task, text in typed._texts.items() if before.get(task) is not text]
    assert len(before) == 30_000 and made == [later[one], later["new"]]
    again = Sift("task4", typed)
    again.keep(ids, later, now.at + 1)
    assert again._before.kept.texts is None and len(again._last.kept.texts or ()) == len(again._last.kept.rows)


class Asked(dict[str, Task]):
    """Counts who is looked for, one by one."""

    number = 0

    def __contains__(self, key: object) -> bool:
        self.number += 1
        return super().__contains__(key)


def test_pictures_look_for_few_however_deep_the_cursor_stands() -> None:
    first = snapshots.huge(30_000)

    async def deed(driver: Driver) -> None:
        await driver.press("3", "l", "G")
        here, now = driver.here, driver.app.newest
        for seconds, tasks in ((1, now.tasks), (2, Asked(now.tasks)), (6, Asked(list(now.tasks.items())[7:]))):
            before = tasks.number if isinstance(tasks, Asked) else 0
            at = now.at + seconds
            await driver.publish(msgspec.structs.replace(now, at=at, tasks=tasks, sources=snapshots.up(at)))
            assert isinstance(tasks, Asked) and tasks.number - before < 100
            assert driver.table_page.table.rows.total == len(tasks) and driver.here == here, (
                "a vanished row stays a while"
            )

    drive(msgspec.structs.replace(first, tasks=Asked(first.tasks)), deed, (100, 30))


def test_sorted_and_filtered_rows_follow_the_pictures() -> None:
    async def deed(driver: Driver) -> None:
        await driver.press("3", "l", "s", *"runtime", "enter", "/", *"task4")
        page, now = driver.table_page, driver.app.newest
        for turn in range(3):
            tasks = {key: task for key, task in list(driver.app.newest.tasks.items())[7:]}
            tasks[f"new-{turn}"] = Task(f"new-{turn}", "app.task4", "SUCCESS", runtime=1000.0 + turn)
            at = now.at + 4 * (turn + 1)
            await driver.publish(msgspec.structs.replace(now, at=at, tasks=tasks, sources=snapshots.up(at)))
            expected = [key for key, task in tasks.items() if "task4" in (task.name or "")]
            assert sorted(page.matching) == sorted(expected) and len(expected) > 500
            assert [row_id for row_id in driver.order[: turn + 1]] == [f"new-{each}" for each in range(turn, -1, -1)]
            shown = [tasks[key].ran(at) for key in page.order[:50]]
            assert shown == sorted((value for value in shown if value is not None), reverse=True)

    drive(snapshots.huge(6000), deed, (100, 30))


FILTERS = (
    "task4",
    "state:started",
    "!task4 state:success",
    "runtime:>10",
    "task4 retries:<3",
    "id:7 task",
    "~^app",
    "",
)


@pytest.mark.parametrize("text", FILTERS)
@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_is_what_matches_whatever_has_come_gone_or_changed(text: str, seed: int) -> None:
    chance = random.Random(seed)
    now = snapshots.huge(400)
    tasks, sift = dict(reversed(list(now.tasks.items()))), Sift(text)
    for turn in range(12):
        ids, rows, at = list(tasks), list(tasks.values()), now.at + turn
        kept = sift.keep(ids, tasks, at, partial(list, rows))
        matches = parse(text).matches
        assert list(kept) == [key for key, task in tasks.items() if matches(task, at)]
        assert len(kept) == len(ids) or kept is not ids
        longer = Sift(f"{text} 1", sift)
        expected = [key for key, task in tasks.items() if parse(longer.text).matches(task, at)]
        assert list(longer.keep(ids, tasks, at)) == expected
        if turn % 5 == 4:
            sift = longer if turn % 2 else Sift(text, longer)
            text = sift.text
        tasks = _later(tasks, turn, chance)


def _later(tasks: dict[str, Task], turn: int, chance: random.Random) -> dict[str, Task]:
    """Some have come before the others, some are gone, some are other ones."""
    new = {
        f"{turn}-{one}": Task(f"{turn}-{one}", "app.task4", "STARTED") for one in range(chance.choice((0, 0, 1, 30)))
    }
    gone = set(chance.sample(list(tasks), chance.choice((0, 1, 20))))
    if turn == 7:
        gone.update(list(tasks)[:60])
    old = {key: task for key, task in tasks.items() if key not in gone}
    for key in chance.sample(list(old), chance.choice((0, 1, 25))):
        old[key] = msgspec.structs.replace(old[key], state="SUCCESS", runtime=chance.random() * 20, retries=turn % 5)
    if turn == 9:
        old = dict(reversed(list(old.items())))
    return {**new, **old}


@pytest.mark.parametrize("text", ["runtime:>10", "runtime:0.1..20", "age:>100", "age:<=3h", "retries:0", "retries:>0"])
def test_numbers_of_many_are_those_of_each(text: str) -> None:
    now = snapshots.huge(300)
    tasks = [
        *now.tasks.values(),
        Task("bare"),
        Task("sent", sent_at=0.0),
        Task("begun", state="STARTED", started_at=5.0),
    ]
    found = parse(text)
    assert found.keep(tasks, now.at) == [task for task in tasks if found.matches(task, now.at)]

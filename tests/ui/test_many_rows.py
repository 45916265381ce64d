"""Very many rows: what is read all at once and ordered by a sample is what would be found one by one."""

from __future__ import annotations

import random

import msgspec
import pytest

from celerytop import columns as col
from celerytop.model.task import Task
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

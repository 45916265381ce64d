"""Pictures of a large mapping: each as it was when it was taken, at the price of what has changed."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from celerytop.cluster import pages
from celerytop.cluster.pages import Pages
from celerytop.model.many import many
from celerytop.model.snapshot import Snapshot
from tests.cluster.feeding import T0, Fed, run


def same(seen: Mapping[str, int], expected: Mapping[str, int]) -> None:
    assert list(seen) == list(expected)
    assert list(seen.items()) == list(expected.items())
    assert list(seen.values()) == list(expected.values())
    assert (len(seen), dict(seen)) == (len(expected), dict(expected))
    keys = list(expected)
    assert [seen[key] for key in keys[::7]] == [expected[key] for key in keys[::7]]
    assert list(many(seen, keys)) == list(expected.values())
    assert "never" not in seen and seen.get("never") is None
    with pytest.raises(KeyError):
        seen["never"]


@pytest.mark.parametrize("seed", range(6))
def test_a_picture_is_what_a_copy_would_be_and_stays_so(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "ROOM", 8)
    chance, held, number = random.Random(seed), Pages[int](), 0
    now: dict[str, int] = {}
    taken: list[tuple[Mapping[str, int], dict[str, int]]] = []
    for _ in range(120):
        changed: dict[str, int | None] = {}
        for _ in range(chance.randrange(60)):
            what = chance.random()
            if what < 0.5:
                number += 1
                now[f"k{number}"] = changed[f"k{number}"] = number
            elif now and what < 0.7:
                key = chance.choice(list(now))
                now[key] = changed[key] = -number
            elif now:  # mostly the oldest, as tasks are forgotten
                key = next(iter(now)) if chance.random() < 0.8 else chance.choice(list(now))
                del now[key]
                changed[key] = None
        held.take(changed)
        if chance.random() < 0.5:
            taken.append((held.picture(), dict(now)))
    for seen, expected in taken:
        same(seen, expected)


def test_what_has_not_changed_is_shared_and_what_is_nearly_empty_put_together() -> None:
    held = Pages[int]()
    held.take({f"{number}": number for number in range(100 * pages.ROOM)})
    first = held.picture()
    held.take({"5": -5, "new": 1})
    second = held.picture()
    assert isinstance(first, pages.Paged) and isinstance(second, pages.Paged)
    shared = [number for number, page in first.pages.items() if second.pages[number] is page]
    assert len(shared) == 99, "the page of 5 was copied, and the new one is full"
    assert (first["5"], second["5"], "new" in first) == (5, -5, False)
    held.take({f"{number}": None for number in range(100 * pages.ROOM) if number % pages.ROOM})
    third = held.picture()
    assert isinstance(third, pages.Paged)
    assert (len(third), len(third.pages) <= 2) == (101, True)
    assert list(first)[::1000] == [f"{number}" for number in range(0, 100 * pages.ROOM, 1000)]
    assert [first[f"{number}"] for number in (1, 777, 12_345)] == [1, 777, 12_345], "though they are gone since"


def test_a_picture_in_steps_takes_in_what_is_folded_meanwhile_or_leaves_it_to_the_next() -> None:
    fed = Fed(max_tasks=10_000)
    names = [f"w{number}@h{number}" for number in range(100)]
    for name in names:
        fed.beat(0, name, active=0)
    fed.at(1)
    for name in names:
        fed.beat(2, name, active=1)
    making, pauses = fed.cluster.making(T0 + 2.0), 0
    first: Snapshot | None = None
    while first is None:
        try:
            next(making)
        except StopIteration as made:
            first = made.value
            continue
        pauses += 1
        for name in names:  # all of them, at every pause
            fed.beat(2, name, active=1 + pauses)
        fed.events(2, *run(f"t{pauses}", 2.0))
    assert pauses > 5
    shown = {worker.active for worker in first.workers.values()}
    assert len(shown) > 3, "each as of its own moment"
    assert first.totals.slots_busy == sum(worker.active or 0 for worker in first.workers.values())
    assert first.lists is not None and set(first.tasks) == {f"t{number}" for number in range(1, pauses + 1)}
    after = fed.quietly(2)
    assert {after.workers[name].active for name in names} == {1 + pauses}
    assert after.totals.slots_busy == 100 * (1 + pauses)


def test_a_picture_that_failed_halfway_leaves_nobody_out_of_the_next() -> None:
    fed = Fed()
    for number in range(50):
        fed.beat(0, f"w{number}@h", active=0)
    fed.at(1)
    for number in range(50):
        fed.beat(2, f"w{number}@h", active=3)
    making = fed.cluster.making(T0 + 2.0)
    next(making)
    next(making)
    next(making)
    making.close()
    assert {worker.active for worker in fed.quietly(2).workers.values()} == {3}

"""The short cuts tell what the whole way tells: on recorded workers, in order and shuffled, some events lost."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from celerytop.cluster import Cluster
from celerytop.cluster.fold import EventFolder, _unusual
from celerytop.model.observation import EventsReceived
from celerytop.model.snapshot import Snapshot
from celerytop.model.task import whole
from tests.cluster.feeding import INFO
from tests.cluster.stream import recorded, shuffled, typed


def told(events: list[dict[str, Any]], at: float) -> Snapshot:
    cluster = Cluster(INFO, ("events",), at)
    for first in range(0, len(events), 7):
        cluster.apply(EventsReceived(at + first / 100, [typed(one) for one in events[first : first + 7]]))
    return cluster.snapshot(at + len(events) / 100)


def facts(seen: Snapshot) -> tuple[Any, ...]:
    asdict = msgspec.structs.asdict
    tasks = [asdict(whole(task)) for task in seen.tasks.values()]
    types = [asdict(one) for one in seen.types.values()]
    workers = [asdict(one) for one in seen.workers.values()]
    queues = [asdict(one) for one in seen.queues.values()]
    return tasks, types, workers, queues, asdict(seen.totals), dict(seen.children)


def streams() -> list[list[dict[str, Any]]]:
    found = [list(recorded())]
    for seed in range(8):
        lossy = list(shuffled(seed, 1 + seed))
        random.Random(seed).shuffle(doomed := list(range(len(lossy))))
        gone = set(doomed[: len(lossy) // 5])
        found.append([event for number, event in enumerate(lossy) if number not in gone])
    return found


@pytest.mark.parametrize("number", range(9))
def test_short_cuts_and_the_whole_way_tell_the_same(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    events = streams()[number]
    at = max(event["timestamp"] for event in events)
    short = facts(told(events, at))
    begin = EventFolder.__init__

    def without(folder: EventFolder, *given: Any) -> None:
        begin(folder, *given)
        folder._usual = dict.fromkeys(folder._usual, _unusual)
        monkeypatch.setattr(folder._short, "sent", lambda event, at: False)

    monkeypatch.setattr(EventFolder, "__init__", without)
    assert facts(told(events, at)) == short

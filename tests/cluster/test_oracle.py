"""``advance`` against Celery's own ``State``, on a stream recorded from real workers, in order and shuffled.

Where Celery's State is known to be wrong, the difference is spelled out here, one entry for each; all else must agree.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from celery.events.state import State

from celerytop.cluster.advance import advance
from celerytop.model.task import Task
from tests.cluster.stream import recorded, shuffled, typed

SEEDS = range(25)
BY_ARGUMENT = ("name", "root_id", "args", "kwargs", "exchange", "routing_key")
MOMENTS = {"sent_at": "sent", "received_at": "received", "started_at": "started", "retried_at": "retried"}


class Both:
    """celerytop's tasks and Celery's, fed with the same events."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.state: Any = State()

    def feed(self, raw: dict[str, Any]) -> tuple[Task, Any]:
        uuid = raw["uuid"]
        self.tasks[uuid] = advance(self.tasks.get(uuid), typed(raw), raw["timestamp"])
        self.state.event({**raw, "local_received": raw["timestamp"]})
        return self.tasks[uuid], self.state.tasks[uuid]


def kinds_of(uuid: str) -> Counter[str]:
    return Counter(event["type"] for event in recorded() if event["uuid"] == uuid)


def terminated_in_gevent(uuid: str) -> bool:
    """Celery counts gevent's task-succeeded without result and runtime as a success."""
    return any(
        event["type"] == "task-succeeded" and event["result"] is None and event["runtime"] is None
        for event in recorded()
        if event["uuid"] == uuid
    )


def retried(uuid: str) -> bool:
    """Celery lets a late task-retried, and after it any late event at all, overrule what came before."""
    return kinds_of(uuid)["task-retried"] > 0


def test_the_recording_holds_every_trap() -> None:
    kinds = Counter(event["type"] for event in recorded())
    assert set(kinds) == {
        f"task-{what}" for what in ("sent", "received", "started", "succeeded", "failed", "retried", "revoked")
    }
    assert sum(event.get("parent_id") == event["uuid"] for event in recorded()) > 5, "retries that parent themselves"
    assert any(kinds_of(event["uuid"])["task-failed"] == 2 for event in recorded()), "a hard time limit"
    assert any(event.get("exception") == "ExceptionWithTraceback()" for event in recorded()), "a lost worker"
    assert len({event["uuid"] for event in recorded() if terminated_in_gevent(event["uuid"])}) == 2


def test_states_agree_after_every_event_in_order() -> None:
    both = Both()
    for raw in recorded():
        mine, celerys = both.feed(raw)
        if terminated_in_gevent(raw["uuid"]) and celerys.state == "SUCCESS":
            assert mine.state in ("STARTED", "REVOKED")
        elif raw["type"] == "task-sent" and mine.state == "RETRY":
            assert celerys.state == "PENDING", "Celery forgets the retry when its message is sent after it"
        elif mine.state == "RETRY" and celerys.state == "RECEIVED":
            assert retried(raw["uuid"])
        else:
            assert mine.state == celerys.state, raw


@pytest.fixture(scope="module")
def in_order() -> Both:
    both = Both()
    for raw in recorded():
        both.feed(raw)
    return both


def test_what_the_call_was_agrees_in_the_end(in_order: Both) -> None:
    for uuid, mine in in_order.tasks.items():
        celerys = in_order.state.tasks[uuid]
        for field in BY_ARGUMENT:
            assert getattr(mine, field) == getattr(celerys, field), (field, uuid)
        assert (mine.retries or 0) >= (celerys.retries or 0)
        if celerys.parent_id == uuid:
            assert mine.parent_id is None, "Celery makes a retry its own parent"
        else:
            assert mine.parent_id == celerys.parent_id


def test_moments_and_results_agree_in_the_end(in_order: Both) -> None:
    for uuid, mine in in_order.tasks.items():
        celerys = in_order.state.tasks[uuid]
        for field, celerys_field in MOMENTS.items():
            if field != "sent_at" or not retried(uuid):  # two producers: Celery keeps what came last, not what was last
                assert getattr(mine, field) == getattr(celerys, celerys_field), (field, uuid)
        if celerys.worker is not None:
            assert mine.worker == celerys.worker.hostname
        if mine.state == "SUCCESS":
            told = (celerys.runtime, celerys.result, celerys.succeeded)
            assert (mine.runtime, mine.result, mine.finished_at) == told


def test_exceptions_agree_or_name_what_celery_hides(in_order: Both) -> None:
    for uuid, mine in in_order.tasks.items():
        hidden = in_order.state.tasks[uuid].exception
        if hidden == "ExceptionWithTraceback()":
            assert mine.exception in (
                "TimeLimitExceeded(1,)",
                "WorkerLostError('Worker exited prematurely: exitcode 1 Job: 23.')",
            )
        else:
            assert mine.exception == hidden


@pytest.mark.parametrize("window", [3, 8])
def test_shuffled_states_agree_after_every_event(window: int) -> None:
    for seed in SEEDS:
        both = Both()
        for raw in shuffled(seed, window):
            mine, celerys = both.feed(raw)
            if not retried(raw["uuid"]) and not terminated_in_gevent(raw["uuid"]):
                assert mine.state == celerys.state, (seed, raw)


@pytest.mark.parametrize("window", [3, 8])
def test_shuffling_changes_nothing_in_the_end(in_order: Both, window: int) -> None:
    wrong = 0
    for seed in SEEDS:
        both = Both()
        for raw in shuffled(seed, window):
            both.feed(raw)
        for uuid, mine in both.tasks.items():
            truth = in_order.tasks[uuid]
            for field in ("state", "worker", "started_at", "result", "parent_id", "retries"):
                assert getattr(mine, field) == getattr(truth, field), (seed, field, mine, truth)
            # of two task-failed the first to come is kept: they are 3 ms apart
            assert (mine.finished_at, mine.runtime) == pytest.approx((truth.finished_at, truth.runtime), abs=0.01)
            celerys = both.state.tasks[uuid]
            if celerys.state != truth.state:
                wrong += 1
                assert retried(uuid) or terminated_in_gevent(uuid), (seed, celerys)
    assert wrong, "Celery's State depends on the order of arrival: why there is an own reducer"

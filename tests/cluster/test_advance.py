"""One event moves one task on: the traps one by one, and events in any order."""

from __future__ import annotations

import random
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celerytop.cluster.advance import RANK, advance
from celerytop.model.event import (
    TaskCancelled,
    TaskEvent,
    TaskFailed,
    TaskReceived,
    TaskRejected,
    TaskRetried,
    TaskRevoked,
    TaskSent,
    TaskStarted,
    TaskSucceeded,
)
from celerytop.model.task import Task

W = "w1@h"


def fold(*events: TaskEvent) -> Task:
    task: Task | None = None
    for event in events:
        task = advance(task, event, 100.0)
    assert task is not None
    return task


def sent(at: float, **fields: object) -> TaskSent:
    return TaskSent("a", at, "gen1@h", **{"name": "app.add", "retries": 0, "queue": "low", **fields})  # type: ignore[arg-type]


def received(at: float, worker: str = W, **fields: object) -> TaskReceived:
    return TaskReceived("a", at, worker, **{"name": "app.add", "retries": 0, "root_id": "a", **fields})  # type: ignore[arg-type]


RECEIVED, STARTED = received(1.0), TaskStarted("a", 2.0, W)
SUCCEEDED = TaskSucceeded("a", 3.0, W, result="3", runtime=1.0)
FAILED = TaskFailed("a", 3.0, W, exception="KeyError('x')", traceback="Traceback\nKeyError: 'x'\n")
RETRIED = TaskRetried("a", 3.0, W, exception="OSError()")
TERMINATED = TaskRevoked("a", 3.0, W, terminated=True, signum=15)
BOGUS = TaskSucceeded("a", 3.001, W)


def test_a_whole_life() -> None:
    task = fold(sent(0.5), RECEIVED, STARTED, SUCCEEDED)
    assert (task.state, task.name, task.queue, task.worker, task.sender) == ("SUCCESS", "app.add", "low", W, "gen1@h")
    assert (task.sent_at, task.received_at, task.started_at, task.finished_at) == (0.5, 1.0, 2.0, 3.0)
    assert (task.runtime, task.result, task.waited()) == (1.0, "3", 1.5)


@pytest.mark.parametrize("end", [SUCCEEDED, FAILED, TERMINATED])
def test_any_order_of_one_life_ends_the_same(end: TaskEvent) -> None:
    events = (sent(0.5), RECEIVED, STARTED, end)
    truth = fold(*events)
    for order in permutations(events):
        assert fold(*order).__repr__() == truth.__repr__(), [event.__class__.__name__ for event in order]


def test_a_retry_is_not_its_own_parent_and_keeps_its_root() -> None:
    first = received(1.0, parent_id="p", root_id="r")
    again = received(3.0, parent_id="a", root_id="a", retries=1)
    task = fold(first, STARTED, again, RETRIED)
    assert (task.parent_id, task.root_id, task.retries, task.state) == ("p", "r", 1, "RETRY")
    alone = fold(again)
    assert alone.parent_id is None


def test_a_retry_opens_a_task_again_and_runs_to_its_end() -> None:
    again = received(2.9, parent_id="a", retries=1)
    waiting = fold(RECEIVED, STARTED, again, RETRIED)
    assert (waiting.state, waiting.retried_at, waiting.exception) == ("RETRY", 3.0, "OSError()")
    done = fold(RECEIVED, STARTED, again, RETRIED, TaskStarted("a", 4.0, W), TaskSucceeded("a", 5.0, W, "1", 1.0))
    assert (done.state, done.started_at, done.finished_at, done.retries) == ("SUCCESS", 4.0, 5.0, 1)


def test_a_late_retried_does_not_open_what_has_ended_since() -> None:
    second = (received(2.9, parent_id="a", retries=1), TaskStarted("a", 4.0, W), TaskSucceeded("a", 5.0, W, "1", 1.0))
    assert fold(RECEIVED, STARTED, *second, RETRIED).state == "SUCCESS"
    assert fold(RECEIVED, STARTED, *second[:2], RETRIED).state == "STARTED"


def test_a_late_start_of_the_first_attempt_does_not_end_the_wait() -> None:
    assert fold(RECEIVED, RETRIED, STARTED).state == "RETRY"
    elsewhere = TaskStarted("a", 2.9, "w2@other")  # its clock may be slow: what comes later counts
    assert fold(RECEIVED, STARTED, RETRIED, elsewhere).state == "STARTED"


def test_a_hard_time_limit_fails_twice_and_counts_once() -> None:
    hidden = "Traceback\n  File\nbilliard.exceptions.TimeLimitExceeded: TimeLimitExceeded(30,)\n"
    one = TaskFailed("a", 3.0, W, exception="ExceptionWithTraceback()", traceback=hidden)
    first = fold(RECEIVED, STARTED, one)
    assert first.exception == "TimeLimitExceeded(30,)"
    both = advance(first, TaskFailed("a", 3.2, W, exception="WorkerLostError()"), 100.0)
    assert both.finished_at is first.finished_at
    assert both.exception == "TimeLimitExceeded(30,)"


def test_a_lost_worker_is_named_by_the_last_line_of_the_traceback() -> None:
    hidden = "Traceback\n  File\nbilliard.exceptions.WorkerLostError: Worker exited prematurely: signal 9\n"
    task = fold(STARTED, TaskFailed("a", 3.0, W, exception="ExceptionWithTraceback()", traceback=hidden))
    assert task.exception == "WorkerLostError('Worker exited prematurely: signal 9')"
    assert (task.state, task.runtime) == ("FAILURE", 1.0)


@pytest.mark.parametrize("order", [(TERMINATED, BOGUS), (BOGUS, TERMINATED)], ids=["gevent", "eventlet"])
def test_a_terminated_greenlet_is_revoked_in_either_order(order: tuple[TaskEvent, ...]) -> None:
    task = fold(RECEIVED, STARTED, *order)
    assert (task.state, task.terminated, task.signum, task.result, task.exited) == ("REVOKED", True, 15, None, True)
    assert fold(RECEIVED, STARTED, TERMINATED).exited is None  # told to, no more
    assert fold(RECEIVED, STARTED, *order, TaskStarted("a", 9.0, W)).exited is None  # delivered again


def test_a_soft_kill_is_revoked_first_and_failed_then() -> None:
    revoked = TaskRevoked("a", 2.5, W, terminated=True, signum=10)
    task = fold(RECEIVED, STARTED, revoked, FAILED)
    assert (task.state, task.terminated, task.signum) == ("FAILURE", True, 10)


def test_revoked_twice_with_a_string_keeps_the_number() -> None:
    task = fold(STARTED, TaskRevoked("a", 3.0, W, terminated=True, signum=None), TaskRevoked("a", 3.1, W, signum="9"))
    assert (task.state, task.signum, task.terminated, task.finished_at) == ("REVOKED", 9, True, 3.0)


def test_first_seen_in_the_middle() -> None:
    assert fold(STARTED).state == "STARTED"
    assert fold(FAILED).name is None
    task = fold(STARTED, SUCCEEDED, RECEIVED)
    assert (task.state, task.name, task.received_at) == ("SUCCESS", "app.add", 1.0)


def test_what_a_late_message_says_does_not_replace_what_is_newer() -> None:
    task = fold(received(2.0, retries=2, eta="2026-11-23T03:35:23+00:00"), received(1.0, retries=0, args="(1,)"))
    assert (task.retries, task.received_at, task.args) == (2, 2.0, None)
    assert task.eta_at == 1795404923.0


def test_a_task_delivered_twice_runs_again() -> None:
    again = fold(RECEIVED, STARTED, SUCCEEDED, received(9.0, "w2@h"), TaskStarted("a", 10.0, "w2@h"))
    assert (again.state, again.worker, again.finished_at, again.runtime) == ("STARTED", "w2@h", None, None)


def test_rejected_after_the_start_ends_it_and_before_it_does_not() -> None:
    rejected = TaskRejected("a", 2.5, W, requeue=True)
    assert fold(RECEIVED, STARTED, rejected).state == "REJECTED"
    assert fold(RECEIVED, STARTED, rejected, received(3.0), TaskStarted("a", 3.1, W)).state == "STARTED"
    assert fold(RECEIVED, TaskStarted("a", 3.1, W), rejected).state == "STARTED"


def test_cancelled_on_connection_loss_comes_back_like_a_retry() -> None:
    assert fold(RECEIVED, STARTED, TaskCancelled("a", 2.5, W)).state == "RETRY"


def test_a_queue_is_guessed_only_where_nobody_tells_it() -> None:
    guessed = advance(None, RECEIVED, 1.0, "only")
    assert guessed.queue == "only"
    assert advance(guessed, sent(0.5), 1.0).queue == "low"
    assert advance(fold(sent(0.5)), RECEIVED, 1.0, "only").queue == "low"


KINDS = (sent(1.0), RECEIVED, STARTED, SUCCEEDED, FAILED, RETRIED, TERMINATED, BOGUS, TaskRejected("a", 2.5, W))


@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_any_stream_gives_a_task_that_makes_sense(events: list[TaskEvent], chance: random.Random) -> None:
    task: Task | None = None
    for number, event in enumerate(events):
        task = advance(task, event, 100.0 + number)
        assert task.task_id == "a"
        assert task.parent_id != "a"
        assert task.state in RANK
        assert task.updated_at == 100.0 + number
        assert (task.ran(200.0) or 0.0) >= 0.0
        assert advance(task, event, 100.0 + number).state == task.state, "the same event twice changes nothing"

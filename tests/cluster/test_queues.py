"""What queues are said to do: lengths of several sources, consumers, rates, forecasts, words; orphans."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from celerytop.model.event import TaskReceived, TaskSent, WorkerOffline
from celerytop.model.observation import DOWN, UP, Conf, InspectedTask, Pong, QueuesConsumed, SourceChanged
from celerytop.model.queue import Message, Queue, Unacked
from celerytop.model.worker import ConsumedQueue
from tests.cluster.feeding import T0, Fed


def lengths(fed: Fed, name: str, *counts: int, start: float = 0.0, every: float = 1.0, **fields: object) -> float:
    """One measurement a second; the moment of the last."""
    for number, count in enumerate(counts):
        now = start + number * every
        fed.queues(now, Queue(name, messages=count, measured_at=T0 + now, **fields))  # type: ignore[arg-type]
    return start + (len(counts) - 1) * every


def test_management_adds_what_amqp_cannot_tell_and_replaces_nothing() -> None:
    fed = Fed()
    fed.queues(1, Queue("q", messages=5, consumers=2, exists=True, known_by=("settings",), measured_at=T0 + 1))
    fed.queues(2, Queue("q", unacked=7, memory=900, type="quorum", publish_rate=3.0, deliver_rate=2.0,
                        known_by=("management",), measured_at=T0 + 2))  # fmt: skip
    fed.queues(3, Queue("q", messages=6, consumers=2, exists=True, known_by=("settings",), measured_at=T0 + 3))
    queue = fed.at(3).queues["q"]
    assert (queue.messages, queue.consumers, queue.unacked, queue.memory, queue.type) == (6, 2, 7, 900, "quorum")
    assert (queue.in_rate, queue.out_rate) == (3.0, 2.0)
    assert set(queue.known_by) == {"settings", "management"}
    lengths(fed, "q", 6, start=150, exists=True)
    assert fed.at(150).queues["q"].unacked is None, "the management API is silent for minutes: its word is old"


def test_an_api_that_has_not_counted_yet_is_not_believed_its_zero() -> None:
    fed = Fed()
    fed.queues(1, Queue("celery", messages=0, consumers=1, exists=True), Queue("other", messages=0, exists=True))
    fed.queues(2, *(Queue(name, unacked=0, known_by=("management",)) for name in ("celery", "other")))
    fed.tells_all(3, reserved=(InspectedTask("a", queue="celery", acknowledged=False),))
    seen = fed.at(4)
    assert (seen.queues["celery"].unacked, seen.queues["other"].unacked) == (None, 0)
    assert seen.totals.unacked is None, "a part of it is no total"
    fed.queues(5, Queue("celery", unacked=3, known_by=("management",)))
    assert (fed.at(5).queues["celery"].unacked, fed.at(5).totals.unacked) == (3, 3)
    fed.queues(18, Queue("celery", unacked=0, known_by=("management",)))
    assert fed.at(18).queues["celery"].unacked == 0, "it has had the time to count"


def test_consumers_are_counted_from_active_queues_and_nobody_only_when_all_have_told() -> None:
    fed = Fed()
    fed.beats(0, 4)
    fed.queues(4, Queue("celery", messages=0), Queue("nobody", messages=3))
    early = fed.at(4).queues
    assert (early["celery"].consumers, early["nobody"].consumers, early["nobody"].state) == (None, None, None)
    fed.tells_all(5)
    told = fed.at(5).queues
    assert (told["celery"].consumers, told["celery"].workers) == (1, ("w1@h",))
    assert (told["nobody"].consumers, told["nobody"].state) == (0, "no consumer")
    fed.beat(6, "w2@h")  # one more is there, and has told nothing yet
    assert fed.at(6).queues["nobody"].consumers is None
    assert fed.at(6).queues["celery"].consumers == 1


def test_that_nobody_consumes_is_kept_with_the_length_it_was_told_with() -> None:
    """A frozen broker: workers' answers are missed before the stream of events is."""
    fed = Fed()
    fed.beats(0, 4)
    fed.queues(4, Queue("celery", messages=0), Queue("nobody", messages=3))
    fed.tells_all(5)
    assert fed.at(5).queues["nobody"].state == "no consumer"
    fed.cluster.apply(SourceChanged(T0 + 7, "control", DOWN, "sends nothing"))
    assert fed.quietly(7.1).queues["nobody"].state == "no consumer"
    fed.cluster.apply(SourceChanged(T0 + 8, "queues", DOWN, "sends nothing"))
    fed.cluster.apply(SourceChanged(T0 + 9, "events", DOWN, "sends nothing"))
    kept = fed.quietly(10).queues
    assert (kept["nobody"].consumers, kept["nobody"].state, kept["celery"].consumers) == (0, "no consumer", 1)
    fed.cluster.apply(SourceChanged(T0 + 12, "queues", UP))
    fed.cluster.apply(SourceChanged(T0 + 12, "events", UP))
    fed.queues(13, Queue("nobody", messages=4))
    assert fed.quietly(13).queues["nobody"].consumers is None, "another length, and nobody was asked since"


def test_nobody_there_at_all_is_no_consumer() -> None:
    fed = Fed()
    fed.queues(1, Queue("q", messages=3))
    assert fed.at(1).queues["q"].consumers is None
    fed.answers(2, expected=0)
    assert fed.at(2).queues["q"].state == "no consumer"
    fed.answers(3, expected=1)  # somebody listens who never answered: it may consume anything
    assert fed.at(3).queues["q"].consumers is None


def test_a_worker_that_is_gone_consumes_nothing() -> None:
    fed = Fed()
    fed.beats(0, 4)
    fed.tells_all(5)
    fed.queues(5, Queue("celery", messages=3))
    fed.events(6, WorkerOffline(hostname="w1@h", timestamp=T0 + 6, pid=100))
    fed.answers(10, expected=0)
    assert (fed.at(10).queues["celery"].consumers, fed.at(10).queues["celery"].state) == (0, "no consumer")


def test_while_cut_off_the_last_consumers_stand() -> None:
    fed = Fed()
    fed.beats(0, 4)
    fed.tells_all(5)
    fed.queues(5, Queue("celery", messages=3))
    assert fed.at(5).queues["celery"].consumers == 1
    for name in ("events", "control"):
        fed.cluster.apply(SourceChanged(T0 + 6, name, DOWN, "gone"))
    assert fed.at(60).queues["celery"].consumers == 1


def test_beat_answers_pings_and_is_no_worker() -> None:
    fed = Fed()
    fed.answers(2, Pong("celerybeat@h", 0.01), expected=1)
    fed.queues(2, Queue("q", messages=3))
    assert fed.at(2).workers == {}
    assert fed.at(2).queues["q"].consumers == 0


def test_growing_draining_steady_and_forecasts() -> None:
    fed = Fed()
    fed.beats(0, 60)
    fed.tells_all(60, "w1@h", "grows", "drains", "steady")
    for name, step in (("grows", 2), ("drains", -2), ("steady", 0)):
        lengths(fed, name, *(500 + step * number for number in range(61)))
    queues = fed.at(60).queues
    assert [queues[name].state for name in ("grows", "drains", "steady")] == ["growing", "draining", "steady"]
    assert [queues[name].net_rate for name in ("grows", "drains", "steady")] == [2.0, -2.0, 0.0]
    assert queues["grows"].drains_in == math.inf
    assert queues["drains"].drains_in == pytest.approx(190)
    trend = queues["grows"].trend
    assert trend is not None
    assert trend.values[-1] == 620.0


def test_no_rate_of_two_seconds_and_no_forecast_of_a_few_messages() -> None:
    fed = Fed()
    now = lengths(fed, "q", 500, 400, 300)
    assert fed.at(now).queues["q"].net_rate is None
    assert fed.at(now).queues["q"].drains_in is None
    few = lengths(fed, "few", *range(19, 3, -1))
    assert fed.at(few).queues["few"].drains_in is None


def test_net_is_of_the_last_two_minutes() -> None:
    fed = Fed()
    lengths(fed, "q", *(1000 + number * 10 for number in range(100)))
    now = lengths(fed, "q", *([1990] * 130), start=100)
    assert fed.at(now).queues["q"].net_rate == 0.0


def test_out_by_events_and_in_from_both() -> None:
    fed = Fed()
    fed.tells_all(0)
    for second in range(30):
        fed.beat(second, processed=second)
        fed.events(second, *(TaskReceived(f"{second}-{n}", T0 + second, "w1@h", name="a") for n in range(3)))
        lengths(fed, "celery", 100 + second, start=second)
    queue = fed.at(30).queues["celery"]
    assert queue.out_rate == pytest.approx(3.0)
    assert queue.in_rate == pytest.approx(4.0)


def test_out_without_events_by_what_the_worker_says_it_accepted() -> None:
    fed = Fed()
    fed.tells_all(0)
    for second in range(0, 60, 2):
        fed.beat(second, processed=second * 5)
        lengths(fed, "celery", 100, start=second)
    queue = fed.at(60).queues["celery"]
    assert queue.out_rate == pytest.approx(5.0, rel=0.1)
    assert queue.in_rate == queue.out_rate


def test_out_is_not_zero_in_the_seconds_before_missing_events_are_noticed() -> None:
    fed = Fed()
    fed.tells_all(0)
    for second in (0, 2, 4):
        fed.beat(second, processed=second * 5)
    lengths(fed, "celery", 100, start=4)
    assert fed.at(4).workers["w1@h"].task_events is None
    assert fed.at(4).queues["celery"].out_rate == pytest.approx(5.0, rel=0.1)


def test_out_is_not_known_when_events_do_not_tell_the_queue() -> None:
    fed = Fed()
    fed.tells_all(0, "w1@h", "one", "two")
    for second in range(30):
        fed.events(second, TaskReceived(f"{second}", T0 + second, "w1@h", name="a"))
        fed.beat(second, processed=second)
        lengths(fed, "one", 100, start=second)
    assert fed.at(30).queues["one"].out_rate is None


def test_out_is_nothing_where_nobody_consumes() -> None:
    fed = Fed()
    fed.answers(0, expected=0)
    now = lengths(fed, "q", *range(100, 160, 2))
    queue = fed.at(now).queues["q"]
    assert (queue.out_rate, queue.in_rate, queue.state) == (0.0, 2.0, "no consumer")


def test_task_sent_makes_a_queue_known_and_tells_the_age_of_its_head() -> None:
    fed = Fed()
    fed.events(1, TaskSent("a", T0 + 1, "gen@h", name="x", queue="low"))
    assert fed.at(1).queues["low"].known_by == ("task-sent",)
    assert fed.at(1).queues["low"].messages is None
    fed.queues(5, Queue("low", messages=2, head=Message(task_id="a")))
    assert (fed.at(11).queues["low"].oldest_age, fed.at(11).queues["low"].oldest_at_least) == (10.0, False)


def test_the_age_of_an_unknown_head_is_a_lower_bound() -> None:
    fed = Fed()
    lengths(fed, "q", 5, 5, 6, head=Message(task_id="m"))
    queue = fed.at(9).queues["q"]
    assert (queue.oldest_age, queue.oldest_at_least) == (9.0, True)
    lengths(fed, "q", 5, start=10, head=Message(task_id="n"))
    assert fed.at(11).queues["q"].oldest_age == 1.0
    lengths(fed, "q", 0, start=12)
    assert fed.at(13).queues["q"].oldest_age is None


def test_without_a_head_the_age_is_told_only_where_nobody_takes_anything() -> None:
    fed = Fed()
    lengths(fed, "dead", 5, 6, 6, consumers=0, exists=True)
    lengths(fed, "live", 5, 6, 6, consumers=1, exists=True)
    queues = fed.at(10).queues
    assert (queues["dead"].oldest_age, queues["dead"].oldest_at_least) == (10.0, True)
    assert queues["live"].oldest_age is None


def test_deleted_queues_are_shown_for_a_while() -> None:
    fed = Fed()
    lengths(fed, "q", 5, exists=True)
    fed.queues(10, Queue("q", exists=False))
    assert fed.at(11).queues["q"].state == "gone"
    fed.queues(700, Queue("q", exists=False))
    assert "q" not in fed.at(700).queues


def test_names_from_replies() -> None:
    fed = Fed()
    fed.answers(
        1,
        QueuesConsumed("w1@h", (ConsumedQueue("a"),)),
        Conf("w1@h", {}, queues=("b",)),
        asked=("active_queues", "conf"),
    )
    queues = fed.at(1).queues
    assert (queues["a"].known_by, queues["b"].known_by) == (("active_queues",), ("conf",))


def held(*messages: Message, complete: bool = True) -> Unacked:
    return Unacked(len(messages), messages=messages, complete=complete)


def message(task_id: str, reserved: float = 1.0) -> Message:
    return Message(task_id=task_id, queue="celery", reserved_at=T0 + reserved)


def test_orphans_are_counted_once_every_worker_has_told() -> None:
    fed = Fed()
    fed.beats(0, 20)
    old, mine = message("old", -500.0), message("mine")
    fed.queues(20, unacked=held(old, mine))
    assert fed.at(20).unacked.orphaned is None  # type: ignore[union-attr]
    fed.tells_all(21, reserved=(InspectedTask("mine"),))
    unacked = fed.at(21).unacked
    assert unacked is not None
    assert (unacked.orphaned, unacked.orphaned_by_queue) == (1, (("celery", 1),))
    assert fed.at(21).notes[0].startswith("1 unacked message of celery is claimed by no living worker: given back")
    fed.beat(22, "w2@h")
    assert fed.at(22).unacked.orphaned is None, "the new one may hold it"  # type: ignore[union-attr]


def test_the_visibility_timeout_is_what_the_workers_say() -> None:
    fed = Fed()
    fed.beats(0, 20)
    fed.queues(20, unacked=replace(held(message("a")), visibility_timeout=3600.0))
    assert fed.at(20).unacked.visibility_timeout == 3600.0  # type: ignore[union-attr]
    fed.answers(21, Conf("w1@h", {}, 7200.0), asked=("conf",))
    assert fed.at(21).unacked.visibility_timeout == 7200.0  # type: ignore[union-attr]
    fed.beat(22, "w2@h")
    fed.answers(22, Conf("w2@h", {}), asked=("conf",))
    assert fed.at(22).unacked.visibility_timeout == 3600.0, "Celery's default"  # type: ignore[union-attr]


def test_a_message_tells_the_family_of_a_task_that_began_before_we_looked() -> None:
    fed = Fed()
    fed.tells_all(20, reserved=(InspectedTask("b"), InspectedTask("r")))
    child = Message(task_id="b", root_id="a", parent_id="a", retries=0, reserved_at=T0)
    retried = Message(task_id="r", root_id="r", parent_id="r", retries=2, reserved_at=T0)
    fed.queues(21, unacked=held(child, retried, message("not known")))
    tasks, children = fed.at(21).tasks, fed.at(21).children
    assert (tasks["b"].root_id, tasks["b"].parent_id) == ("a", "a")
    assert (tasks["r"].root_id, tasks["r"].parent_id, tasks["r"].retries) == ("r", None, 2)
    assert children == {"a": ("b",)}
    assert set(tasks) == {"b", "r"}


def test_what_a_rate_limit_holds_back_is_no_orphan() -> None:
    fed = Fed()
    fed.beats(0, 20)
    fed.tells_all(20)
    fed.queues(21, unacked=held(message("limited", 10.0)))
    assert fed.at(21).unacked.orphaned is None  # type: ignore[union-attr]
    fed.queues(22, unacked=held())
    assert fed.at(22).unacked.orphaned == 0  # type: ignore[union-attr]


def test_what_a_dead_worker_had_taken_is_an_orphan() -> None:
    fed = Fed()
    fed.beats(0, 20, "w1@h")
    fed.beats(0, 40, "w2@h")
    fed.events(10, TaskReceived("a", T0 + 10, "w2@h", name="x"))
    fed.events(41, WorkerOffline(hostname="w2@h", timestamp=T0 + 41, pid=100))
    fed.beats(22, 44, "w1@h")
    fed.tells_all(44)
    fed.queues(45, unacked=held(message("a", 10.0)))
    assert fed.at(45).unacked.orphaned == 1  # type: ignore[union-attr]


def test_an_incomplete_look_is_noted() -> None:
    fed = Fed()
    fed.queues(1, Queue("q", messages=1), unacked=Unacked(500, messages=(message("a"),)), note="needs +scan")
    notes = fed.at(1).notes
    assert "needs +scan" in notes
    assert any("only 1 of 500 unacked messages" in note for note in notes)

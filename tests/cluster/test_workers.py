"""Alive, silent, busy, frozen, gone, or we are cut off: each told apart, each with a reason."""

from __future__ import annotations

import pytest

from celerytop.model.broker import RabbitBroker
from celerytop.model.event import TaskStarted, WorkerHeartbeat, WorkerOffline, WorkerOnline
from celerytop.model.observation import DOWN, UP, BrokerMeasured, InspectedTask, Pong, SourceChanged, StatsReply
from celerytop.model.snapshot import Snapshot
from celerytop.model.worker import Worker
from tests.cluster.feeding import T0, Fed, fail, main_process, run

W = "w1@h"
NEITHER = "neither events nor answers reach us"


def worker(snapshot: Snapshot, nodename: str = W) -> Worker:
    found = snapshot.workers[nodename]
    assert found.why
    assert "\n" not in found.why
    return found


def goodbye(sent: float, pid: int | None = 100) -> WorkerOffline:
    return WorkerOffline(hostname=W, timestamp=T0 + sent, pid=pid, freq=2.0)


def test_alive_by_its_heart_then_silent() -> None:
    fed = Fed()
    fed.beats(0, 20)
    assert worker(fed.at(21)).state == "alive"
    assert worker(fed.at(25.9)).state == "alive"
    silent = worker(fed.at(40))
    assert (silent.state, silent.why) == ("silent", "no heartbeat and no answer for 20 s")


def test_alive_by_answers_though_it_sends_no_heartbeats() -> None:
    fed = Fed()
    for now in (5.0, 10.0, 15.0):
        fed.answers(now, Pong(W, 0.003))
    assert worker(fed.at(26)).state == "alive"
    assert worker(fed.at(26)).latency == 0.003
    assert worker(fed.at(28)).state == "silent"


def test_cut_off_is_never_silent_nor_gone_and_keeps_the_last_numbers() -> None:
    fed = Fed()
    fed.beats(0, 20)
    fed.tells_all(20, active=(InspectedTask("a", time_start=T0 + 1),))
    assert worker(fed.quietly(60)).state == "alive", "the sources are silent too: that says nothing of the worker"
    for name in ("events", "control", "queues", "broker"):
        fed.cluster.apply(SourceChanged(T0 + 28, name, DOWN, "Redis does not answer.", T0 + 29))
    cut = fed.at(100)
    assert worker(cut).state == "unknown"
    assert "cut off since" in (worker(cut).why or "")
    assert (worker(cut).concurrency, worker(cut).active) == (4, 1)
    assert (cut.totals.workers, cut.totals.workers_alive) == (1, 1)
    assert cut.cut_off()


@pytest.mark.parametrize("sources", [("events", "control"), ("events",)])
def test_as_long_as_workers_are_not_heard_nobody_is_called_silent(sources: tuple[str, ...]) -> None:
    fed = Fed(sources)
    fed.beats(0, 20)
    answers = "control" in sources
    for second in range(21, 60, 3):  # what comes in short looks, between which this account may not even hear workers
        fed.events(second, *run(f"t{second}", second, worker="other@h"), not_read=2.9, deaf=True)
        if answers:
            fed.answers(second, Pong(W, 0.003))
        seen = worker(fed.at(second + 1))
        assert seen.state == ("alive" if answers else "unknown")
        assert seen.why == ("answers control commands" if answers else f"cut off since {second - 20} s: {NEITHER}")
    fed.events(60)
    assert worker(fed.at(61)).state in ("alive", "unknown"), "nobody has had the time to show himself"
    fed.beats(62, 70)
    assert worker(fed.at(71)).why == "its heartbeat is fresh"
    assert worker(fed.at(100)).state == "silent"


def test_after_a_reconnect_workers_are_heard_again() -> None:
    fed = Fed(("events",))
    fed.events(1, deaf=True)
    fed.cluster.apply(SourceChanged(T0 + 2, "events", DOWN, "gone"))
    fed.cluster.apply(SourceChanged(T0 + 3, "events", UP))
    fed.beat(4)
    assert worker(fed.at(5)).why == "its heartbeat is fresh"


def test_just_reconnected_nobody_is_silent_yet() -> None:
    fed = Fed()
    fed.beats(0, 10)
    assert fed.at(10).totals.workers_alive == 1
    for name in ("events", "control"):
        fed.cluster.apply(SourceChanged(T0 + 12, name, DOWN, "gone"))
        fed.cluster.apply(SourceChanged(T0 + 60, name, UP))
    back = fed.at(62)
    assert worker(back).state == "unknown"
    assert back.totals.workers_alive == 1, "nobody has had the time to show himself"
    fed.beat(63)
    assert worker(fed.at(64)).state == "alive"
    assert worker(fed.at(90)).state == "silent"
    assert fed.at(90).totals.workers_alive == 0


@pytest.mark.parametrize("facts", [{"blocked": "low on memory"}, {"alarms": ("memory on rabbit@a",)}])
def test_while_nobody_can_publish_nobody_is_silent(facts: dict[str, object]) -> None:
    fed = Fed()
    fed.beats(0, 20)
    fed.tells_all(20)
    fed.cluster.apply(SourceChanged(T0 + 21, "control", DOWN, "memory alarm: RabbitMQ blocks publishers"))
    fed.cluster.apply(BrokerMeasured(T0 + 21, RabbitBroker(T0 + 21, **facts)))  # type: ignore[arg-type]
    assert worker(fed.at(22)).state == "alive", "its heartbeat is fresh"
    muted = fed.at(60)
    assert worker(muted).state == "unknown"
    assert "memory" in (worker(muted).why or "") and "cannot get through" in (worker(muted).why or "")
    assert (muted.totals.workers, muted.totals.workers_alive) == (1, 1)
    fed.cluster.apply(SourceChanged(T0 + 61, "control", UP))
    fed.cluster.apply(BrokerMeasured(T0 + 61, RabbitBroker(T0 + 61)))
    assert worker(fed.at(90)).state == "silent"


def test_fresh_goodbye_is_gone_and_a_late_one_means_nothing() -> None:
    fed = Fed()
    fed.beats(0, 10)
    fed.events(30, goodbye(10.5))
    fed.beat(30.5)
    assert worker(fed.at(31)).state == "alive"
    fed.events(32, goodbye(31.9))
    gone = worker(fed.at(40))
    assert (gone.state, gone.why, gone.active) == ("gone", "said goodbye 8 s ago", None)
    fed.events(50, WorkerOnline(hostname=W, timestamp=T0 + 50, pid=200, freq=2.0))
    back = worker(fed.at(51))
    assert (back.state, back.pid, back.pids) == ("alive", 200, (200,))


def test_an_answer_that_was_under_way_does_not_bring_it_back() -> None:
    fed = Fed()
    fed.beats(0, 10)
    fed.events(10.5, goodbye(10.5))
    fed.answers(10.9, Pong(W, 0.01), window=0.9)
    assert worker(fed.at(11)).state == "gone"
    fed.answers(16, Pong(W, 0.01))
    assert worker(fed.at(16)).state == "alive"


def test_solo_is_busy_while_it_cannot_answer() -> None:
    fed = Fed()
    fed.beats(0, 10)
    fed.answers(10, Pong(W, 0.01), StatsReply(W, pid=100, pool="solo", concurrency=1), asked=("ping", "stats"))
    fed.events(10.5, TaskStarted("a", T0 + 10.5, W))
    busy = worker(fed.at(40))
    assert busy.state == "busy-solo"
    assert "cannot answer" in (busy.why or "")


def test_solo_is_known_by_its_command_line_before_it_ever_answered() -> None:
    fed = Fed()
    fed.beats(0, 4)
    fed.host(5, main_process(command="python -m celery -A app worker -P solo -n w1@h"))
    assert worker(fed.at(30)).pool == "solo"
    assert worker(fed.at(30)).state == "busy-solo"


def test_a_stopped_heart_and_a_missed_ping_are_silence_though_it_answered_lately() -> None:
    fed = Fed()
    fed.beats(0, 10)
    fed.answers(10, Pong(W, 0.01))
    assert worker(fed.at(15)).state == "alive"
    fed.answers(16, window=1.0, expected=1)
    assert worker(fed.at(17)).state == "silent"


def test_a_vanished_process_is_gone_whatever_host_its_name_claims() -> None:
    fed = Fed()
    fed.beats(0, 10)
    fed.host(10, main_process(), name="somewhere-else")
    fed.host(12, name="somewhere-else")
    assert worker(fed.at(12)).state == "gone"


def test_a_stopped_process_is_frozen_at_once_and_a_vanished_one_gone() -> None:
    fed = Fed()
    fed.beats(0, 10)
    fed.host(10, main_process())
    fed.host(12, main_process(status="stopped"))
    frozen = worker(fed.at(12))
    assert (frozen.state, frozen.why) == ("frozen", "its main process 100 is stopped (state T)")
    fed.host(20, main_process())
    fed.beat(21)
    assert worker(fed.at(21)).state == "alive"
    fed.host(23)
    gone = worker(fed.at(23))
    assert (gone.state, gone.why) == ("gone", "its process 100 is not there any more")


@pytest.mark.parametrize(
    "process",
    [
        main_process(nodename="other@h"),
        main_process(pid=101),
        main_process(nodename=None, created=500.0),
    ],
    ids=["another worker's", "another number", "began long after the worker"],
)
def test_a_process_that_is_not_certainly_its_own_says_nothing(process: object) -> None:
    fed = Fed()
    fed.beats(0, 10)
    fed.tells_all(10)
    fed.host(11, process)  # type: ignore[arg-type]
    fed.host(13)
    assert worker(fed.at(13)).state == "alive"


def test_mute_but_connected_is_frozen_after_three_pings() -> None:
    fed = Fed()
    fed.beats(0, 10)
    fed.answers(10, Pong(W, 0.01), expected=1)
    for now in (15.0, 20.0):
        fed.answers(now, expected=1)  # Redis: one listens, none has answered
    assert worker(fed.at(24)).state == "silent"
    fed.answers(25, expected=1)
    assert worker(fed.at(26)).state == "frozen"
    assert "connected and mute" in (worker(fed.at(26)).why or "")


def test_another_listener_is_not_mistaken_for_a_mute_worker() -> None:
    fed = Fed()
    fed.beats(0, 10)
    fed.answers(10, Pong(W, 0.01), expected=2)  # somebody else listens and never answers
    for now in (15.0, 20.0, 25.0, 30.0):
        fed.answers(now, expected=1)  # the worker is dead, the other one still there
    assert worker(fed.at(30)).state == "silent"
    assert worker(fed.at(45)).state == "gone"


def test_a_vanished_pidbox_is_gone_after_half_a_minute() -> None:
    fed = Fed()
    fed.beats(0, 10)
    fed.answers(15, present=(W,), expected=1)
    fed.answers(20, absent=(W,), expected=0)
    assert worker(fed.at(25)).state == "silent"
    assert worker(fed.at(41)).state == "gone"


def test_known_by_its_pidbox_alone() -> None:
    fed = Fed()
    for now in (5.0, 10.0, 15.0, 20.0):
        fed.answers(now, present=("deaf@h",), expected=1)
    assert worker(fed.at(21), "deaf@h").state == "frozen"


def test_two_processes_of_one_name_are_told_and_a_restart_is_not() -> None:
    fed = Fed()
    for now in range(0, 12, 2):
        fed.beat(now, pid=100)
        fed.beat(now + 1, pid=200)
    two = worker(fed.at(12))
    assert two.pids == (100, 200)
    fed.events(13, goodbye(13, pid=200))
    assert worker(fed.at(13)).state == "alive", "the other one is still there"
    again = Fed()
    again.beats(0, 10, pid=100)
    again.beats(12, 20, pid=200)
    assert worker(again.at(21)).pids == (200,)
    assert len(again.at(21).workers) == 1


def test_two_stats_replies_in_one_round_are_two_processes() -> None:
    fed = Fed()
    fed.answers(5, *[StatsReply(W, pid=pid) for pid in (100, 200)], asked=("ping", "stats"))
    assert worker(fed.at(5)).pids == (100, 200)


def test_a_restarted_worker_is_not_what_it_was_before() -> None:
    fed = Fed()
    fed.beats(0, 4)
    fed.tells_all(4)
    assert worker(fed.at(5)).pool == "prefork"
    fed.beats(10, 14, pid=300)
    anew = worker(fed.at(15))
    assert (anew.pid, anew.pool, anew.queues) == (300, None, None)


def test_a_forced_heartbeat_is_partial() -> None:
    fed = Fed()
    fed.beats(0, 4, active=3, processed=7)
    fed.events(5, WorkerHeartbeat(hostname=W, timestamp=T0 + 5, pid=100, freq=5.0))
    seen = worker(fed.at(5))
    assert (seen.heartbeat_every, seen.active, seen.processed, seen.heartbeat_at) == (2.0, 3, 7, T0 + 5)


def test_without_e_is_told_when_it_works_and_nothing_comes() -> None:
    fed = Fed()
    fed.beats(0, 10, processed=5)
    assert worker(fed.at(10)).task_events is None, "it has done nothing yet"
    fed.beats(12, 20, processed=9)
    silent = fed.at(20)
    assert worker(silent).task_events is False
    assert silent.notes == ("w1@h sends no task events: started without -E",)
    assert silent.totals.done_rate is None
    fed.events(21, *run("a", 21))
    assert worker(fed.at(21)).task_events is True
    assert fed.at(21).notes == ()


def test_events_lost_in_a_gap_prove_nothing() -> None:
    fed = Fed()
    fed.beats(0, 4, processed=5)
    fed.cluster.apply(SourceChanged(T0 + 5, "events", DOWN, "gone"))
    fed.cluster.apply(SourceChanged(T0 + 20, "events", UP))
    fed.beats(21, 31, processed=90)
    assert worker(fed.at(31)).task_events is None


def test_what_it_has_done() -> None:
    fed = Fed()
    for number in range(30):
        fed.events(number, *run(f"a{number}", number))
        fed.events(number, *fail(f"b{number}", number))
    seen = worker(fed.at(30))
    assert (seen.finished, seen.failed) == (60, 30)
    assert seen.done_rate == pytest.approx(2.0)
    assert seen.failed_rate == pytest.approx(1.0)


def test_gone_workers_are_forgotten_after_an_hour() -> None:
    fed = Fed()
    fed.beats(0, 4)
    fed.events(5, goodbye(5))
    assert worker(fed.at(3000)).state == "gone"
    assert fed.at(3700).workers == {}


def test_a_flood_of_names_is_bounded_and_told() -> None:
    fed = Fed()
    for number in range(20_050):
        fed.beat(1, f"w{number}@h")
    seen = fed.at(2)
    assert len(seen.workers) == 20_000
    assert any("more than 20,000 node names" in note for note in seen.notes)
    fed.events(3, *run("a", 3, worker="w20049@h"))
    assert fed.at(3).tasks["a"].state == "SUCCESS"

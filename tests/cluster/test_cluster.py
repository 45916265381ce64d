"""Everything together: sources and gaps, inspect replies, hosts, types, totals, losses."""

from __future__ import annotations

import msgspec
import pytest

from celerytop.cluster.notes import UNSEEN
from celerytop.columns import losses
from celerytop.model.broker import BrokerClient, KeyWalk, RabbitBroker, RabbitNode, RedisBroker
from celerytop.model.event import BadEvent, TaskReceived, TaskSent, TaskStarted, TaskSucceeded, WorkerOffline
from celerytop.model.host import Process
from celerytop.model.observation import (
    DOWN,
    UP,
    BrokerMeasured,
    InspectedTask,
    KeysWalked,
    QueueSampled,
    SourceChanged,
    TasksListed,
    WorkersAnswered,
)
from celerytop.model.queue import Queue, QueueSample
from celerytop.model.snapshot import ClusterInfo
from tests.cluster.feeding import INFO, T0, Fed, fail, main_process, run

W = "w1@h"


def listed(place: str, *tasks: InspectedTask, total: int | None = None) -> TasksListed:
    return TasksListed(W, place, tasks, len(tasks) if total is None else total)


def test_a_source_goes_down_and_comes_back() -> None:
    fed = Fed()
    for attempt in range(3):
        fed.cluster.apply(SourceChanged(T0 + 10 + attempt, "events", DOWN, "refused", T0 + 11 + attempt))
    status = fed.quietly(13).source("events")
    assert status is not None
    assert (status.state, status.error, status.attempts, status.retry_at) == (DOWN, "refused", 3, T0 + 13)
    assert (status.since_at, status.seen_at) == (T0 + 10, T0)
    [gap] = fed.quietly(13).gaps
    assert (gap.since_at, gap.until_at, gap.reason) == (T0, None, "refused")
    fed.cluster.apply(SourceChanged(T0 + 20, "events", UP))
    status = fed.quietly(20).source("events")
    assert status is not None
    assert (status.state, status.error, status.attempts) == (UP, None, 0)
    assert [gap.until_at for gap in fed.quietly(20).gaps] == [T0 + 20]


def test_losses_are_counted_and_shown() -> None:
    fed = Fed()
    for number in range(7):
        fed.events(number, bad=2, other=1, dropped=100, last_bad=BadEvent(T0 + number, f"bad {number}"))
    seen = fed.at(7)
    assert (seen.losses.bad, seen.losses.other, seen.losses.dropped) == (14, 7, 700)
    assert [bad.reason for bad in seen.bad_events] == [f"bad {number}" for number in range(2, 7)]
    [gap] = seen.gaps
    assert (gap.since_at, gap.until_at) == (T0, T0 + 6)
    assert gap.reason.startswith("700 events dropped")
    fed.answers(8, listed("reserved", total=5000), asked=("reserved",), late=3)
    assert (fed.at(8).losses.late_replies, fed.at(8).losses.capped_replies) == (3, 1)


def test_that_events_were_not_even_read_is_told() -> None:
    fed = Fed()
    fed.events(10, not_read=0.25)
    [gap] = fed.at(10).gaps
    assert (gap.since_at, gap.until_at) == (T0 + 9.75, T0 + 10)
    assert gap.reason == "task events not read for 0.2 s: more came than could be read"
    fed.events(11, dropped=1200)
    fed.events(12, not_read=1.0)
    seen = fed.at(12)
    assert (seen.losses.not_read_for, seen.losses.dropped) == (1.25, 1200)
    assert [gap.reason for gap in seen.gaps] == [
        "1,200 events dropped, task events not read for 1.2 s: more came than could be read"
    ]
    assert losses(seen)[0] == "task events not read for 1.2s: more came than could be read"


def test_active_makes_tasks_known_where_no_event_told() -> None:
    fed = Fed()
    item = InspectedTask("a", "app.pay", "(1,)", "{}", T0 + 5, 4711, False, "low", "", 3, False)
    fed.answers(10, listed("active", item), listed("scheduled", InspectedTask("b", eta_at=T0 + 99)), asked=("active",))
    tasks = fed.at(11).tasks
    pay = tasks["a"]
    assert (pay.state, pay.place, pay.worker, pay.worker_pid) == ("STARTED", "active", W, 4711)
    assert (pay.acks_late, pay.queue, pay.priority, pay.args, pay.ran(T0 + 11)) == (True, "low", 3, "(1,)", 6.0)
    assert (tasks["b"].state, tasks["b"].place, tasks["b"].eta_at) == ("RECEIVED", "scheduled", T0 + 99)


def test_what_active_lists_no_more_is_over_where_no_events_come() -> None:
    fed = Fed()
    fed.answers(10, listed("active", InspectedTask("a", time_start=T0 + 5)), asked=("active",))
    fed.answers(20, listed("active"), asked=("active",))
    task = fed.at(50).tasks["a"]
    assert (task.state, task.place, task.finished_at, task.ran(T0 + 50)) == ("STARTED", None, T0 + 20, 15.0)
    fed.answers(60, listed("active", InspectedTask("a", time_start=T0 + 5)), asked=("active",))
    assert fed.at(60).tasks["a"].place == "active"
    assert fed.at(60).tasks["a"].finished_at is None


def test_events_have_the_last_word_on_what_active_lists() -> None:
    fed = Fed()
    fed.events(1, *run("a", 9.95)[:2])
    fed.events(10, *run("a", 9.95)[2:])
    fed.answers(10.1, listed("active", InspectedTask("a", time_start=T0 + 8)), asked=("active",))
    assert (fed.at(11).tasks["a"].state, fed.at(11).tasks["a"].place) == ("SUCCESS", None)
    fed.events(12, TaskStarted("b", T0 + 12, W))
    fed.answers(12.1, listed("active"), asked=("active",))
    assert fed.at(13).tasks["b"].finished_at is None, "the list is older than the start"


def test_an_end_that_was_never_told_is_believed_when_active_misses_it_twice() -> None:
    fed = Fed()
    fed.events(1, *run("other", 1), TaskStarted("a", T0 + 1, W))
    fed.answers(10, listed("active"), asked=("active",))
    assert fed.at(10).tasks["a"].finished_at is None
    fed.answers(15, listed("active"), asked=("active",))
    assert fed.at(15).tasks["a"].finished_at == T0 + 15


def test_a_gone_worker_runs_nothing() -> None:
    fed = Fed()
    fed.beats(0, 10)
    fed.answers(10, listed("active", InspectedTask("a", "x", time_start=T0 + 5)), asked=("active",))
    assert fed.at(10).types["x"].active == 1
    fed.events(11, WorkerOffline(hostname=W, timestamp=T0 + 11, pid=100))
    assert not fed.at(12).types["x"].active
    fed.at(15)
    assert fed.at(30).tasks["a"].place is None
    assert fed.at(30).tasks["a"].finished_at is not None


def test_reserved_is_kept_up_to_date_by_events() -> None:
    fed = Fed()
    fed.beats(0, 4)
    fed.tells_all(5)
    for number in range(5):
        fed.events(6, TaskReceived(f"{number}", T0 + 6, W, name="x"))
    assert fed.at(6).workers[W].reserved == 5
    fed.events(7, TaskStarted("0", T0 + 7, W))
    seen = fed.at(7).workers[W]
    assert (seen.reserved, seen.scheduled, seen.active) == (4, 0, 1)
    fed.events(8, TaskSucceeded("0", T0 + 8, W, "1", 1.0))
    assert fed.at(8).workers[W].active == 0


def test_children_walk_down_and_retries_do_not() -> None:
    fed = Fed()
    fed.events(1, TaskReceived("p", T0, W, name="x", root_id="p"))
    fed.events(1, TaskReceived("c", T0, W, name="x", root_id="p", parent_id="p"))
    fed.events(2, TaskReceived("c", T0 + 2, W, name="x", root_id="c", parent_id="c", retries=1))
    assert fed.at(2).children == {"p": ("c",)}
    assert fed.at(2).tasks["c"].root_id == "p"


def test_processes_are_joined_to_workers_and_tasks() -> None:
    fed = Fed()
    fed.beats(0, 4)
    fed.tells_all(4, active=(InspectedTask("a", "app.pay", time_start=T0 + 1, worker_pid=101),))
    child, reused = Process(101, 100, T0 - 50, "child", 100), Process(102, 100, T0 + 3, "child", 100)
    stranger = Process(900, 1, T0, "main", 900, nodename="other@h")
    fed.host(5, main_process(nodename=None), child, reused, stranger)
    main, first, second, other = fed.at(5).hosts["h"].processes
    assert (main.nodename, first.nodename, first.task_id, first.task_name) == (W, W, "a", "app.pay")
    assert (second.task_id, other.nodename, other.task_id) == (None, "other@h", None)


def test_a_number_that_was_given_anew_runs_no_task_of_before() -> None:
    fed = Fed()
    fed.beats(0, 4)
    fed.tells_all(4, active=(InspectedTask("a", "app.pay", time_start=T0 - 20, worker_pid=101),))
    fed.host(5, main_process(), Process(101, 100, T0 + 1, "child", 100))
    assert fed.at(5).hosts["h"].processes[1].task_id is None


def test_types_count_rates_quantiles_and_share_of_slots() -> None:
    fed = Fed()
    fed.beats(0, 60)
    for second in range(60):
        fed.events(second, *run(f"a{second}", second, runtime=1 + second % 10), *fail(f"b{second}", second, name="bad"))
    fed.events(60, TaskStarted("r", T0 + 60, W), TaskReceived("r", T0 + 60, W, name="app.add"))
    good, bad = fed.at(60).types["app.add"], fed.at(60).types["bad"]
    assert (good.received, good.succeeded, good.failed, good.failure_rate) == (61, 60, 0, 0.0)
    assert (bad.failed, bad.failure_rate) == (60, 1.0)
    assert good.rate == pytest.approx(1.0, rel=0.05)
    assert (good.runtime.count, good.runtime.max) == (60, 10)
    assert good.runtime.p95 == pytest.approx(10, rel=0.011)
    assert (good.active, bad.active) == (1, 0)
    assert fed.at(60).totals.failed_per_minute == pytest.approx(60, rel=0.05)


def test_waiting_is_from_sent_or_eta_to_started() -> None:
    fed = Fed()
    fed.events(1, TaskSent("a", T0 + 1, "gen@h", name="x", queue="q"), *run("a", 11.1, runtime=10.0, name="x"))
    waiting = fed.at(12).types["x"].waiting
    assert waiting.count == 1
    assert waiting.max == pytest.approx(0.1)


def test_a_double_failure_is_one_end() -> None:
    fed = Fed()
    fed.events(1, *fail("a", 1), *fail("a", 1.2)[2:])
    seen = fed.at(5)
    assert (seen.types["app.add"].failed, seen.workers[W].finished, seen.workers[W].failed) == (1, 1, 1)


def test_totals_are_not_known_until_somebody_tells() -> None:
    fed = Fed()
    nothing = fed.at(0.5).totals
    assert set(msgspec.structs.asdict(nothing).values()) == {None}
    fed.beats(1, 5)
    fed.tells_all(5, active=(InspectedTask("a", time_start=T0),))
    fed.queues(5, Queue("celery", messages=7, unacked=2), Queue("other", messages=1, unacked=0))
    told = fed.at(6).totals
    assert (told.workers, told.workers_alive, told.slots, told.slots_busy) == (1, 1, 4, 1)
    assert (told.ready, told.unacked) == (8, 2)
    assert told.done_rate is None, "nobody has sent a task event yet"


def test_no_queue_at_all_is_zero_ready() -> None:
    fed = Fed()
    fed.queues(1)
    assert fed.at(1).totals.ready == 0


def test_the_broker_keeps_its_walk_and_its_trend() -> None:
    fed = Fed()
    for second in range(0, 100, 5):
        broker = RedisBroker(T0 + second, version="7.0.15", server="redis", used_memory=1000 + second * 10)
        fed.cluster.apply(BrokerMeasured(T0 + second, broker))
    fed.cluster.apply(KeysWalked(T0 + 96, KeyWalk(T0 + 96, (), 10, 20, False)))
    seen = fed.at(100)
    assert isinstance(seen.broker, RedisBroker)
    assert seen.broker.memory_growth == pytest.approx(10.0)
    assert seen.broker.walk is not None
    assert seen.cluster.version == "redis 7.0.15"


def test_rabbitmq_is_named_and_its_nodes_summed() -> None:
    fed = Fed()
    nodes = (RabbitNode("a", mem_used=100), RabbitNode("b", mem_used=50))
    fed.cluster.apply(BrokerMeasured(T0, RabbitBroker(T0, version="3.10.8", nodes=nodes, unacked=4)))
    seen = fed.at(1)
    assert seen.cluster.version == "RabbitMQ 3.10.8"
    assert seen.broker is not None
    assert seen.broker.memory_trend is not None
    assert seen.broker.memory_trend.values == (150.0,)
    assert seen.totals.unacked == 4


def test_samples_of_the_last_queues_are_kept() -> None:
    fed = Fed()
    for number in range(12):
        fed.cluster.apply(QueueSampled(T0, QueueSample(f"q{number}", T0, 1, 1)))
    assert list(fed.at(1).samples) == [f"q{number}" for number in range(4, 12)]


def test_passive_says_what_it_cannot_see() -> None:
    fed = Fed(sources=("events", "queues", "broker"), info=ClusterInfo("t", "u", "redis", mode="PASSIVE"))
    fed.queues(1, Queue("q", messages=5))
    seen = fed.at(2)
    assert seen.queues["q"].consumers is None
    assert any(note.startswith("passive: workers are not asked") for note in seen.notes)


def test_a_denied_control_is_noted() -> None:
    fed = Fed()
    fed.cluster.apply(SourceChanged(T0 + 1, "control", DOWN, "Redis refuses PUBLISH: needs +publish."))
    assert fed.at(2).notes == ("workers cannot be asked: Redis refuses PUBLISH: needs +publish.",)
    fed.cluster.apply(SourceChanged(T0 + 3, "control", DOWN, "user mon has no right: workers cannot be asked"))
    assert fed.at(4).notes == ("user mon has no right: workers cannot be asked",), "said once"


def test_queues_that_only_the_management_api_would_name_are_a_blind_spot() -> None:
    fed = Fed(sources=("events", "control", "queues", "broker", "management"))
    assert fed.at(1).notes == ()
    fed.cluster.apply(SourceChanged(T0 + 1, "management", DOWN, "management API: nobody listens"))
    assert fed.at(2).notes == (UNSEEN,)
    fed.cluster.apply(SourceChanged(T0 + 3, "queues", DOWN, "RabbitMQ is frozen"))
    assert fed.at(4).notes == (), "nothing is seen at all, and the sources say so"


def test_every_connection_of_a_process_is_named() -> None:
    fed = Fed()
    fed.beats(0, 4)
    fed.host(5, main_process(sockets=("10.0.0.5:1", "10.0.0.5:2")))
    clients = (BrokerClient("10.0.0.5:1"), BrokerClient("10.0.0.5:2"), BrokerClient("10.0.0.6:1", worker="x@h"))
    fed.cluster.apply(BrokerMeasured(T0 + 5, RabbitBroker(T0 + 5, client_list=clients)))
    broker = fed.at(6).broker
    assert broker is not None and broker.client_list is not None
    assert [(one.worker, one.pid) for one in broker.client_list] == [(W, 100), (W, 100), ("x@h", None)]


def test_a_snapshot_never_changes_after_and_can_be_written_as_json() -> None:
    fed = Fed()
    fed.beats(0, 4)
    fed.tells_all(5, active=(InspectedTask("z", "x", time_start=T0 + 1),))
    fed.queues(5, Queue("celery", messages=50))
    fed.events(6, *run("a", 6))
    before = fed.at(6)
    frozen = msgspec.json.encode(before)
    fed.events(7, *fail("a2", 7), TaskReceived("c", T0 + 7, W, name="x", parent_id="a"))
    fed.queues(8, Queue("celery", messages=60))
    fed.cluster.apply(WorkersAnswered(T0 + 9, ("active",), (listed("active"),)))
    fed.at(9)
    assert msgspec.json.encode(before) == frozen
    assert before.cluster == INFO


def test_reset_rates_counts_anew_and_forgets_no_total() -> None:
    fed = Fed()
    for second in range(20):
        fed.events(second, *run(f"{second}", second))
    fed.cluster.reset_rates()
    seen = fed.at(20)
    assert seen.totals.done_rate == 0.0
    assert seen.workers[W].finished == 20

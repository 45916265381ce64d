"""Worker control on real workers of every pool: each gets its own verdict, and the effect is asserted past it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from celerytop.model.action import (
    AddConsumer,
    Autoscale,
    CancelConsumer,
    DisableEvents,
    EnableEvents,
    PoolGrow,
    PoolRestart,
    PoolShrink,
    RateLimit,
    TimeLimit,
)
from celerytop.model.outcome import CANNOT, DONE, NOT_DONE, REFUSED, UNKNOWN, WILL_APPLY_LATER
from celerytop.undo import enabled_here, paused_here, restoring
from tests.actions.crew import Crew, replied, settled_words
from tests.actions.stage import PATIENCE
from tests.rig import RedisServer, wait_until
from tests.rig.send import close_apps

pytestmark = [pytest.mark.worker, pytest.mark.timeout(120)]  # five workers are started within the first test


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    restarts = {"worker_pool_restarts": True, "worker_prefetch_multiplier": 1}
    with RedisServer() as server:
        made = Crew(server.url(), Path(tmp_path_factory.mktemp("state")))
        try:
            yield made.hire(
                prefork={"concurrency": 2, "conf": restarts},
                threads={"pool": "threads", "conf": {**restarts, "worker_disable_rate_limits": True}},
                solo={"pool": "solo", "events": False},
                gevent={"pool": "gevent"},
                scaled={"extra": ("--autoscale", "3,1")},
            )
        finally:
            made.close()
            close_apps()


# -------------------------------------------------------------------------------------------------- sizes
def test_growing_is_seen_in_each_pool_that_can_and_refused_by_those_that_cannot(crew: Crew) -> None:
    before = crew.processes("prefork")
    report = crew.report(PoolGrow(workers=crew.named(), n=1))
    found = crew.by_name(report)
    assert settled_words(found) == {
        "prefork": DONE,
        "gevent": DONE,
        "threads": CANNOT,
        "solo": CANNOT,
        "scaled": CANNOT,
    }
    assert replied(report) == 5
    now = crew.processes("prefork")
    assert len(now) == 3 and before < now
    assert found["prefork"].evidence[0].source == "stats" and str(*(now - before)) in found["prefork"].evidence[0].text
    assert crew.stats("gevent")["pool"]["max-concurrency"] == 3
    assert "no attribute 'grow'" in found["threads"].sentence
    assert "autoscale" in found["scaled"].sentence and "max 3, min 1" in found["scaled"].sentence


def test_shrinking_is_seen_when_the_process_has_gone(crew: Crew) -> None:
    before = crew.processes("prefork")
    found = crew.do(PoolShrink(workers=crew.named("prefork", "gevent"), n=1))
    assert settled_words(found) == {"prefork": DONE, "gevent": DONE}
    assert len(crew.processes("prefork")) == len(before) - 1
    assert crew.stats("gevent")["pool"]["max-concurrency"] == 2


def test_a_pool_that_is_all_busy_does_not_shrink_and_none_is_left_without_a_slot(crew: Crew) -> None:
    tasks = [crew.start("prefork", "rig.sleep", 60)[0] for _ in crew.processes("prefork")]
    before = crew.processes("prefork")
    busy = crew.do(PoolShrink(workers=crew.named("prefork"), n=1))["prefork"]
    assert busy.outcome == NOT_DONE and "busy" in busy.sentence
    assert crew.processes("prefork") == before
    none = crew.do(PoolShrink(workers=crew.named("prefork", "gevent"), n=2))
    assert settled_words(none) == {"prefork": REFUSED, "gevent": REFUSED}
    assert crew.stats("gevent")["pool"]["max-concurrency"] == 2
    for task in tasks:
        crew.revoke(task, signal="SIGKILL")
    wait_until(lambda: len(crew.processes("prefork") - before) == 2, PATIENCE, "the pool is whole again")


def test_autoscale_only_where_there_is_an_autoscaler(crew: Crew) -> None:
    found = crew.do(Autoscale(workers=crew.named(), max=4, min=2))
    assert settled_words(found) == dict.fromkeys(crew.workers, CANNOT) | {"scaled": DONE}
    assert "--autoscale" in found["gevent"].sentence
    stats = crew.stats("scaled")
    assert (stats["autoscaler"]["max"], stats["autoscaler"]["min"]) == (4, 2)
    assert crew.do(Autoscale(workers=crew.named("scaled"), max=1, min=3))["scaled"].outcome == REFUSED
    assert crew.stats("scaled")["autoscaler"]["max"] == 4


def test_a_restart_is_done_only_when_every_process_is_new(crew: Crew) -> None:
    before = crew.processes("prefork")
    runs = crew.start("prefork", "rig.subprocess", 60)[0]
    action = PoolRestart(workers=crew.named("prefork", "threads", "gevent"), wait=15.0)
    report = crew.report(action, at="processes it had are still there", then=lambda: crew.end("prefork"))
    found = crew.by_name(report)
    if found["prefork"].outcome == DONE:
        assert not before & crew.processes("prefork")
    else:
        assert found["prefork"].outcome == WILL_APPLY_LATER
        assert any(str(pid) in found["prefork"].sentence for pid in before), "who was old when it was said"
    assert (found["threads"].outcome, found["gevent"].outcome) == (CANNOT, CANNOT)
    assert "only prefork" in found["threads"].sentence and "worker_pool_restarts" in found["gevent"].sentence
    crew.wait_state(runs, "SUCCESS")
    # an old process that was idle goes after its next task
    crew.wait_state(crew.send("prefork", "rig.add", 1, 2), "SUCCESS")
    assert len(before & crew.processes("prefork")) < len(before)


# ------------------------------------------------------------------------------------------------- queues
def test_a_paused_queue_is_not_taken_from_until_it_is_resumed(crew: Crew, tmp_path: Path) -> None:
    pause = CancelConsumer(workers=crew.named("prefork", "gevent"), queue="gevent")
    found = crew.do(pause)
    assert settled_words(found) == {"prefork": DONE, "gevent": DONE}
    assert "did not take from" in found["prefork"].sentence and "prefetched" in found["gevent"].sentence
    assert crew.queues("gevent") == set()
    assert paused_here(crew.see()) == {"gevent": crew.named("gevent")}
    (resume,) = restoring(crew.see())
    assert resume == AddConsumer(workers=crew.named("gevent"), queue="gevent")
    # what is sent now waits, though the worker takes what another queue brings
    waits = crew.send("gevent", "rig.add", 1, 1)
    assert crew.do(AddConsumer(workers=crew.named("gevent"), queue="other"))["gevent"].outcome == DONE
    crew.wait_state(crew.send("other", "rig.add", 2, 2), "SUCCESS")
    task = crew.task(waits)
    assert task is None or task.state == "PENDING"
    assert crew.do(resume)["gevent"].outcome == DONE
    crew.wait_state(waits, "SUCCESS")
    assert crew.queues("gevent") == {"gevent", "other"}
    assert paused_here(crew.see()) == {}
    assert "already" in crew.do(resume)["gevent"].sentence
    crew.do(CancelConsumer(workers=crew.named("gevent"), queue="other"))


def test_who_is_paused_with_it_is_not_said_to_take_on(crew: Crew) -> None:
    both = crew.named("prefork", "gevent")
    crew.do(AddConsumer(workers=both, queue="shared"))

    def known() -> bool:
        return all("shared" in {one.name for one in crew.see().workers[name].queues or ()} for name in both)

    wait_until(known, PATIENCE, "both are known to take from it")
    found = crew.do(CancelConsumer(workers=both, queue="shared"))
    assert settled_words(found) == {"prefork": DONE, "gevent": DONE}
    assert not any("take on" in one.sentence for one in found.values())
    assert "Nobody but those told with it" in found["gevent"].sentence


# ------------------------------------------------------------------------------------------------- limits
def test_a_rate_limit_is_read_back_from_every_worker(crew: Crew) -> None:
    workers = crew.named("prefork", "threads", "gevent", "solo")
    wait_until(lambda: crew.see().workers[crew.named("threads")[0]].settings, PATIENCE, "its settings are known")
    found = crew.do(RateLimit(workers=workers, task_name="rig.echo", rate_limit="1/h"))
    assert settled_words(found) == dict.fromkeys(("prefork", "gevent", "solo"), DONE) | {"threads": CANNOT}
    assert "worker_disable_rate_limits" in found["threads"].sentence
    first, second = (crew.send("gevent", "rig.echo", n) for n in range(2))
    crew.wait_state(first, "SUCCESS")
    crew.wait_state(second, "RECEIVED")
    crew.wait_state(crew.send("gevent", "rig.add", 1, 2), "SUCCESS")  # it came later, and went past what is held back
    assert crew.wait_state(second, "RECEIVED").started_at is None
    none = crew.do(RateLimit(workers=workers, task_name="rig.echo", rate_limit="0"))
    assert none["solo"].outcome == DONE and "No limit" in none["solo"].sentence
    unknown = crew.do(RateLimit(workers=workers, task_name="rig.nope", rate_limit="1/m"))
    assert set(settled_words(unknown).values()) == {CANNOT} and "unknown task" in unknown["solo"].sentence
    wrong = crew.report(RateLimit(workers=workers, task_name="rig.echo", rate_limit="10/x"))
    assert {one.outcome for one in wrong.outcomes} == {REFUSED} and replied(wrong) == 0


def test_a_time_limit_is_set_at_once_and_holds_only_after_the_worker_has_read_it_again(crew: Crew) -> None:
    workers = crew.named("prefork", "threads")
    found = crew.do(TimeLimit(workers=workers, task_name="rig.lock", soft=0.5, hard=30.0))
    assert settled_words(found) == {"prefork": WILL_APPLY_LATER, "threads": CANNOT}
    assert "soft_time_limit=0.5 time_limit=30.0" in found["prefork"].evidence[0].text
    assert "ok" in crew.ask("pool_restart", "prefork")
    failed = crew.wait_state(crew.send("prefork", "rig.lock"), "FAILURE")
    assert "SoftTimeLimitExceeded" in (failed.exception or "")
    none = crew.do(TimeLimit(workers=crew.named("prefork"), task_name="rig.lock"))["prefork"]
    assert none.outcome == WILL_APPLY_LATER and "soft_time_limit=None" in none.evidence[0].text
    assert (
        crew.do(TimeLimit(workers=crew.named("prefork"), task_name="rig.lock", soft=-1))["prefork"].outcome == REFUSED
    )
    unknown = crew.do(TimeLimit(workers=crew.named("prefork"), task_name="rig.nope", hard=1))["prefork"]
    assert unknown.outcome == CANNOT and "unknown task" in unknown.sentence


# ------------------------------------------------------------------------------------------------- events
def test_events_are_switched_on_and_back_off_and_only_by_whom_we_switched_on(crew: Crew) -> None:
    silent = crew.send("solo", "rig.add", 1, 1)
    wait_until(lambda: f"[{silent}] succeeded" in crew.workers["solo"].log, PATIENCE, "nobody is told that it has run")
    found = crew.do(EnableEvents(workers=crew.named("solo", "gevent")))
    assert settled_words(found) == {"solo": DONE, "gevent": DONE}
    assert "already" in found["gevent"].sentence
    assert enabled_here(crew.see()) == crew.named("solo")
    crew.wait_state(crew.send("solo", "rig.add", 2, 2), "SUCCESS")
    (back,) = restoring(crew.see())
    assert back == DisableEvents(workers=crew.named("solo"))
    assert crew.do(back)["solo"].outcome == DONE
    assert enabled_here(crew.see()) == ()
    again = crew.do(EnableEvents(workers=crew.named("solo")))["solo"]
    assert again.outcome == DONE and "now" in again.sentence  # it had really been off
    crew.do(back)
    assert crew.task(silent) is None or crew.task(silent).state != "SUCCESS"  # type: ignore[union-attr]


def test_a_worker_started_with_e_says_it_is_off_and_is_not(crew: Crew) -> None:
    crew.wait_state(crew.send("gevent", "rig.add", 1, 2), "SUCCESS")
    found = crew.do(DisableEvents(workers=crew.named("gevent")))["gevent"]
    assert found.outcome == CANNOT and "-E" in found.sentence
    assert any("already disabled" in one.text for one in found.evidence)
    crew.wait_state(crew.send("gevent", "rig.add", 3, 4), "SUCCESS")


# ------------------------------------------------------------------------------------- who does not answer
def test_a_busy_solo_worker_applies_it_later(crew: Crew) -> None:
    runs = crew.send("solo", "rig.subprocess", 60)
    wait_until(lambda: runs in crew.workers["solo"].log, PATIENCE, "it runs")
    report = crew.report(CancelConsumer(workers=crew.named("solo", "gevent"), queue="solo", wait=2.5))
    found = crew.by_name(report)
    assert settled_words(found) == {"solo": WILL_APPLY_LATER, "gevent": DONE}
    crew.end("solo")
    wait_until(lambda: crew.queues("solo") == set(), PATIENCE, "it has read it after its task")
    assert crew.do(AddConsumer(workers=crew.named("solo"), queue="solo"))["solo"].outcome == DONE


def test_a_frozen_worker_is_not_said_to_have_done_anything_and_a_dead_one_is_refused(crew: Crew) -> None:
    crew.workers["scaled"].freeze()
    found = crew.do(EnableEvents(workers=crew.named("scaled"), wait=1.5))["scaled"]
    assert found.outcome in (WILL_APPLY_LATER, UNKNOWN)
    crew.workers["scaled"].kill()
    crew.wait_worker("scaled", "gone")
    gone = crew.report(PoolGrow(workers=crew.named("scaled")))
    assert gone.outcomes[0].outcome == REFUSED and not any(step.source == "sent" for step in gone.steps)

"""What a box says of a task that was not stopped at the first try, and of what will never run after it."""

from __future__ import annotations

from msgspec.structs import replace

from celerytop.consequences import judge, still
from celerytop.model import action as act
from celerytop.model.action import Target
from celerytop.model.outcome import Outcome
from celerytop.model.queue import Message, Unacked
from celerytop.model.task import Task
from tests.test_consequences import AT, TARGET, here, picture, revoke, text, worker

REVOKED = {"state": "REVOKED", "terminated": True, "finished_at": AT - 10, "runtime": 50.0}


def not_stopped(rung: str | None) -> dict[str, Outcome]:
    """The last verdict."""
    return {"aaaa1111-x": Outcome("revoke", "NOT_STOPPED", AT, task_id="aaaa1111-x", next=rung)}


def test_what_celery_calls_revoked_and_was_not_stopped_can_be_climbed_on() -> None:
    snapshot = picture(task=REVOKED, outcomes=not_stopped("SIGKILL"))
    found = revoke(snapshot, "SIGKILL")
    assert found.barred is None and "no proof" in text(found) and "running 1m" in text(found)
    assert found.sends == "Sends nothing to a worker: SIGKILL from this host to 4711"
    assert still(snapshot, act.Revoke(targets=(TARGET,), signal="SIGKILL")) == act.Revoke(
        targets=(TARGET,), signal="SIGKILL"
    )


def test_a_frozen_worker_is_sent_no_signal() -> None:
    said = revoke(picture(workers=worker(state="frozen")))
    assert "WILL APPLY LATER: w1@h hears nothing now" in text(said) and "kill the process tree" in text(said)
    assert "the pool process is killed" not in text(said) and said.sends == "Sends, to w1@h only:  revoke(1 id)"


def test_a_greenlet_is_over_when_it_has_come_back() -> None:
    told = picture(pool="gevent", task={**REVOKED, "worker_pid": None})
    assert "whether its greenlet has is not known" in (revoke(told).barred or "")
    back = picture(pool="gevent", task={**REVOKED, "worker_pid": None, "exited": True})
    assert "is over (REVOKED)" in (revoke(back).barred or "")


def test_some_run_and_some_wait() -> None:
    waiting = Task("bbbb2222-x", "app.pay", state="RECEIVED", worker="w1@h", queue="celery")
    snapshot = picture()
    both = replace(snapshot, tasks={**snapshot.tasks, "bbbb2222-x": waiting})
    targets = (TARGET, Target("bbbb2222-x", "app.pay", "RECEIVED", "w1@h", queue="celery"))
    found = judge(both, act.Revoke(targets=targets, signal="SIGTERM"))
    words = "revoke(1 id, terminate=True, signal=SIGTERM) and revoke(1 id)"
    assert found.sends == f"Sends, to w1@h only:  {words}"
    assert judge(both, act.Revoke(targets=targets)).sends == "Sends, to w1@h only:  revoke(2 ids)"


def test_what_a_killed_process_left_behind_can_be_killed() -> None:
    snapshot = picture(task=REVOKED, outcomes=not_stopped("tree"))
    assert judge(snapshot, act.KillTree(targets=(TARGET,))).barred is None
    assert "only the last rung" in (revoke(snapshot).barred or "")


def test_what_somebody_else_has_terminated_and_is_still_there_is_left_to_the_last_rung() -> None:
    snapshot = picture(task=REVOKED, hosts=here())
    assert judge(snapshot, act.KillTree(targets=(TARGET,))).barred is None
    assert "forgotten" in (revoke(snapshot).barred or "")
    gone = picture(task=REVOKED, outcomes=not_stopped(None))
    assert "is over (REVOKED)" in (revoke(gone).barred or "")


def test_the_steps_that_will_never_run_are_named_where_its_message_is_known() -> None:
    known = Message(
        "aaaa1111-x", "app.pay", steps=("app.book", "app.mail", "app.book"), chord_body="app.settle", group="g"
    )
    found = text(revoke(picture(unacked=Unacked(1, messages=(known,)))))
    assert "the next steps of its chain (app.book x2, app.mail)" in found
    assert "the body of its chord (app.settle)" in found and "not known; if there" not in found
    nothing = Message("aaaa1111-x", "app.pay", steps=())
    assert "chain" not in text(revoke(picture(unacked=Unacked(1, messages=(nothing,)))))


def test_a_tree_inside_the_main_process_is_not_offered() -> None:
    found = judge(picture(pool="threads", hosts=here()), act.KillTree(targets=(TARGET,)))
    assert "only the whole worker" in (found.barred or "")


def test_descendants_of_which_none_is_known_yet_can_still_be_asked_for() -> None:
    action = act.Revoke(targets=(), descendants="only", roots=("aaaa1111-x",))
    found = judge(picture(), action)
    assert found.sends == "Sends, of steps not sent yet, a plain revoke to all who may take them"
    assert found.barred is None
    assert "what follows aaaa1111" in found.title
    assert "steps not sent yet are read from its message" in text(found)

"""Whom an action is for, from a Snapshot."""

from __future__ import annotations

from celerytop.actions.descend import future_ids
from celerytop.model.host import Host, Process
from celerytop.model.snapshot import ClusterInfo, Snapshot
from celerytop.model.task import Task
from celerytop.model.worker import Worker
from celerytop.targets import descendants, target_of

TREE = {"root": ("a", "b"), "a": ("c", "root"), "c": ("a",), "b": ("d",)}


def picture() -> Snapshot:
    states = {"root": "SUCCESS", "a": "SUCCESS", "b": "STARTED", "c": "RECEIVED"}
    tasks = {name: Task(name, name="t", state=state, worker="w@h") for name, state in states.items()}
    tasks["b"] = Task("b", name="t", state="STARTED", worker="w@h", worker_pid=77, queue="q")
    tasks["green"] = Task("green", state="STARTED", worker="g@h", worker_pid=77)
    mine = Process(77, 1, 123.5, "child", 70, nodename="w@h")
    others = Process(77, 1, 99.0, "child", 60, nodename="x@h")
    workers = {"w@h": Worker("w@h", pool="prefork"), "g@h": Worker("g@h", pool="gevent")}
    hosts = {"h": Host("h", 0.0, processes=(others, mine))}
    info = ClusterInfo("c", "u", "redis")
    return Snapshot(0.0, info, tasks=tasks, workers=workers, children=TREE, hosts=hosts)


def test_a_target_is_the_process_as_it_was_seen() -> None:
    target = target_of(picture(), "b")
    assert (target.worker, target.worker_pid, target.pid_started_at, target.queue) == ("w@h", 77, 123.5, "q")
    assert target_of(picture(), "green").worker_pid is None
    assert target_of(picture(), "unheard-of").state is None


def test_descendants_are_all_that_came_of_it_and_have_not_ended() -> None:
    assert [target.task_id for target in descendants(picture(), "root")] == ["b", "c", "d"]
    assert [target.task_id for target in descendants(picture(), "root", finished=True)] == ["a", "b", "c", "d"]
    assert descendants(picture(), "d") == ()


def test_steps_of_a_chord_in_a_chain_are_found_and_rubbish_is_not() -> None:
    header = b'[{"options": {"task_id": "m1"}}, {"options": {"task_id": "m2"}}]'
    chord = (
        b'{"subtask_type": "chord", "options": {}, "kwargs": {"header": {"subtask_type": "group", "kwargs": {"tasks": '
    )
    chord += header + b'}}, "body": {"options": {"task_id": "body", "link": [{"options": {"task_id": "after"}}]}}}}'
    body = b'[[], {}, {"chain": [' + chord + b'], "chord": {"options": {"task_id": "mine"}}, "callbacks": null}]'
    assert future_ids(body) == ("m1", "m2", "body", "after", "mine")
    for rubbish in (b"", b"x", b"[]", b"[1,2,3]", b'[[],{},{"chain": 5, "chord": [1]}]', b'[[],{},{"chain": [[], 1]}]'):
        assert future_ids(rubbish) == ()
    assert len(future_ids(b'[[],{},{"chord":' + b'{"options":{"link":[' * 200 + b"]}}" * 200 + b"}]")) == 0

"""Commands that are shown to be copied: exact, quoted, without a secret, and such as celery itself can read."""

from __future__ import annotations

import shlex
from typing import get_args

import click
import pytest
from msgspec.structs import replace

from celerytop.equivalent import IDS, equivalent
from celerytop.model import action as act
from celerytop.model.action import AnyAction, Target
from celerytop.model.snapshot import ClusterInfo

PROD = ClusterInfo("prod", "redis://***@10.0.0.5:6379/0", "redis")
RUNS = Target("id-1", "app.pay", "STARTED", "w1@h", 4711, queue="celery")
WAITS = Target("id-2", "app.pay", "RECEIVED", "w2@h", queue="celery")
QUEUED = Target("id-3", "app.pay", queue="celery")
W = ("w1@h", "w2@h")

LINES: list[tuple[AnyAction, str]] = [
    (act.Revoke(targets=(RUNS,)), "celery -A app control -d w1@h revoke id-1"),
    (act.Revoke(targets=(RUNS,), signal="SIGTERM"), "celery -A app control -d w1@h terminate SIGTERM id-1"),
    (act.Revoke(targets=(WAITS,), signal="SIGTERM"), "celery -A app control -d w2@h revoke id-2"),
    (act.Revoke(targets=(QUEUED,)), "celery -A app control -d w8@h,w9@h revoke id-3"),
    (act.PoolGrow(workers=W, n=4), "celery -A app control -d w1@h,w2@h pool_grow 4"),
    (act.PoolShrink(workers=W, n=1), "celery -A app control -d w1@h,w2@h pool_shrink 1"),
    (act.Autoscale(workers=W, max=8, min=2), "celery -A app control -d w1@h,w2@h autoscale 8 2"),
    (act.AddConsumer(workers=W, queue="a b"), "celery -A app control -d w1@h,w2@h add_consumer 'a b'"),
    (act.CancelConsumer(workers=W, queue="q"), "celery -A app control -d w1@h,w2@h cancel_consumer q"),
    (
        act.RateLimit(workers=W, task_name="app.pay", rate_limit="10/m"),
        "celery -A app control -d w1@h,w2@h rate_limit app.pay 10/m",
    ),
    (
        act.TimeLimit(workers=W, task_name="app.pay", soft=5, hard=9.5),
        "celery -A app control -d w1@h,w2@h time_limit app.pay 5 9.5",
    ),
    (act.EnableEvents(workers=W), "celery -A app control -d w1@h,w2@h enable_events"),
    (act.DisableEvents(workers=W), "celery -A app control -d w1@h,w2@h disable_events"),
    (act.PoolRestart(workers=W), "celery -A app control -d w1@h,w2@h pool_restart"),
    (act.Shutdown(workers=W), "celery -A app control -d w1@h,w2@h shutdown"),
    (
        act.RevokeStamped(header="tenant", values=("acme",), workers=W),
        "celery -A app control -d w1@h,w2@h revoke_by_stamped_headers tenant=acme",
    ),
    (act.PurgeQueue(queue="payments"), "celery -A app purge -Q payments"),
    (
        act.SendTask(name="app.add", args='[1, "a"]', kwargs='{"b": 2}', queue="q", countdown=3, expires=60),
        """celery -A app call app.add -a '[1, "a"]' -k '{"b": 2}' --queue q --countdown 3 --expires 60""",
    ),
]
WITHOUT: list[AnyAction] = [
    act.KillTree(targets=(RUNS,)),
    act.KillWorker(worker="w1@h", pid=4690, pid_started_at=1.0),
    act.RevokeStamped(header="tenant", values=("acme",), workers=W, signal="SIGTERM"),
    act.TimeLimit(workers=W, task_name="app.pay", hard=9.0),
    act.PurgeQueue(queue="payments", filter="name:x"),
    act.MoveMessages(queue="a", to="b"),
    act.RestoreDump(path="/tmp/x"),
    act.RestoreUnacked(),
    act.Resend(task_id="id-1"),
]


@pytest.mark.parametrize(("action", "line"), LINES, ids=lambda value: type(value).__name__)
def test_the_command_that_does_the_same(action: AnyAction, line: str) -> None:
    assert equivalent(action, PROD, "app", ("w8@h", "w9@h")).commands == (line,)


@pytest.mark.parametrize("action", WITHOUT, ids=lambda value: type(value).__name__)
def test_where_celery_has_none_a_sentence_says_so(action: AnyAction) -> None:
    found = equivalent(action, PROD, "app")
    assert found.commands == () and found.line is None
    assert found.note is not None and found.note.startswith("Celery has no command")


def test_every_class_has_its_command_or_its_sentence() -> None:
    assert {type(action) for action, _ in LINES} | {type(action) for action in WITHOUT} == set(get_args(AnyAction))


@pytest.mark.parametrize("line", [line for _, line in LINES], ids=range(len(LINES)))
def test_celery_reads_its_options_and_arguments(line: str) -> None:
    from celery.bin.call import call
    from celery.bin.control import control
    from celery.bin.purge import purge

    words = shlex.split(line)[3:]
    command: click.Command = {"control": control, "call": call, "purge": purge}[words[0]]
    context = command.make_context(words[0], words[1:], resilient_parsing=True)
    if words[0] == "control":
        assert context.params["destination"]
        assert context.params["command"] in line and "-d" not in context.args


def test_without_an_app_the_broker_is_named_and_its_password_is_not() -> None:
    line = equivalent(act.Shutdown(workers=("w1@h",)), PROD).line
    assert line == "celery -b 'redis://***@10.0.0.5:6379/0' control -d w1@h shutdown"


def test_what_the_line_alone_cannot_do_is_said() -> None:
    """Pasted as it stands it would not log in, or talk past workers that listen under another prefix."""
    action = act.Shutdown(workers=("w1@h",))
    assert "Put the password where ***" in (equivalent(action, PROD).note or "")
    plain = replace(PROD, url="redis://10.0.0.5:6379/0")
    assert equivalent(action, plain).note is None
    moved = replace(plain, renamed=True)
    assert "-A APP instead of -b" in (equivalent(action, moved).note or "")
    assert equivalent(action, replace(moved, url=PROD.url), "app").note is None


def test_running_and_waiting_tasks_are_told_apart_and_each_goes_to_its_worker() -> None:
    found = equivalent(act.Revoke(targets=(RUNS, WAITS, QUEUED), signal="SIGKILL"), PROD, "app", ("w9@h",))
    assert found.commands == (
        "celery -A app control -d w1@h terminate SIGKILL id-1",
        "celery -A app control -d w2@h revoke id-2",
        "celery -A app control -d w9@h revoke id-3",
    )
    assert found.line is not None and found.line.count(" && ") == 2


def test_no_command_has_more_than_fifty_ids() -> None:
    many = tuple(Target(f"id-{number}", state="STARTED", worker="w1@h") for number in range(120))
    found = equivalent(act.Revoke(targets=many, signal="SIGTERM"), PROD, "app")
    counts = [sum(word.startswith("id-") for word in shlex.split(line)) for line in found.commands]
    assert counts == [IDS, IDS, 20]


@pytest.mark.parametrize("name", ["a; rm -rf /", "$(reboot)", "`x`", "a'b", 'a"b', "a\nb", "-f", "--help", "*", ""])
def test_hostile_names_stay_one_word(name: str) -> None:
    line = equivalent(act.CancelConsumer(workers=(name or "w",), queue=name), PROD, "app").line
    assert line is not None
    assert shlex.split(line)[-1] == name
    if name.startswith("-"):
        assert "--" in shlex.split(line)


def test_a_count_is_never_answered_with_a_purge() -> None:
    for action in (act.PurgeQueue(queue="q", dry_run=True), act.MoveMessages(queue="q", to="p", dry_run=True)):
        found = equivalent(action, PROD, "app")
        assert found.commands == () and found.note is not None and "page by page" in found.note

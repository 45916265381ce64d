"""Columns of the tasks page."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from celerytop import format as fmt
from celerytop.columns.actions import verdict_text, verdict_tone, verdicts
from celerytop.columns.column import Column, Look, Values, or_none, share_of
from celerytop.model.secret import mask_args
from celerytop.model.snapshot import Snapshot
from celerytop.model.task import READY_STATES, Task

ENOUGH = 20
"""Finished runs of a type before any run is called slow."""
VERY_SLOW = 10.0
"""Times P95."""

_ORDER = ("SUCCESS", "PENDING", "RECEIVED", "STARTED", "REJECTED", "REVOKED", "RETRY", "FAILURE")
_TONES = {"FAILURE": "bad", "RETRY": "warn", "REJECTED": "warn", "REVOKED": "dim", "PENDING": "dim"}


def ratio(task: Task, snapshot: Snapshot) -> float | None:
    """Its running time by the P95 of its type; ``None`` below 20 finished runs."""
    kind = snapshot.types.get(task.name) if task.name is not None else None
    if kind is None or kind.runtime.count < ENOUGH:
        return None
    return share_of(task.ran(snapshot.at), kind.runtime.p95)


def _ratios(tasks: Sequence[Task], snapshot: Snapshot) -> list[float | None]:
    """``ratio`` of many; most are over, and their time is written down."""
    usual: dict[str | None, float | None] = {
        name: kind.runtime.p95 for name, kind in snapshot.types.items() if kind.runtime.count >= ENOUGH
    }
    p95, at = usual.get, snapshot.at
    return [
        ran / whole
        if (ran := task.runtime if task.runtime is not None else task.ran(at)) is not None and (whole := p95(task.name))
        else None
        for task in tasks
    ]


def _runtimes(tasks: Sequence[Task], snapshot: Snapshot) -> list[float | None]:
    at = snapshot.at
    return [task.runtime if task.runtime is not None else task.ran(at) for task in tasks]


def _ages(tasks: Sequence[Task], snapshot: Snapshot) -> list[float | None]:
    at = snapshot.at
    return [(at - seen if seen < at else 0.0) if (seen := task.updated_at) else None for task in tasks]


def _each(name: str) -> Values:
    """An attribute of many."""
    one = attrgetter(name)
    return lambda tasks, snapshot: list(map(one, tasks))


def _states(tasks: Sequence[Task], snapshot: Snapshot) -> list[int | None]:
    return list(map({state: place for place, state in enumerate(_ORDER)}.get, (task.state for task in tasks)))


def _places(tasks: Sequence[Task], snapshot: Snapshot) -> list[str | None]:
    return [task.place or ("finished" if task.state in READY_STATES else None) for task in tasks]


def _usuals(tasks: Sequence[Task], snapshot: Snapshot) -> list[float | None]:
    usual: dict[str | None, float | None] = {name: kind.runtime.p95 for name, kind in snapshot.types.items()}
    return list(map(usual.get, map(attrgetter("name"), tasks)))


def task_tone(task: Task, snapshot: Snapshot) -> str:
    """How a task is: failed, far over what is usual (bad), over it (warn)."""
    if task.state == "FAILURE":
        return "failed"
    times = ratio(task, snapshot) if task.runs() else None
    if times is not None and times > 1:
        return "bad" if times > VERY_SLOW else "warn"
    return "warn" if task.state in ("RETRY", "REJECTED") else ""


def slow_tone(task: Task, snapshot: Snapshot) -> str:
    """The tone of its running time alone."""
    tone = task_tone(task, snapshot)
    return "" if tone == "failed" or task.state != "STARTED" else tone


def state_tone(task: Task, snapshot: Snapshot) -> str:
    """The tone of its state alone."""
    return "dim" if task.untold() else _TONES.get(task.state, "")


def state_word(task: Task) -> str:
    """Celery's state, but no more running for what runs no more: its worker sends no events, or is gone.

    >>> state_word(Task("a", state="STARTED")), state_word(Task("a", state="STARTED", finished_at=1.0))
    ('STARTED', 'ENDED ?')
    """
    return "ENDED ?" if task.untold() else task.state


def times_text(times: float | None) -> str:
    """How many times P95.

    >>> times_text(82.3), times_text(0.68), times_text(None)
    ('82 x', '0.7 x', '-')
    """
    if times is None:
        return fmt.NONE
    return f"{fmt.count(times)} x" if times >= 9.95 else f"{times:.1f} x"


def masked(text: str | None, task_id: str | None, look: Look) -> str | None:
    """Arguments without what looks like a secret, unless a person asked for this one task's."""
    if text is None or task_id in look.unmasked:
        return text
    return mask_args(text)


def call_text(args: str | None, kwargs: str | None, task_id: str | None, look: Look) -> str:
    """Arguments as one text.

    >>> call_text("(1, 2)", "{}", "a", Look()), call_text(None, None, "a", Look())
    ('(1, 2)', '?')
    >>> call_text("()", "{'a': 1}", "a", Look()), call_text("('k',)", "{'token': 'x'}", "a", Look())
    ("{'a': 1}", "('k',) {'token': ***}")
    """
    if args is None and kwargs is None:
        return fmt.UNKNOWN
    parts = [part for part in (args, kwargs) if part not in (None, "", "()", "[]", "{}")]
    return " ".join(masked(part, task_id, look) or "" for part in parts) or "()"


def runtime_text(task: Task, snapshot: Snapshot) -> str:
    """A clock while it runs, the measured time once it is over, ``-`` when it has not started."""
    ran = task.ran(snapshot.at)
    if task.runs():
        return fmt.clock_duration(ran)
    if ran is None and task.state in ("PENDING", "RECEIVED", "RETRY", "REJECTED"):
        return fmt.NONE
    if ran is None and task.state == "REVOKED" and task.started_at is None:
        return fmt.NONE
    return fmt.duration(ran)


def _usual(task: Task, snapshot: Snapshot, look: Look) -> str:
    kind = snapshot.types.get(task.name) if task.name is not None else None
    if kind is None or not kind.runtime.count:
        return "- / -"
    return f"{fmt.duration(kind.runtime.p50)} / {fmt.duration(kind.runtime.p95)}"


def _usual_p95(task: Task, snapshot: Snapshot) -> float | None:
    kind = snapshot.types.get(task.name) if task.name is not None else None
    return kind.runtime.p95 if kind is not None else None


def _text(value: str | None) -> str:
    return value if value else fmt.UNKNOWN


def _pid(task: Task) -> str:
    if task.worker_pid is not None:
        return str(task.worker_pid)
    return fmt.UNKNOWN if task.runs() else fmt.NONE


def _eta(task: Task, snapshot: Snapshot, look: Look) -> str:
    if task.eta_at is None:
        return fmt.NONE
    left = task.eta_at - snapshot.at
    return f"in {fmt.duration(left)}" if left >= 0 else f"{fmt.duration(-left)} ago"


def _age(at: float | None, snapshot: Snapshot) -> float | None:
    return None if at is None else max(0.0, snapshot.at - at)


def _exception(task: Task, snapshot: Snapshot, look: Look) -> str:
    if task.exception is None:
        return fmt.UNKNOWN if task.state == "FAILURE" else fmt.NONE
    return masked(task.exception, task.task_id, look) or fmt.NONE


def _where(task: Task) -> str | None:
    return task.place or ("finished" if task.state in READY_STATES else None)


# fmt: off
TASKS: tuple[Column, ...] = (
    Column("id", "ID", 8, "left", lambda t, s: t.task_id, lambda t, s, k: t.task_id[:8],
           "first eight characters of its id", values=_each("task_id")),
    Column("task", "TASK", 11, "left", lambda t, s: t.name, lambda t, s, k: _text(t.name),
           "name of its type", flexible=True, most=40, weight=2, values=_each("name")),
    Column("state", "STATE", 8, "left", lambda t, s: _ORDER.index(t.state) if t.state in _ORDER else None,
           lambda t, s, k: state_word(t), "Celery's state; ENDED ?: over, and no event told how",
           tone=state_tone, values=_states),
    Column("verdict", "VERDICT", 11, "left", lambda t, s: verdicts(s).get(t.task_id),
           lambda t, s, k: verdict_text(t.task_id, s), "what was seen of an action on it; shown once there was one",
           tone=lambda t, s: verdict_tone(t.task_id, s), drop=8, flexible=True, most=16, optional=True),
    Column("place", "PLACE", 9, "left", lambda t, s: _where(t), lambda t, s, k: _where(t) or fmt.NONE,
           "active, reserved or scheduled at its worker", drop=90, optional=True, values=_places),
    Column("worker", "WORKER", 12, "left", lambda t, s: t.worker, lambda t, s, k: t.worker or fmt.NONE,
           "worker that has or had it", flexible=True, most=28, values=_each("worker")),
    Column("pid", "PID", 7, "right", lambda t, s: t.worker_pid, lambda t, s, k: _pid(t),
           "pool process that runs it", drop=50, values=_each("worker_pid")),
    Column("runtime", "RUNTIME", 8, "right", lambda t, s: t.ran(s.at), lambda t, s, k: runtime_text(t, s),
           "how long it ran, or has been running", tone=slow_tone, values=_runtimes),
    Column("usual", "P50 / P95", 13, "right", _usual_p95, _usual,
           "usual running time of its type", tone=lambda t, s: "dim", drop=70, values=_usuals),
    Column("ratio", "RATIO", 7, "right", ratio, lambda t, s, k: times_text(ratio(t, s)),
           "RUNTIME by P95 of its type; - below 20 finished runs", tone=slow_tone, values=_ratios),
    Column("retries", "RETRY", 5, "right", lambda t, s: t.retries, lambda t, s, k: fmt.count(t.retries),
           "times it was retried", tone=lambda t, s: "warn" if t.retries else "", drop=30, values=_each("retries")),
    Column("queue", "QUEUE", 12, "left", lambda t, s: t.queue, lambda t, s, k: _text(t.queue),
           "queue it came by", drop=91, flexible=True, most=28, optional=True, values=_each("queue")),
    Column("waited", "WAITED", 6, "right", lambda t, s: t.waited(), lambda t, s, k: fmt.duration(t.waited()),
           "from sent to started; needs task-sent events", drop=92, optional=True),
    Column("received", "RECEIVED", 8, "right", lambda t, s: t.received_at,
           lambda t, s, k: fmt.clock(t.received_at, k.utc), "when a worker took it", drop=93, optional=True,
           values=_each("received_at")),
    Column("age", "AGE", 6, "right", lambda t, s: _age(t.updated_at or None, s),
           lambda t, s, k: fmt.duration(_age(t.updated_at or None, s)),
           "since the last news of it", drop=94, optional=True, values=_ages),
    Column("eta", "ETA", 9, "right", lambda t, s: t.eta_at, _eta,
           "when it may start", drop=95, optional=True, values=_each("eta_at")),
    Column("priority", "PRIO", 4, "right", lambda t, s: t.priority,
           lambda t, s, k: or_none(t.priority, fmt.count), "priority", drop=96, optional=True,
           values=_each("priority")),
    Column("root", "ROOT", 8, "left", lambda t, s: t.root_id, lambda t, s, k: (t.root_id or fmt.NONE)[:8],
           "first task of its flow", drop=97, optional=True, values=_each("root_id")),
    Column("parent", "PARENT", 8, "left", lambda t, s: t.parent_id,
           lambda t, s, k: (t.parent_id or fmt.NONE)[:8], "task that sent it", drop=98, optional=True,
           values=_each("parent_id")),
    Column("sender", "SENT BY", 14, "left", lambda t, s: t.sender, lambda t, s, k: _text(t.sender),
           "node that sent it; needs task-sent events", drop=99, optional=True, values=_each("sender")),
    Column("exception", "EXCEPTION", 20, "left", lambda t, s: t.exception, _exception,
           "what it raised", tone=lambda t, s: "bad" if t.exception else "", drop=100,
           flexible=True, optional=True, values=_each("exception")),
    Column("args", "ARGS", 16, "left", lambda t, s: t.args,
           lambda t, s, k: call_text(t.args, t.kwargs, t.task_id, k),
           "arguments, what looks like a secret masked", drop=101, flexible=True, values=_each("args")),
)
# fmt: on

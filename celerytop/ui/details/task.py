"""A task in full: what is known of it, in order of time, and its family."""

from __future__ import annotations

from collections.abc import Iterator

from celerytop import format as fmt
from celerytop.columns import Look
from celerytop.columns.tasks import (
    masked,
    ratio,
    runtime_text,
    state_tone,
    state_word,
    task_tone,
    times_text,
)
from celerytop.columns.workers import processes_of
from celerytop.model.host import Host, Process
from celerytop.model.queue import Message
from celerytop.model.snapshot import Snapshot, message_of
from celerytop.model.task import READY_STATES, Task
from celerytop.ui.details.family import family
from celerytop.ui.details.line import BLANK, Line, Span, Target, field, fold, line, pairs, ruler
from celerytop.ui.details.outcome import of_task

_TRACEBACK = 200
"""Lines shown of one."""
_FAILED = ("FAILURE", "RETRY")


def lines(snapshot: Snapshot, task_id: str, look: Look, width: int) -> list[Line]:
    """The whole page. A message that only waits on the broker is shown as far as its headers go."""
    task = snapshot.tasks.get(task_id)
    message = message_of(snapshot, task_id)
    if task is None and message is None:
        return [
            BLANK,
            line((" Nothing is known of this task.", "warn")),
            line(("  It was forgotten (memory is bounded), or nobody has sent an event about it.", "dim")),
            BLANK,
            *of_task(task_id, snapshot, look, width),
            *family(snapshot, Task(task_id), look, width),
        ]
    if task is None:
        assert message is not None
        return [*_message(message, snapshot, look, width), *of_task(task_id, snapshot, look, width)]
    return [
        *_facts(task, snapshot, look, width),
        *_outcome(task, look, width),
        *of_task(task_id, snapshot, look, width),
        *_timeline(task, snapshot, look, width),
        *family(snapshot, task, look, width),
        *_process(task, snapshot, look, width),
        *_traceback(task, look, width),
    ]


def title(snapshot: Snapshot, task_id: str) -> list[Span]:
    """State, running time and how that compares, for the line above the page."""
    task = snapshot.tasks.get(task_id)
    if task is None:
        return [("waits in its queue", "")] if message_of(snapshot, task_id) is not None else []
    tone = "bad" if task.state == "FAILURE" else task_tone(task, snapshot)
    spans: list[Span] = [(state_word(task), tone or state_tone(task, snapshot))]
    if (text := runtime_text(task, snapshot)) != fmt.NONE:
        spans.append((f"  {text}", ""))
    times = ratio(task, snapshot)
    if times is not None and task.name is not None:
        usual = snapshot.types[task.name].runtime.p95
        spans.append((f"  {times_text(times)} p95 {fmt.duration(usual)}", tone if tone in ("bad", "warn") else "dim"))
    return spans


# ------------------------------------------------------------------------------------------------------ facts
def _arguments(args: str | None, kwargs: str | None, task_id: str | None, look: Look, width: int) -> Iterator[Line]:
    hidden = False
    for label, text in (("args", args), ("kwargs", kwargs)):
        if text is None:
            yield field(label, ("?", "dim"))
            continue
        shown = masked(text, task_id, look) or ""
        yield from fold(label, fmt.plain(shown) if look.ascii else shown, width, look)
        hidden = hidden or shown != text
    if hidden:
        yield field("", ("what looks like a secret is masked   m: unmask", "dim"))


def _facts(task: Task, snapshot: Snapshot, look: Look, width: int) -> Iterator[Line]:
    yield field("task", (task.name or "?", "title"))
    yield from _arguments(task.args, task.kwargs, task.task_id, look, width)
    if task.worker is None:
        yield field("worker", ("none yet", "dim"))
    else:
        pid = "" if task.worker_pid is None else f"pid {task.worker_pid}"
        place = "" if task.place is None else f"{task.place} there"
        yield field("worker", *pairs(("", task.worker), ("", place), ("", pid)), target=Target("worker", task.worker))
    yield field(
        "queue",
        *pairs(
            ("", task.queue or "?"),
            ("exchange", task.exchange or ""),
            ("routing key", task.routing_key if task.routing_key and task.routing_key != task.queue else ""),
        ),
        target=Target("queue", task.queue) if task.queue is not None else None,
    )
    yield field(
        "delivery",
        *pairs(
            ("retries", fmt.count(task.retries)),
            ("priority", fmt.count(task.priority)),
            ("acks_late", _yes(task.acks_late)),
            ("redelivered", _yes(task.redelivered)),
        ),
    )
    yield from _moments(task, snapshot, look)


def _moments(task: Task, snapshot: Snapshot, look: Look) -> Iterator[Line]:
    now = snapshot.at
    if task.eta_at is not None:
        left = task.eta_at - now
        when = f"in {fmt.duration(left)}" if left > 0 else fmt.ago(-left)
        yield field("eta", *pairs(("", fmt.moment(task.eta_at, now, look.utc)), ("", when)))
    if task.expires_at is not None:
        left = task.expires_at - now
        over = left <= 0
        late: Span = (f"   {'over' if over else 'in'} {fmt.duration(abs(left))}", "warn" if over else "")
        yield field("expires", fmt.moment(task.expires_at, now, look.utc), late)


def _yes(value: bool | None) -> str:
    return "?" if value is None else "yes" if value else "no"


def _message(message: Message, snapshot: Snapshot, look: Look, width: int) -> Iterator[Line]:
    """A task of which there is a message and no event."""
    yield field("task", (message.name or "?", "title"))
    yield from _arguments(message.args, message.kwargs, message.task_id, look, width)
    target = Target("queue", message.queue) if message.queue is not None else None
    yield field("queue", message.queue or "?", target=target)
    yield field(
        "message",
        *pairs(
            ("size", fmt.size(message.size) if message.size else "?"),
            ("retries", fmt.count(message.retries)),
            ("priority", fmt.count(message.priority)),
            ("redelivered", _yes(message.redelivered)),
        ),
    )
    yield field("sent by", message.origin or "?")
    if message.reserved_at is not None:
        yield field("taken", fmt.ago(max(0.0, snapshot.at - message.reserved_at)))
    task = Task(
        message.task_id or "?",
        message.name,
        root_id=message.root_id,
        parent_id=message.parent_id,
        eta_at=message.eta_at,
        expires_at=message.expires_at,
    )
    yield from _moments(task, snapshot, look)
    if message.group is not None:
        yield field("group", message.group)
    yield line((" Read from its message on the broker: no event has told of this task yet.", "dim"))
    yield from family(snapshot, task, look, width)


def _outcome(task: Task, look: Look, width: int) -> Iterator[Line]:
    if task.result is not None:
        result = masked(task.result, task.task_id, look) or ""
        yield from fold("result", fmt.plain(result) if look.ascii else result, width, look, most=4)
    if task.exception is not None:
        raised = masked(task.exception, task.task_id, look) or ""
        tone = "bad" if task.state == "FAILURE" else "warn"
        yield from fold("exception", fmt.plain(raised) if look.ascii else raised, width, look, tone, most=4)
    if task.state == "REVOKED":
        why = "expired" if task.expired else "terminated" if task.terminated else "revoked before it ran"
        signal = f" by signal {task.signum}" if task.signum is not None else ""
        yield field("revoked", (why + signal, "warn"))


# --------------------------------------------------------------------------------------------------- timeline
def _steps(task: Task, now: float) -> list[tuple[float, str, str, str]]:
    """(moment, what, note, tone), in order of time."""
    by = f"by {task.worker}" if task.worker is not None else ""
    waited = task.waited()
    end = {"SUCCESS": "succeeded", "FAILURE": "failed", "REVOKED": "revoked"}.get(task.state, "gone")
    ran = _ran(task, now)
    told = f"{ran or 'not at its worker any more'}; how it ended nobody told" if task.untold() else ran
    steps = [
        (task.sent_at, "sent", f"by {task.sender}" if task.sender else "", ""),
        (task.received_at, "received", by, ""),
        (task.started_at, "started", f"waited {fmt.duration(waited)}" if waited is not None else "", ""),
        (task.retried_at, "retried", f"retry {task.retries}" if task.retries else "", "warn"),
        (task.finished_at, end, told, "bad" if task.state == "FAILURE" else ""),
    ]
    known = [(at, what, note, tone) for at, what, note, tone in steps if at is not None]
    known.sort(key=lambda step: step[0])  # stable: what happened at one moment keeps its usual order
    if task.runs():
        known.append((now, "now", _ran(task, now).replace("ran", "has been running for"), "note"))
    elif task.state not in READY_STATES and task.eta_at is not None and task.eta_at > now:
        known.append((task.eta_at, "may start", "its ETA", "note"))
    return known


def _ran(task: Task, now: float) -> str:
    ran = task.ran(now)
    return "" if ran is None else f"ran {fmt.duration(ran)}"


def _timeline(task: Task, snapshot: Snapshot, look: Look, width: int) -> Iterator[Line]:
    yield ruler("timeline", width, f"last news {fmt.ago(max(0.0, snapshot.at - task.updated_at))}")
    steps = _steps(task, snapshot.at)
    room = max((len(fmt.moment(step[0], snapshot.at, look.utc)) for step in steps), default=0)
    if not steps:
        yield line(("  no event of it has been seen", "dim"))
    last: float | None = None
    for at, what, note, tone in steps:
        # Clocks of several machines, corrected: a small step back may remain, and is shown.
        offset = "" if last is None else ("+" if at >= last else "") + fmt.duration(at - last)
        yield line(
            f"  {fmt.moment(at, snapshot.at, look.utc):<{room}}",
            (f"{offset:>8}  ", "dim"),
            (f"{what:<10}", tone),
            (f" {note}", "dim"),
        )
        last = at
    if task.sent_at is None and steps:
        yield line(("  when it was sent is not known: no task-sent event of it was seen", "dim"))


# ---------------------------------------------------------------------------------------------------- process
def _found(task: Task, snapshot: Snapshot) -> tuple[Host, Process] | None:
    worker = snapshot.workers.get(task.worker) if task.worker is not None else None
    if worker is None or task.state in READY_STATES:
        return None
    for process in processes_of(worker, snapshot):
        if process.task_id == task.task_id:
            host = next((host for host in snapshot.hosts.values() if process in host.processes), None)
            return None if host is None else (host, process)
    return None


def _process(task: Task, snapshot: Snapshot, look: Look, width: int) -> Iterator[Line]:
    found = _found(task, snapshot)
    if found is None:
        return
    host, process = found
    age = f"measured {fmt.ago(max(0.0, snapshot.at - host.measured_at))}"
    yield ruler(f"process {process.pid} on {host.name}, {process.role} of {process.main_pid}", width, age)
    stopped = process.status in ("stopped", "zombie", "dead")
    yield line(
        " ",
        ("state ", "dim"),
        (process.status or "?", "bad" if stopped else ""),
        "   ",
        *pairs(
            ("wchan", process.wait_channel or "?"),
            ("threads", fmt.count(process.threads)),
            ("fds", fmt.count(process.fds)),
            ("children", fmt.count(process.children)),
        ),
    )
    growth = "" if process.rss_growth is None else f" ({fmt.size(process.rss_growth * 3600, signed=True)}/h)"
    yield line(
        " ",
        *pairs(
            ("cpu", f"{fmt.rate(process.cpu_percent)}% ({fmt.duration(process.cpu_time)} since its start)"),
            ("rss", fmt.size(process.rss) + growth),
        ),
    )
    if process.command is not None:
        yield line(" ", (fmt.plain(process.command) if look.ascii else process.command, "dim"))


def _traceback(task: Task, look: Look, width: int) -> Iterator[Line]:
    if not task.traceback:
        return
    parts = task.traceback.rstrip("\n").split("\n")
    yield ruler("traceback", width, f"{len(parts)} lines")
    if len(parts) > _TRACEBACK:
        yield line((f" ... {len(parts) - _TRACEBACK} lines more", "dim"))
    for part in parts[-_TRACEBACK:]:
        shown = _short_path(_masked_line(part, task.task_id, look), width - 1)
        shown = fmt.plain(shown) if look.ascii else shown
        file = part.lstrip().startswith("File ")
        yield line((" " + shown, "dim" if file else ""))


def _masked_line(text: str, task_id: str, look: Look) -> str:
    """Mask what the line says, not the name of the exception in front of it.

    >>> _masked_line("CardError: token=abc declined", "a", Look()), _masked_line("    pay(card='4')", "a", Look())
    ('CardError: token=*** declined', '    pay(card=***)')
    """
    head, sign, said = text.partition(": ")
    if sign and head.replace(".", "").isidentifier():
        return head + sign + (masked(said, task_id, look) or "")
    return masked(text, task_id, look) or ""


def _short_path(text: str, width: int) -> str:
    """A line of a traceback whose path is cut in front, so that the line number stays in view.

    >>> _short_path('  File "/srv/app/.venv/lib/celery/app/trace.py", line 479, in trace_task', 50)
    '  File "…/celery/app/trace.py", line 479, in trace_task'
    """
    head, quote, rest = text.partition('File "')
    path, end, tail = rest.partition('"')
    too_long = fmt.cells(text) - width
    if too_long <= 0 or not quote or not end or head.strip():
        return text
    parts = path.split("/")
    while len(parts) > 3 and too_long > 0:
        too_long -= fmt.cells(parts.pop(0)) + 1
    return f"{head}{quote}…/{'/'.join(parts)}{end}{tail}"

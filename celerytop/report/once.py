"""A Snapshot as JSON, schema 1: machine output is a contract.

Keys are the model's field names, ``null`` is not known, units are seconds, bytes and counts, moments are Unix seconds.
Two things differ from the model, because JSON has no infinity and a reader has no clock of ours: ``queues[].drains_in``
is ``null`` when ``never_drains`` is true, and ``tasks[].runtime`` of a running task is what it has run so far.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

from celerytop.model.broker import Broker, RabbitBroker, RedisBroker
from celerytop.model.event import BadEvent
from celerytop.model.host import Host
from celerytop.model.queue import Message, Queue, Unacked
from celerytop.model.secret import mask_args
from celerytop.model.snapshot import ClusterInfo, Gap, Losses, Snapshot, SourceStatus, Totals
from celerytop.model.task import Task, TaskType, whole
from celerytop.model.worker import Worker
from celerytop.report.choice import Choice

SCHEMA = 1
"""Raised when a key changes its meaning or goes; a new key does not raise it."""


class QueueRow(Queue, frozen=True, eq=False, kw_only=True):
    """A queue; ``drains_in`` is ``null`` when it never drains."""

    never_drains: bool | None = None
    """``null``: not known, or too few messages to say."""


class Report(msgspec.Struct, frozen=True, eq=False):
    """What ``celerytop once --json`` prints. A page that was not asked for is an empty list."""

    schema: int
    at: float
    cluster: ClusterInfo
    totals: Totals
    sources: tuple[SourceStatus, ...]
    queues: tuple[QueueRow, ...]
    workers: tuple[Worker, ...]
    tasks: tuple[Task, ...]
    types: tuple[TaskType, ...]
    broker: Broker | None
    hosts: tuple[Host, ...]
    unacked: Unacked | None
    losses: Losses
    gaps: tuple[Gap, ...]
    bad_events: tuple[BadEvent, ...]
    notes: tuple[str, ...]


def report(snapshot: Snapshot, choice: Choice) -> Report:
    """Turn a Snapshot into what is printed: rows chosen, arguments masked, runtimes up to now."""
    shown = choice.shows
    return Report(
        schema=SCHEMA,
        at=snapshot.at,
        cluster=snapshot.cluster,
        totals=snapshot.totals,
        sources=snapshot.sources,
        queues=tuple(_queue(queue) for queue in choice.queues(snapshot)),
        workers=tuple(choice.workers(snapshot)),
        tasks=tuple(_task(task, snapshot.at) for task in choice.tasks(snapshot)),
        types=tuple(choice.types(snapshot)),
        broker=snapshot.broker if shown("broker") else None,
        hosts=tuple(snapshot.hosts.values()) if shown("hosts") else (),
        unacked=_unacked(snapshot.unacked) if shown("queues") else None,
        losses=snapshot.losses,
        gaps=snapshot.gaps,
        bad_events=snapshot.bad_events,
        notes=(*ills(snapshot.broker), *snapshot.notes),
    )


def ills(broker: Broker | None) -> Iterator[str]:
    """What ails a broker that answers: said whatever page is asked for.

    >>> list(ills(RabbitBroker(0.0, alarms=("memory on rabbit@a",), blocked="low on memory")))
    ['alarm: memory on rabbit@a, nobody can publish', 'the broker blocks publishing: low on memory']
    """
    if isinstance(broker, RedisBroker) and broker.trouble:
        yield broker.trouble
    if isinstance(broker, RabbitBroker):
        yield from (f"alarm: {alarm}, nobody can publish" for alarm in broker.alarms or ())
        if broker.blocked:
            yield f"the broker blocks publishing: {broker.blocked}"


def as_json(snapshot: Snapshot, choice: Choice) -> str:
    """The report as one line of JSON."""
    return msgspec.json.encode(report(snapshot, choice)).decode()


def json_schema() -> str:
    """JSON Schema (2020-12) of the report, made from the same structs that print it."""
    schema = msgspec.json.schema(Report)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode()


def _queue(queue: Queue) -> QueueRow:
    fields = {name: getattr(queue, name) for name in queue.__struct_fields__}
    drains = queue.drains_in
    never = None if drains is None else math.isinf(drains)
    fields["drains_in"] = None if never else drains
    fields["head"], fields["tail"] = _message(queue.head), _message(queue.tail)
    return QueueRow(**fields, never_drains=never)


def _message(message: Message | None) -> Message | None:
    if message is None:
        return None
    return msgspec.structs.replace(message, args=_masked(message.args), kwargs=_masked(message.kwargs))


def _masked(text: str | None) -> str | None:
    return None if text is None else mask_args(text)


def _task(task: Task, now: float) -> Task:
    return msgspec.structs.replace(
        whole(task),
        runtime=task.ran(now),
        args=_masked(task.args),
        kwargs=_masked(task.kwargs),
        result=_masked(task.result),
        exception=_masked(task.exception),
        traceback=_masked(task.traceback),
    )


def _unacked(unacked: Unacked | None) -> Unacked | None:
    if unacked is None:
        return None
    masked = tuple(_message(message) for message in unacked.messages)
    return msgspec.structs.replace(unacked, messages=masked)

"""``active``, ``reserved`` and ``scheduled`` replies: tasks a worker holds.

``reserved`` and ``scheduled`` carry the arguments as objects of any size: they stay undecoded unless small.
"""

from __future__ import annotations

from typing import Any

import msgspec

from celerytop.model.observation import InspectedTask, TasksListed
from celerytop.sources.wire_fields import decode, flag, integer, is_mapping, moment, name, number, pid, text

TASK_LIMIT = 1000
"""Tasks read of one reply; its total says how many there were."""
_ARGS_LIMIT = 4096
_NOTHING = msgspec.Raw(b"")


class _Task(msgspec.Struct):
    id: Any = None
    name: Any = None
    args: msgspec.Raw = _NOTHING
    kwargs: msgspec.Raw = _NOTHING
    time_start: Any = None
    worker_pid: Any = None
    acknowledged: Any = None
    delivery_info: Any = None


class _Scheduled(msgspec.Struct):
    eta: Any = None
    priority: Any = None
    request: _Task = msgspec.field(default_factory=_Task)


_raws = msgspec.json.Decoder(list[msgspec.Raw])
_task = msgspec.json.Decoder(_Task)
_scheduled = msgspec.json.Decoder(_Scheduled)
_anything: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def decode_listed(nodename: str, place: str, raw: bytes) -> TasksListed | None:
    """Read a list of tasks; an entry that is none is left out, but counted in ``total``."""
    entries = decode(_raws, raw)
    if entries is None:
        return None
    found = (_entry(place, bytes(entry)) for entry in entries[:TASK_LIMIT])
    return TasksListed(nodename, place, tuple(task for task in found if task is not None), len(entries))


def _entry(place: str, raw: bytes) -> InspectedTask | None:
    if place != "scheduled":
        return _typed(decode(_task, raw), None)
    entry = decode(_scheduled, raw)
    return None if entry is None else _typed(entry.request, moment(entry.eta))


def _typed(task: _Task | None, eta_at: float | None) -> InspectedTask | None:
    if task is None or (task_id := name(task.id)) is None:
        return None
    route = task.delivery_info if is_mapping(task.delivery_info) else {}
    return InspectedTask(
        task_id,
        name=name(task.name),
        args=_arguments(task.args),
        kwargs=_arguments(task.kwargs),
        time_start=number(task.time_start),
        worker_pid=pid(task.worker_pid),  # gevent's and eventlet's is an address, above any pid
        acknowledged=flag(task.acknowledged),
        queue=name(route.get("routing_key")),
        exchange=text(route.get("exchange"), 512),
        priority=integer(route.get("priority")),
        redelivered=flag(route.get("redelivered")),
        eta_at=eta_at,
    )


def _arguments(raw: msgspec.Raw) -> str | None:
    """As ``argsrepr``: a string as it is, objects as Python prints them, big ones as their JSON, cut."""
    content = bytes(raw)
    if not content or content == b"null":
        return None
    if len(content) > _ARGS_LIMIT and content[:1] != b'"':
        return text(content[: _ARGS_LIMIT + 8].decode("utf-8", "replace"), _ARGS_LIMIT)
    found = decode(_anything, content)
    if isinstance(found, str):
        return text(found)
    return text(repr(tuple(found) if isinstance(found, list) else found))

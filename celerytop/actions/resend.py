"""Send a task again with its original body and headers, where these are really known; never from a printed form.

argsrepr, which events and screens show, is text for people: cut at about 1,000 characters, and made of reprs. A task
rebuilt from it would be another task.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from celerytop.actions.backend import result_of
from celerytop.actions.deed import Deed
from celerytop.actions.dump import Dump, DumpError
from celerytop.actions.messages import Original
from celerytop.actions.send import DEFAULT_QUEUE, deliver
from celerytop.actions.task_message import composed, follows, resent
from celerytop.model.action import Resend
from celerytop.model.outcome import REFUSED
from celerytop.sources.wire_fields import is_mapping


def resend(deed: Deed) -> Iterator[None]:
    """Find the original and publish it under a new id."""
    action = cast(Resend, deed.action)
    try:
        original = _from_dump(deed, action) if action.dump else _from_broker(deed, action.task_id)
    except DumpError as error:
        deed.settle(REFUSED, f"Nothing was sent. {error}", task_id=action.task_id)
        return
    yield
    now = deed.now()
    if original is not None and not original.headers.get("task"):
        deed.settle(REFUSED, "Nothing was sent: its message is of a protocol before Celery 4.", task_id=action.task_id)
        return
    if original is not None:
        post, queue = resent(original, now), original.queue
        notes = [deed.say("broker", f"its message was found {original.source}")]
        if after := follows(original):
            notes.append(deed.say("broker", f"what follows it runs again too: {after}"))
    else:
        meta = result_of(deed, action.task_id)
        refusal = _unfit(deed, action.task_id, meta)
        if refusal is not None or meta is None:
            deed.settle(REFUSED, f"Nothing was sent: {refusal}", task_id=action.task_id)
            return
        post, queue = composed(str(meta["name"]), meta["args"], meta["kwargs"], now), meta.get("queue")
        notes = [deed.say("backend", "name and arguments are from its result (result_extended); nothing follows it")]
    yield from deliver(deed, action.queue or queue or _queue_of(deed, action.task_id), post, tuple(notes))


def _from_dump(deed: Deed, action: Resend) -> Original | None:
    dump = Dump.open(Path(cast(str, action.dump)).expanduser())
    try:
        for n in range(len(dump)):
            kept = dump[n]
            if kept.task_id == action.task_id and dump.head is not None:
                found = deed.link.messages.read(kept.raw, kept.properties, dump.head.queue, "in the dump")
                if found is not None:
                    return found
    finally:
        dump.close()
    raise DumpError(f"The dump holds no readable message of task {action.task_id}.")


def _from_broker(deed: Deed, task_id: str) -> Original | None:
    now = deed.see()
    task = now.tasks.get(task_id)
    likely = [task.queue] if task is not None and task.queue else []
    queues = dict.fromkeys([*likely, *(queue.name for queue in now.queues.values() if queue.messages)])
    return deed.link.messages.find(task_id, tuple(queues), deed.left() / 2)


def _queue_of(deed: Deed, task_id: str) -> str:
    task = deed.see().tasks.get(task_id)
    return (task.queue if task is not None else None) or DEFAULT_QUEUE


def _unfit(deed: Deed, task_id: str, meta: dict[str, Any] | None) -> str | None:
    """Why a result does not tell enough; ``None``: it does."""
    if meta is not None and "args" in meta:
        if not meta.get("name"):
            return "its result does not tell its name."
        if isinstance(meta["args"], list) and is_mapping(meta.get("kwargs")):
            return _whole(meta)
        return "its result holds its arguments as text, which may be cut."
    where = "its message is in no queue, not unacknowledged" + (
        " (AMQP cannot look there)" if deed.settings.address.transport != "redis" else ""
    )
    told = "its result has no arguments (result_extended is off)" if meta else "no result of it was found"
    known = deed.see().tasks.get(task_id)
    text = "" if known is None or known.args is None else "; what events show of its arguments is text, and may be cut"
    return f"{where}, and {told}{text}."


def _whole(meta: dict[str, Any]) -> str | None:
    try:
        json.dumps([meta["args"], meta["kwargs"]], allow_nan=False)
    except (ValueError, RecursionError):
        return "its arguments are no JSON."
    return None

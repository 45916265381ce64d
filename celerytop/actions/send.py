"""Send a task by name with JSON arguments, as ``celery call`` does, and see that it has arrived."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from typing import Any, NoReturn, cast

from celerytop.actions.deed import Deed
from celerytop.actions.messages import Post
from celerytop.actions.task_message import composed
from celerytop.errors import BrokerError, CelerytopError
from celerytop.model.action import SendTask
from celerytop.model.outcome import DONE, REFUSED, UNKNOWN, Evidence

DEFAULT_QUEUE = "celery"
LOOK = 1.0
"""Seconds in which a worker's word for it is waited for, when the queue does not show it any more."""


_TAKEN = {
    "RECEIVED": "has taken it, and not begun it yet",
    "STARTED": "has begun it",
    "SUCCESS": "has run it: SUCCESS",
    "FAILURE": "has run it: FAILURE",
}
"""What a worker's event says of it."""


class _Wrong(CelerytopError):
    """What was asked for cannot be sent."""


def send_task(deed: Deed) -> Iterator[None]:
    """Compose it and publish it."""
    action = cast(SendTask, deed.action)
    try:
        args, kwargs = _arguments(action)
    except _Wrong as error:
        deed.settle(REFUSED, f"Nothing was sent. {error}", queue=action.queue)
        return
    post = composed(
        action.name,
        args,
        kwargs,
        deed.now(),
        countdown=action.countdown,
        expires=action.expires,
        priority=action.priority,
    )
    yield from deliver(deed, action.queue or DEFAULT_QUEUE, post)


def deliver(deed: Deed, queue: str, post: Post, notes: tuple[Evidence, ...] = ()) -> Iterator[None]:
    """Publish, and settle when it was seen: in the queue, or by a worker."""
    messages = deed.link.messages
    if messages.count(queue) is None:
        deed.settle(REFUSED, f"Nothing was sent: there is no queue {queue}.", notes, queue=queue)
        return
    deed.know(new_id=post.task_id)
    evidence = [*notes, deed.say("sent", f"{post.headers['task']} as {post.task_id} to {queue}")]
    yield
    try:
        messages.publish(queue, post)
    except BrokerError as error:
        deed.settle(
            UNKNOWN, f"Whether it has arrived is not known. {error}", evidence, task_id=post.task_id, queue=queue
        )
        return
    evidence.append(deed.say("broker", f"the broker has put it into {queue}", 3))
    if not _consumed(deed, queue):
        evidence.append(deed.say("inspect", f"no worker is known to consume {queue}"))
    yield
    yield from _watch(deed, queue, post.task_id, evidence)


def _watch(deed: Deed, queue: str, task_id: str, evidence: list[Evidence]) -> Iterator[None]:
    until = time.monotonic() + min(LOOK, max(0.0, deed.left()))
    while True:
        task = deed.see().tasks.get(task_id)
        if task is not None and task.state != "PENDING":
            evidence.append(deed.say("events", f"{task.worker or 'a worker'}: {task.state}", 1))
            told = _TAKEN.get(task.state, f"has it: {task.state}")
            deed.settle(DONE, f"{task.worker or 'A worker'} {told}.", evidence, task_id=task_id, queue=queue)
            return
        if deed.link.messages.holds(queue, task_id):
            evidence.append(deed.say("broker", "it was seen in the queue", 2))
            deed.settle(DONE, f"It waits in {queue}.", evidence, task_id=task_id, queue=queue)
            return
        if time.monotonic() >= until:
            break
        deed.rest()
        yield
    alone = "" if _consumed(deed, queue) else " No worker is known to take from there."
    sentence = (
        f"Queued: the broker has confirmed that it is in {queue}. That a worker has taken it was not seen here.{alone}"
    )
    deed.settle(DONE, sentence, evidence, task_id=task_id, queue=queue)


def _consumed(deed: Deed, queue: str) -> bool:
    seen = deed.see().queues.get(queue)
    return seen is not None and bool(seen.consumers or seen.workers)


def _arguments(action: SendTask) -> tuple[list[Any], dict[str, Any]]:
    if not action.name.strip():
        raise _Wrong("A task has a name.")
    args, kwargs = _json(action.args, "args"), _json(action.kwargs, "kwargs")
    if not isinstance(args, list):
        raise _Wrong("The arguments are a JSON list, as [1, 2].")
    if not isinstance(kwargs, dict):
        raise _Wrong('The keyword arguments are a JSON object, as {"n": 1}.')
    for name, value in (("countdown", action.countdown), ("expires", action.expires)):
        if value is not None and not (math.isfinite(value) and 0 <= value < 1e9):
            raise _Wrong(f"{name} is a number of seconds.")
    if action.priority is not None and not 0 <= action.priority <= 255:
        raise _Wrong("A priority is a number from 0 to 255.")
    return args, kwargs


def _json(text: str, what: str) -> Any:
    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{word} is no JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise _Wrong(f"The {what} are no JSON: {error}.") from None

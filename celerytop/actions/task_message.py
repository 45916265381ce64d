"""A task message of protocol 2, as Celery's own producers write it (``celery.app.amqp.AMQP.as_task_v2``)."""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from celerytop.actions.messages import Original, Post
from celerytop.sources.wire_fields import moment

REPR_LIMIT = 1024
"""``argsrepr_maxsize``."""
_NOT_OURS = (
    "delivery_info",
    "delivery_tag",
    "body_encoding",
    "correlation_id",
    "priority",
    "expiration",
    "delivery_mode",
)
"""Properties that a new message has of its own."""


def new_task_id() -> str:
    """As ``kombu.utils.uuid``."""
    return str(uuid.uuid4())


def composed(
    name: str,
    args: list[Any],
    kwargs: Mapping[str, Any],
    now: float,
    *,
    countdown: float | None = None,
    expires: float | None = None,
    priority: int | None = None,
) -> Post:
    """A new task. ``countdown`` and ``expires``: seconds from ``now``."""
    task_id = new_task_id()
    headers: dict[str, Any] = {
        "lang": "py",
        "task": name,
        "id": task_id,
        "shadow": None,
        "eta": _iso(now + countdown) if countdown else None,
        "expires": _iso(now + expires) if expires is not None else None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": task_id,
        "parent_id": None,
        "argsrepr": _cut(repr(tuple(args))),
        "kwargsrepr": _cut(repr(dict(kwargs))),
        "origin": f"gen{os.getpid()}@{socket.gethostname()}",
        "ignore_result": None,  # as send_task: the task's own setting
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    body = json.dumps([args, kwargs, embed]).encode()
    # kombu turns the seconds of expires into this: milliseconds, as text
    properties: dict[str, object] = {} if expires is None else {"expiration": str(int(expires * 1000))}
    return Post(task_id, headers, body, priority=priority, properties=properties)


def resent(original: Original, now: float) -> Post:
    """The same task under a new id: a family of its own, tried for the first time, due at once.

    Body, argsrepr, time limits and stamps stay. The group goes, or a chord would count its member twice.
    """
    task_id = new_task_id()
    headers = {key: value for key, value in original.headers.items() if key != "redelivered"}
    headers |= {"id": task_id, "root_id": task_id, "parent_id": None, "retries": 0, "eta": None}
    headers |= {"group": None, "group_index": None}
    expires_at = moment(headers.get("expires"))
    if expires_at is not None and expires_at <= now:
        headers["expires"] = None
    kept = {key: value for key, value in original.properties.items() if key not in _NOT_OURS and value is not None}
    return Post(
        task_id,
        headers,
        original.body,
        original.content_type,
        original.content_encoding,
        original.priority,
        kept,
    )


def follows(original: Original) -> str | None:
    """What runs after it, once more: chain, callbacks; ``None`` when nothing does or it cannot be read."""
    if original.content_type != "application/json":
        return None
    try:
        embed = json.loads(original.body)[2]
        found = [key for key in ("chain", "callbacks", "errbacks") if embed.get(key)]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
    return " and ".join(found) or None


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _cut(text: str) -> str:
    return text if len(text) <= REPR_LIMIT else text[: REPR_LIMIT - 4] + "...)"

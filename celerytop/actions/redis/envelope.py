"""A task message as kombu's virtual transports write it into a Redis list."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Sequence

from celerytop.actions.messages import Original, Post
from celerytop.sources.wire_fields import UNREADABLE, is_mapping


def envelope(queue: str, post: Post) -> bytes:
    """The list entry: what a producer with Celery's defaults would have pushed."""
    return json.dumps(
        {
            "body": base64.b64encode(post.body).decode("ascii"),
            "content-encoding": post.content_encoding,
            "content-type": post.content_type,
            "headers": post.headers,
            "properties": {
                "correlation_id": post.task_id,
                "reply_to": "",
                "delivery_mode": 2,
                **post.properties,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": post.priority or 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid.uuid4()),
            },
        }
    ).encode()


def opened(raw: bytes, queue: str | None, source: str) -> Original | None:
    """A list entry taken apart; ``None``: it is no message of kombu's."""
    try:
        found = json.loads(raw)
    except UNREADABLE:
        return None
    if not is_mapping(found):
        return None
    body, headers, properties = found.get("body"), found.get("headers"), found.get("properties")
    if not isinstance(body, str) or not is_mapping(headers) or not is_mapping(properties):
        return None
    try:
        content = base64.b64decode(body) if properties.get("body_encoding") == "base64" else body.encode()
    except ValueError:
        return None
    priority = properties.get("priority")
    return Original(
        dict(headers),
        content,
        str(found.get("content-type")),
        str(found.get("content-encoding")),
        source,
        queue,
        priority if isinstance(priority, int) else None,
        dict(properties),
    )


def step_of(priority: int, steps: Sequence[int]) -> int:
    """The list a priority goes to: the highest step that is not above it.

    >>> [step_of(priority, (0, 3, 6, 9)) for priority in (0, 1, 5, 8, 9, 200)]
    [0, 0, 3, 6, 9, 9]
    """
    priority = max(0, min(9, priority))
    return max((step for step in steps if step <= priority), default=min(steps))

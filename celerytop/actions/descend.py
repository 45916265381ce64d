"""Ids of tasks that do not exist yet: the further steps of a chain and the body of a chord stand in a message's embed.

Celery gives them their final ids when the first step is sent, so they can be revoked before they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from celerytop.sources.wire_fields import decode, is_mapping, name

BODY_LIMIT = 4 * 1024 * 1024
"""Bytes of a body beyond which it is not opened."""
DEPTH = 50
MOST = 10_000
_body: msgspec.json.Decoder[tuple[msgspec.Raw, msgspec.Raw, dict[str, Any]]] = msgspec.json.Decoder(
    tuple[msgspec.Raw, msgspec.Raw, dict[str, Any]]
)


def future_ids(body: bytes) -> tuple[str, ...]:
    """Of a message body ``[args, kwargs, embed]`` in JSON; of any other, nothing.

    >>> future_ids(b'[[], {}, {"chain": [{"options": {"task_id": "c"}}, {"options": {"task_id": "b"}}]}]')
    ('b', 'c')
    >>> future_ids(b'[[], {}, {"chain": [{"options": {"task_id": "c", "chord": {"options": {"task_id": "body"}}}}]}]')
    ('c', 'body')
    """
    decoded = decode(_body, body) if len(body) <= BODY_LIMIT else None
    if decoded is None:
        return ()
    embed = decoded[2]
    found: dict[str, None] = {}
    for step in reversed(_list(embed.get("chain"))):  # the last is the next step
        _collect(step, found, 0)
    for signature in (embed.get("chord"), *_list(embed.get("callbacks"))):
        _collect(signature, found, 0)
    return tuple(found)


def _collect(signature: object, found: dict[str, None], depth: int) -> None:
    """A signature's own id, then those inside it: a group's members, a chord's header and body, its callbacks; of a
    chain in a chord's header the last step has the body."""
    if not is_mapping(signature) or depth > DEPTH or len(found) >= MOST:
        return
    options = signature.get("options")
    options = options if is_mapping(options) else {}
    task_id = name(options.get("task_id"))
    if task_id is not None:
        found[task_id] = None
    for inner in (*_list(options.get("link")), options.get("chord"), *_inside(signature)):
        _collect(inner, found, depth + 1)


def _inside(signature: Mapping[str, Any]) -> list[object]:
    """Signatures that a group, chord or chain holds among its arguments."""
    kwargs = signature.get("kwargs")
    if signature.get("subtask_type") not in ("group", "chord", "chain") or not is_mapping(kwargs):
        return []
    header = kwargs.get("header")
    headers = header if isinstance(header, list) else [header]
    return [*_list(kwargs.get("tasks")), *headers, kwargs.get("body")]


def _list(found: object) -> list[Any]:
    return found if isinstance(found, list) else []

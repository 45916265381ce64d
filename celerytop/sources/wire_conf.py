"""``conf`` replies: a worker's settings, redacted before anything else sees them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from celerytop.model.observation import Conf
from celerytop.model.secret import MASK, redact_url, secret_name
from celerytop.sources.wire_fields import decode, is_mapping, name, number, text

_SETTINGS, _DEPTH, _ITEMS, _QUEUES = 500, 4, 100, 1000
_TEXT = 1000
_anything: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def decode_conf(nodename: str, raw: bytes) -> Conf | None:
    """Read settings: names as Celery spells them, values as text without secrets."""
    found = decode(_anything, raw)
    if not is_mapping(found):
        return None
    pairs = list(found.items())[:_SETTINGS]
    settings = {kept: _shown(key, value) for key, value in pairs if (kept := name(key)) is not None}
    options = found.get("broker_transport_options")
    timeout = number(options.get("visibility_timeout")) if is_mapping(options) else None
    return Conf(nodename, settings, timeout, tuple(dict.fromkeys(_queues(found)))[:_QUEUES])


def _shown(key: str, value: object) -> str:
    if secret_name(key) and value not in (None, "", False):
        return MASK
    return text(_without_secrets(value, _DEPTH), _TEXT) or ""


def _without_secrets(value: object, depth: int) -> str:
    if is_mapping(value):
        if depth == 0:
            return "{…}"
        pairs = list(value.items())[:_ITEMS]
        return "{" + ", ".join(f"{key}: {_inner(key, inner, depth - 1)}" for key, inner in pairs) + "}"
    if isinstance(value, list):
        if depth == 0:
            return "[…]"
        return "[" + ", ".join(_without_secrets(inner, depth - 1) for inner in value[:_ITEMS]) + "]"
    return redact_url(str(value)[: 2 * _TEXT])


def _inner(key: str, value: object, depth: int) -> str:
    return MASK if secret_name(key) and value else _without_secrets(value, depth)


def _queues(found: Mapping[str, Any]) -> Iterable[str]:
    """Names in task_default_queue, task_queues and task_routes, as far as their JSON form shows them."""
    if default := name(found.get("task_default_queue")):
        yield default
    yield from _of_task_queues(found.get("task_queues"))
    yield from _of_routes(found.get("task_routes"), _DEPTH)


def _of_task_queues(found: object) -> Iterable[str]:
    entries = list(found)[:_QUEUES] if isinstance(found, list) or is_mapping(found) else []
    for entry in entries:
        if queue := name(entry.get("name") if is_mapping(entry) else entry):
            # A Queue object was printed: "<unbound Queue high -> <unbound Exchange high(direct)> -> high>"
            yield queue.removeprefix("<unbound Queue ").partition(" -> ")[0]


def _of_routes(found: object, depth: int) -> Iterable[str]:
    """Routes are ``{pattern: {"queue": name}}``, ``{pattern: name}``, or lists of such."""
    if depth == 0:
        return
    if isinstance(found, list):
        for entry in found[:_QUEUES]:
            yield from _of_routes(entry, depth - 1)
    elif is_mapping(found):
        for route in list(found.values())[:_QUEUES]:
            queue = route.get("queue") if is_mapping(route) else route
            if kept := name(queue.get("name") if is_mapping(queue) else queue):
                yield kept

"""What workers answer to remote control, from Celery 4.4 to 5.7: bytes -> ``Reply`` structs.

Every value is somebody else's: a field that is not what it should be is ``None``, an answer that cannot be read is
a ``RefusedReply``. Nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from celerytop.model.observation import (
    Pong,
    QueuesConsumed,
    RefusedReply,
    Registered,
    Reply,
    RevokedIds,
    StatsReply,
)
from celerytop.model.secret import redact_url
from celerytop.model.worker import ConsumedQueue, Rusage
from celerytop.sources.wire_conf import decode_conf
from celerytop.sources.wire_fields import UNREADABLE, decode, integer, is_mapping, name, number, pid, text
from celerytop.sources.wire_listed import decode_listed

BODY_LIMIT = 32 * 1024 * 1024
"""Bytes of a reply beyond which it is not opened."""
_NODES, _NAMES, _IDS, _QUEUES, _PIDS = 16, 5000, 1000, 1000, 4096
_UNKNOWN = "?"

_nodes = msgspec.json.Decoder(dict[str, msgspec.Raw])
_anything: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_raws = msgspec.json.Decoder(list[msgspec.Raw])


class ReplyEnvelope(msgspec.Struct, frozen=True, gc=False):
    """A reply as Redis holds it."""

    ticket: str
    body: bytes
    content_type: str | None


class _Headers(msgspec.Struct):
    ticket: str = ""


class _Envelope(msgspec.Struct):
    body: bytes = b""  # base64, undone by msgspec
    headers: _Headers = msgspec.field(default_factory=_Headers)
    content_type: str | None = msgspec.field(name="content-type", default=None)


_envelope = msgspec.json.Decoder(_Envelope)


def decode_envelope(raw: bytes) -> ReplyEnvelope:
    """Unwrap a reply from a Redis list; what is no envelope has no ticket, and so belongs to no round."""
    found = decode(_envelope, raw) if len(raw) <= 2 * BODY_LIMIT else None
    if found is None:
        return ReplyEnvelope("", b"", None)
    return ReplyEnvelope(found.headers.ticket, found.body, found.content_type)


def decode_reply(method: str, body: bytes, content_type: str | None, latency: float) -> Iterable[Reply]:
    """Read one reply body, ``{"<node>": <reply>}``.

    Args:
        method: what was asked.
        body: the message body, not base64.
        content_type: as the message says; ``None`` is taken for JSON.
        latency: seconds since the request was sent.
    """
    if len(body) > BODY_LIMIT:
        size = len(body) // 2**20
        return [RefusedReply(_UNKNOWN, method, f"the answer has {size} MB and was not opened")]
    if content_type is not None and not content_type.endswith("/json"):
        kind = "is pickled" if "python" in content_type else f"has the type {text(content_type, 80)}"
        return [RefusedReply(_pickled_node(body), method, f"the answer {kind} and was not opened")]
    nodes = decode(_nodes, body)
    if nodes is None:
        return [RefusedReply(_UNKNOWN, method, "the answer is no JSON object by node name")]
    found = list(nodes.items())[:_NODES]
    return [_decode(method, name(nodename) or _UNKNOWN, bytes(raw), latency) for nodename, raw in found]


def _decode(method: str, nodename: str, raw: bytes, latency: float) -> Reply:
    """One worker's reply. Errors look like ``{"error": "KeyError('bogus')"}``."""
    if raw[:1] == b"{":
        content = decode(_anything, raw)
        if is_mapping(content) and "error" in content and len(content) == 1:
            return RefusedReply(nodename, method, redact_url(text(content["error"], 400) or "an error without words"))
    if method == "ping":
        return Pong(nodename, latency)
    reader = _READERS.get(method)
    found = reader(nodename, raw) if reader else decode_listed(nodename, method, raw)
    return found or RefusedReply(nodename, method, "the answer has not the form of this command's")


def _pickled_node(body: bytes) -> str:
    """The first string in a pickle, read without running it: a reply's only key is its node name."""
    import pickletools  # rarely needed, and every import delays the first screen

    try:
        for opcode, argument, _ in pickletools.genops(body[:4096]):
            if isinstance(argument, str) and "UNICODE" in opcode.name:
                return name(argument) or _UNKNOWN
    except UNREADABLE:
        pass
    return _UNKNOWN


def _stats(nodename: str, raw: bytes) -> StatsReply | None:
    content = decode(_anything, raw)
    if not is_mapping(content):
        return None
    pool = content.get("pool")
    pool = pool if is_mapping(pool) else {}
    kind = pool_kind(pool)
    processes = pool.get("processes")
    return StatsReply(
        nodename,
        pid=pid(content.get("pid")),
        pool=kind,
        concurrency=_slots(kind, pool),
        processes=_pids(processes) if kind in ("prefork", None) and isinstance(processes, list) else None,
        prefetch_count=integer(content.get("prefetch_count")),
        uptime=number(content.get("uptime")),
        total=_totals(content.get("total")),
        rusage=_rusage(content.get("rusage")),
    )


def _slots(kind: str | None, pool: Mapping[str, Any]) -> int | None:
    """How many tasks it can run now.

    prefork goes on telling the ``max-concurrency`` it began with, however it has grown, shrunk or been autoscaled
    (seen on 5.7); its list of processes is what it has.
    """
    processes = pool.get("processes")
    if kind == "prefork" and isinstance(processes, list):
        return len(processes)
    return integer(pool.get("max-concurrency"))


def pool_kind(pool: Mapping[str, Any]) -> str | None:
    """Celery's name of the pool; below 5.3 it is not told, and guessed from what the pool does tell.

    >>> pool_kind({"implementation": "celery.concurrency.thread:TaskPool"}), pool_kind({"max-concurrency": 3})
    ('threads', None)
    """
    told = pool.get("implementation")
    if isinstance(told, str):
        module = told.partition(":")[0].rpartition(".")[2]
        return {"thread": "threads"}.get(module) or name(module)
    if "writes" in pool:
        return "prefork"
    if "running-threads" in pool or "free-threads" in pool:
        return "eventlet"
    if "threads" in pool:
        return "threads"
    if "put-guarded-by-semaphore" in pool:
        return "solo"
    return None


def _pids(found: list[Any]) -> tuple[int, ...]:
    return tuple(number_ for one in found[:_PIDS] if (number_ := pid(one)) is not None)


def _totals(found: object) -> dict[str, int] | None:
    if not is_mapping(found):
        return None
    pairs = list(found.items())[:_NAMES]
    return {key_: count for key, value in pairs if (key_ := name(key)) and (count := integer(value)) is not None}


def _rusage(found: object) -> Rusage | None:
    """``maxrss`` comes in kilobytes."""
    if not is_mapping(found):
        return None
    maxrss = integer(found.get("maxrss"))
    return Rusage(number(found.get("utime")), number(found.get("stime")), None if maxrss is None else maxrss * 1024)


def _active_queues(nodename: str, raw: bytes) -> QueuesConsumed | None:
    entries = decode(_raws, raw)
    if entries is None:
        return None
    found = (decode(_anything, bytes(entry)) for entry in entries[:_QUEUES])
    return QueuesConsumed(nodename, tuple(queue for one in found if (queue := _queue(one)) is not None))


def _queue(found: object) -> ConsumedQueue | None:
    if not is_mapping(found) or (queue := name(found.get("name"))) is None:
        return None
    exchange = found.get("exchange")
    exchange = exchange if is_mapping(exchange) else {"name": exchange}
    arguments = found.get("queue_arguments")
    arguments = arguments if is_mapping(arguments) else {}
    return ConsumedQueue(
        queue,
        exchange=text(exchange.get("name"), 512),
        exchange_type=name(exchange.get("type")),
        routing_key=text(found.get("routing_key"), 512),
        queue_type=name(arguments.get("x-queue-type")),
        max_priority=integer(arguments.get("x-max-priority")),
    )


def _registered(nodename: str, raw: bytes) -> Registered | None:
    found = decode(_anything, raw)
    if not isinstance(found, list):
        return None
    return Registered(nodename, tuple(kept for one in found[:_NAMES] if (kept := name(one)) is not None))


def _revoked(nodename: str, raw: bytes) -> RevokedIds | None:
    found = decode(_anything, raw)
    if not isinstance(found, list):
        return None
    return RevokedIds(nodename, tuple(kept for one in found[:_IDS] if (kept := name(one))), len(found))


_READERS: dict[str, Callable[[str, bytes], Reply | None]] = {
    "stats": _stats,
    "active_queues": _active_queues,
    "registered": _registered,
    "revoked": _revoked,
    "conf": decode_conf,
}

"""What the result backend knows of a task, where it is a Redis."""

from __future__ import annotations

from typing import Any

import msgspec

from celerytop.actions.deed import Deed
from celerytop.errors import BrokerError
from celerytop.sources.wire_fields import decode

_meta: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


def result_of(deed: Deed, task_id: str) -> dict[str, Any] | None:
    """Its result as stored; ``None``: none there, not JSON, or the backend is none that can be read here."""
    settings = deed.settings
    address = settings.result_backend or (settings.address if settings.address.transport == "redis" else None)
    if address is None or address.transport != "redis":
        return None
    from celerytop.actions.redis.backend import raw_result

    try:
        raw = raw_result(settings, address, task_id)
    except BrokerError as error:
        deed.say("backend", f"the result backend cannot be read: {error}")
        return None
    return decode(_meta, raw) if raw is not None else None

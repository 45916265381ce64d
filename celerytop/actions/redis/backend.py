"""A task's result in Redis, read raw."""

from __future__ import annotations

import contextlib
from typing import Any, cast

import redis

from celerytop.model.address import Address, BrokerSettings
from celerytop.sources.redis.connection import connect, translated

LIMIT = 8 << 20


def raw_result(settings: BrokerSettings, address: Address, task_id: str) -> bytes | None:
    """The value under its key; ``None``: there is none, or it is too big.

    Raises:
        BrokerError: the server does not answer.
    """
    key = f"{settings.result_prefix}{task_id}"
    with translated(address):
        client: Any = connect(address)
        try:
            # STRLEN first: a result may be gigabytes
            if not 0 < cast(int, client.strlen(key)) <= LIMIT:
                return None
            return cast("bytes | None", client.get(key))
        except redis.ResponseError:
            return None
        finally:
            with contextlib.suppress(redis.RedisError, OSError):
                client.close()

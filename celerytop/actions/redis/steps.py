"""The priority steps of a queue that somebody reads. A list of any other step is never looked at by a worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celerytop.model.address import BrokerSettings
from celerytop.sources.redis.names import list_key


def steps_read(ask: Callable[..., Any], settings: BrokerSettings, queue: str) -> tuple[int, ...]:
    """Those that are configured here, unless the queue's own lists tell of others: then only what they tell.

    kombu's ``priority_steps`` stand in the settings of the app, which are not always known here, and nothing on the
    broker names them. But a list of a step that is not configured here was made by somebody who has it: then the other
    steps of ours are a guess. Step 0, which every message without a priority goes to, is read in any case.
    """
    known = settings.priority_steps
    prefix, sep = settings.global_keyprefix, settings.sep
    seen = {step for step in range(10) if ask("LLEN", list_key(queue, step, prefix, sep))}
    return known if seen <= set(known) else tuple(sorted({0, *seen}))

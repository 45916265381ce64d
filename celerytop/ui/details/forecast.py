"""What will be, at the pace of now: one sentence each, or none where nothing can be said."""

from __future__ import annotations

import math

from celerytop import format as fmt
from celerytop.model.broker import RedisBroker
from celerytop.model.queue import Queue

_SOON = 30 * 86400.0
"""Seconds; what is farther away is no forecast."""


def milestone(messages: int) -> int:
    """The next round number: 1, 2 or 5 and zeros.

    >>> milestone(8114), milestone(10000), milestone(3)
    (10000, 20000, 5)
    """
    power = int(10 ** math.floor(math.log10(max(1, messages))))
    return next(step * power for step in (2, 5, 10, 20) if step * power > messages)


def backlog(queue: Queue) -> tuple[str, str]:
    """What becomes of the waiting messages, and its tone."""
    if queue.messages is None or queue.net_rate is None:
        return "not known yet", "dim"
    pace = f"at {fmt.rate(queue.net_rate, signed=True)}/s: "
    if queue.drains_in is not None and math.isfinite(queue.drains_in):
        return f"{pace}empty in {fmt.duration(queue.drains_in)}", ""
    if queue.net_rate > 0 and queue.messages:
        goal = milestone(queue.messages)
        wait = fmt.duration((goal - queue.messages) / queue.net_rate)
        return f"{pace}{goal:,} in {wait}, never drains", "warn"
    if queue.messages and queue.drains_in == math.inf:
        return f"{pace}never drains", "warn"
    return ("nothing waits", "dim") if not queue.messages else ("too few messages for a forecast", "dim")


def redis_memory(broker: RedisBroker) -> tuple[str, str] | None:
    """When Redis is full, and what happens then."""
    used, limit, growth = broker.used_memory, broker.maxmemory, broker.memory_growth
    if used is None or limit is None:
        return None
    if limit == 0:
        total = broker.total_system_memory
        return _unlimited(used, total, growth)
    then = _then(broker.maxmemory_policy)
    if used >= limit:
        return f"full: {then}", "bad"
    if not growth or growth <= 0 or (limit - used) / growth > _SOON:
        return None
    wait = (limit - used) / growth
    return f"full in about {_about(wait)} at this growth; {then}", "bad" if wait < 3600 else "warn"


def _unlimited(used: int, total: int | None, growth: float | None) -> tuple[str, str]:
    text = "no limit (maxmemory 0): it may take all memory of its machine"
    if total and growth and growth > 0 and (total - used) / growth < _SOON:
        return f"{text}, {fmt.size(total)}, in about {_about((total - used) / growth)}", "warn"
    return text, "dim"


def _then(policy: str | None) -> str:
    if policy is None:
        return "what happens then is not known (maxmemory-policy)"
    if policy == "noeviction":
        return "then publishing fails (noeviction)"
    return f"then keys are thrown away, queues too ({policy})"


def _about(seconds: float) -> str:
    """
    >>> _about(100_000), _about(700), _about(400_000)
    ('28 h', '12 min', '4.6 d')
    """
    if seconds < 5400:
        return f"{max(1.0, seconds / 60):.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.1f} d"

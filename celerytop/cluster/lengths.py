"""What a queue's length says over time: how fast it changes, when it will be empty, since when its head waits."""

from __future__ import annotations

import math
from collections import deque

from celerytop.cluster.statistics import History
from celerytop.model.queue import Message

LOOK_BACK = 120.0
"""Seconds over which the change is taken."""
LEAST = 8.0
"""Seconds that must be known before it is told."""
EVERY = 4.0
"""Seconds between two samples kept for it."""
FEW = 20
"""Messages below which no forecast is made."""
FOREVER = 1e7
"""Seconds; what takes longer never ends."""
NOISE = 0.05
"""Share of the traffic, or of the length, by which a steady queue may change."""


class Lengths:
    """One queue's."""

    __slots__ = ("_head_id", "_head_since", "_last", "_only_grew_since", "_samples", "history")

    def __init__(self) -> None:
        self.history = History()
        self._samples: deque[tuple[float, int]] = deque(maxlen=int(LOOK_BACK / EVERY) + 2)
        self._last: tuple[float, int] | None = None
        self._head_id: str | None = None
        self._head_since = 0.0
        self._only_grew_since: float | None = None

    def add(self, at: float, messages: int, head: Message | None) -> None:
        """A new measurement."""
        self.history.put(at, float(messages))
        if not self._samples or at - self._samples[-1][0] >= EVERY:
            self._samples.append((at, messages))
        before = self._last
        if messages == 0 or before is None or messages < before[1]:
            self._only_grew_since = None
        if messages and self._only_grew_since is None:
            self._only_grew_since = at
        self._last = (at, messages)
        head_id = head.task_id if head is not None else None
        if head_id is None or head_id != self._head_id:
            self._head_id, self._head_since = head_id, at

    def net(self) -> float | None:
        """Change a second over the last two minutes; ``None`` until eight seconds are known."""
        if self._last is None:
            return None
        at, messages = self._last
        first = next(((then, number) for then, number in self._samples if at - then <= LOOK_BACK), None)
        if first is None or at - first[0] < LEAST:
            return None
        return (messages - first[1]) / (at - first[0])

    def same_head_for(self, now: float) -> float | None:
        """Seconds its next message has been the next one at least; ``None`` when that is not told."""
        return max(0.0, now - self._head_since) if self._head_id is not None else None

    def never_shrank_for(self, now: float) -> float | None:
        """Seconds in which nothing seems to have left it: what waits now, or some of it, has waited so long."""
        return max(0.0, now - self._only_grew_since) if self._only_grew_since is not None else None

    def may_have_shrunk(self) -> None:
        """Somebody takes from it: that it did not get shorter does not mean that nothing left."""
        self._only_grew_since = None

    def clear(self) -> None:
        """Our clock was set: forget what was measured over time."""
        self._samples.clear()


def drains_in(messages: int | None, net: float | None) -> float | None:
    """Seconds until empty at this pace; ``inf`` when it never is; ``None`` below 20 messages or not known.

    >>> drains_in(100, -2.0), drains_in(100, 0.5), drains_in(19, -1.0), drains_in(100, None)
    (50.0, inf, None, None)
    """
    if messages is None or messages < FEW or net is None:
        return None
    if net >= 0 or messages / -net > FOREVER:
        return math.inf
    return messages / -net


def state_word(
    messages: int | None,
    consumers: int | None,
    exists: bool | None,
    net: float | None,
    traffic: float | None,
    unacked: int | None = None,
) -> str | None:
    """One word for a queue; ``None`` is not known.

    Args:
        messages: waiting.
        consumers: workers that consume it.
        exists: ``False`` when the broker says there is no such queue.
        net: change a second.
        traffic: messages in or out a second, whichever is more.
        unacked: taken and not done with; where nobody consumes, their worker is gone or does not take more.

    >>> state_word(5, 0, None, None, None), state_word(0, 0, None, None, None), state_word(0, 2, None, 0.0, None)
    ('no consumer', 'unused', 'idle')
    >>> state_word(900, 2, None, 3.0, 10.0), state_word(900, 2, None, -3.0, None), state_word(900, 2, None, 0.1, 9.0)
    ('growing', 'draining', 'steady')
    >>> state_word(0, 0, None, None, None, unacked=4)
    'no consumer'
    """
    if exists is False:
        return "gone"
    if messages is None:
        return None
    if consumers == 0 and (messages or unacked):
        return "no consumer"
    if messages == 0:
        return "unused" if consumers == 0 else "idle"
    if net is None:
        return None
    noise = max(NOISE * traffic if traffic is not None else NOISE * messages / LOOK_BACK, 5 / LOOK_BACK)
    if abs(net) <= noise:
        return "steady"
    return "growing" if net > 0 else "draining"

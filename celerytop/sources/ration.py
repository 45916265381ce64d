"""How often workers are asked, so that all their answers together stay within a number of bytes a second.

Five workers answer 3 kB a second in all; two hundred, asked as often, 110 kB. So above some twenty workers the paces
are stretched. What others count on has a limit; the rest share what is left, the big answers asked for less often, but
only with the square root of their size, which makes the sum of all delays the smallest there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

BYTES_A_SECOND = 20_000
"""Of answers, as they travel."""
ENVELOPE, BASE64 = 340, 4 / 3
"""Bytes around the body of a reply on Redis, and what becomes of a byte in it. RabbitMQ takes less."""
LONGEST: Mapping[str, float] = {
    "ping": 8.0,  # a sign of life counts for 12 s
    "active": 35.0,  # what a worker says that it holds counts for 40 s
    "reserved": 35.0,
    "scheduled": 35.0,
    "active_queues": 120.0,
}
"""Seconds. Above 200 workers these alone take more than the ration."""
_LEAST = 0.15
"""Part of the ration that those without a limit get in any case."""


class Ration:
    """Learns how big the answers are."""

    def __init__(self) -> None:
        self._sizes: dict[str, float] = {}
        self.workers = 0
        """So many answer."""

    def learn(self, method: str, size: int, replies: int) -> None:
        """Take in so many replies, of ``size`` bytes in all."""
        self._sizes[method] = BASE64 * size / replies + ENVELOPE

    def paces(self, usual: Mapping[str, float]) -> dict[str, float]:
        """Seconds between two askings by method; ``usual`` where all of it fits in.

        >>> ration = Ration()
        >>> ration.learn("ping", 40, 1), ration.learn("stats", 1800, 1)
        (None, None)
        >>> ration.workers = 5
        >>> ration.paces({"ping": 5.0, "stats": 5.0})
        {'ping': 5.0, 'stats': 5.0}
        >>> ration.workers = 200
        >>> {method: round(seconds) for method, seconds in ration.paces({"ping": 5.0, "stats": 5.0}).items()}
        {'ping': 8, 'stats': 54}
        """
        rates = {method: self.workers * self._sizes.get(method, 0.0) / every for method, every in usual.items()}
        above = sum(rates.values()) / BYTES_A_SECOND
        if above <= 1.0:
            return dict(usual)
        found = {
            method: max(every, min(every * above, LONGEST[method]))
            for method, every in usual.items()
            if method in LONGEST
        }
        taken = sum(rates[method] * usual[method] / every for method, every in found.items())
        left = max(BYTES_A_SECOND - taken, _LEAST * BYTES_A_SECOND)
        others = [method for method in usual if method not in found]
        total = sum(sqrt(rates[method]) for method in others) / left
        for method in others:
            found[method] = usual[method] * max(1.0, total * sqrt(rates[method]))
        return {method: found[method] for method in usual}

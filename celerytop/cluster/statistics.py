"""Counting over time: quantiles that merge, rates of the last minute, ten-minute histories. O(1) to add to."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from math import ceil, log

from celerytop.model.series import Quantiles, Series

ERROR = 0.01
"""Relative error of every quantile."""
LEAST, MOST = 1e-6, 1e12
"""What is measured lies between (a microsecond; 30,000 years, a terabyte): so there are 2,073 buckets at most."""
WINDOW = 60
"""Seconds a rate looks back."""
STEP = 5.0
"""Seconds between two samples of a history."""
SAMPLES = 120

_GAMMA = (1 + ERROR) / (1 - ERROR)
_BUCKETS_PER_E = 1 / log(_GAMMA)
_MIDDLE = 2 / (1 + _GAMMA)
_NOTHING = bytes(2 * WINDOW)
_SHARES = (0.50, 0.95, 0.99)


class Sketch:
    """Quantiles within 1 % of the true value, in bounded memory (the idea of DDSketch: buckets that grow by 2 %).

    >>> sketch = Sketch()
    >>> for runtime in range(1, 101): sketch.add(runtime)
    >>> round(sketch.quantile(0.5)), sketch.maximum
    (50, 100)
    """

    __slots__ = ("buckets", "count", "maximum", "minimum", "zeros")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.count = 0
        self.zeros = 0
        """Values below ``LEAST``."""
        self.minimum = 0.0
        self.maximum = 0.0

    def add(self, value: float) -> None:
        """Count one value; a negative one counts as zero."""
        if value > self.maximum or not self.count:
            self.maximum = value
        if value < self.minimum or not self.count:
            self.minimum = value
        self.count += 1
        if value < LEAST:
            self.zeros += 1
            return
        bucket = ceil(log(value if value < MOST else MOST) * _BUCKETS_PER_E)
        buckets = self.buckets
        buckets[bucket] = buckets.get(bucket, 0) + 1

    def merge(self, other: Sketch) -> None:
        """Add all that ``other`` has counted."""
        if not other.count:
            return
        self.maximum = max(self.maximum, other.maximum) if self.count else other.maximum
        self.minimum = min(self.minimum, other.minimum) if self.count else other.minimum
        self.count += other.count
        self.zeros += other.zeros
        for bucket, number in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + number

    def quantile(self, share: float) -> float | None:
        """The value below which ``share`` (0 to 1) of all lie; ``None`` of nothing."""
        return self._values((share,))[0] if self.count else None

    def quantiles(self) -> Quantiles:
        """The usual ones, as a value."""
        if not self.count:
            return Quantiles(0)
        p50, p95, p99 = self._values(_SHARES)
        return Quantiles(self.count, p50, p95, p99, self.maximum)

    def _values(self, shares: Iterable[float]) -> list[float]:
        """One walk over the buckets for all ``shares``, which rise."""
        found: list[float] = []
        walk = iter(sorted(self.buckets.items()))
        seen, value = self.zeros, 0.0
        for share in shares:
            rank = share * (self.count - 1)
            while seen <= rank:
                bucket, number = next(walk)
                seen += number
                value = _GAMMA**bucket * _MIDDLE
            found.append(min(max(value, self.minimum), self.maximum))
        return found


class Rate:
    """How many there were in each of the last 60 seconds.

    To add is one sum: the newest second is what has come since it began, and the last minute is all but what is gone.
    """

    __slots__ = ("_began", "_counts", "_gone", "_second", "_until", "total")

    def __init__(self) -> None:
        self.total = 0
        """How many there ever were."""
        self._counts: array[int] | None = None  # most workers and types are idle: made when first needed
        self._second = 0
        self._until = float("-inf")
        """End of the newest second: until then ``add`` has nothing to ask."""
        self._began = 0
        """How many there were when the newest second began."""
        self._gone = 0
        """All that is in no second any more."""

    def add(self, at: float, number: int = 1) -> None:
        """Count ``number`` at the moment ``at``; a clock that jumps back counts in the newest second."""
        if at >= self._until:
            self._turn(int(at))
        self.total += number

    def count(self, now: float) -> int:
        """How many in the last minute."""
        if self.total == self._gone:  # of most workers nothing has failed
            return 0
        if now >= self._until:
            self._turn(int(now))
        return self.total - self._gone

    def rate(self, now: float, since: float) -> float | None:
        """How many a second, over the last minute or since ``since`` if that is later; ``None`` below a second."""
        watched = min(now - since, float(WINDOW))
        return self.count(now) / watched if watched >= 1.0 else None

    def clear(self) -> None:
        """Begin anew; ``total`` stays."""
        self._gone = self._began = self.total
        self._counts = None
        self._until = float("-inf")

    def _turn(self, second: int) -> None:
        """Begin a new second; those that are a minute old are over."""
        if self.total != self._began:
            self._keep(self._second % WINDOW, self.total - self._began)
        if (counts := self._counts) is not None:
            for passed in range(max(self._second + 1, second - WINDOW + 1), second + 1):
                self._gone += counts[passed % WINDOW]
                counts[passed % WINDOW] = 0
        self._second, self._until, self._began = second, second + 1.0, self.total

    def _keep(self, slot: int, number: int) -> None:
        if self._counts is None:
            self._counts = array("H", _NOTHING)
        try:
            self._counts[slot] = number
        except OverflowError:  # of four for each of 2,000 workers few ever hold more: 200 bytes, a list would take 600
            self._counts = array("Q", self._counts)
            self._counts[slot] = number


class History:
    """A value every five seconds, for ten minutes."""

    __slots__ = ("_slot", "_values")

    def __init__(self) -> None:
        self._values: list[float | None] = []
        self._slot = 0
        """Number of the last sample's five seconds."""

    def put(self, at: float, value: float | None) -> None:
        """Set the value of the five seconds ``at`` lies in; the last one counts."""
        slot = int(at // STEP)
        values = self._values
        if values and slot <= self._slot:
            values[-1] = value
            return
        missed = min(slot - self._slot - 1, SAMPLES) if values else 0
        values.extend([None] * missed)
        values.append(value)
        self._slot = slot
        del values[:-SAMPLES]

    def series(self) -> Series | None:
        """All of it; ``None`` before the first sample."""
        return Series(STEP, self._slot * STEP, tuple(self._values)) if self._values else None

    def change(self, window: float, least: float) -> float | None:
        """Change a second over the last ``window`` seconds; ``None`` when less than ``least`` seconds are known."""
        known = [(number, value) for number, value in enumerate(self._values) if value is not None]
        last = len(self._values) - 1
        inside = [(number, value) for number, value in known if (last - number) * STEP <= window]
        if len(inside) < 2:
            return None
        (first, before), (final, after) = inside[0], inside[-1]
        span = (final - first) * STEP
        return (after - before) / span if span >= least else None

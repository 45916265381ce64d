"""How far other machines' clocks are off ours.

``received - timestamp`` is the clock's offset plus the time the event was under way, which is never negative: its
minimum over a window is the best guess. What comes from the future proves a clock that is ahead. What comes late may
have waited somewhere: only an offset that stays the same for a while is a clock's, and when all machines are late by
the same amount it is taken for a stall until it has lasted half a minute; then our own clock is off.
"""

from __future__ import annotations

AHEAD = 0.5
"""Seconds an event may come from the future before the clock is called ahead."""
BEHIND = 2.0
"""Seconds an event may be under way."""
STEADY = 1.0
"""Seconds by which a clock's offset may vary."""
SOON, LATE = 4.0, 30.0
"""Seconds it must have been steady: when others are different, and when all are the same."""
WINDOW = 15.0
MOST = 20_000


class HostClock:
    """The clock of one machine."""

    __slots__ = (
        "_base",
        "_low",
        "_low_before",
        "_odd",
        "_window_at",
        "host",
        "late",
        "seen_at",
        "shift",
        "steady_since",
    )

    def __init__(self, host: str, odd: dict[str, HostClock] | None = None) -> None:
        self.host = host
        self.shift = 0.0
        """Seconds to add to its timestamps to get ours."""
        self.late = 0.0
        """Smallest ``received - timestamp`` lately."""
        self.steady_since = 0.0
        self.seen_at = 0.0
        self._base = 0.0
        self._low = self._low_before = float("inf")
        self._window_at = 0.0
        self._odd = odd if odd is not None else {}
        """Where a clock that may be off puts itself down."""

    def note(self, timestamp: float, at: float) -> None:
        """Learn from one event, sent at ``timestamp`` and received at ``at``."""
        late = at - timestamp
        if at - self._window_at > WINDOW or at < self._window_at:
            fresh = at - self._window_at < 2 * WINDOW
            self._low_before = self._low if fresh else float("inf")
            self._low, self._window_at = late, at
        elif late < self._low:
            self._low = late
        self.late = min(self._low, self._low_before)
        self.seen_at = at
        if abs(late - self._base) > STEADY:  # it jumped: a stall begins or ends, or a clock was set
            self._base, self.steady_since = late, at
            self._low, self._low_before, self._window_at = late, float("inf"), at
            self.late = late
        if not -AHEAD <= self.late <= BEHIND:
            self._odd[self.host] = self

    def ahead(self) -> bool:
        """Its events come from the future."""
        return self.late < -AHEAD

    def behind(self) -> bool:
        """Its events come late, or its clock is slow."""
        return self.late > BEHIND


class Clocks:
    """All machines' clocks, by what stands behind the ``@`` of a node name."""

    def __init__(self) -> None:
        self._clocks: dict[str, HostClock] = {}
        self._odd: dict[str, HostClock] = {}
        self.common: float | None = None
        """Seconds by which all machines differ from us alike: our clock is off."""

    def of(self, nodename: str) -> HostClock:
        """The clock of the machine a node runs on."""
        host = nodename.rpartition("@")[2]
        found = self._clocks.get(host)
        if found is None:
            if len(self._clocks) >= MOST:
                self.clear()
            found = self._clocks[host] = HostClock(host, self._odd)
        return found

    def clear(self) -> None:
        """Our clock was set: learn anew."""
        self._clocks.clear()
        self._odd.clear()

    def judge(self, now: float) -> bool:
        """Decide anew which clocks are off; whether one has begun or ceased to be. Called with every picture.

        While all run well there is nothing to decide: of 10,000 machines that would take 3 ms.
        """
        self.common = None
        if not any(now - clock.seen_at < 2 * LATE for clock in self._odd.values()):
            return False
        lively = [clock for clock in self._clocks.values() if now - clock.seen_at < 2 * LATE]
        common = _common([clock.late for clock in lively])
        turned = False
        for clock in lively:
            before = clock.shift
            self._decide(clock, common)
            turned = turned or (before == 0.0) != (clock.shift == 0.0)
        return turned

    def _decide(self, clock: HostClock, common: float | None) -> None:
        alike = common is not None and abs(clock.late - common) <= STEADY
        if clock.ahead() and not alike:
            clock.shift = clock.late
        elif clock.behind() or clock.ahead():
            long_enough = clock.seen_at - clock.steady_since >= (LATE if alike else SOON)
            if long_enough:
                clock.shift = clock.late
                self.common = common if alike else self.common
        else:
            clock.shift = 0.0
            self._odd.pop(clock.host, None)


def _common(offsets: list[float]) -> float | None:
    """The offset all share, when there are several and it is one worth a word.

    >>> _common([20.1, 19.9, 20.0]), _common([0.0, 20.0]), _common([20.0])
    (20.0, None, None)
    """
    if len(offsets) < 2:
        return None
    ordered = sorted(offsets)
    middle = ordered[len(ordered) // 2]
    if ordered[-1] - ordered[0] > 2 * STEADY or -AHEAD <= middle <= BEHIND:
        return None
    return middle


def skew(clock: HostClock) -> float | None:
    """Its clock minus ours; ``None`` when nothing says it is off."""
    return -clock.shift if clock.shift else None

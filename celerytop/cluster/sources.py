"""How the sources do, and when events were lost."""

from __future__ import annotations

from collections import deque

from msgspec.structs import replace

from celerytop.cluster.liveness import Reach
from celerytop.model.observation import DOWN, STARTING, UP, SourceChanged, SourcePaced
from celerytop.model.snapshot import Gap, SourceStatus

KEPT = 50
"""Gaps remembered."""
TOGETHER = 5.0
"""Seconds within which drops are one gap."""


class Sources:
    """One status for each source there is."""

    def __init__(self, names: tuple[str, ...], at: float) -> None:
        self._statuses = {name: SourceStatus(name, since_at=at) for name in names}
        self._gaps: deque[Gap] = deque(maxlen=KEPT)
        self._cut_off_since: float | None = None
        self._open: Gap | None = None
        self._shedding: Gap | None = None
        self._dropped, self._not_read = 0, 0.0
        self._deaf_since: float | None = None
        self._hears_since: float | None = None

    def status(self, name: str) -> SourceStatus | None:
        """One of them."""
        return self._statuses.get(name)

    def up(self, name: str) -> bool:
        """Whether it works now."""
        status = self._statuses.get(name)
        return status is not None and status.state == UP

    def down_with(self, name: str, other: str) -> bool:
        """Whether it is down and the other was not heard of since: what both have told is of the same age."""
        one, two = self._statuses.get(name), self._statuses.get(other)
        if one is None or two is None or one.state != DOWN:
            return False
        return two.seen_at is None or (one.since_at is not None and two.seen_at <= one.since_at)

    def alive(self, name: str, at: float) -> None:
        """It was heard of."""
        status = self._statuses.get(name)
        if status is not None and status.state == UP:
            self._statuses[name] = replace(status, seen_at=at)

    def paced(self, pace: SourcePaced) -> None:
        """It is asked less often because its broker is slow; or no more."""
        status = self._statuses.get(pace.name)
        if status is not None:
            slow = pace.every > pace.usual
            self._statuses[pace.name] = replace(
                status,
                took=pace.took if slow else None,
                asked_every=pace.every if slow else None,
                usually_every=pace.usual if slow else None,
            )

    def changed(self, change: SourceChanged) -> None:
        """It came up, went down, or tries again."""
        before = self._statuses.get(change.name) or SourceStatus(change.name, since_at=change.at)
        same = before.state == change.state
        attempts = 0 if change.state == UP else before.attempts + (change.state == DOWN)
        self._statuses[change.name] = SourceStatus(
            change.name,
            state=change.state,
            error=change.error if change.state != UP else None,
            since_at=before.since_at if same else change.at,
            seen_at=change.at if change.state == UP else before.seen_at,
            retry_at=change.retry_at,
            attempts=attempts,
        )
        if change.name == "events":
            self._gap(before, change)
            if not same:
                self._deaf_since = None
        self._cut(change.at)

    def dropped(self, number: int, not_read: float, at: float) -> None:
        """So many events were shed; for so many seconds those of tasks were not asked for."""
        last = self._shedding
        if last is not None and last.until_at is not None and at - last.until_at <= TOGETHER and last in self._gaps:
            self._gaps.remove(last)
            since = last.since_at
        else:
            self._dropped, self._not_read = 0, 0.0
            since = at - not_read
        self._dropped += number
        self._not_read += not_read
        self._shedding = Gap(since, at, _shedding(self._dropped, self._not_read))
        self._gaps.append(self._shedding)

    def hears(self, everyone: bool, at: float) -> None:
        """Whether what workers say of themselves gets through; while it does not, events tell nothing of them."""
        if everyone and self._deaf_since is not None:
            self._deaf_since, self._hears_since = None, at
        elif not everyone and self._deaf_since is None:
            self._deaf_since = at

    def picture(self) -> tuple[SourceStatus, ...]:
        """All of them."""
        return tuple(self._statuses.values())

    def gaps(self) -> tuple[Gap, ...]:
        """The last ones, oldest first."""
        return tuple(self._gaps)

    def reach(self, muted: str | None) -> Reach:
        """What reaches us of the workers; ``muted`` is why nobody can publish."""
        events, control = self._statuses.get("events"), self._statuses.get("control")
        heard = events if self._deaf_since is None else None
        since = _since(heard)
        return Reach(
            events_since=since if since is None else max(since, self._hears_since or since),
            events_at=heard.seen_at if heard is not None and heard.state == UP else None,
            control_since=_since(control),
            control_at=control.seen_at if control is not None and control.state == UP else None,
            cut_off_since=self._cut_off_since if self._cut_off_since is not None else self._deaf_since,
            muted=muted,
        )

    def _gap(self, before: SourceStatus, change: SourceChanged) -> None:
        if change.state == UP and self._open is not None:
            if self._open in self._gaps:
                self._gaps.remove(self._open)
            self._gaps.append(replace(self._open, until_at=change.at))
            self._open = None
        elif before.state == UP and change.state != UP and self._open is None:
            since = before.seen_at if before.seen_at is not None else change.at
            self._open = Gap(since, None, change.error or "the event source stopped")
            self._gaps.append(self._open)

    def _cut(self, at: float) -> None:
        states = [self._statuses[name].state for name in ("events", "control") if name in self._statuses]
        if UP in states:
            self._cut_off_since = None
        elif self._cut_off_since is None and any(state != STARTING for state in states):
            seen = [status.seen_at for status in self._statuses.values() if status.seen_at is not None]
            self._cut_off_since = max(seen, default=None)


def _shedding(dropped: int, not_read: float) -> str:
    """Why there is a gap.

    >>> _shedding(1200, 0.0)
    '1,200 events dropped: more came than could be folded'
    >>> _shedding(0, 3.21)
    'task events not read for 3.2 s: more came than could be read'
    """
    if not not_read:
        return f"{dropped:,} events dropped: more came than could be folded"
    lost = f"{dropped:,} events dropped, " if dropped else ""
    return f"{lost}task events not read for {not_read:.1f} s: more came than could be read"


def _since(status: SourceStatus | None) -> float | None:
    return status.since_at if status is not None and status.state == UP else None

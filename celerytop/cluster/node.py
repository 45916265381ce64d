"""What is known of one worker: the record that events and replies write and pictures read."""

from __future__ import annotations

from collections.abc import Container

from celerytop.cluster.clocks import HostClock
from celerytop.cluster.statistics import Rate
from celerytop.cluster.words import Appearances, Sighting, Words

PIDS_FOR = 30.0
"""Seconds a pid that is not heard of any more counts."""
UNTOLD_FOR = 5.0
"""Seconds in which a task event must follow when ``processed`` has grown."""
BEAT, RUNS, MORE = 1, 2, 3
"""What was heard of it: a heartbeat; task events too, of one that has sent such before; anything."""
_LOOKED_AT = 50
"""Reserved tasks that are looked at when all that matters is whether there are any."""


class Node(Words):
    """One node name."""

    __slots__ = (
        "_accepted",
        "_all_touched",
        "clock",
        "counted",
        "failed",
        "finished",
        "heartbeat_every",
        "host",
        "known_at",
        "latency",
        "nodename",
        "pid",
        "pids",
        "plain",
        "running",
        "running_at",
        "settled_until",
        "software",
        "tells",
        "timer_at",
        "touched",
        "unplaced",
    )

    def __init__(self, nodename: str, clock: HostClock, at: float, touched: list[Node] | None = None) -> None:
        Words.__init__(self)
        Appearances.__init__(self)
        self.nodename = nodename
        self.host = clock.host if "@" in nodename else None
        self.clock = clock
        self.known_at = at
        self.pid: int | None = None
        self.pids: dict[int, Sighting] = {}
        self.software: str | None = None
        self.heartbeat_every: float | None = None
        self.latency: float | None = None
        self.running: dict[str, float | None] = {}
        """Ids it runs, as far as events and ``active`` tell; since when ``active`` misses it."""
        self.running_at = 0.0
        self.finished = Rate()
        self.failed = Rate()
        self.unplaced = Rate()
        """Tasks it took from a queue we do not know."""
        self._accepted = Rate()
        self.touched = 0
        """What was heard of it since its last picture: nothing (0), ``BEAT``, ``RUNS`` or ``MORE``."""
        self.plain = False
        """Its picture was such that a heartbeat changes what the heart tells, and no more."""
        self.settled_until, self.timer_at = 0.0, float("inf")
        """From when on its picture may be another one though nothing is heard of it; when that is looked at."""
        self.tells = False
        """Whether it told what it takes, when last looked at."""
        self.counted: list[str | None] = []
        """Names of what it runs, as counted in the last picture."""
        self._all_touched = touched if touched is not None else []

    def touch(self) -> None:
        """Something was heard of it: its picture is made anew."""
        if not self.touched:
            self._all_touched.append(self)
        self.touched = MORE

    def beats(self) -> None:
        """All that was heard of it is a heartbeat."""
        if not self.touched:
            self._all_touched.append(self)
            self.touched = BEAT

    def connected(self, present: bool, at: float) -> None:
        """Whether its pidbox is there."""
        if present is not (self.present_at is not None) or (self.absent_at is None) is not present:
            self.touch()
        self.present_at, self.absent_at = (at, None) if present else (None, at)

    def seen_at(self) -> float | None:
        """Last sign of life of any kind."""
        last = max(self.heartbeat_at or 0.0, self.event_at or 0.0, self.answered_at or 0.0)
        return last or None

    def shows_itself(self, at: float) -> None:
        """It was there at ``at``: a goodbye or an absence before does not count any more."""
        if self.goodbye_at is not None and at > self.goodbye_at:
            self.goodbye_at = None
        self.absent_at = None
        if self.process is not None and self.process.gone and at > self.process.measured_at:
            self.process = None

    def says_goodbye(self, pid: int | None, at: float) -> None:
        """A fresh worker-offline. When two share the name, the other one stays."""
        others = [other for other in self.together(at) if other != pid]
        if pid is not None and others:
            self.pids.pop(pid, None)
            self.pid = others[0] if self.pid == pid else self.pid
        else:
            self.goodbye_at = at

    def sight(self, pid: int | None, at: float) -> None:
        """It has told its pid."""
        if pid is None:
            return
        found = self.pids.get(pid)
        if found is None:
            self.pids[pid] = Sighting(at)
            if len(self.pids) > 1:
                self._forget_pids(at)
        else:
            found.last_at = at
        if pid != self.pid:
            self._began_anew(pid)

    def together(self, now: float) -> tuple[int, ...]:
        """The pids in use: more than one when they were heard of in turns, which a restart never is."""
        if len(self.pids) < 2:
            return (self.pid,) if self.pid is not None else ()
        self._forget_pids(now)
        pairs = self.pids.items()
        both = {
            pid
            for pid, one in pairs
            for other_pid, other in pairs
            if pid != other_pid and one.last_at >= other.first_at and other.last_at >= one.first_at
        }
        if both:
            return tuple(sorted(both))
        return (self.pid,) if self.pid is not None else ()

    def count_processed(self, processed: int | None, at: float) -> None:
        """Learn how many tasks it has accepted; when that grows and no task event comes, it sends none."""
        if processed is None:
            return
        self.processed = processed
        if self._accepted_since is None:
            self._accepted_since = at
        elif processed > self._most_processed:
            self._accepted.add(at, processed - self._most_processed)
        self._most_processed = max(processed, self._most_processed)
        if self._quiet_from is None or processed < self._quiet_from:
            self._quiet_from, self._grown_at = processed, None
        elif processed > self._quiet_from and self._grown_at is None:
            self._grown_at = at
        if self._grown_at is not None and at - self._grown_at >= UNTOLD_FOR:
            self.task_events = False

    def task_event(self, at: float) -> None:
        """It has sent a task event."""
        if not self.touched:
            self._all_touched.append(self)
        if self.touched != MORE:
            self.touched = RUNS if self.task_events else MORE
        self.task_events = True
        self.event_at = at
        self._quiet_from = self._grown_at = None

    def accepts(self, now: float) -> float | None:
        """Tasks it accepts a second, by its own count, of the last minute."""
        return self._accepted.rate(now, self._accepted_since) if self._accepted_since is not None else None

    def tells_what_it_takes(self, now: float) -> bool:
        """Whether its events tell every message it takes, and from which queue: or it has taken none."""
        if self.task_events is None:
            return self.processed is not None and self._grown_at is None
        return self.task_events and not self.unplaced.count(now)

    def events_lost(self) -> None:
        """Events may have been lost: what did not come proves nothing."""
        if self._grown_at is not None:
            self.touch()
        self._quiet_from = self._grown_at = None

    def busy(self) -> int | None:
        """Slots that run a task, by what is newest: its own count, or the starts and ends since."""
        if self.task_events and "active" in self.listed_at and self.running_at > self.active_at:
            return len(self.running)
        return self.active

    def holds(self, place: str) -> int | None:
        """How many tasks it has reserved or scheduled."""
        listed = self.listed.get(place)
        if listed is None:
            return None
        return len(self.held(place)) if self.task_events and listed.total <= len(listed.tasks) else listed.total

    def held(self, place: str) -> dict[str, float]:
        """Ids it holds in ``reserved`` or ``scheduled``, and since when."""
        return self.reserved if place == "reserved" else self.scheduled

    def holds_now(self, place: str, ids: dict[str, float]) -> None:
        """It has listed what it holds."""
        setattr(self, place, ids)

    def has_reserved_of(self, queue: str, since: float) -> bool:
        """Whether it told after ``since`` that it holds messages of this queue which it has not begun with."""
        listed = self.listed.get("reserved")
        if listed is None or self.listed_at["reserved"] < since:
            return False
        return any(task.queue == queue and not task.acknowledged for task in listed.tasks[:_LOOKED_AT])

    def takes(self, task_id: str, scheduled: bool, at: float) -> None:
        """It has received a task."""
        (self.scheduled if scheduled else self.reserved)[task_id] = at

    def lets_go(self, task_id: str) -> None:
        """It has started a task, or will not."""
        if self.reserved.pop(task_id, None) is None:
            self.scheduled.pop(task_id, None)

    def forget_unknown(self, tasks: Container[str]) -> None:
        """Drop ids that are not known any more: where nobody can ask it, the end of a lost task is never told."""
        for held in (self.running, self.reserved, self.scheduled):
            for task_id in [task_id for task_id in held if task_id not in tasks]:
                self.touch()
                del held[task_id]

    def _began_anew(self, pid: int) -> None:
        """Another process has taken the name over: what the one before said of itself is not known any more."""
        if self.pid is not None:
            if len(self.together(self.pids[pid].last_at)) > 1:
                return  # both are there: keep to the one we know
            Words.__init__(self)
        self.pid = pid

    def _forget_pids(self, now: float) -> None:
        for pid in [pid for pid, one in self.pids.items() if now - one.last_at > PIDS_FOR]:
            del self.pids[pid]

"""Is a worker there? One state and one sentence of why, from the signs it gives and those we can see.

The order matters: what is certain comes first (its process, its goodbye), then signs of life, then what explains
silence. "Cut off" is about us: when neither events nor answers can reach us, nobody is called silent.
"""

from __future__ import annotations

import msgspec

from celerytop.model.worker import ALIVE, BUSY_SOLO, FROZEN, GONE, SILENT, UNKNOWN

GRACE = 2.0
"""Seconds added to two heartbeats."""
EVERY = 2.0
"""Celery's heartbeat interval."""
ANSWER_FOR = 12.0
"""Seconds a control reply counts as a sign of life: two pings and a bit."""
ABSENT_FOR = 30.0
"""Seconds without a sign after which one whose connection is gone is gone."""
MISSED = 3
"""Pings in a row that a connected worker must miss to be called frozen."""
FRESH = 5.0
"""Seconds an offline event may be old: after a broker restart it comes late and means nothing."""
HEART = "its heartbeat is fresh"
_DEAD = ("zombie", "dead")
_STOPPED = ("stopped", "tracing-stop")


class Reach(msgspec.Struct, frozen=True, gc=False):
    """What reaches us: since when a source is up, and when it was last heard of; ``None``: it is not up."""

    events_since: float | None
    events_at: float | None
    control_since: float | None
    control_at: float | None
    cut_off_since: float | None = None
    """Since when neither is up, if they ever were."""
    muted: str | None = None
    """Why nobody can publish (RabbitMQ's alarms), though we can listen."""

    def cut_off(self) -> bool:
        """Nothing can be said of any worker: nothing reaches us, or nothing can be sent."""
        return self.control_since is None and (self.events_since is None or self.muted is not None)


class Signs(msgspec.Struct, frozen=True, gc=False):
    """What one worker gives to see. Moments are ours; ``None`` is not known."""

    heartbeat_at: float | None = None
    """Last event of its own of any kind."""
    heartbeat_every: float | None = None
    answered_at: float | None = None
    known_at: float = 0.0
    """When we first heard of it, in whatever way."""
    goodbye_at: float | None = None
    present: bool | None = None
    """Whether its pidbox had a consumer in the last round; ``None``: the broker cannot say."""
    missed: int = 0
    pool: str | None = None
    running: bool = False
    process: str | None = None
    """Status of its main process on this machine, psutil's word."""
    process_pid: int | None = None
    process_gone: bool = False
    process_at: float = 0.0


def judge(signs: Signs, reach: Reach, now: float) -> tuple[str, str]:
    """State and sentence.

    >>> up = Reach(0.0, 100.0, 0.0, 100.0)
    >>> judge(Signs(heartbeat_at=98.5, heartbeat_every=2.0), up, 100.0)
    ('alive', 'its heartbeat is fresh')
    >>> judge(Signs(heartbeat_at=50.0, pool="solo", running=True, present=True), up, 100.0)
    ('busy-solo', 'runs a task in its only process and cannot answer meanwhile')
    >>> judge(Signs(heartbeat_at=50.0), Reach(None, None, None, None, 60.0), 100.0)
    ('unknown', 'cut off since 40 s: neither events nor answers reach us')
    """
    certain = _certain(signs, reach, now)
    if certain is not None:
        return certain
    if _heart_beats(signs, reach):
        return ALIVE, HEART
    if reach.cut_off():
        return UNKNOWN, _why_cut_off(reach, now)
    if _answers(signs, reach):
        return ALIVE, "answers control commands"
    if _busy_solo(signs):
        return _silence(signs, now)
    if _too_early(signs, reach, now):
        return UNKNOWN, "we have only begun to listen, and it has not shown itself yet"
    return _silence(signs, now)


def _why_cut_off(reach: Reach, now: float) -> str:
    if reach.events_since is not None:
        return f"{reach.muted}: its heartbeats and answers cannot get through"
    if reach.cut_off_since is None:
        return "nothing has reached us from the broker yet"
    return f"cut off since {_seconds(now - reach.cut_off_since)}: neither events nor answers reach us"


def _certain(signs: Signs, reach: Reach, now: float) -> tuple[str, str] | None:
    """What its process and its own word say, unless it has shown itself since."""
    sign_at = max(signs.heartbeat_at or 0.0, signs.answered_at or 0.0)
    if signs.process_gone and signs.process_at >= sign_at:
        return GONE, f"its process {signs.process_pid} is not there any more"
    if signs.process in _DEAD and signs.process_at >= sign_at:
        return GONE, f"its process {signs.process_pid} has ended ({signs.process})"
    if signs.process in _STOPPED and signs.process_at >= sign_at - GRACE:
        return FROZEN, f"its main process {signs.process_pid} is stopped (state T)"
    if signs.goodbye_at is not None:
        return GONE, f"said goodbye {_seconds(now - signs.goodbye_at)} ago"
    return None


def _heart_beats(signs: Signs, reach: Reach) -> bool:
    """Its age is taken by when the source was last heard: a silent source makes nobody silent."""
    if signs.heartbeat_at is None or reach.events_at is None:
        return False
    return reach.events_at <= fresh_until(signs.heartbeat_at, signs.heartbeat_every)


def fresh_until(heartbeat_at: float, every: float | None) -> float:
    """When a heart is late, by the moment its source was last heard."""
    return heartbeat_at + 2 * (every or EVERY) + GRACE


def goodbye_until(goodbye_at: float, now: float) -> float:
    """From when on ``judge`` words a goodbye in another way.

    >>> goodbye_until(100.0, 103.5), goodbye_until(100.0, 290.0)
    (104.0, 340.0)
    """
    whole = int(max(0.0, now - goodbye_at))
    return goodbye_at + (whole + 1 if whole < 120 else whole // 60 * 60 + 60)


def _answers(signs: Signs, reach: Reach) -> bool:
    if signs.answered_at is None or reach.control_at is None:
        return False
    if signs.missed and signs.heartbeat_every is not None and reach.events_at is not None:
        return False  # its heart has stopped, and since then it has missed a ping
    return reach.control_at - signs.answered_at <= ANSWER_FOR


def _busy_solo(signs: Signs) -> bool:
    """It never showed itself and missed its first ping: with this pool, and its process there, that says enough."""
    return signs.pool == "solo" and signs.process is not None and signs.missed > 0 and not signs.answered_at


def _too_early(signs: Signs, reach: Reach, now: float) -> bool:
    """Whether nobody could have shown itself since we can hear, or since we know of it."""
    waits = []
    if reach.events_since is not None:
        waits.append((reach.events_since, 2 * (signs.heartbeat_every or EVERY) + GRACE))
    if reach.control_since is not None:
        waits.append((reach.control_since, ANSWER_FOR / 2))
    return any(now - max(since, signs.known_at) < patience for since, patience in waits)


def _silence(signs: Signs, now: float) -> tuple[str, str]:
    sign_at = max(signs.heartbeat_at or 0.0, signs.answered_at or 0.0) or signs.known_at
    silent = _seconds(now - sign_at)
    if signs.present is False and signs.process is None:
        if now - sign_at > ABSENT_FOR:
            return GONE, f"its connection is not there any more, no sign for {silent}"
        return SILENT, f"its connection is not there, no sign for {silent}"
    if signs.pool == "solo":
        return BUSY_SOLO, _solo(signs, silent)
    if signs.present and signs.missed >= MISSED:
        perhaps = "" if signs.pool is not None else "; or a busy solo worker, for its pool is not known"
        return FROZEN, f"connected and mute: {signs.missed} pings unanswered, no sign for {silent}{perhaps}"
    if signs.present:
        return SILENT, f"connected, but no heartbeat and no answer for {silent}"
    if signs.process is not None:
        return SILENT, f"no heartbeat and no answer for {silent}, though its process {signs.process_pid} is there"
    return SILENT, f"no heartbeat and no answer for {silent}"


def _solo(signs: Signs, silent: str) -> str:
    if signs.running:
        return "runs a task in its only process and cannot answer meanwhile"
    if not (signs.heartbeat_at or signs.answered_at):
        return "solo pool that has not shown itself yet: it cannot answer while a task runs"
    return f"solo pool without a sign for {silent}: it cannot answer while a task runs"


def _seconds(length: float) -> str:
    """Words for a length of time.

    >>> _seconds(12.3), _seconds(125), _seconds(4000)
    ('12 s', '2 min', '1 h 6 min')
    """
    whole = int(max(0.0, length))
    if whole < 120:
        return f"{whole} s"
    minutes = whole // 60
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"

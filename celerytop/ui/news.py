"""What the header says is wrong, worst first, and how fresh a page's data are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from celerytop.columns.losses import by_kind, not_read
from celerytop.columns.queues import FEW
from celerytop.format import count, duration
from celerytop.model import worker as states
from celerytop.model.observation import DOWN, STARTING, UP
from celerytop.model.snapshot import Snapshot, SourceStatus

OLD = 8.0
"""Seconds without news after which a source is called stale."""
_MANY = 3
"""Beyond so many of one kind they are counted, so that they do not hide another kind."""
_RANK = {"bad": 0, "warn": 1, "note": 2, "dim": 3}
_PAGE_OF = {"broker": "5", "management": "5", "queues": "1", "control": "2", "events": "3", "host": "6"}


class News(msgspec.Struct, frozen=True):
    """One thing that is worth a word."""

    tone: str
    text: str
    page: str = ""
    """Key of the page that shows more."""
    more: str = ""
    """Said after it where there is room."""


class Freshness(msgspec.Struct, frozen=True):
    """How old what a page shows is."""

    mode: str
    """``LIVE``, ``STALE``, ``PART`` (only other sources are ill), ``START`` (nothing has come yet)."""
    age: float | None = None
    """Seconds since the oldest source needed was heard; ``None``: never."""
    as_of: float | None = None
    """STALE: the moment the data are of."""


def freshness(snapshot: Snapshot, needs: Sequence[str], silence: float = 0.0) -> Freshness:
    """Whether what a page shows is of now. ``silence`` is added: seconds since the picture itself came."""
    mine = [status for status in snapshot.sources if status.name in needs]
    seen = [status.seen_at for status in mine if status.seen_at is not None]
    oldest = min(seen, default=None)
    age = None if oldest is None else max(0.0, snapshot.at - oldest) + silence
    if any(_ill(status, snapshot.at, silence) for status in mine):
        return Freshness("STALE", age, oldest)
    if age is None:
        return Freshness("START")
    others = (status for status in snapshot.sources if status.name not in needs)
    return Freshness("PART" if any(_ill(status, snapshot.at, silence) for status in others) else "LIVE", age)


def _ill(status: SourceStatus, now: float, silence: float) -> bool:
    if status.state == DOWN:
        return True
    return status.state == UP and status.seen_at is not None and now - status.seen_at + silence > OLD


def news(snapshot: Snapshot) -> list[News]:
    """Everything that is wrong, worst first; what is lost and not seen at the end."""
    found = [*_sources(snapshot), *_broker(snapshot), *_queues(snapshot), *_workers(snapshot), *_losses(snapshot)]
    return sorted(found, key=lambda item: _RANK[item.tone])


def _sources(snapshot: Snapshot) -> Iterator[News]:
    remote = [status for status in snapshot.sources if status.name != "host"]
    if remote and all(status.seen_at is None and status.state == STARTING for status in remote):
        found = f", {snapshot.cluster.found_by}" if snapshot.cluster.found_by else ""
        yield News("note", f"connecting to {snapshot.cluster.url}{found}")
    said: set[str] = set()
    for status in snapshot.sources:
        if status.state != DOWN or status.error in said:
            continue
        said.add(status.error or "")
        wait = (
            f"Try {status.attempts + 1} in {duration(max(0.0, status.retry_at - snapshot.at))}."
            if status.retry_at
            else ""
        )
        tone = "bad" if status.name in ("events", "queues", "control") else "warn"
        sentence = (status.error or f"{status.name} does not answer").rstrip(".") + "."
        yield News(tone, sentence, "5" if snapshot.cut_off() else _PAGE_OF.get(status.name, ""), wait)


def _broker(snapshot: Snapshot) -> Iterator[News]:
    match snapshot.broker:
        case None:
            return
        case broker if broker.__class__.__name__ == "RedisBroker":
            if trouble := getattr(broker, "trouble", None):
                yield News("bad", trouble, "5")
            used, most = getattr(broker, "used_memory", None), getattr(broker, "maxmemory", None)
            if used is not None and most and used > 0.9 * most:
                yield News("warn", f"Redis memory {used / most:.0%} full", "5")
        case broker:
            for alarm in getattr(broker, "alarms", None) or ():
                yield News("bad", f"alarm: {alarm}, nobody can publish", "5")
            if blocked := getattr(broker, "blocked", None):
                yield News("bad", f"broker blocks publishing: {blocked}", "5")


def _queues(snapshot: Snapshot) -> Iterator[News]:
    longest = sorted(snapshot.queues.values(), key=lambda queue: -(queue.messages or 0))
    alone = [queue for queue in longest if queue.messages and queue.consumers == 0]
    growing = [
        queue for queue in longest if queue.state == "growing" and queue.consumers != 0 and (queue.messages or 0) >= FEW
    ]
    for tone, queues, one, many in (
        ("bad", alone, "no consumer", "have no consumer"),
        ("warn", growing, "grows", "grow"),
    ):
        if len(queues) > _MANY:
            longest_one = f"{count(queues[0].messages)} ready in {queues[0].name}"
            yield News(tone, f"{len(queues)} queues {many}, {longest_one}", "1")
            continue
        for queue in queues:
            yield News(tone, f"{queue.name}: {one}, {count(queue.messages)} ready", "1")


def _workers(snapshot: Snapshot) -> Iterator[News]:
    for state, tone in ((states.FROZEN, "bad"), (states.SILENT, "bad"), (states.GONE, "warn")):
        here = [worker for worker in snapshot.workers.values() if worker.state == state]
        if len(here) > _MANY:
            yield News(tone, f"{len(here)} workers {state}: {here[0].nodename} and others", "2")
            continue
        for worker in here:
            since = f" {duration(snapshot.at - worker.seen_at)}" if worker.seen_at is not None else ""
            yield News(tone, f"{worker.nodename}: {state}{since}", "2")
    for worker in snapshot.workers.values():
        if len(worker.pids) > 1 and worker.state != states.GONE:
            yield News("bad", f"{worker.nodename}: {len(worker.pids)} processes use this name", "2")


def _losses(snapshot: Snapshot) -> Iterator[News]:
    losses = snapshot.losses
    if snapshot.gaps:
        gap = snapshot.gaps[-1]
        length = "goes on" if gap.until_at is None else duration(gap.until_at - gap.since_at)
        yield News("warn" if gap.until_at is None else "note", f"gap in events: {length}, {gap.reason}", "3")
    for sentence in not_read(losses):
        yield News("warn", sentence, "5")
    shed = by_kind(losses, 2)
    last = f" (last: {snapshot.bad_events[-1].reason})" if snapshot.bad_events else ""
    for number, tone, one, many in (
        (losses.dropped, "warn", f"event dropped{shed}", f"events dropped{shed}"),
        (losses.bad, "note", f"bad event{last}", f"bad events{last}"),
        (losses.forgotten, "note", "task forgotten", "tasks forgotten"),
        (losses.capped_replies, "note", "reply cut", "replies cut"),
    ):
        if number:
            yield News(tone, f"{count(number)} {one if number == 1 else many}", "5")
    for note in snapshot.notes:
        yield News("dim", note)

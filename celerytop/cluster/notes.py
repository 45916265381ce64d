"""What cannot be seen, one sentence each."""

from __future__ import annotations

from collections.abc import Iterator

from celerytop.cluster.queues import Queues
from celerytop.cluster.sources import Sources
from celerytop.cluster.worker_pictures import WorkerPictures
from celerytop.cluster.workers import Workers
from celerytop.format import duration
from celerytop.model.observation import DOWN, UP
from celerytop.model.queue import Unacked
from celerytop.model.snapshot import ClusterInfo
from celerytop.model.text import some

NAMED = 3
"""Names listed before the rest is counted."""
UNSEEN = (
    "without the management API only queues that workers, settings or task-sent events name are seen: "
    "others may hold messages, and unacked ones are not known"
)
_MUTE = "workers cannot be asked"


def notes(
    info: ClusterInfo,
    sources: Sources,
    workers: Workers,
    pictures: WorkerPictures,
    queues: Queues,
    unacked: Unacked | None,
    clock_off: float | None,
) -> Iterator[str]:
    """All sentences that hold now."""
    silent = pictures.in_order(pictures.silent)
    if silent:
        sends = "sends" if len(silent) == 1 else "send"
        yield f"{some(silent, NAMED)} {sends} no task events: started without -E"
    yield from _control(info, sources, pictures.in_order(pictures.mute), workers.strangers)
    management = sources.status("management")
    if management is not None and management.state == DOWN and sources.up("queues"):
        yield UNSEEN
    yield from _slow(sources)
    yield from _unacked(unacked)
    if queues.note:
        yield queues.note
    if queues.leftovers:
        yield f"{queues.leftovers:,} reply queues were left behind by dead clients and never expire"
    if clock_off is not None:
        yield f"this machine's clock is {abs(clock_off):.0f} s {'ahead of' if clock_off > 0 else 'behind'} all workers'"
    if workers.turned_away:
        yield f"{workers.turned_away:,} signs of more than 20,000 node names were ignored"


def _unacked(unacked: Unacked | None) -> Iterator[str]:
    """When Redis' messages come back: facts, 4.3."""
    if unacked is None:
        return
    if unacked.orphaned:
        where = some([name for name, _ in unacked.orphaned_by_queue], NAMED)
        after = duration(unacked.visibility_timeout)
        many, are = ("message", "is") if unacked.orphaned == 1 else ("messages", "are")
        yield (
            f"{unacked.orphaned:,} unacked {many} of {where} {are} claimed by no living worker: "
            f"given back by another {after} after being taken"
        )
    if unacked.count and not unacked.complete:
        seen = len(unacked.messages)
        yield f"only {seen:,} of {unacked.count:,} unacked messages were looked at: orphans may be more"


def _slow(sources: Sources) -> Iterator[str]:
    """The source that waits longest; a slow broker slows them all."""
    slow = [status for status in sources.picture() if status.took is not None and status.state == UP]
    if slow:
        worst = max(slow, key=lambda status: status.took or 0.0)
        yield (
            f"the broker takes {worst.took:.2f} s to answer for {worst.name}: "
            f"asked every {worst.asked_every:.0f} s, not every {worst.usually_every:.0f} s"
        )


def _control(info: ClusterInfo, sources: Sources, mute: list[str], strangers: int) -> Iterator[str]:
    control = sources.status("control")
    if control is None:
        if info.mode == "PASSIVE":
            yield "passive: workers are not asked, so what is reserved and who consumes what is not known"
        return
    if control.state == DOWN and sources.up("events"):
        why = control.error or "control is down"
        yield why if _MUTE in why else f"{_MUTE}: {why}"
    elif control.state == UP:
        if strangers:
            more = strangers
            yield (
                f"{more} more {'listens' if more == 1 else 'listen'} for control commands and "
                f"{'does' if more == 1 else 'do'} not answer: a busy solo worker, a frozen one, or another program"
            )
        if mute:
            never = "never answers" if len(mute) == 1 else "never answer"
            yield f"{some(mute, NAMED)} {never} control commands: started without remote control, or refuses JSON"

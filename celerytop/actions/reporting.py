"""Whether a worker sends task events: ``enable_events`` and ``disable_events``.

A worker started with -E keeps no list of the kinds it sends: to ``enable_events`` it answers "already enabled", and to
``disable_events`` "already disabled", and goes on sending (seen on 5.7: ``dispatcher.groups`` is empty there).
"""

from __future__ import annotations

from collections.abc import Iterator

from celerytop.actions.deed import Deed
from celerytop.actions.link import Answer
from celerytop.actions.telling import Telling, Verdict
from celerytop.model.action import DisableEvents, EnableEvents
from celerytop.model.host import Process
from celerytop.model.outcome import CANNOT, DONE, UNKNOWN
from celerytop.model.snapshot import Snapshot
from celerytop.undo import ENABLED

DISABLED = "task events disabled"
_FLAGS = frozenset({"-E", "--task-events", "--events"})


def enable_events(deed: Deed) -> Iterator[None]:
    """As -E. Its first answer says whether it was we: ``undo.enabled_here`` reads it."""
    action = deed.action
    assert isinstance(action, EnableEvents)
    told = Telling(deed, action.workers)
    yield
    told.tell("enable_events", {}, "enable_events")
    yield

    def judge(nodename: str, answer: Answer) -> Verdict | str:
        if answer.ok is None or not answer.ok.endswith("already enabled"):
            return f"asked again, it says: {answer.ok or answer.error or 'nothing that can be read'}"
        first = told.said.get(nodename)
        seen = told.saw(nodename, f"asked again, it says: {answer.ok}")
        if first is not None and first.ok == ENABLED:
            return Verdict(DONE, "It sends task events now. Lost when it restarts; celerytop can undo it.", seen)
        return Verdict(DONE, "It sent task events already: nothing has changed, and nothing will be undone.", seen)

    yield from told.watch("enable_events", {}, judge)


def disable_events(deed: Deed) -> Iterator[None]:
    """Every monitor goes blind for its tasks."""
    action = deed.action
    assert isinstance(action, DisableEvents)
    told = Telling(deed, action.workers)
    yield
    told.tell("disable_events", {}, "disable_events")
    yield

    def judge(nodename: str, answer: Answer) -> Verdict | str:
        if answer.ok is None or not answer.ok.endswith("already disabled"):
            return f"asked again, it says: {answer.ok or answer.error or 'nothing that can be read'}"
        first = told.said.get(nodename)
        if first is not None and first.ok == DISABLED:
            seen = told.saw(nodename, f"asked again, it says: {answer.ok}")
            return Verdict(DONE, "It sends no task events any more, to no monitor. Lost when it restarts.", seen)
        return _were_off(told, nodename, deed.see())

    yield from told.watch("disable_events", {}, judge)


def _were_off(told: Telling, nodename: str, now: Snapshot) -> Verdict:
    """It says "already disabled": so says one that was started with -E, and sends them."""
    worker = now.workers.get(nodename)
    sends = worker.task_events if worker is not None else None
    flag = _flag(now, nodename)
    if flag is not None or sends:
        seen = told.saw(nodename, f"was started with {flag}", "host", 1) if flag is not None else ()
        seen += told.saw(nodename, "has sent task events", "events", 2) if sends else ()
        sentence = (
            'It says "already disabled", but sends them: it was started with -E, which cannot be undone from here.'
        )
        return Verdict(CANNOT, f"{sentence} Restart it without -E.", seen)
    if sends is False:
        seen = told.saw(nodename, "runs tasks and sends no task events", "events")
        return Verdict(DONE, "It sent no task events: nothing has changed.", seen)
    sentence = 'It says "already disabled", as one that was started with -E does too, and sends them all the same.'
    return Verdict(UNKNOWN, f"{sentence} Its next task shows which it is.")


def _flag(now: Snapshot, nodename: str) -> str | None:
    """``-E`` in its command line, when it runs on this host."""
    mains: list[Process] = [
        one for host in now.hosts.values() for one in host.processes if one.role == "main" and one.nodename == nodename
    ]
    return next((word for one in mains for word in (one.command or "").split() if word in _FLAGS), None)

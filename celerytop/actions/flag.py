"""Revoke of what does not run yet: all workers that may take it must hold its id, and are asked whether they do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from celerytop.actions.case import Case
from celerytop.actions.deed import Deed
from celerytop.actions.link import Answers
from celerytop.actions.look import PATIENCE, RESERVED, Post, chunks, holders, look, places
from celerytop.actions.unheard import unheard
from celerytop.actions.waiting import find_out
from celerytop.model.outcome import CANNOT, FLAGGED_ONLY, NOT_STOPPED, REFUSED, UNKNOWN, WILL_APPLY_LATER
from celerytop.model.snapshot import Snapshot
from celerytop.model.text import some
from celerytop.model.worker import BUSY_SOLO, FROZEN, GONE

HAND_OVER = frozenset({"threads", "gevent", "eventlet"})
"""Pools that are given a task before they have room for it: Celery looks whether it is revoked before that, and not
again. With terminate it is no better: on eventlet and threads it stays listed as active for ever.
"""
BRIEF = 0.05
"""Seconds for an answer once somebody has not answered; what counts is asked afterwards."""
NOBODY = (
    "Nothing was sent: no live worker consumes its queue, and a revoke nobody holds is lost. Start a worker first, or "
    "delete its message from the queue."
)


def verify_flags(deed: Deed, cases: Sequence[Case], posts: Mapping[str, Post]) -> Iterator[None]:
    """Send, then ask who holds it, then whether it has begun in the meantime."""
    if not cases:
        return
    now = deed.see()
    held = places(deed.link.control, [case.task_id for case in cases], _answering(posts))
    find_out(deed, cases, held, [name for name in _answering(posts) if not is_mute(now, name)])
    silent = unheard(now, deed.settings)
    sets: dict[tuple[str, ...], list[Case]] = {}
    for case in cases:
        place, worker = held.get(case.task_id, (None, None))
        case.worker = worker or case.worker
        pool = posts[worker].pool if worker is not None and worker in posts else None
        if worker is not None and pool in HAND_OVER and place == RESERVED:
            case.settle(CANNOT, _handed_over(worker, str(pool)))
            continue
        workers = _takers(case, now, worker)
        if workers:
            sets.setdefault(workers, []).append(case)
        elif silent and not (case.waits or case.taken):
            unseen = f"nothing is heard of {some(silent, 5)} on this host: busy (solo) or hung, it may run it"
            case.settle(UNKNOWN, f"Nothing was sent: no worker that answers consumes its queue, and {unseen}.")
        else:
            case.settle(REFUSED, NOBODY)
    for workers, mine in sets.items():
        _flag(deed, workers, mine, now)
        yield
        _verify(deed, workers, mine, now, silent)
        yield


def is_mute(now: Snapshot, nodename: str) -> bool:
    """Known not to answer: what it is asked now, it answers in an hour, to nobody."""
    worker = now.workers.get(nodename)
    return worker is not None and worker.state in (BUSY_SOLO, FROZEN)


def _answering(posts: Mapping[str, Post]) -> list[str]:
    return [post.nodename for post in posts.values() if post.answered]


def _handed_over(worker: str, pool: str) -> str:
    after = "let it run" if pool == "threads" else "terminate it once it has begun"
    return (
        f"Nothing was sent: it waits inside the {pool} pool of {worker} already, which runs it whatever is revoked: "
        f"{after}, or shut that worker down."
    )


def _takers(case: Case, now: Snapshot, holder: str | None) -> tuple[str, ...]:
    """Who may start it: the consumers of its queue; when that is not known, every worker there is."""
    alive = [worker for worker in now.workers.values() if worker.state != GONE]
    task = now.tasks.get(case.task_id)
    queue = case.queue or (task.queue if task is not None else None)
    told = [worker for worker in alive if worker.queues is not None]
    unsure = [worker.nodename for worker in alive if worker.queues is None]
    takers = [worker.nodename for worker in told if any(one.name == queue for one in worker.queues or ())]
    if queue is None:
        takers = [worker.nodename for worker in told]
    return tuple(dict.fromkeys([*([holder] if holder else []), *takers, *unsure]))


def _flag(deed: Deed, workers: tuple[str, ...], cases: Sequence[Case], now: Snapshot) -> None:
    patience = PATIENCE
    mute = tuple(name for name in workers if is_mute(now, name))
    asked = tuple(name for name in workers if name not in mute)
    many = f"{len(workers)} workers" if len(workers) > 1 else workers[0]
    for ids in chunks(case.task_id for case in cases):
        deed.say("sent", f"revoke of {ids[0] if len(ids) == 1 else f'{len(ids)} tasks'} to {many}")
        if mute:
            deed.link.control.tell("revoke", {"task_id": ids}, mute)
        answers = deed.link.control.ask("revoke", {"task_id": ids}, asked, patience) if asked else Answers({})
        if len(answers.by_worker) < len(asked):  # one hangs: it is not waited for with each fifty
            patience = BRIEF
        if answers.listening == 0:
            deed.say("broker", "nobody was listening")


def _verify(deed: Deed, workers: tuple[str, ...], cases: Sequence[Case], now: Snapshot, silent: Sequence[str]) -> None:
    holding = holders(deed.link.control, [name for name in workers if not is_mute(now, name)])
    posts = look(deed.link.control, tuple(holding))
    for case in cases:
        begun = next((post for post in posts.values() if case.task_id in post.running), None)
        those = [nodename for nodename, ids in holding.items() if case.task_id in ids]
        if begun is not None:
            case.worker = begun.nodename
            case.see("inspect", f"{begun.nodename} runs it", 3)
            case.settle(NOT_STOPPED, f"It began on {begun.nodename} before the revoke came.", next="SIGUSR1")
        elif those:
            _settle_flagged(case, workers, those, now, silent)
        elif holding:
            case.settle(UNKNOWN, "The workers answer, but do not hold it as revoked: they may have been restarted.")
        else:
            _nobody_answers(case, workers)


def _nobody_answers(case: Case, workers: tuple[str, ...]) -> None:
    case.settle(
        WILL_APPLY_LATER,
        f"{', '.join(workers[:3])} did not answer: busy (solo) or hung, they take the revoke when they come back. One "
        "that is gone holds nothing. Should it run there already, it runs on.",
    )


def _settle_flagged(
    case: Case, workers: tuple[str, ...], those: Sequence[str], now: Snapshot, silent: Sequence[str]
) -> None:
    names = some(those, 5)
    case.see("inspect", f"held as revoked by {names}", 3)
    missing = [nodename for nodename in workers if nodename not in those]
    if missing and case.worker not in those:
        may = "may still start it" if case.waits else "may run it"
        told = "take the revoke when they come back" if len(missing) > 1 else "takes the revoke when it comes back"
        sentence = f"{names} will not start it. {some(missing, 5)} did not confirm that and {may}: busy (solo) or hung,"
        case.settle(WILL_APPLY_LATER, f"{sentence} {told}.")
        return
    if silent and not (case.waits or case.taken):
        unseen = f"nothing is heard of {some(silent, 5)} on this host: busy (solo) or hung, it may run it"
        case.settle(UNKNOWN, f"No worker that answers runs or holds it, and {unseen}. {names} will not start it.")
        return
    if not (case.waits or case.taken) and case.revoked_before:
        case.settle(
            UNKNOWN,
            "It was revoked before. A worker lists no more what it was told to terminate, though its process may run "
            f"on; only the celerytop that told it, on the worker's host, knows which. {names} will not start it.",
        )
        return
    gap = f" {some(missing, 5)} did not confirm it." if missing else ""
    settings = [now.workers[name].settings or {} for name in those if name in now.workers]
    kept = bool(settings) and all(one.get("worker_state_db") not in (None, "", "None") for one in settings)
    lost = "They keep it in their state file." if kept else "Lost when they restart, unless they have --statedb."
    seen = "Not running" if case.waits or case.taken else _nowhere(case)
    case.settle(FLAGGED_ONLY, f"{seen}: {names} will not start it.{gap} {lost}")


def _nowhere(case: Case) -> str:
    """Nothing but its id is known."""
    message = ", and no queue has its message" if case.no_message else ""
    ended = (
        "it has ended, or there is no such id" if case.no_message else "it waits in a queue, has ended, or never was"
    )
    return f"No worker that answers runs or holds it{message} ({ended})"

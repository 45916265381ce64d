"""What commands to workers do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import assert_never

from celerytop import format as fmt
from celerytop.consequences.said import Judgement, Said, checked, conditions, cut_off, names, number
from celerytop.model import action as act
from celerytop.model import worker as states
from celerytop.model.snapshot import Snapshot
from celerytop.model.worker import Worker

_GROWS = ("prefork", "gevent", "eventlet", "threads")
_NO_WORKER = "no worker is named"


def _known(snapshot: Snapshot, nodenames: Sequence[str]) -> list[Worker]:
    return [worker for name in nodenames if (worker := snapshot.workers.get(name)) is not None]


def lines(snapshot: Snapshot, nodenames: Sequence[str], most: int = 4) -> tuple[Said, ...]:
    """One line for each worker."""
    shown = []
    for name in nodenames[:most]:
        worker = snapshot.workers.get(name)
        if worker is None:
            shown.append(Said(f"{name}  not known here", "warn"))
            continue
        slots = f"{fmt.count(worker.active)}/{fmt.count(worker.concurrency)} slots busy"
        reserved = f"{fmt.count(worker.reserved)} reserved"
        shown.append(Said(f"{name}  {worker.pool or 'pool ?'}  {slots}  {reserved}  {worker.state}"))
    rest = len(nodenames) - most
    return (*shown, Said(f"and {rest} more", "dim")) if rest > 0 else tuple(shown)


def _to(nodenames: Sequence[str], what: str) -> str:
    return f"Sends, to {names(nodenames)} only:  {what}"


# ----------------------------------------------------------------------------------------------------- sizing
def sizing(snapshot: Snapshot, action: act.PoolGrow | act.PoolShrink | act.Autoscale) -> Judgement:
    """Slots more or less."""
    match action:
        case act.PoolGrow():
            title, verb, what = f"GROW by {number(action.n, 'slot')}", "grow", f"pool_grow({action.n})"
            says = [*_slots(snapshot, action.workers, action.n), *_pools(snapshot, action.workers)]
        case act.PoolShrink():
            title, verb, what = f"SHRINK by {number(action.n, 'slot')}", "shrink", f"pool_shrink({action.n})"
            says = [*_slots(snapshot, action.workers, -action.n), *_pools(snapshot, action.workers)]
            says.append(Said("idle slots go at once, busy ones after their task; nothing that runs is stopped"))
        case act.Autoscale():
            title, verb = f"AUTOSCALE between {action.min} and {action.max} slots", "set it"
            what = f"autoscale(max={action.max}, min={action.min})"
            says = [Said("works only where the worker was started with --autoscale; else it refuses", "warn")]
        case _:
            assert_never(action)
    says.append(Said("lost when the worker restarts", "dim"))
    return Judgement(
        title=f"{title} on {names(action.workers)}",
        verb=verb,
        subjects=lines(snapshot, action.workers),
        does=(*cut_off(snapshot), *says, *conditions(snapshot, action.workers), Said(checked(snapshot), "dim")),
        sends=_to(action.workers, what),
        barred=None if action.workers else _NO_WORKER,
    )


def _slots(snapshot: Snapshot, nodenames: Sequence[str], n: int) -> Iterator[Said]:
    sized = [worker for worker in _known(snapshot, nodenames) if worker.pool not in ("solo", "threads")]
    for worker in sized[:3]:
        if worker.concurrency is None:
            yield Said(f"{worker.nodename}: how many slots it has now is not known", "warn")
            continue
        after = worker.concurrency + n
        less = after < 1
        yield Said(f"{worker.nodename}: {number(worker.concurrency, 'slot')}, then {after}", "bad" if less else "")
        if less:
            yield Said("no slot is left: what it takes would wait for ever, so nothing is sent to it", "bad")


def _pools(snapshot: Snapshot, nodenames: Sequence[str]) -> Iterator[Said]:
    pools = {worker.pool for worker in _known(snapshot, nodenames)}
    if "solo" in pools:
        yield Said("CANNOT: a solo pool has one slot", "bad")
    if "threads" in pools:
        yield Said("a threads pool does not change its size while it runs: its worker refuses", "bad")
    if None in pools:
        yield Said("a pool is not known: solo and threads cannot change their size", "warn")
    yield Said("refused where the worker was started with --autoscale", "dim")


# -------------------------------------------------------------------------------------------------- consuming
def consuming(snapshot: Snapshot, action: act.AddConsumer | act.CancelConsumer) -> Judgement:
    """Pause and resume a queue."""
    queue = snapshot.queues.get(action.queue)
    ready = fmt.count(queue.messages) if queue is not None else fmt.UNKNOWN
    if isinstance(action, act.CancelConsumer):
        others = _others(snapshot, action)
        says = [
            Said("they take nothing more from it; what they have reserved they still run", ""),
            Said(f"{ready} wait there; {others}", "warn" if "nobody" in others else ""),
            Said("remembered here: x offers to resume; a restart resumes too", "dim"),
        ]
        title, verb, what = f"PAUSE {action.queue}", "pause", f"cancel_consumer({action.queue})"
    else:
        says = [Said(f"they begin to take from it; {ready} wait there")]
        if queue is None:
            says.append(Said("no such queue is known: Celery makes it, with its default exchange", "warn"))
        says.append(Said("lost when the worker restarts", "dim"))
        title, verb, what = f"RESUME {action.queue}", "resume", f"add_consumer({action.queue})"
    return Judgement(
        title=f"{title} on {names(action.workers)}",
        verb=verb,
        subjects=lines(snapshot, action.workers),
        does=(*cut_off(snapshot), *says, *conditions(snapshot, action.workers), Said(checked(snapshot), "dim")),
        sends=_to(action.workers, what),
        barred=None if action.workers else "no worker is known to take from it",
    )


def _others(snapshot: Snapshot, action: act.CancelConsumer) -> str:
    queue = snapshot.queues.get(action.queue)
    if queue is None or (not queue.workers and queue.consumers != 0):
        return "who else takes from it is not known"
    others = [name for name in queue.workers if name not in action.workers]
    return f"{names(others)} take on from it" if others else "nobody takes from it then"


# ---------------------------------------------------------------------------------------------------- setting
def setting(
    snapshot: Snapshot, action: act.RateLimit | act.TimeLimit | act.EnableEvents | act.DisableEvents
) -> Judgement:
    """Limits and events."""
    match action:
        case act.RateLimit():
            title, verb = f"RATE LIMIT {action.rate_limit} for {action.task_name}", "limit"
            what = f"rate_limit({action.task_name}, {action.rate_limit})"
            none = action.rate_limit in ("0", "")
            says = [Said("no limit any more" if none else "each worker for itself: so often in each of them")]
            says.append(Said("what is over the limit waits in the worker, reserved", "dim"))
        case act.TimeLimit():
            title, verb = f"TIME LIMIT for {action.task_name}", "limit"
            what = f"time_limit({action.task_name}, soft={action.soft}, hard={action.hard})"
            says = [*_limits(snapshot, action)]
        case act.EnableEvents():
            title, verb, what = "ENABLE task events", "enable", "enable_events"
            says = [Said("as -E: each task costs its worker a few messages more"), Said("q offers to undo it", "dim")]
        case act.DisableEvents():
            title, verb, what = "DISABLE task events", "disable", "disable_events"
            says = [Said("celerytop and every other monitor go blind for tasks of these workers", "bad")]
        case _:
            assert_never(action)
    return Judgement(
        title=f"{title} on {names(action.workers)}",
        verb=verb,
        subjects=lines(snapshot, action.workers),
        does=(
            *cut_off(snapshot),
            *says,
            Said("lost when the worker restarts", "dim"),
            *conditions(snapshot, action.workers),
        ),
        sends=_to(action.workers, what),
        barred=None if action.workers else _NO_WORKER,
    )


def _limits(snapshot: Snapshot, action: act.TimeLimit) -> Iterator[Said]:
    """When they hold. Pools that drop them: celery/concurrency/thread.py, solo.py, eventlet.py."""
    soft, hard = ("none" if one is None else fmt.duration(one) for one in (action.soft, action.hard))
    yield Said(f"soft {soft}, hard {hard}")
    for pool, workers in _by_pool(snapshot, action.workers).items():
        if pool in ("threads", "solo", "eventlet"):
            yield Said(f"CANNOT on {names(workers)}: a pool of {pool} enforces no time limit", "bad")
        elif pool == "gevent" and action.soft is not None:
            yield Said(f"{names(workers)}: a gevent pool knows the hard limit only", "warn")
    yield Said("holds only after the worker has next connected to its broker, or its pool was restarted:", "warn")
    yield Said("Celery reads it then, and for tasks that start later; what runs keeps the limit it has", "warn")


def _restarts(snapshot: Snapshot, nodenames: Sequence[str], active: str) -> Iterator[Said]:
    """Only prefork does anything; all others answer "reload started" as well."""
    pools = _by_pool(snapshot, nodenames)
    if not pools or not {"prefork", None}.isdisjoint(pools):
        yield Said(f"running tasks ({active}) are finished first: nothing is cut off")
        yield Said("an idle process is replaced only after the next task it runs: some stay old for long", "warn")
        yield Said("needs the setting worker_pool_restarts; without it the worker refuses", "warn")
    for pool, workers in pools.items():
        if pool is None:
            yield Said(f"{names(workers)}: its pool is not known; only prefork restarts its processes", "warn")
        elif pool != "prefork":
            yield Said(f"CANNOT on {names(workers)}: a pool of {pool} says yes and does nothing", "bad")


def _by_pool(snapshot: Snapshot, nodenames: Sequence[str]) -> dict[str | None, list[str]]:
    found: dict[str | None, list[str]] = {}
    for worker in _known(snapshot, nodenames):
        found.setdefault(worker.pool, []).append(worker.nodename)
    return found


# ----------------------------------------------------------------------------------------------------- ending
def ending(snapshot: Snapshot, action: act.Shutdown | act.KillWorker | act.PoolRestart) -> Judgement:
    """Workers that end, or begin anew."""
    nodenames = (action.worker,) if isinstance(action, act.KillWorker) else action.workers
    active = _sum(worker.active for worker in _known(snapshot, nodenames))
    running = f"{active} running task{' is' if active == '1' else 's are'}"
    heard = conditions(snapshot, nodenames)
    match action:
        case act.Shutdown():
            title, verb, what = "SHUT DOWN", "shut down", _to(nodenames, "shutdown")
            says = [
                *_namesakes(snapshot, nodenames),
                Said(f"warm: {running} finished first, what is reserved goes back to its queue"),
                Said("it may hang: gevent, eventlet and threads never end while a task is stuck", "warn"),
                Said("who starts it again (systemd, Kubernetes) is not known here", "dim"),
            ]
        case act.PoolRestart():
            title, verb, what = "RESTART the pool of", "restart", _to(nodenames, "pool_restart")
            says = [*_restarts(snapshot, nodenames, active)]
        case act.KillWorker():
            title, verb = "KILL", "kill"
            what = f"Sends nothing to the worker: SIGKILL here to pid {action.pid} and all below it"
            says = [
                Said(f"{'what it runs is' if active == fmt.UNKNOWN else running} cut off", "bad"),
                Said(_returns(snapshot), "warn"),
            ]
            heard = []  # nobody has to read anything for it
        case _:
            assert_never(action)
    return Judgement(
        title=f"{title} {names(nodenames)}",
        verb=verb,
        subjects=lines(snapshot, nodenames),
        does=(*cut_off(snapshot), *says, *heard, Said(checked(snapshot), "dim")),
        sends=what,
        typed=nodenames[0] if len(nodenames) == 1 else snapshot.cluster.name,
        barred=_ended(snapshot, action) if nodenames else _NO_WORKER,
    )


def _namesakes(snapshot: Snapshot, nodenames: Sequence[str]) -> Iterator[Said]:
    """Two workers of one name: a command cannot tell them apart."""
    for worker in _known(snapshot, nodenames):
        if len(worker.pids) > 1:
            heard = "all of them hear it" if snapshot.cluster.transport == "redis" else "only one of them hears it"
            pids = ", ".join(map(str, worker.pids))
            yield Said(f"{len(worker.pids)} processes use the name {worker.nodename}, pid {pids}: {heard}", "bad")


def _sum(numbers: Iterator[int | None]) -> str:
    known = list(numbers)
    return fmt.UNKNOWN if not known or None in known else fmt.count(sum(one or 0 for one in known))


def _returns(snapshot: Snapshot) -> str:
    if snapshot.cluster.transport == "redis":
        after = snapshot.unacked.visibility_timeout if snapshot.unacked is not None else None
        return (
            "what it has reserved, and late-acknowledged tasks it runs, stay unacked: other workers take them back "
            f"after the visibility timeout ({fmt.duration(after)}), or x on the queue restores them at once"
        )
    return "what it has reserved, and late-acknowledged tasks it runs, goes back to its queue at once and runs again"


def _ended(snapshot: Snapshot, action: act.Shutdown | act.KillWorker | act.PoolRestart) -> str | None:
    if not isinstance(action, act.KillWorker):
        return None
    worker = snapshot.workers.get(action.worker)
    seen = any(
        process.pid == action.pid and process.created_at == action.pid_started_at
        for host in snapshot.hosts.values()
        for process in host.processes
    )
    if seen:
        return None
    gone = worker is not None and worker.state == states.GONE
    return (
        f"pid {action.pid} is not there any more" if gone else f"pid {action.pid} is not seen on this host (any more)"
    )

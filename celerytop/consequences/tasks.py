"""What revoking, signalling and killing does to these tasks (facts of Celery 4.4 to 5.7, seen on real workers)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from celerytop.consequences.family import family
from celerytop.consequences.said import DEAF, MANY, Judgement, Said, checked, conditions, cut_off, names, number
from celerytop.consequences.subjects import GREEN, Subject, below, lines, process_of, subjects
from celerytop.model import action as act
from celerytop.model import worker as states
from celerytop.model.snapshot import Snapshot

IDS = 50
"""Ids in one message."""
_BY_SIGNAL = ("prefork", "gevent", "eventlet")
_INSIDE = ("threads", "solo")
"""Pools whose tasks run in the worker's main process."""
_VERBS = {None: "revoke", "SIGUSR1": "interrupt", "SIGINT": "interrupt", "SIGTERM": "terminate", "SIGKILL": "kill"}


def revoke(snapshot: Snapshot, action: act.Revoke) -> Judgement:
    """Revoke, alone or with a signal."""
    found = subjects(snapshot, action.targets)
    left = [one for one in found if one.gone is None]
    verb = _VERBS.get(action.signal, "terminate")
    says = [
        *cut_off(snapshot),
        *_gone(found),
        *_forgotten(left),
        *(_signalled(left, action.signal) if action.signal is not None else _unsignalled(left)),
        *_waiting(left, snapshot),
        *conditions(snapshot, _workers(left)),
        *family(snapshot, left, action.descendants),
        _check(left, snapshot),
    ]
    whole = f" and what follows {names(root[:8] for root in action.roots)}" if action.roots else ""
    return Judgement(
        title=_title(verb, left or found) + whole,
        verb=verb,
        subjects=tuple(lines(found, snapshot)),
        does=tuple(says),
        sends=_with_later(_sends(left, action.signal)) if action.descendants != "no" else _sends(left, action.signal),
        typed=snapshot.cluster.name if len(action.targets) > MANY else None,
        barred=None if action.roots or any(_by_signal(one) for one in left) else _nothing(found),
    )


def _by_signal(one: Subject) -> bool:
    """A revoke can do something to it. What its worker has forgotten only whoever made it forget can signal again."""
    return not one.forgotten or one.rung not in (None, "tree")


def _forgotten(left: Sequence[Subject]) -> Iterator[Said]:
    for one in [one for one in left if one.forgotten][:3]:
        yield Said(f"Celery says REVOKED, and {one.where or 'its worker'} lists it no more: that is no proof", "warn")


def _title(verb: str, found: Sequence[Subject]) -> str:
    running = sum(one.runs for one in found)
    over = all(one.gone is not None for one in found)
    kind = "" if over else "running " if running == len(found) else "waiting " if not running else ""
    return f"{verb.upper()} {number(len(found), f'{kind}task')}"


def _nothing(found: Sequence[Subject]) -> str:
    if not found:
        return "there is no task to do it to"
    if any(one.forgotten for one in found):
        return "its worker has forgotten it and signals it no more: only the last rung (tree) can end what is left"
    return (found[0].gone or "") if len(found) == 1 else "none of them is left to be stopped"


def _gone(found: Sequence[Subject]) -> Iterator[Said]:
    over = [one for one in found if one.gone is not None]
    for one in over[:3]:
        yield Said(one.gone or "", "warn")
    if len(over) > 3:
        yield Said(f"and {len(over) - 3} more are over; they are left out", "warn")


def _check(left: Sequence[Subject], snapshot: Snapshot) -> Said:
    running = [one for one in left if one.runs]
    if not running:
        return Said(f"{checked(snapshot)}: not running", "dim")
    pids = [str(one.pid) for one in running if one.pid is not None]
    if not pids and all(one.pool in GREEN for one in running):
        return Said(f"{checked(snapshot)}: running, in a greenlet; looked at again before sending", "dim")
    if not pids:
        return Said(f"{checked(snapshot)}: running; in which process is not known, it is asked before anything is sent")
    if all(one.forgotten for one in running):
        there = "is not known to be gone" if len(pids) == 1 else "are not known to be gone"
        return Said(f"{checked(snapshot)}: {names(pids)} {there}; looked at again before sending", "dim")
    these = "exactly this task" if len(pids) == 1 else "exactly these tasks"
    runs = "still runs" if len(pids) == 1 else "still run"
    return Said(f"{checked(snapshot)}: {names(pids)} {runs} {these}; read again before sending", "dim")


def _workers(left: Sequence[Subject]) -> list[str]:
    return list(dict.fromkeys(one.where for one in left if one.where is not None))


def _sends(left: Sequence[Subject], signal: str | None) -> str:
    if not left:
        return ""
    if all(one.forgotten for one in left):
        pids = names(str(one.pid) for one in left if one.pid is not None)
        return f"Sends nothing to a worker: {signal or 'no signal'} from this host to {pids or 'its process'}"
    told = [one for one in left if signal is None or not (one.runs and one.pool == "threads")]
    if not told:
        return "Sends nothing: it would only make Celery lose sight of what runs on"
    parts = f", {IDS} ids in a message" if len(told) > IDS else ""
    nowhere = any(one.where is None for one in told)
    workers = _workers(told)
    if not workers:
        return f"Sends, to the workers that take from its queue:  revoke({number(len(told), 'id')}){parts}"
    more = " and those that may take the others" if nowhere else " only"
    return f"Sends, to {names(workers)}{more}:  {_words(told, signal)}{parts}"


def _with_later(sends: str) -> str:
    what = "of steps not sent yet, a plain revoke to all who may take them"
    return f"{sends}; and {what}" if sends else f"Sends, {what}"


def _words(told: Sequence[Subject], signal: str | None) -> str:
    """A signal goes only to what runs, and to workers that hear it now: what they run later is something else."""
    loud = [one for one in told if signal is not None and one.runs and _hears(one)]
    plain = len(told) - len(loud)
    words = [f"revoke({number(len(loud), 'id')}, terminate=True, signal={signal})"] if loud else []
    return " and ".join([*words, *([f"revoke({number(plain, 'id')})"] if plain else [])])


def _hears(one: Subject) -> bool:
    return one.pool != "solo" and (one.worker is None or one.worker.state not in (states.FROZEN, states.BUSY_SOLO))


# ---------------------------------------------------------------------------------------------------- running
def _unsignalled(left: Sequence[Subject]) -> Iterator[Said]:
    running = [one for one in left if one.runs]
    if running:
        what = "It runs" if len(running) == 1 else f"{number(len(running), 'task')} of them run"
        yield Said(f"{what} on to the end: a revoke without a signal stops nothing that runs", "bad")
    if any(one.pool == "threads" for one in running):
        yield Said("no signal does: threads cannot be stopped, only their whole worker (x on the worker)", "warn")


def _signalled(left: Sequence[Subject], signal: str) -> Iterator[Said]:
    deaf = [one for one in left if one.runs and not one.forgotten and one.pool != "solo" and not _hears(one)]
    if deaf:
        yield Said(
            f"WILL APPLY LATER: {names(_workers(deaf))} hears nothing now, and a signal is not kept for it", "bad"
        )
        yield Said("instead: kill the process tree, on its host")
    pools = list(dict.fromkeys(one.pool for one in left if one.runs and one not in deaf))
    for pool in pools:
        yield from _pool(pool, signal)
    if any(pool in _BY_SIGNAL or pool is None for pool in pools) and signal not in ("SIGUSR1", "SIGINT"):
        yield Said("the work so far is lost and does not run again: the worker acknowledges what it ends,"
                   " with acks_late and reject_on_worker_lost too")  # fmt: skip


def _pool(pool: str | None, signal: str) -> Iterator[Said]:
    match pool:
        case "prefork":
            yield from _prefork(signal)
        case "gevent" | "eventlet":
            yield Said(
                f"{pool}: its greenlet is killed, whatever the signal; it may swallow that, or block the hub", "warn"
            )
        case "threads":
            yield Said("CANNOT: a threads pool has no way to stop a running task", "bad")
            yield Said("instead: revoke only, so that it does not start again, or shut the worker down and kill it")
        case "solo":
            yield Said(
                "WILL APPLY LATER: solo reads the command after the task, and then nothing is left to end", "bad"
            )
            yield Said("instead: kill the worker's process on its host (x on the worker)")
        case None:
            yield Said("its worker's pool is not known: threads cannot be stopped, solo only reads it later", "warn")
        case _:
            yield Said(f"pool {pool}: what it does with a signal is not known", "warn")


def _prefork(signal: str) -> Iterator[Said]:
    match signal:
        case "SIGUSR1":
            yield Said("SoftTimeLimitExceeded is raised at the line where it is stuck; the process lives on")
            yield Said("a task that catches it runs on; one that does not ends as FAILURE, with a traceback")
        case "SIGINT":
            yield Said("nothing happens: a pool process ignores SIGINT, unless its task has set a handler", "bad")
        case "SIGKILL":
            yield Said("the pool process is killed, not only the task; it cannot clean up", "warn")
            yield Said("processes that the task has started live on: only the last rung ends them too", "warn")
        case _:
            yield Said("the pool process is killed, not only the task; a handler may hold it back", "warn")


def _waiting(left: Sequence[Subject], snapshot: Snapshot) -> Iterator[Said]:
    waiting = [one for one in left if not one.runs]
    if not waiting:
        return
    which = "the id, and throw it" if len(waiting) == 1 else f"{len(waiting):,} ids, and throw each"
    yield Said(f"FLAGGED ONLY: workers remember {which} away when its turn comes")
    yield Said("held in their memory: lost when they restart without --statedb; 50,000 ids, 3 h", "dim")
    if any(one.pool == "threads" and one.where is not None for one in waiting):
        yield Said("what a threads worker has reserved runs all the same: it is in its executor already", "bad")
    alive = [one for one in snapshot.workers.values() if one.state not in (*DEAF, states.UNKNOWN)]
    if not alive:
        yield Said("no worker is known to be up: nobody keeps the id, and a worker started later runs it", "bad")


# ------------------------------------------------------------------------------------------------------- tree
def kill_tree(snapshot: Snapshot, action: act.KillTree) -> Judgement:
    """SIGKILL of the process and of all it has started, past the worker."""
    found = subjects(snapshot, action.targets)
    left = [one for one in found if one.gone is None and _here(snapshot, one)]
    elsewhere = [one for one in found if one.gone is None and not _here(snapshot, one)]
    barred = None
    inside = bool(left) and all(one.pool in _INSIDE for one in left)
    if inside:
        barred = "it runs inside its worker's main process: only the whole worker can be killed (x on the worker)"
    elif not left:
        barred = _not_here(elsewhere[0], snapshot) if elsewhere else _nothing(found)
    says = [
        *_gone(found),
        *(Said(_not_here(one, snapshot), "warn") for one in elsewhere[:2]),
        *(_tree(left, snapshot) if left and not inside else ()),
        *family(snapshot, left, "no"),
        _check(left, snapshot),
    ]
    pids = [str(one.pid) for one in left]
    return Judgement(
        title=_title("kill the processes of", left or found),
        verb="kill",
        subjects=tuple(lines(found, snapshot)),
        does=tuple(says),
        sends=f"Sends nothing to a worker: SIGKILL here to {names(pids)} and below" if left and not inside else "",
        typed=snapshot.cluster.name if len(action.targets) > MANY else None,
        barred=barred,
    )


def _here(snapshot: Snapshot, one: Subject) -> bool:
    """Its process, or by the last verdict what that has left behind."""
    return one.rung == "tree" or process_of(snapshot, one) is not None


def _not_here(one: Subject, snapshot: Snapshot) -> str:
    if not one.runs:
        return f"{one.target.task_id[:8]} does not run: there is no process to kill"
    host = names(snapshot.hosts) if snapshot.hosts else "this host"
    pid = f"pid {one.pid}" if one.pid is not None else "its process"
    return f"{pid} of {one.where or 'its worker'} is not on {host}, or not seen: only its worker can kill it"


def _tree(left: Sequence[Subject], snapshot: Snapshot) -> Iterator[Said]:
    more = sum(len(below(snapshot, one.pid)) for one in left if one.pid is not None)
    started = f" and {number(more, 'process', 'processes')} below" if more else " and whatever it has started"
    yield Said(f"SIGKILL to {number(len(left), 'pool process', 'pool processes')}{started}, past the worker", "warn")
    if any(one.pool in _INSIDE for one in left):
        yield Said("its process is the worker's own: the whole worker and all its tasks end", "bad")
    yield _again(left)
    if any(one.worker is not None and one.worker.state not in DEAF for one in left):
        but = ", but leaves what is below" if more else ""
        yield Said(f"its worker still answers: SIGKILL by the worker keeps the books{but}", "dim")


def _again(left: Sequence[Subject]) -> Said:
    """Whether a task runs again when its process is killed behind the worker's back."""
    late = {_late(one) for one in left}
    if late == {False}:
        return Said("it ends as FAILURE (WorkerLostError) and does not run again: acks_late is off")
    if None in late:
        return Said("whether it runs again is not known: with acks_late and reject_on_worker_lost it does", "warn")
    rejects = {_setting(one, "task_reject_on_worker_lost") for one in left if _late(one)}
    if rejects == {True}:
        return Said("it RUNS AGAIN: acks_late and reject_on_worker_lost give it back to its queue", "bad")
    if rejects == {False}:
        return Said("it ends as FAILURE; by its worker's settings it does not run again (a task may say otherwise)")
    return Said("acks_late is on: with reject_on_worker_lost, which is not known, it RUNS AGAIN", "warn")


def _late(one: Subject) -> bool | None:
    if one.task is not None and one.task.acks_late is not None:
        return one.task.acks_late
    return _setting(one, "task_acks_late")


def _setting(one: Subject, key: str) -> bool | None:
    """A setting of its worker that is off by default; ``None``: its settings are not known."""
    if one.worker is None or one.worker.settings is None:
        return None
    return one.worker.settings.get(key, "False").strip().lower() in ("true", "1", "yes")


# ---------------------------------------------------------------------------------------------------- stamped
def stamped(snapshot: Snapshot, action: act.RevokeStamped) -> Judgement:
    """By a stamp: also what comes later."""
    values = names(action.values)
    says = [
        *cut_off(snapshot),
        Said("PERMANENT: every task with this stamp, also those sent later, is thrown away", "bad"),
        Said("until these workers restart; no command takes it back", "bad"),
        Said("which tasks carry it is not known here: events do not tell of stamps", "warn"),
    ]
    if action.signal is not None:
        says.append(Said(f"those that run get {action.signal}: on prefork their processes are killed", "warn"))
    return Judgement(
        title=f"REVOKE all with {action.header}={values}",
        verb="revoke",
        subjects=(Said(f"stamp {action.header}: {values}"),),
        does=(*says, *conditions(snapshot, action.workers)),
        sends=f"Sends, to {names(action.workers)} only:  revoke_by_stamped_headers",
        typed=snapshot.cluster.name,
        barred=None if action.workers else "no worker is known that could be told",
    )

"""How many slots a pool has: grow, shrink, autoscale, restart. The effect is read from ``stats``."""

from __future__ import annotations

from collections.abc import Iterator

from celerytop.actions.deed import Deed
from celerytop.actions.link import Answer
from celerytop.actions.readings import GREEN, Pool, pool_of
from celerytop.actions.telling import Judge, OnError, Telling, Verdict
from celerytop.model.action import Autoscale, PoolGrow, PoolRestart, PoolShrink
from celerytop.model.outcome import CANNOT, DONE, NOT_DONE, REFUSED, UNKNOWN, WILL_APPLY_LATER

LOST = "Lost when the worker restarts."
_BUSY = "All processes busy"


# --------------------------------------------------------------------------------------------- grow, shrink
def pool_grow(deed: Deed) -> Iterator[None]:
    """``n`` slots more."""
    action = deed.action
    assert isinstance(action, PoolGrow)
    yield from _resize(deed, action.workers, "pool_grow", action.n)


def pool_shrink(deed: Deed) -> Iterator[None]:
    """``n`` slots less; Celery takes idle ones only, and does not come back for the rest."""
    action = deed.action
    assert isinstance(action, PoolShrink)
    yield from _resize(deed, action.workers, "pool_shrink", -action.n)


def _resize(deed: Deed, workers: tuple[str, ...], method: str, change: int) -> Iterator[None]:
    told = Telling(deed, workers)
    if abs(change) < 1 or (change > 0) != (method == "pool_grow"):
        told.settle_all(REFUSED, "Nothing was sent: the number of slots must be 1 or more.")
        return
    told.look("stats")
    before = {nodename: pool for nodename in told.before if (pool := pool_of(told.before[nodename])) is not None}
    if change < 0:
        _keep_one(told, before, -change)
    yield
    told.tell(method, {"n": abs(change)}, f"{method}({abs(change)})", _refusal(told, before, change))
    yield
    yield from told.watch("stats", {}, _sized(told, before, change))


def _keep_one(told: Telling, before: dict[str, Pool], less: int) -> None:
    """Celery checks nothing: gevent goes below zero, and a prefork pool without a process keeps what it has taken."""
    for nodename, pool in before.items():
        if pool.size is not None and pool.kind not in ("solo", "threads") and 0 < pool.size <= less:
            sentence = (
                f"Nothing was sent: it has {pool.told()}; with none left, what it takes and has taken would wait for "
                "ever. Pause its queues, or shut it down."
            )
            told.settle(nodename, Verdict(REFUSED, sentence))


def _refusal(told: Telling, before: dict[str, Pool], change: int) -> OnError:
    def on_error(nodename: str, error: str) -> Verdict | None:
        pool = before.get(nodename) or Pool()
        if pool.autoscaler is not None:
            high, low = pool.autoscaler
            sentence = (
                f"Its autoscaler (max {high}, min {low}) sizes this pool: set autoscale instead. It says: {error}"
            )
            return Verdict(CANNOT, sentence)
        if _BUSY in error and change == -1:
            sentence = (
                f"All of its {pool.told()} are busy. Celery takes idle ones only, and does not come back to it: "
                "nothing has changed. Try again when a task has ended."
            )
            return Verdict(NOT_DONE, sentence, told.saw(nodename, f"{pool.told()}, all busy"))
        if _BUSY in error:
            return None  # as many as were idle go: see who does
        return Verdict(CANNOT, f"A {pool.kind or 'pool of this kind'} pool cannot change its size: {error}")

    return on_error


def _sized(told: Telling, before: dict[str, Pool], change: int) -> Judge:
    def judge(nodename: str, answer: Answer) -> Verdict | str:
        was, now = before.get(nodename), pool_of(answer)
        if now is None or now.size is None:
            return "its stats do not tell its size"
        if was is None or was.size is None:
            seen = told.saw(nodename, f"now {now.told()}", "stats", 9)
            return Verdict(UNKNOWN, f"It has {now.told()} now; how many it had before was not known.", seen)
        moved = now.size - was.size
        if moved * change < 0 or abs(moved) < abs(change):
            return _not_yet(was, now, change)
        seen = told.saw(nodename, _moved(was, now), "stats")
        return Verdict(DONE, f"It has {now.told()} now, {was.size} before. {_beside(now, change)}", seen)

    return judge


def _moved(was: Pool, now: Pool) -> str:
    words = f"{was.told()} before, now {now.told()}"
    if was.processes is None or now.processes is None:
        return words
    new, gone = sorted(now.processes - was.processes), sorted(was.processes - now.processes)
    words += f", new: {', '.join(map(str, new))}" if new else ""
    return words + (f", gone: {', '.join(map(str, gone))}" if gone else "")


def _not_yet(was: Pool, now: Pool, change: int) -> str:
    words = f"{now.told()}, {was.size} before, {(was.size or 0) + change} wanted"
    if change < 0:
        words += "; it gives up idle slots only, and none that has become busy before it is told to end"
    return words


def _beside(now: Pool, change: int) -> str:
    if now.autoscaler is not None:
        return "It has an autoscaler, which will undo this: set autoscale instead."
    if change < 0 and now.kind in GREEN:
        return f"What runs in more than these goes on to its end. {LOST}"
    return LOST


# ------------------------------------------------------------------------------------------------ autoscale
def autoscale(deed: Deed) -> Iterator[None]:
    """New bounds for a worker that has an autoscaler."""
    action = deed.action
    assert isinstance(action, Autoscale)
    told = Telling(deed, action.workers)
    if not 0 <= action.min <= action.max or action.max < 1:
        why = f"max must be 1 or more, and min between 0 and max: not max {action.max}, min {action.min}"
        told.settle_all(REFUSED, f"Nothing was sent: Celery checks nothing here. {why}.")
        return
    told.look("stats")
    for nodename, answer in told.before.items():
        pool = pool_of(answer)
        if pool is not None and pool.autoscaler is None:
            told.settle(nodename, _not_started(f"stats of {nodename} show no autoscaler"))
    yield
    words = f"autoscale(max={action.max}, min={action.min})"
    told.tell("autoscale", {"max": action.max, "min": action.min}, words, lambda _, error: _not_started(error))
    yield

    def judge(nodename: str, answer: Answer) -> Verdict | str:
        pool = pool_of(answer)
        if pool is None or pool.autoscaler is None:
            return "its stats show no autoscaler"
        high, low = pool.autoscaler
        if (high, low) != (action.max, action.min):
            return f"its autoscaler has max {high}, min {low}"
        seen = told.saw(nodename, f"autoscaler max {high}, min {low}, now {pool.told()}", "stats")
        return Verdict(DONE, f"Its autoscaler keeps between {low} and {high}; now {pool.told()}. {LOST}", seen)

    yield from told.watch("stats", {}, judge)


def _not_started(error: str) -> Verdict:
    sentence = f"It was not started with --autoscale ({error}). Use pool grow and shrink, or start it with --autoscale."
    return Verdict(CANNOT, sentence)


# -------------------------------------------------------------------------------------------------- restart
def pool_restart(deed: Deed) -> Iterator[None]:
    """New processes for old ones, each when it has run its next task.

    An old one looks whether it shall go only after a task (billiard/pool.py, ``workloop``); Celery sends one empty
    task, which wakes one of them. The others stay idle and old until something comes for them (seen on 5.7).
    """
    action = deed.action
    assert isinstance(action, PoolRestart)
    told = Telling(deed, action.workers)
    told.look("stats")
    before = {nodename: pool for nodename in told.before if (pool := pool_of(told.before[nodename])) is not None}
    yield
    told.tell("pool_restart", {"reload": False}, "pool_restart", _no_restart)
    for nodename, pool in before.items():
        if nodename in told.waiting and pool.kind != "prefork":
            # worker.reload() swallows the NotImplementedError of every other pool and answers "reload started"
            kind = pool.kind or "?"
            sentence = f"It has answered, but only prefork restarts its processes: a {kind} pool does nothing."
            told.settle(nodename, Verdict(CANNOT, f"{sentence} Restart the worker."))
    yield
    seen: dict[str, Pool] = {}

    def judge(nodename: str, answer: Answer) -> Verdict | str:
        was, now = before.get(nodename), pool_of(answer)
        if now is None or not now.processes:
            return "it has no process yet"
        if was is None or was.processes is None:
            return "which processes it had before was not known"
        seen[nodename] = now
        if old := sorted(was.processes & now.processes):
            return f"{len(old)} of the processes it had are still there: {', '.join(map(str, old))}"
        evidence = told.saw(nodename, _moved(was, now), "stats")
        return Verdict(
            DONE, f"All of its {now.told()} are new. What ran in the old ones came to its end first.", evidence
        )

    yield from told.watch("stats", {}, judge, lambda nodename: _partly(told, nodename, before, seen))


def _partly(told: Telling, nodename: str, before: dict[str, Pool], seen: dict[str, Pool]) -> Verdict | None:
    """Some are new at the deadline: the rest has been told."""
    was, now = before.get(nodename), seen.get(nodename)
    if was is None or now is None or was.processes is None or now.processes is None:
        return None
    old = sorted(was.processes & now.processes)
    if len(old) == len(was.processes):
        return None
    pids = ", ".join(map(str, old))
    sentence = (
        f"{len(was.processes) - len(old)} of its {was.told()} have been replaced; the others ({pids}) have been told, "
        "and each goes when it has run its next task, or the one it runs."
    )
    return Verdict(WILL_APPLY_LATER, sentence, told.saw(nodename, _moved(was, now), "stats"))


def _no_restart(_: str, error: str) -> Verdict:
    why = f"The worker refuses: {error}."
    if "not enabled" in error:
        why += " It needs worker_pool_restarts = True in its settings."
    return Verdict(CANNOT, f"{why} Restart the worker instead.")

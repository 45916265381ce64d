"""Limits of one task name: how often it may start, and how long it may run. Read back from ``registered``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

from celerytop.actions.deed import Deed
from celerytop.actions.link import Answer
from celerytop.actions.readings import limits_of, pool_of
from celerytop.actions.telling import OnError, Telling, Verdict
from celerytop.model.action import RateLimit, TimeLimit
from celerytop.model.outcome import CANNOT, DONE, REFUSED, WILL_APPLY_LATER
from celerytop.model.worker import Worker

_RATE = re.compile(r"\d+(\.\d+)?(/[smh])?")
_LOST = "Lost when the worker restarts."
_UNLIMITED = {
    "threads": "a threads pool enforces no time limits",
    "solo": "a solo pool enforces no time limits",
    "eventlet": "an eventlet pool enforces no time limits",
}
"""Pools whose ``on_apply`` drops the limits (celery/concurrency/thread.py, solo.py, eventlet.py)."""


def rate_limit(deed: Deed) -> Iterator[None]:
    """So many starts a second, minute or hour, in each worker for itself."""
    action = deed.action
    assert isinstance(action, RateLimit)
    told = Telling(deed, action.workers)
    wanted = action.rate_limit.strip()
    if _RATE.fullmatch(wanted) is None:
        told.settle_all(REFUSED, f"Nothing was sent: {wanted!r} is no rate. Like 10/m, 1/s, 0.5/s, 100/h; 0 is none.")
        return
    yield
    words = f"rate_limit({action.task_name}, {wanted})"
    told.tell("rate_limit", {"task_name": action.task_name, "rate_limit": wanted}, words, _unknown(action.task_name))
    yield

    def judge(nodename: str, answer: Answer) -> Verdict | str:
        limits = limits_of(answer, action.task_name)
        if limits is None:
            return f"it does not list {action.task_name} as registered"
        if limits.get("rate_limit") != wanted:
            return f"it lists rate_limit={limits.get('rate_limit')}"
        seen = told.saw(nodename, f"registered shows rate_limit={wanted}")
        if _ignores_rates(told.known.get(nodename)):
            why = "its setting worker_disable_rate_limits makes it ignore every rate limit"
            return Verdict(CANNOT, f"It is set, and has no effect: {why}.", seen)
        none = float(wanted.partition("/")[0]) == 0
        # a task that waits for its turn has a timer of its own: lifting the limit does not wake it (seen on 5.7)
        sentence = (
            "No limit any more; what it holds back already still waits its turn."
            if none
            else "For this worker alone; what is over the limit waits in it."
        )
        return Verdict(DONE, f"{sentence} {_LOST}", seen)

    yield from told.watch("registered", {"taskinfoitems": ["rate_limit"], "builtins": True}, judge)


def _ignores_rates(worker: Worker | None) -> bool:
    settings = worker.settings if worker is not None and worker.settings is not None else {}
    return settings.get("worker_disable_rate_limits", "").lower() == "true"


def _unknown(task_name: str) -> OnError:
    def on_error(_: str, error: str) -> Verdict:
        if "unknown task" in error:
            return Verdict(CANNOT, f"It knows no task {task_name}: {error}. Nothing has changed.")
        return Verdict(CANNOT, f"The worker refuses: {error}")

    return on_error


def time_limit(deed: Deed) -> Iterator[None]:
    """So many seconds; ``None`` takes the limit away.

    Celery sets it on the task's class and says "set successfully", and ``registered`` shows it; but the worker works by
    the limits it copied when it last connected to its broker (``create_request_cls`` in celery/worker/request.py). Seen
    on 5.7: a new limit ended nothing until the worker had reconnected or its pool was restarted, and then it did.
    """
    action = deed.action
    assert isinstance(action, TimeLimit)
    told = Telling(deed, action.workers)
    if wrong := _wrong(action):
        told.settle_all(REFUSED, f"Nothing was sent: {wrong}.")
        return
    told.look("stats")
    kinds = {name: pool.kind for name, answer in told.before.items() if (pool := pool_of(answer)) is not None}
    for nodename, kind in kinds.items():
        if (why := _UNLIMITED.get(kind or "")) is not None:
            told.settle(nodename, Verdict(CANNOT, f"Nothing was sent: {why}, and would ignore it."))
    yield
    arguments = {"task_name": action.task_name, "soft": action.soft, "hard": action.hard}
    words = f"time_limit({action.task_name}, soft={action.soft}, hard={action.hard})"
    told.tell("time_limit", arguments, words, _unknown(action.task_name))
    yield

    def judge(nodename: str, answer: Answer) -> Verdict | str:
        limits = limits_of(answer, action.task_name)
        if limits is None:
            return f"it does not list {action.task_name} as registered"
        found = (_seconds(limits, "soft_time_limit"), _seconds(limits, "time_limit"))
        words = f"soft_time_limit={found[0]} time_limit={found[1]}"
        if found != (action.soft, action.hard):
            return f"it lists {words}"
        seen = told.saw(nodename, f"registered shows {words}")
        return Verdict(WILL_APPLY_LATER, _limited(action, kinds.get(nodename)), seen)

    items = {"taskinfoitems": ["time_limit", "soft_time_limit"], "builtins": True}
    yield from told.watch("registered", items, judge)


def _wrong(action: TimeLimit) -> str | None:
    given = [one for one in (action.soft, action.hard) if one is not None]
    if any(not math.isfinite(one) or one <= 0 for one in given):
        return "a time limit is a number of seconds above 0"
    if action.soft is not None and action.hard is not None and action.soft > action.hard:
        return f"the soft limit ({action.soft:g} s) would come after the hard one ({action.hard:g} s)"
    return None


def _seconds(limits: Mapping[str, str], key: str) -> float | None:
    try:
        return float(limits[key]) if key in limits else None
    except ValueError:
        return None


def _limited(action: TimeLimit, kind: str | None) -> str:
    sentence = (
        "It is set, but holds only when the worker next connects to its broker, or from pool_restart: Celery reads it "
        "then. It is for tasks that start after that, and not for messages with limits of their own."
    )
    if action.soft is None and action.hard is None:
        sentence += " Without a limit of the task's own, the worker's --time-limit holds."
    if kind == "gevent" and action.soft is not None:
        sentence += " A gevent pool knows the hard limit only."
    return f"{sentence} {_LOST}"

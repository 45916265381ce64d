"""Did it stop? Looks until it is known or the time is over, the strongest evidence first; never at the answer alone.

1. its process is gone from this host, its tree too; or runs another task; elsewhere: its worker's pool has it no more
2. its own process reported an end (task-failed, task-succeeded): the worker's task-revoked alone is only a promise
3. the worker does not list it (it stops listing what it was told to terminate at once, running or not)
4. the worker's answer
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from celerytop.actions.case import GREEN, KILL, SOFT, Case, has_ended, has_exited
from celerytop.actions.deed import Deed
from celerytop.actions.look import PATIENCE, SHORT, Post, look
from celerytop.actions.processes import Proc, created_at
from celerytop.actions.strays import strays, verdict
from celerytop.actions.trees import TREES
from celerytop.errors import BrokerError
from celerytop.model.outcome import NOT_STOPPED, STOPPED, UNKNOWN
from celerytop.model.snapshot import Snapshot
from celerytop.model.text import some

HOST_EVERY = 0.012
"""Seconds between two looks at a process: a healthy child is gone 16 ms after SIGTERM."""
ASK_EVERY = 0.25
"""Seconds between two questions to workers, and between two looks at what events say."""
LEAVE = 2.0
"""Seconds until a worker that did not answer is asked again: what it is asked it will answer, some day."""
ORPHANS = 1.5
"""Seconds that what a killed process leaves behind has to end by itself (a nested pool, a shell's children)."""


def watch(deed: Deed, cases: Sequence[Case]) -> Iterator[None]:
    """Until every case has its verdict."""
    asking = _Asking(deed)
    told = 0
    while waiting := [case for case in cases if not case.settled]:
        last = deed.left() <= 0
        for case in waiting:
            _check_host(case)
        if asking.due() or last:
            _check_remote(deed, asking, [case for case in waiting if not case.settled])
        for case in waiting if last else ():
            if not case.settled:
                give_up(case)
        if told != len(deed.report.steps):
            told = len(deed.report.steps)
            yield
        deed.rest(HOST_EVERY)


class _Asking:
    """What the workers say, four times a second; who is silent is left alone for a while, a broken link for good."""

    def __init__(self, deed: Deed) -> None:
        self._deed = deed
        self._at = time.monotonic()
        self._silent: dict[str, float] = {}
        self._broken = False

    def due(self) -> bool:
        """It is time."""
        return time.monotonic() - self._at >= ASK_EVERY

    def look(self, workers: Iterable[str]) -> dict[str, Post]:
        """Of each that is asked now; of the silent, that they are."""
        now = time.monotonic()
        asked = [name for name in workers if not self._broken and now >= self._silent.get(name, 0.0)]
        posts: dict[str, Post] = {}
        try:
            posts = look(self._deed.link.control, asked, min(PATIENCE, max(SHORT, self._deed.left())))
        except BrokerError as error:
            self._broken = True
            self._deed.say("broker", str(error))
        self._at = time.monotonic()
        self._silent |= {name: self._at + LEAVE for name, post in posts.items() if not post.answered}
        return posts


# ------------------------------------------------------------------------------------------- this host
def _check_host(case: Case) -> None:
    family = case.family
    if family is None or case.plan not in (KILL, SOFT):
        return
    living = family.living()
    if family.root in living:
        family.grow()
        return
    if case.gone_at is None:
        case.gone_at = time.monotonic()
    pid = family.root.pid
    case.see("host", f"process {pid} is gone", 1)
    if not living and (away := strays(case.origin) if case.origin is not None else []):
        if time.monotonic() - case.gone_at > ORPHANS:
            sent_away(case, away)
    elif not living:
        stopped(case, "Its process is gone" + (" and all it had started." if len(family.members) > 1 else "."))
    elif time.monotonic() - case.gone_at > ORPHANS:
        left_behind(case)


def left_behind(case: Case) -> None:
    """Its process is gone, what it had started is not."""
    assert case.family is not None
    pids = [proc.pid for proc in case.family.offspring()]
    case.see("host", f"what it had started lives on: {some(pids, 5)}", 1)
    TREES.keep(case.task_id, case.family, case.worker, case.origin)
    case.settle(
        NOT_STOPPED,
        f"Its process is gone, but {len(pids)} of the processes it had started run on ({some(pids, 5)}).",
        next="tree",
    )


def sent_away(case: Case, away: list[Proc], what: str = "Its process is gone") -> None:
    """It has ended, and some live that came from it, or from another task beside it."""
    assert case.origin is not None
    case.see("host", f"begun since and nobody's children: {', '.join(str(proc.pid) for proc in away[:5])}", 1)
    case.settle(*verdict(case.origin, away, case.worker, what))


def stopped(case: Case, sentence: str) -> None:
    """Verified."""
    TREES.forget(case.task_id)
    case.settle(STOPPED, sentence)


# ------------------------------------------------------------------------------------- workers and events
def _check_remote(deed: Deed, asking: _Asking, cases: Sequence[Case]) -> None:
    if not cases:
        return
    now = deed.see()
    posts = asking.look(dict.fromkeys(case.worker for case in cases if case.worker is not None))
    for case in cases:
        case.post = posts.get(case.worker or "", case.post if case.post is None else Post(case.post.nodename))
        if not (_by_next_task(case) or _by_end(case, now)):
            _by_pool(case, posts, now)


def _by_next_task(case: Case) -> bool:
    """The same process runs another task: a worker gives a child nothing before it has come back."""
    post, pid = case.post, case.pid
    if post is None or pid is None or case.plan == GREEN:
        return False
    other = post.running_in(pid)
    if other is None or other.task_id == case.task_id or not _own_offspring_gone(case):
        return False
    case.see("inspect", f"process {pid} now runs {other.task_id}", 1)
    _ended(case, f"It has ended: its process {pid} runs another task.")
    return True


def _by_end(case: Case, now: Snapshot) -> bool:
    """Its own process has reported that the task ended, after the signal left."""
    task = now.tasks.get(case.task_id)
    if task is None or not has_ended(task) or task.updated_at < case.sent_at:
        return False
    exception = task.exception or ""
    if not _own_offspring_gone(case):
        case.see("events", f"{task.state} {exception[:80]}".strip(), 2)
        return False
    if case.plan == GREEN and case.post is not None and case.task_id in case.post.running:
        return False
    word = "soft time limit" if exception.startswith("SoftTimeLimitExceeded") else task.state
    case.see("events", f"task ended: {task.state} {exception[:80]}".strip(), 2)
    again = f" It is to be retried: {case.worker} holds its id as revoked, others do not." if word == "RETRY" else ""
    _ended(case, f"It has ended in its own process ({word}); that takes the next task.{again}")
    return True


def _ended(case: Case, sentence: str) -> None:
    """Its process lives on; what it had sent away may, too."""
    if away := strays(case.origin) if case.origin is not None else []:
        sent_away(case, away, "It has ended in its own process")
    else:
        stopped(case, sentence)


def _own_offspring_gone(case: Case) -> bool:
    """What the task had started lives no more; what was below its process before it does not count."""
    if case.family is None:
        return True
    began = case.running.started_at if case.running is not None else None
    for proc in case.family.offspring():
        at = created_at(proc)
        if began is None or at is None or at >= began - 1.0:
            return False
    return True


def _by_pool(case: Case, posts: Mapping[str, Post], now: Snapshot) -> None:
    post = posts.get(case.worker or "")
    if post is None or not post.answered or post.error is not None:
        return
    if case.plan == GREEN and not case.unknown_to_worker:
        _greenlet(case, post, now)
    elif case.family is None and case.pid is not None and post.processes is not None and case.pid not in post.processes:
        case.see("stats", f"the pool of {post.nodename} has no process {case.pid} any more", 1)
        stopped(case, f"Its process {case.pid} has left the pool; what it may have started cannot be seen from here.")
    elif case.unknown_to_worker and not case.directly and case.task_id not in post.running:
        _had_ended(case, post, now)


def _had_ended(case: Case, post: Post, now: Snapshot) -> None:
    """The worker did not know it when the command came, milliseconds after it listed it."""
    task = now.tasks.get(case.task_id)
    if (task is not None and task.terminated) or not _own_offspring_gone(case):
        return  # somebody else has told it to stop, which proves nothing
    case.see("inspect", f"{post.nodename} did not have it any more when the command came", 3)
    _ended(case, "It had ended by itself when the command came.")


def _greenlet(case: Case, post: Post, now: Snapshot) -> None:
    """A worker lists it no more, and calls it revoked, as soon as it was told; that its greenlet came back is told by
    a task-succeeded with neither result nor runtime."""
    if case.task_id in post.running:
        return
    task = now.tasks.get(case.task_id)
    case.see("inspect", f"{post.nodename} does not list it any more", 3)
    if has_exited(task, case.sent_at):
        case.see("events", "task-succeeded without a result: its greenlet has come back", 2)
        stopped(case, "Its greenlet has exited.")
    elif (worker := now.workers.get(post.nodename)) is not None and worker.task_events is False:
        _unseen_greenlet(case)


def _unseen_greenlet(case: Case) -> None:
    case.settle(
        UNKNOWN,
        "Its worker was told to make it exit and lists it no more, which proves nothing: code that swallows "
        "GreenletExit runs on unseen. Only task events (-E) tell that it has come back.",
    )


# ---------------------------------------------------------------------------------------------- the end
def give_up(case: Case) -> None:
    """The time is over."""
    post, pid = case.post, case.pid
    waited = f"{case.deed.action.wait:g} s"
    if case.family is not None:
        _give_up_here(case, waited)
    elif case.plan == GREEN and post is not None and post.answered and case.task_id not in post.running:
        _unseen_greenlet(case)
    elif post is None or not post.answered or post.error is not None:
        case.settle(
            UNKNOWN, f"{case.worker} does not answer any more: its host would tell whether {pid or 'it'} lives."
        )
    elif case.plan == KILL and post.processes is not None and pid in post.processes:
        case.see("stats", f"process {pid} is still in the pool of {post.nodename}", 1)
        case.settle(
            NOT_STOPPED,
            f"Process {pid} runs on {waited} after {case.signal}; its worker has forgotten the task and cannot be "
            f"asked again: kill {pid} on its host.",
        )
    elif case.task_id in post.running:
        case.see("inspect", f"{post.nodename} still lists it", 3)
        case.settle(NOT_STOPPED, f"It runs on {waited} after {case.signal}.")
    else:
        case.settle(
            UNKNOWN,
            "Its worker lists it no more, which proves nothing. Task events (-E) or celerytop on its host would tell.",
        )


def _give_up_here(case: Case, waited: str) -> None:
    family = case.family
    assert family is not None
    living = family.living()
    TREES.keep(case.task_id, family, case.worker, case.origin)
    if family.root not in living:
        away = strays(case.origin) if case.origin is not None and not living else []
        if away:
            sent_away(case, away)
        elif living:
            left_behind(case)
        else:
            stopped(case, "Its process is gone.")
        return
    case.see("host", f"process {family.root.pid} is still the same one", 1)
    hint = " Celery says REVOKED and lists it no more, yet its slot is held." if case.plan == KILL else ""
    if case.plan == SOFT and not _events_known(case):
        case.settle(
            UNKNOWN,
            f"Process {family.root.pid} lives, as it should; only task events (-E) tell whether its task has ended.",
            next=case.next_rung(),
        )
        return
    case.settle(
        NOT_STOPPED, f"Process {family.root.pid} runs on {waited} after {case.signal}.{hint}", next=case.next_rung()
    )


def _events_known(case: Case) -> bool:
    worker = case.deed.see().workers.get(case.worker or "")
    return worker is not None and worker.task_events is True

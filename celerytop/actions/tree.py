"""SIGKILL from this host, past the worker: of what a task runs in and has started, or of a whole worker.

Who is in the tree is written down before the first signal, with start times; it is stopped as a whole before it is
killed, so that nobody is born in between; and orphans that were in it once are killed with it. A worker's main process
and the rest of its pool are never touched by ``KillTree``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from celerytop.actions.case import has_ended
from celerytop.actions.deed import Deed
from celerytop.actions.look import Post, look
from celerytop.actions.processes import (
    Family,
    Proc,
    hold,
    kill,
    known_below,
    lives,
    look_at,
    main_here,
    same_start,
)
from celerytop.actions.strays import Origin, origin_of, strays, verdict
from celerytop.actions.trees import TREES
from celerytop.errors import BrokerError
from celerytop.model.action import KillTree, KillWorker, Target
from celerytop.model.outcome import CANNOT, NOT_STOPPED, REFUSED, STOPPED
from celerytop.model.snapshot import Snapshot
from celerytop.model.task import Task
from celerytop.model.text import some

AGAIN = 0.02
"""Seconds between two looks at who is left."""
ELSEWHERE = (
    "Nothing was sent: {} does not run on this host as far as can be seen from here. Start celerytop on its host."
)
NOT_THERE = "Nothing was sent: process {} is not there any more, or another one has its number."


class Refusal(Exception):
    """Why nothing is killed: an outcome's word, and the sentence."""

    def __init__(self, word: str, sentence: str, next: str | None = None) -> None:
        super().__init__(sentence)
        self.word = word
        self.next = next


def kill_tree(deed: Deed) -> Iterator[None]:
    """SIGKILL of each task's processes."""
    action = deed.action
    assert isinstance(action, KillTree)
    now = deed.see()
    posts = _posts(deed, action)
    yield
    for target in action.targets:
        try:
            family, spared = _family_of(target, posts, now)
        except Refusal as why:
            deed.settle(
                why.word, str(why), task_id=target.task_id, worker=target.worker, queue=target.queue, next=why.next
            )
            continue
        origin = _origin(target, family, spared, posts, now)
        yield from _end(deed, family, spared, target.task_id, target.worker, origin)


def kill_worker(deed: Deed) -> Iterator[None]:
    """SIGKILL of a worker's main process and all below it."""
    action = deed.action
    assert isinstance(action, KillWorker)
    main = main_here(action.pid, action.worker)
    if main is None or not same_start(main, action.pid_started_at):
        sentence = NOT_THERE.format(action.pid) if look_at(action.pid) is None else ELSEWHERE.format(action.worker)
        deed.settle(REFUSED, sentence, worker=action.worker)
        return
    family = Family(main, _known(main, deed.see()))
    yield from _end(deed, family, frozenset(), None, action.worker)


def reachable(nodename: str | None, now: Snapshot) -> bool:
    """Whether this worker's processes are on this host."""
    worker = now.workers.get(nodename or "")
    return worker is not None and main_here(worker.pid, worker.nodename) is not None


# ---------------------------------------------------------------------------------------------- whom to kill
def _posts(deed: Deed, action: KillTree) -> Mapping[str, Post]:
    """What its worker says it runs; a broker that is away does not save a process from being killed."""
    workers = dict.fromkeys(target.worker for target in action.targets if target.worker is not None)
    try:
        return look(deed.link.control, workers)
    except BrokerError as error:
        deed.say("broker", f"{error} What the worker says cannot be asked.")
        return {}


def _family_of(target: Target, posts: Mapping[str, Post], now: Snapshot) -> tuple[Family, frozenset[int]]:
    tree = TREES.of(target.task_id)
    remembered = tree.family if tree is not None else None
    nodename = target.worker or (tree.worker if tree is not None else None) or "?"
    post = posts.get(nodename) or Post(nodename)
    worker = now.workers.get(post.nodename)
    main = main_here(post.main_pid or (worker.pid if worker is not None else None), post.nodename)
    if main is None:
        if remembered is not None and remembered.offspring() and not lives(remembered.root):
            return remembered, frozenset()
        raise Refusal(CANNOT, ELSEWHERE.format(post.nodename))
    spared = frozenset({main.pid})
    running = post.running.get(target.task_id)
    if running is not None:
        if running.pid is None or running.pid == main.pid:
            raise Refusal(
                CANNOT, f"Nothing was sent: it runs inside the main process of {post.nodename} ({post.pool})."
            )
        if target.worker_pid not in (None, running.pid):
            raise Refusal(REFUSED, f"Nothing was sent: it runs in process {running.pid} now. Look again.")
        return _of_pid(running.pid, target, main, now), spared
    if remembered is not None:
        return _left(remembered, target, post, now), spared
    return _by_what_was_seen(target, post, main, now), spared


def _of_pid(pid: int, target: Target, main: Proc, now: Snapshot) -> Family:
    """The tree of the pool child ``pid``; what an earlier look saw below it belongs to it too."""
    seen = look_at(pid)
    if seen is None or seen.ppid != main.pid or not same_start(seen.proc, target.pid_started_at):
        raise Refusal(REFUSED, NOT_THERE.format(pid))
    tree = TREES.of(target.task_id)
    return Family(seen.proc, [*_known(seen.proc, now), *(tree.family.members if tree is not None else ())])


def _known(proc: Proc, now: Snapshot) -> list[Proc]:
    return [one for host in now.hosts.values() for one in known_below(host.processes, proc)]


def _left(remembered: Family, target: Target, post: Post, now: Snapshot) -> Family:
    """After an earlier signal: its process too, unless that has come back and serves others."""
    ended = has_ended(now.tasks.get(target.task_id))
    other = post.running_in(remembered.root.pid)
    if lives(remembered.root) and not ended and other is None:
        return remembered
    offspring = remembered.offspring()
    if not offspring:
        raise Refusal(REFUSED, "Nothing was sent: its process has ended it, and nothing it had started lives.")
    return Family(offspring[0], offspring[1:])


def _by_what_was_seen(target: Target, post: Post, main: Proc, now: Snapshot) -> Family:
    """Its worker does not answer, or has been told to forget it: then the process must be exactly the one seen."""
    task, pid = now.tasks.get(target.task_id), target.worker_pid
    if pid == main.pid:
        raise _inside(post)
    if pid is None:
        raise Refusal(REFUSED, "Nothing was sent: it is not known which process runs it.")
    if post.answered:
        _must_be_forgotten(post, pid, task)
    elif (other_id := _joined(pid, now)) not in (None, target.task_id):
        raise Refusal(REFUSED, f"Nothing was sent: process {pid} was last seen running {other_id}.")
    elif target.pid_started_at is None and (task is None or task.worker_pid != pid):
        raise Refusal(REFUSED, f"Nothing was sent: when process {pid} started was not seen, so it may be another one.")
    elif task is not None and has_ended(task):
        raise Refusal(REFUSED, f"Nothing was sent: it has ended already ({task.state}).")
    return _of_pid(pid, target, main, now)


def _must_be_forgotten(post: Post, pid: int, task: Task | None) -> None:
    """A worker that answers lists what it runs, but for what somebody has told it to terminate."""
    other = post.running_in(pid)
    if other is not None:
        raise Refusal(REFUSED, f"Nothing was sent: process {pid} runs {other.task_id} now.")
    if task is None or task.state != "REVOKED" or not task.terminated:
        raise Refusal(REFUSED, f"Nothing was sent: {post.nodename} does not run it any more.")


def _inside(post: Post) -> Refusal:
    sentence = f"Nothing was sent: it runs inside the main process of {post.nodename}, which all its tasks share."
    return Refusal(CANNOT, sentence, "kill_worker")


def _joined(pid: int, now: Snapshot) -> str | None:
    """The task a process of this host was last seen to run."""
    return next((one.task_id for host in now.hosts.values() for one in host.processes if one.pid == pid), None)


# -------------------------------------------------------------------------------------------------- killing
def _origin(
    target: Target, family: Family, spared: frozenset[int], posts: Mapping[str, Post], now: Snapshot
) -> Origin | None:
    """By what those are known that it has sent away.

    When the pool's child is gone, what is left of the family runs words of its own, and others may run the same.
    """
    post, task = posts.get(target.worker or ""), now.tasks.get(target.task_id)
    running = post.running.get(target.task_id) if post is not None else None
    began_at = running.started_at if running is not None else task.started_at if task is not None else None
    mains = [seen.proc for pid in spared if (seen := look_at(pid)) is not None]
    root = look_at(family.root.pid)
    if not mains or root is None or not lives(family.root):
        tree = TREES.of(target.task_id)
        return tree.origin if tree is not None else None  # what was read when its process lived
    alone = post is not None and post.answered and len(post.running) <= 1
    return origin_of(mains[0], family.root if root.ppid == mains[0].pid else mains[0], began_at, alone=alone)


def _end(
    deed: Deed,
    family: Family,
    spared: frozenset[int],
    task_id: str | None,
    worker: str | None,
    origin: Origin | None = None,
) -> Iterator[None]:
    if task_id is not None:
        TREES.keep(task_id, family, worker, origin)
    hold(family, spared)
    pids = [proc.pid for proc in family.living() if proc.pid not in spared]
    deed.say("sent", f"SIGKILL to {_named(pids)} on this host")
    denied: list[Proc] = []
    while (left := family.living()) and not denied:
        _, denied = kill(left, spared)
        family.grow()
        if deed.left() <= 0:
            break
        deed.rest(AGAIN)
    yield
    if denied:
        sentence = (
            f"{_named([proc.pid for proc in denied])} belong to another user: run celerytop as that user or as root."
        )
        deed.settle(CANNOT, sentence, task_id=task_id, worker=worker)
    elif left:
        seen = [deed.say("host", f"{_named([proc.pid for proc in left])} live on", 1)]
        sentence = "The kernel has not let go of it: a process that waits for a device dies when that answers."
        deed.settle(NOT_STOPPED, sentence, seen, task_id=task_id, worker=worker)
    else:
        if task_id is not None:
            TREES.forget(task_id)
        seen = [deed.say("host", f"{_named(pids)}: gone", 1)]
        word, sentence = _gone(deed, task_id, family.root.pid in pids, worker, origin)
        deed.settle(word, sentence, seen, task_id=task_id, worker=worker)


def _gone(deed: Deed, task_id: str | None, root: bool, worker: str | None, origin: Origin | None) -> tuple[str, str]:
    """All of the tree is; what it had sent away may live."""
    if origin is not None and (away := strays(origin)):
        return verdict(origin, away, worker, "Its processes are gone")
    return STOPPED, _meaning(deed, task_id, root)


def _meaning(deed: Deed, task_id: str | None, root: bool) -> str:
    if task_id is None:
        return f"Its main process is gone and all below it. What it had not acknowledged {_comes_back(deed)}."
    if not root:
        return "What it had left behind is gone."
    return (
        "Its processes are gone. Celery will call it a lost worker: FAILURE, or run again where reject_on_worker_lost "
        "is set."
    )


def _comes_back(deed: Deed) -> str:
    """Redis notices nothing: live workers give it back, a look every 100 s, when it is older than the timeout."""
    if deed.settings.address.transport != "redis":
        return "goes back to its queues at once, and runs again"
    unacked = deed.see().unacked
    seconds = unacked.visibility_timeout if unacked is not None else None
    seconds = seconds if seconds is not None else deed.settings.visibility_timeout
    return f"comes back after the visibility timeout ({seconds:g} s); restoring it now gives it back at once"


def _named(pids: list[int]) -> str:
    shown = some(pids, 8)
    return f"process {shown}" if len(pids) == 1 else f"processes {shown or '(none left)'}"

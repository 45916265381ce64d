"""One task of a revoke, from the look before to the verdict; and what is decided about it before anything is sent."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from celerytop.actions.deed import Deed
from celerytop.actions.look import Post, Running
from celerytop.actions.processes import Family, Proc, known_below, lives, look_at, main_here, same_start
from celerytop.actions.strays import Origin, origin_of, strays, verdict
from celerytop.actions.trees import TREES, Tree
from celerytop.model.action import Target
from celerytop.model.host import same_host
from celerytop.model.outcome import CANNOT, NOT_STOPPED, REFUSED, STOPPED, Evidence
from celerytop.model.snapshot import Snapshot
from celerytop.model.task import READY_STATES, Task
from celerytop.model.worker import GONE, Worker

KILL, SOFT, GREEN = "kill", "soft", "green"
"""Signals that end a pool child; that it survives; and greenlets, which know no signals."""
FLAG, LATER, RUNS = "flag", "later", "runs"
"""Told not to start; told to a worker that does not answer now; revoke only, of one that runs."""
LADDER: Mapping[str, str] = {"SIGUSR1": "SIGTERM", "SIGINT": "SIGTERM", "SIGTERM": "SIGKILL", "SIGKILL": "tree"}
SURVIVED = frozenset({"SIGUSR1", "SIGINT"})
ENDED = frozenset({"SUCCESS", "FAILURE", "RETRY"})
"""States a task's own process may have reported."""
GREENLETS = frozenset({"gevent", "eventlet"})


class Case:
    """What is known of one target, and what is to be done."""

    def __init__(self, deed: Deed, target: Target, signal: str | None) -> None:
        self.deed = deed
        self.target = target
        self.signal = signal
        self.now: Snapshot | None = None
        """When it was decided."""
        self.plan: str | None = None
        self.worker = target.worker
        """Who is told."""
        self.post: Post | None = None
        self.running: Running | None = None
        self.family: Family | None = None
        """Its processes, when they are on this host."""
        self.main: Proc | None = None
        self.origin: Origin | None = None
        """By what those are known that it sends away."""
        self.directly = False
        """The worker has forgotten it: the signal goes to the process from here."""
        self.evidence: list[Evidence] = []
        self.sent_at = 0.0
        self.settled = False
        self.gone_at: float | None = None
        self.unknown_to_worker = False
        self.queue = target.queue
        self.future = False
        """A step that is not sent yet."""
        self.waits = False
        """It is known that it has not begun."""
        self.taken = False
        """Its message is unacked: a worker has it."""
        self.revoked_before = False
        """A worker held its id before we sent ours: what was told to end is listed by nobody, and may run."""
        self.no_message = False
        """All queues were searched for its message."""

    @property
    def task_id(self) -> str:
        """Whose case this is."""
        return self.target.task_id

    @property
    def pid(self) -> int | None:
        """The process that runs it."""
        return self.running.pid if self.running is not None else self.family.root.pid if self.family else None

    def see(self, source: str, text: str, strength: int, at: float | None = None) -> None:
        """Note what was seen, once."""
        if all(one.text != text for one in self.evidence):
            self.evidence.append(self.deed.say(source, text, strength, at=at))

    def settle(self, outcome: str, sentence: str, *, next: str | None = None) -> None:
        """The verdict."""
        self.settled = True
        self.deed.settle(
            outcome,
            sentence,
            self.evidence,
            task_id=self.task_id,
            worker=self.worker,
            queue=self.queue,
            next=next,
        )

    def next_rung(self) -> str | None:
        """What can still be tried. A worker forgets a task it was told to terminate, and cannot be asked twice: the
        rest of the ladder is climbed from this host, or not at all."""
        if self.plan == GREEN or self.signal is None:
            return None
        return LADDER.get(self.signal, "SIGKILL") if self.family is not None else None


def has_ended(task: Task | None) -> bool:
    """Its own process has reported an end. REVOKED is only what its worker says of it, and so are a hard time limit, a
    lost process, and a task-cancelled, which looks like a retry without a reason: the process may still be there.

    >>> [has_ended(Task("a", state=state)) for state in ("SUCCESS", "REVOKED", "RETRY")]
    [True, False, False]
    """
    if task is None:
        return False
    exception = task.exception or ""
    own = bool(exception) and not exception.startswith(("TimeLimitExceeded", "WorkerLost"))
    return task.state in ENDED and (own or task.state == "SUCCESS")


def has_exited(task: Task | None, since: float) -> bool:
    """Its greenlet has come back after ``since``: what swallows GreenletExit never does, whatever task-revoked says."""
    return task is not None and task.exited is True and task.updated_at >= since


def decide(case: Case, posts: Mapping[str, Post], now: Snapshot) -> None:
    """Settle what need not be sent, and choose what is sent for the rest."""
    case.now = now
    found = next((post for post in posts.values() if case.task_id in post.running), None)
    if found is not None:
        case.post = found
        case.running = found.running[case.task_id]
        _decide_running(case)
    elif not _remembered(case, posts, now):
        _decide_absent(case, posts, now)


# ----------------------------------------------------------------------------------------------- it runs
def _decide_running(case: Case) -> None:
    post, running, target = case.post, case.running, case.target
    assert post is not None and running is not None
    moved = target.worker is not None and target.worker != post.nodename
    if case.signal is not None and (moved or _another_pid(target, running)):
        where = f"in process {running.pid} of {post.nodename}" if running.pid else f"on {post.nodename}"
        case.settle(REFUSED, f"Nothing was sent: it runs {where} now, not where it was seen. Look again.")
        return
    case.worker = post.nodename
    if case.signal is None:
        case.plan = RUNS
        return
    _decide_by_pool(case, post, running)


def _another_pid(target: Target, running: Running) -> bool:
    return None not in (target.worker_pid, running.pid) and target.worker_pid != running.pid


def _decide_by_pool(case: Case, post: Post, running: Running) -> None:
    # Celery before 5.3 does not name its pool; only a greenlet's number is no pid
    if post.pool in GREENLETS or (post.pool is None and running.pid is None and post.main_pid is not None):
        case.plan = GREEN
    elif post.pool == "threads":
        _cannot_threads(case, "it runs in a thread")
    elif post.pool == "solo":
        case.plan = RUNS
    elif running.pid is None or running.pid == post.main_pid or not (post.processes and running.pid in post.processes):
        case.settle(
            REFUSED,
            f"Nothing was sent: {post.nodename} does not tell which process of its pool ({post.pool or '?'}) runs it.",
        )
    else:
        case.plan = SOFT if case.signal in SURVIVED else KILL
        _find_family(case, post, running.pid)


def _cannot_threads(case: Case, why: str) -> None:
    kill = "kill_worker" if _here(case) is not None else None
    case.settle(
        CANNOT,
        f"Nothing was sent: {why} of {case.worker}, and the threads pool has no way to stop one; a terminate would "
        "only make Celery lose sight of it. Let it end, or shut the worker down: everything else it runs ends with it.",
        next=kill,
    )


def _here(case: Case) -> Proc | None:
    post = case.post
    return main_here(post.main_pid, post.nodename) if post is not None else None


def _find_family(case: Case, post: Post, number: int) -> None:
    """Its process tree, when the worker is on this host; refuse when the process is not the one that was seen."""
    main, seen = main_here(post.main_pid, post.nodename), look_at(number)
    if main is None or seen is None or seen.ppid != main.pid:
        return
    if not same_start(seen.proc, case.target.pid_started_at):
        case.settle(REFUSED, f"Nothing was sent: process {number} is another one than was seen; it has started since.")
        return
    case.main = main
    began_at = case.running.started_at if case.running is not None else None
    case.origin = origin_of(main, seen.proc, began_at, alone=len(post.running) == 1)
    hosts = case.now.hosts.values() if case.now is not None else ()
    case.family = Family(seen.proc, [one for host in hosts for one in known_below(host.processes, seen.proc)])


# ------------------------------------------------------------------------------------- it does not run
def _remembered(case: Case, posts: Mapping[str, Post], now: Snapshot) -> bool:
    """The worker has dropped it after an earlier signal from this host, though its processes live."""
    tree = TREES.of(case.task_id)
    if tree is None or has_ended(now.tasks.get(case.task_id)):
        return False
    family, worker = tree.family, case.target.worker or tree.worker
    post = posts.get(worker or "")
    if not lives(family.root):
        return _left_behind(case, family, worker) or _ended_late(case, tree, now)
    if post is None or not post.answered or post.running_in(family.root.pid) is not None:
        return False
    main, seen = main_here(post.main_pid, post.nodename), look_at(family.root.pid)
    if main is None or seen is None or seen.ppid != main.pid:
        return False
    case.worker, case.post, case.family, case.main, case.directly = worker, post, family, main, True
    family.grow()
    if case.signal is None:
        case.see("host", f"process {family.root.pid} is still the same one", 1)
        case.settle(NOT_STOPPED, f"It was told to end before, and process {family.root.pid} runs on.", next="SIGKILL")
    case.plan = SOFT if case.signal in SURVIVED else KILL
    return True


def _left_behind(case: Case, family: Family, worker: str | None) -> bool:
    """Only what it had started lives."""
    pids = ", ".join(str(proc.pid) for proc in family.offspring()[:5])
    if not pids:
        return False
    case.worker = worker
    case.see("host", f"what it had started lives on: {pids}", 1)
    sentence = f"Nothing was sent: its process is gone, but what it had started runs on ({pids})."
    case.settle(NOT_STOPPED, sentence, next="tree")
    return True


def _ended_late(case: Case, tree: Tree, now: Snapshot) -> bool:
    """It was told to end by this very run, and has, after the verdict."""
    task, family = now.tasks.get(case.task_id), tree.family
    if not tree.ours or task is None or task.state != "REVOKED" or not task.terminated or family.living():
        return False
    case.worker = tree.worker
    case.see("host", f"process {family.root.pid} is gone", 1)
    if tree.origin is not None and (away := strays(tree.origin)):
        case.settle(*verdict(tree.origin, away, tree.worker))
        return True
    TREES.forget(case.task_id)
    case.settle(STOPPED, f"It was told to end before, and has by now: its process {family.root.pid} is gone.")
    return True


def _decide_absent(case: Case, posts: Mapping[str, Post], now: Snapshot) -> None:
    target, task = case.target, now.tasks.get(case.task_id)
    case.post = posts.get(target.worker or "")
    worker = now.workers.get(target.worker or "")
    if task is not None and task.state in READY_STATES and case.plan is None:
        _ended(case, task)
    elif case.post is not None and not case.post.answered and worker is not None and not _gone(worker):
        case.plan = LATER
    elif case.signal is not None and (target.worker_pid is not None or target.state == "STARTED"):
        case.settle(REFUSED, _not_running(case))
    else:
        case.plan = FLAG


def _gone(worker: Worker) -> bool:
    """It said goodbye, or there is no such process on this host, which it is on by its name."""
    if worker.state == GONE:
        return True
    here = same_host(worker.host, socket.gethostname()) and worker.pid is not None
    return here and look_at(worker.pid or 0) is None


def _ended(case: Case, task: Task) -> None:
    """REVOKED may be only what Celery says: a process that was told to end may run on."""
    target = case.target
    seen = look_at(target.worker_pid or 0)
    revoked = task.state == "REVOKED" and bool(task.terminated) and target.pid_started_at is not None
    if revoked and seen is not None and seen.lives and same_start(seen.proc, target.pid_started_at):
        sentence = f"Nothing was sent: Celery says REVOKED and has forgotten it, but process {target.worker_pid} lives."
        case.settle(REFUSED, sentence, next="tree")
        return
    if task.state == "REVOKED" and task.terminated and (seen is None or target.pid_started_at is None):
        case.settle(
            REFUSED,
            "Nothing was sent: its worker was told to end it and lists it no more (REVOKED); whether the process that "
            "ran it has ended cannot be seen from here.",
        )
        return
    case.settle(REFUSED, f"Nothing was sent: it has ended already ({task.state}).")


def _not_running(case: Case) -> str:
    target, post = case.target, case.post
    where = f"{target.worker} does not run it any more" if target.worker else "no worker runs it any more"
    if post is not None and post.error is not None:
        where = f"{target.worker} gives {post.error}, so it is not known what it runs"
    other = post.running_in(target.worker_pid) if post is not None and target.worker_pid else None
    told = f"; process {target.worker_pid} now runs {other.task_id}" if other is not None else ""
    return f"Nothing was sent: {where}{told}."

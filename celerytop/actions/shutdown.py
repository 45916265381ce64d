"""Warm shutdown: nobody answers it. What is watched is the main process, and the tasks it still has to finish.

A worker says goodbye (``worker-offline``) when a warm shutdown *begins*: its consumer stops first, its pool last. So
offline is no proof that it has ended; gevent, eventlet and threads never end while one task is stuck.
"""

from __future__ import annotations

from collections.abc import Iterator

from celerytop.actions.deed import Deed
from celerytop.actions.look import Post, look
from celerytop.actions.processes import Family, Proc, lives, look_at, main_here
from celerytop.actions.telling import Telling, Verdict, silence
from celerytop.model.action import Shutdown
from celerytop.model.outcome import DONE, NOT_STOPPED, STOPPED, UNKNOWN, Evidence
from celerytop.model.snapshot import Snapshot
from celerytop.model.task import READY_STATES
from celerytop.model.worker import GONE, Worker

_GONE = "Its main process is gone"
_EVERY, _SEE_EVERY = 0.1, 0.4
"""Seconds between two looks at the processes, and at what events say: a picture of a big cluster costs milliseconds."""


def shutdown(deed: Deed) -> Iterator[None]:
    """Warm: running tasks are finished first. Offers ``kill_worker`` when it hangs, on this host."""
    action = deed.action
    assert isinstance(action, Shutdown)
    told = Telling(deed, action.workers)
    now = deed.see()
    answering = [one for one in told.waiting if _answers(now.workers.get(one))]
    posts = look(deed.link.control, answering)
    endings = [_Ending(deed, told, nodename, posts.get(nodename), now) for nodename in told.waiting]
    yield
    if endings:
        deed.say("sent", f"shutdown to {', '.join(told.waiting)}")
        deed.link.control.tell("shutdown", {}, tuple(told.waiting))
    yield
    steps, seen_at = 0, deed.now()
    while (left := [one for one in endings if not one.settled]) and deed.left() > 0:
        if deed.now() - seen_at >= _SEE_EVERY:
            now, seen_at = deed.see(), deed.now()
        for ending in left:
            ending.check(now)
        if steps != len(deed.report.steps):
            steps = len(deed.report.steps)
            yield
        deed.rest(_EVERY)
    for ending in endings:
        if not ending.settled:
            ending.give_up(deed.see())
    yield


def _answers(worker: Worker | None) -> bool:
    return worker is None or worker.state == "alive"


class _Ending:
    """One worker on its way out."""

    def __init__(self, deed: Deed, told: Telling, nodename: str, post: Post | None, now: Snapshot) -> None:
        worker = now.workers.get(nodename)
        self.deed = deed
        self.told = told
        self.nodename = nodename
        self.settled = False
        self._answered = post is not None and post.answered
        self.pid = (post.main_pid if post is not None else None) or (worker.pid if worker is not None else None)
        self.main = main_here(self.pid, nodename)
        self.family = Family(self.main) if self.main is not None else None
        pids = set(worker.pids if worker is not None else ()) - {self.pid}
        self.others = [proc for pid in sorted(pids) if (proc := main_here(pid, nodename)) is not None]
        """Main processes of other workers here that use its name: on Redis they hear the command too."""
        self.running = _running(post, nodename, now)
        """Task id to the process that runs it; ``None``: not on this host, or no process of its own."""
        self._told_running: int | None = None
        self._offline = False
        self._evidence: list[Evidence] = []

    def check(self, now: Snapshot) -> None:
        """Settle it when it has ended; else tell how far it is."""
        worker = now.workers.get(self.nodename)
        self._goodbye(worker)
        self._count(now)
        if self.main is not None:
            if not any(map(lives, (self.main, *self.others))):
                self._gone()
            elif self.family is not None:
                self.family.grow()
            return
        other = worker.pid if worker is not None and worker.state != GONE else None
        if other is not None and self.pid is not None and other != self.pid:
            self._see("events", f"answers with another main process now: {other}, {self.pid} before", 2)
            self._settle(STOPPED, f"Another process answers by its name now, pid {other}: it was started again.")
        elif self._offline and not self._left(now):
            sentence = "It has said goodbye with nothing left to run. It is on another host: its process is not seen."
            self._settle(DONE, sentence)

    def give_up(self, now: Snapshot) -> None:
        """The deadline is there."""
        worker = now.workers.get(self.nodename)
        left = self._left(now)
        tasks = (
            f"{len(left)} of its tasks still run: {', '.join(left[:3])}" if left else "no task of it is known to run"
        )
        living = [proc for proc in (self.main, *self.others) if proc is not None and lives(proc)]
        if living:
            pids = ", ".join(str(proc.pid) for proc in living)
            self._see("host", f"main process {pids} lives", 1)
        if living and self.others:
            self._two(living)
            return
        if not self._offline and worker is not None and self._deaf(worker):
            verdict = silence(self.nodename, worker)
            self._settle(verdict.outcome, verdict.sentence, kill=self.main is not None)
        elif self.main is not None:
            how = "It has said goodbye and takes nothing more, but hangs" if self._offline else "It runs on"
            sentence = f"{how}: {tasks}. It ends when they do; to end it now, kill it: they are cut off then."
            self._settle(NOT_STOPPED, sentence, kill=True)
        elif self._offline:
            self._settle(UNKNOWN, f"It has said goodbye; {tasks}. It is on another host: whether it ends is not seen.")
        elif (
            worker is not None and worker.state == "alive" and (worker.answered_at or 0) > self.deed.report.began_at + 1
        ):
            self._settle(NOT_STOPPED, "It answers on: it has not begun to shut down.")
        else:
            self._settle(UNKNOWN, "It has not said goodbye, and its process is not on this host.")

    # ------------------------------------------------------------------------------------------ the parts
    def _two(self, living: list[Proc]) -> None:
        """Several processes use one name: each of them has to be gone."""
        every, pids = 1 + len(self.others), ", ".join(str(proc.pid) for proc in living)
        told = f"{every} workers use this name; {len(living)} of them run on: pid {pids}. To end one now, kill it."
        self._settle(NOT_STOPPED, told, kill=True)

    def _deaf(self, worker: Worker) -> bool:
        """It reads the command later, if ever; a solo worker that is busy looks alive for a few seconds."""
        return worker.state not in ("alive", GONE) or (worker.pool == "solo" and not self._answered)

    def _gone(self) -> None:
        assert self.main is not None
        pids = ", ".join(str(proc.pid) for proc in (self.main, *self.others))
        self._see("host", f"main process {pids} is gone", 1)
        orphans = self.family.offspring() if self.family is not None else []
        words = f"All {1 + len(self.others)} main processes of this name are gone" if self.others else _GONE
        if orphans:
            pids = ", ".join(str(one.pid) for one in orphans[:5])
            self._see("host", f"processes that its tasks had started live on: {pids}", 1)
            words += f", but {len(orphans)} processes that its tasks had started live on: {pids}"
        self._settle(STOPPED, f"{words}. What it had reserved Celery gives back to the queues.")

    def _goodbye(self, worker: Worker | None) -> None:
        if not self._offline and worker is not None and worker.state == GONE:
            self._offline = True
            self._see("events", f"takes nothing more ({worker.why or 'said goodbye'})", 3)

    def _left(self, now: Snapshot) -> list[str]:
        """Tasks it ran when it was told, and has not ended as far as can be seen."""
        return [task_id for task_id, proc in self.running.items() if _runs(task_id, proc, now)]

    def _count(self, now: Snapshot) -> None:
        count = len(self._left(now))
        if count != self._told_running and (count or self._told_running):
            self.deed.say(
                "host" if self.main else "events", f"{self.nodename}: {count} of {len(self.running)} tasks run"
            )
        self._told_running = count

    def _see(self, source: str, text: str, strength: int) -> None:
        self._evidence.append(self.deed.say(source, f"{self.nodename}: {text}", strength))

    def _settle(self, outcome: str, sentence: str, *, kill: bool = False) -> None:
        self.settled = True
        offer = "kill_worker" if kill else None
        self.told.settle(self.nodename, Verdict(outcome, sentence, tuple(self._evidence), offer))


def _running(post: Post | None, nodename: str, now: Snapshot) -> dict[str, Proc | None]:
    """By its own word; by events when it does not answer."""
    if post is None or not post.answered:
        tasks = (task for task in now.tasks.values() if task.worker == nodename and task.state == "STARTED")
        return dict.fromkeys(task.task_id for task in tasks)
    main = main_here(post.main_pid, nodename)
    found: dict[str, Proc | None] = {}
    for one in post.running.values():
        seen = look_at(one.pid) if one.pid is not None else None
        child = main is not None and seen is not None and seen.ppid == main.pid
        found[one.task_id] = seen.proc if child and seen is not None else None
    return found


def _runs(task_id: str, proc: Proc | None, now: Snapshot) -> bool:
    """A pool child takes no other task during a shutdown, and ends with its last."""
    task = now.tasks.get(task_id)
    if task is not None and task.state in READY_STATES:
        return False
    return proc is None or lives(proc)

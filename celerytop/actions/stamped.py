"""``revoke_by_stamped_headers``: whatever carries a stamp, running and to come.

A worker keeps the stamp in its memory until it restarts: no command takes it back, and none lists it. ``active`` does
not tell stamps either, so which running tasks carried it is seen by who leaves that list when the command is handled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from celerytop.actions.case import has_ended, has_exited
from celerytop.actions.command import MOST_IDS
from celerytop.actions.deed import Deed
from celerytop.actions.link import Answer
from celerytop.actions.look import Post, look
from celerytop.actions.processes import Family, Proc, look_at, main_here
from celerytop.actions.readings import GREEN
from celerytop.actions.strays import Origin, origin_of, strays, verdict
from celerytop.actions.telling import Telling, Verdict
from celerytop.actions.trees import TREES
from celerytop.model.action import RevokeStamped
from celerytop.model.outcome import CANNOT, FLAGGED_ONLY, NOT_STOPPED, REFUSED, STOPPED, UNKNOWN, Evidence
from celerytop.model.task import Task
from celerytop.sources.wire_fields import is_mapping, name

PERMANENT = (
    "Until it restarts it runs nothing that carries this stamp, now or later; no command takes that back, and workers "
    "that start later know nothing of it."
)
_METHOD = "revoke_by_stamped_headers"
_NONE = ("were not terminated", "but not terminated")
_SURVIVES = frozenset({"SIGUSR1", "SIGINT"})


def revoke_stamped(deed: Deed) -> Iterator[None]:
    """With ``signal``: terminate what runs with it too, except in threads, which cannot."""
    action = deed.action
    assert isinstance(action, RevokeStamped)
    told = Telling(deed, action.workers)
    told.late, told.late_next = NOT_STOPPED, "tree"
    if not action.header or not action.values or len(action.values) > MOST_IDS:
        told.settle_all(REFUSED, f"Nothing was sent: a stamp has a header and 1 to {MOST_IDS} values.")
        return
    posts = _posts(deed, told)
    stamps = {worker: _Stamped(deed, told, posts.get(worker, Post(worker)), action) for worker in told.waiting}
    yield
    threads = {worker for worker, one in stamps.items() if one.pool == "threads"}
    _tell(told, action, threads, None)
    _tell(told, action, set(stamps) - threads, action.signal)
    for worker, one in stamps.items():
        if worker in told.waiting and worker in told.said:
            one.answered(told.said[worker])
    yield
    yield from told.watch(
        "active",
        {"safe": True},
        lambda worker, answer: stamps[worker].judge(answer),
        lambda worker: stamps[worker].at_last(),
    )
    for one in stamps.values():
        one.give_up()
    yield


def _posts(deed: Deed, told: Telling) -> Mapping[str, Post]:
    mute = {one.nodename for one in told.known.values() if one.state != "alive"}
    posts = look(deed.link.control, [worker for worker in told.waiting if worker not in mute])
    told.hears.update(worker for worker, post in posts.items() if post.answered)
    told.looked()
    return posts


def _tell(told: Telling, action: RevokeStamped, workers: set[str], signal: str | None) -> None:
    arguments: dict[str, object] = {"headers": {action.header: list(action.values)}, "terminate": signal is not None}
    words = f"{_METHOD}({action.header}={', '.join(action.values)})"
    if signal is not None:
        arguments["signal"] = signal
        words += f" terminate {signal}"
    told.tell(_METHOD, arguments, words, _refused, only=workers)


def _refused(_: str, error: str) -> Verdict:
    if "KeyError" in error and _METHOD in error:
        return Verdict(CANNOT, f"Its Celery knows no stamps (they came with 5.3): {error}. Nothing has changed.")
    sentence = f"What runs there was not stopped: {error}. {PERMANENT}"
    return Verdict(CANNOT if "NotImplementedError" in error else UNKNOWN, sentence)


class _Stamped:
    """One worker: what it ran before, and what of that carried the stamp."""

    def __init__(self, deed: Deed, told: Telling, post: Post, action: RevokeStamped) -> None:
        worker = told.known.get(post.nodename)
        self.deed, self.told, self.post, self.action = deed, told, post, action
        self.pool = post.pool or (worker.pool if worker is not None else None)
        self._began_at = deed.now()
        self._origins: dict[str, Origin] = {}
        self._families = self._trees()
        self._away: dict[str, tuple[Origin, list[Proc]]] = {}
        self._matched: tuple[str, ...] | None = None
        self._gone: dict[str, tuple[Evidence, ...]] = {}

    def answered(self, answer: Answer) -> None:
        """Settle what its own word is enough for: nothing was to be stopped, or can be."""
        running = len(self.post.running)
        if self.pool == "threads":
            more = "what its threads have taken already they run to the end"
            if running and self.action.signal is not None:
                sentence = f"It runs {running} tasks; a threads pool has no way to stop one, and {more}. {PERMANENT}"
                self._settle(CANNOT, sentence)
            else:
                self._settle(FLAGGED_ONLY, f"Flagged; {more}. {PERMANENT}")
        elif answer.ok is not None and any(words in answer.ok for words in _NONE):
            runs = (
                "nothing that runs there carries it" if self.action.signal else "what runs already goes on to its end"
            )
            self._settle(FLAGGED_ONLY, f"Flagged; {runs}. {PERMANENT}")

    def judge(self, answer: Answer) -> Verdict | str:
        """Who has left ``active`` was told to end; whether it has is seen in its process."""
        listed = answer.body if isinstance(answer.body, list) else []
        active = {name(one.get("id")) for one in listed if is_mapping(one)}
        tasks = self.deed.see().tasks
        if self._matched is None:
            left = [one for one in self.post.running if one not in active]
            self._matched = tuple(
                one for one in left if one not in tasks or tasks[one].state not in ("SUCCESS", "FAILURE")
            )
        if not self._matched:
            return Verdict(FLAGGED_ONLY, f"Flagged; none of the tasks it ran has been seen to end by it. {PERMANENT}")
        for task_id in self._matched:
            if task_id not in self._gone and (found := self._ended(task_id, tasks.get(task_id))):
                self._gone[task_id] = found
                self._settle_task(task_id, STOPPED, "It carried the stamp and was stopped.", found)
        left = [one for one in self._matched if one not in self._gone]
        if left:
            return f"{len(left)} of {len(self._matched)} tasks with this stamp are not seen to have ended: {left[0]}"
        evidence = tuple(one for found in self._gone.values() for one in found)
        who, were = (f"{len(self._gone)} running tasks", "were") if len(self._gone) > 1 else ("1 running task", "was")
        sentence = f"{who} that carried it {were} stopped. {PERMANENT}"
        return Verdict(STOPPED, sentence, evidence)

    def give_up(self) -> None:
        """The deadline is there: the tasks that are left get their verdicts."""
        for task_id in self._matched or ():
            if task_id not in self._gone:
                self._settle_task(task_id, *self._left(task_id))

    def at_last(self) -> Verdict | None:
        """The worker's own verdict at the deadline, where nobody was seen to live."""
        left = [self._left(one)[0] for one in self._matched or () if one not in self._gone]
        if not left or NOT_STOPPED in left:
            return None
        sentence = f"{len(left)} of {len(self._matched or ())} tasks with this stamp were not seen to end. {PERMANENT}"
        return Verdict(UNKNOWN, sentence)

    # ------------------------------------------------------------------------------------------ the parts
    def _left(self, task_id: str) -> tuple[str, str, tuple[Evidence, ...], str | None]:
        """Outcome, sentence, evidence and rung of one that has no proof of its end."""
        if self.pool in GREEN:
            sentence = "Its worker was told to make it exit; only task events (-E) tell that it has come back."
            return UNKNOWN, sentence, (), None
        if task_id in self._away:
            return *verdict(*self._away[task_id], self.post.nodename), (), None
        sentence = "It was told to end, and its worker lists it no more, but its process was not seen to end."
        return NOT_STOPPED, sentence, (), "tree"

    def _sent_away(self, task_id: str) -> bool:
        """Its tree is gone; what it had sent away before may live."""
        origin = self._origins.get(task_id)
        away = strays(origin) if origin is not None else []
        if origin is not None and away:
            self._away[task_id] = origin, away
        return bool(away)

    def _trees(self) -> dict[str, Family]:
        """Of prefork on this host; and by what each task's strays are known."""
        main = main_here(self.post.main_pid, self.post.nodename)
        found: dict[str, Family] = {}
        for one in self.post.running.values():
            seen = look_at(one.pid) if one.pid is not None and main is not None else None
            if (
                seen is not None
                and main is not None
                and seen.ppid == main.pid
                and one.pid in (self.post.processes or ())
            ):
                found[one.task_id] = Family(seen.proc)
                origin = origin_of(main, seen.proc, one.started_at, alone=len(self.post.running) == 1)
                if origin is not None:
                    self._origins[one.task_id] = origin
        return found

    def _ended(self, task_id: str, task: Task | None) -> tuple[Evidence, ...]:
        """What proves that it runs no more; empty: nothing yet."""
        worker, family = self.post.nodename, self._families.get(task_id)
        if self.pool in GREEN:
            ended = has_exited(task, self._began_at)
            return self.told.saw(worker, f"the greenlet of {task_id} has come back", "events", 2) if ended else ()
        if family is not None:
            TREES.keep(task_id, family, worker)
            if not has_ended(task):  # else what is below it is the next task's
                family.grow()
            if not family.living() and not self._sent_away(task_id):
                TREES.forget(task_id)
                return self.told.saw(worker, f"process {family.root.pid} of {task_id} is gone, its tree too", "host", 1)
        if self.action.signal in _SURVIVES and has_ended(task) and (family is None or not family.offspring()):
            return self.told.saw(worker, f"the process of {task_id} has reported its end", "events", 2)
        return () if family is not None else self._elsewhere(task_id)

    def _elsewhere(self, task_id: str) -> tuple[Evidence, ...]:
        """On another host: its pool has that process no more, or it runs something else."""
        worker, pid = self.post.nodename, self.post.running[task_id].pid
        now = look(self.deed.link.control, (worker,), 0.5)[worker]
        if pid is None or now.processes is None:
            return ()
        if pid not in now.processes:
            return self.told.saw(worker, f"its pool has process {pid} of {task_id} no more", "stats", 2)
        if now.running_in(pid) is not None:
            return self.told.saw(worker, f"process {pid} runs another task now", "inspect", 2)
        return ()

    def _settle(self, outcome: str, sentence: str) -> None:
        self.told.settle(self.post.nodename, Verdict(outcome, sentence))

    def _settle_task(
        self, task_id: str, outcome: str, sentence: str, evidence: tuple[Evidence, ...], next: str | None = None
    ) -> None:
        self.deed.settle(outcome, sentence, evidence, task_id=task_id, worker=self.post.nodename, next=next)

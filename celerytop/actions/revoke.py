"""Revoke, and the signals that go with it: look, decide, send to named workers alone, verify."""

from __future__ import annotations

import os
import signal as signals
from collections.abc import Iterable, Iterator, Mapping, Sequence

from celerytop.actions.case import FLAG, GREEN, KILL, LATER, RUNS, SOFT, Case, decide
from celerytop.actions.deed import Deed
from celerytop.actions.flag import is_mute, verify_flags
from celerytop.actions.future import future_targets
from celerytop.actions.link import Answer
from celerytop.actions.look import PATIENCE, SHORT, Post, chunks, look
from celerytop.actions.processes import Family, lives, main_here
from celerytop.actions.trees import TREES
from celerytop.actions.verify import watch
from celerytop.model.action import Revoke
from celerytop.model.outcome import NOT_STOPPED, REFUSED, WILL_APPLY_LATER
from celerytop.model.snapshot import Snapshot
from celerytop.model.worker import BUSY_SOLO, GONE

SIGNALS = ("SIGUSR1", "SIGINT", "SIGTERM", "SIGKILL", "SIGQUIT", "SIGHUP", "SIGABRT")
"""What may be asked for. Others do things to a process that nobody means by stopping a task."""


def revoke(deed: Deed) -> Iterator[None]:
    """Do it."""
    action = deed.action
    assert isinstance(action, Revoke)
    if action.signal is not None and action.signal not in SIGNALS:
        deed.settle_rest(REFUSED, f"Nothing was sent: {action.signal} is no signal a task is stopped with.")
        return
    now = deed.see()
    posts = _posts(deed, action, now)
    cases = [Case(deed, target, action.signal) for target in action.targets]
    for target in future_targets(deed, action, now):
        cases.append(Case(deed, target, action.signal))
        cases[-1].future = True
    for case in cases:
        decide(case, posts, now)
    yield
    # what waits first: else it takes the place of what is ended, and has begun before its own revoke comes
    yield from verify_flags(deed, [case for case in cases if case.plan == FLAG and not case.settled], posts)
    _send_signals(deed, [case for case in cases if case.plan in (KILL, SOFT, GREEN)])
    _send_plain(deed, [case for case in cases if case.plan == RUNS])
    _send_later(deed, [case for case in cases if case.plan == LATER])
    yield
    yield from watch(deed, cases)


def _posts(deed: Deed, action: Revoke, now: Snapshot) -> dict[str, Post]:
    """Ask the workers that are said to have them, and all others when that is not known."""
    alive = [worker.nodename for worker in now.workers.values() if worker.state != GONE]
    named = dict.fromkeys(target.worker for target in action.targets if target.worker is not None)
    asked = list(dict.fromkeys([*named, *alive])) if any(t.worker is None for t in action.targets) else list(named)
    mute = {name for name in asked if is_mute(now, name)}
    solo = [name for name in asked if _solo(now, name) and name not in mute]
    posts = {name: Post(name) for name in mute} | look(deed.link.control, solo, SHORT)
    posts |= look(deed.link.control, [name for name in asked if name not in posts])
    missed = [target for target in action.targets if _missed(target.task_id, posts)]
    if missed:  # somewhere else by now?
        posts |= look(deed.link.control, [name for name in alive if name not in posts and not is_mute(now, name)])
    deed.say("inspect", f"asked {len(posts)} workers what they run: {sum(p.answered for p in posts.values())} answered")
    return posts


def _missed(task_id: str, posts: Mapping[str, Post]) -> bool:
    return all(task_id not in post.running for post in posts.values())


def _solo(now: Snapshot, nodename: str) -> bool:
    worker = now.workers.get(nodename)
    return worker is not None and (worker.pool == "solo" or worker.state == BUSY_SOLO)


# ------------------------------------------------------------------------------------------------ sending
def _send_signals(deed: Deed, cases: Sequence[Case]) -> None:
    """``revoke(terminate=True)`` to each task's own worker; from here where its worker has forgotten it."""
    ready = [case for case in cases if not case.settled]
    for case in ready:
        if case.family is not None and not case.directly:
            case.family.grow()
            TREES.keep(case.task_id, case.family, case.worker, case.origin)
    for worker, mine in _by_worker(case for case in ready if not case.directly).items():
        for ids in chunks(case.task_id for case in mine):
            wanted = set(ids)
            part = [case for case in mine if case.task_id in wanted]
            _terminate(deed, worker, part)
    for case in ready:
        if case.directly:
            _signal_from_here(deed, case)


def _terminate(deed: Deed, worker: str, cases: Sequence[Case]) -> None:
    signal = cases[0].signal
    ids = [case.task_id for case in cases]
    for case in cases:
        case.sent_at = deed.now()
    deed.say("sent", f"revoke of {_count(ids)} with {signal} to {worker}")
    arguments = {"task_id": ids, "terminate": True, "signal": signal}
    answer = deed.link.control.ask("revoke", arguments, (worker,), PATIENCE).by_worker.get(worker)
    _take_answer(deed, answer, worker, cases)


def _take_answer(deed: Deed, answer: Answer | None, worker: str, cases: Sequence[Case]) -> None:
    if answer is None:
        deed.say("reply", f"none from {worker}")
        return
    told = answer.body.get("ok", "") if isinstance(answer.body, dict) else ""
    step = deed.say("reply", f"{worker}: {answer.ok or answer.error or '?'}"[:300], 4, at=answer.at)
    for case in cases:
        case.evidence.append(step)
        case.unknown_to_worker = answer.ok is not None and case.task_id not in str(told)


def _signal_from_here(deed: Deed, case: Case) -> None:
    family: Family | None = case.family
    assert family is not None and case.signal is not None
    root = family.root
    if not lives(root):
        return  # the watch says so
    try:
        os.kill(root.pid, signals.SIGSTOP)  # it begins nothing else while its worker is asked once more
        try:
            other = _begun_since(deed, case, root.pid)
            if other is None:
                case.sent_at = deed.now()
                os.kill(root.pid, signals.Signals[case.signal])
        finally:
            os.kill(root.pid, signals.SIGCONT)
    except ProcessLookupError:
        return
    except PermissionError:
        case.settle(REFUSED, f"Nothing was sent: process {root.pid} belongs to another user, and its worker forgot it.")
        return
    if other is not None:
        case.settle(REFUSED, f"Nothing was sent: process {root.pid} {other}.")
        return
    case.see("sent", f"{case.signal} to process {root.pid} from this host: its worker has forgotten the task", 9)


def _begun_since(deed: Deed, case: Case, pid: int) -> str | None:
    """What its process does instead by now; ``None``: nothing that its worker knows of."""
    worker = case.worker or ""
    post = look(deed.link.control, (worker,)).get(worker)
    if post is None or not post.answered:
        return f"may run another task: {worker} does not answer"
    running = post.running_in(pid)
    return f"runs {running.task_id} now" if running is not None else None


def _send_plain(deed: Deed, cases: Sequence[Case]) -> None:
    """Revoke alone, of what runs: it runs on; retries of it will not start."""
    for worker, mine in _by_worker(cases).items():
        for ids in chunks(case.task_id for case in mine):
            deed.say("sent", f"revoke of {_count(ids)} to {worker}")
            deed.link.control.ask("revoke", {"task_id": ids}, (worker,), PATIENCE)
    for case in cases:
        solo = case.post is not None and case.post.pool == "solo"
        case.see("inspect", f"{case.worker} lists it as running", 3)
        more = "its pool is solo, which cannot stop one" if solo else "a revoke alone stops only what has not begun"
        rung = None if solo or case.signal is not None else "SIGUSR1"
        if case.post is not None and case.post.pool == "threads":  # no signal helps
            rung = "kill_worker" if main_here(case.post.main_pid, case.post.nodename) is not None else None
        case.settle(NOT_STOPPED, f"It runs on: {more}. Retries of it will not start on {case.worker}.", next=rung)


def _send_later(deed: Deed, cases: Sequence[Case]) -> None:
    """To a worker that does not answer: never with a signal, for what runs when it comes back may be anything."""
    for worker, mine in _by_worker(cases).items():
        for ids in chunks(case.task_id for case in mine):
            deed.say("sent", f"revoke of {_count(ids)} to {worker}, which does not answer")
            deed.link.control.tell("revoke", {"task_id": ids}, (worker,))
    now = deed.see()
    for case in cases:
        _settle_later(case, now)


def _settle_later(case: Case, now: Snapshot) -> None:
    from celerytop.actions.tree import reachable  # it needs what is above

    target = case.target
    running = target.worker_pid is not None or target.state == "STARTED"
    if _solo(now, case.worker or ""):
        case.settle(
            WILL_APPLY_LATER,
            f"{case.worker} is a solo worker and busy: it reads commands when its task has ended. What runs now "
            "runs to its end; this one will not start after that.",
            next="kill_worker" if running and reachable(case.worker, now) else None,
        )
        return
    tree = "tree" if running and target.worker_pid is not None and reachable(case.worker, now) else None
    case.see("inspect", f"{case.worker} does not answer", 3)
    case.settle(
        WILL_APPLY_LATER,
        f"{case.worker} does not answer: its main process hangs, is stopped, or has gone. It finds the revoke when it "
        "comes back; " + ("its task's processes can be killed from here." if tree else "nothing has been stopped."),
        next=tree,
    )


def _by_worker(cases: Iterable[Case]) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in cases:
        if case.worker is not None:
            found.setdefault(case.worker, []).append(case)
    return found


def _count(ids: Sequence[str]) -> str:
    return ids[0] if len(ids) == 1 else f"{len(ids)} tasks"

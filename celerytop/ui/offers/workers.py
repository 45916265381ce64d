"""What can be done to workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from celerytop.model import action as act
from celerytop.model.action import AnyAction
from celerytop.model.host import Process
from celerytop.model.snapshot import Snapshot
from celerytop.ui.acting import Offer, ask, choose, confirm
from celerytop.undo import paused_here

if TYPE_CHECKING:
    from celerytop.ui.app import CelerytopApp


def offers(nodenames: Sequence[str], snapshot: Snapshot) -> list[Offer]:
    """Of these workers; what was paused from here can be resumed first."""
    names = tuple(nodenames)
    return [
        *_resumes(names, snapshot),
        Offer("pause a queue", "cancel_consumer: take no more from it", partial(_pause, names)),
        Offer("resume a queue", "add_consumer: begin to take from it", partial(_resume, names)),
        Offer("grow the pool", "pool_grow: more slots", partial(_grow, names)),
        Offer("shrink the pool", "pool_shrink: fewer slots", partial(_shrink, names)),
        Offer("autoscale", "between two numbers of slots", partial(_autoscale, names)),
        Offer("rate limit", "of one task name: 10/m", partial(_rate, names)),
        Offer("time limit", "of one task name; holds from the next reconnect", partial(_time, names)),
        Offer("enable task events", "as -E", partial(_plain, act.EnableEvents(workers=names))),
        Offer("disable task events", "monitors go blind", partial(_plain, act.DisableEvents(workers=names))),
        Offer(
            "restart the pool",
            "pool_restart: new processes, after what runs",
            partial(_plain, act.PoolRestart(workers=names)),
        ),
        Offer("shut down", "warm: after what runs", partial(_plain, act.Shutdown(workers=names))),
        *kills(names, snapshot),
        Offer("revoke by a stamp", "whatever carries it, for ever", _stamp),
    ]


def title(nodenames: Sequence[str]) -> str:
    """What the menu is about."""
    return nodenames[0] if len(nodenames) == 1 else f"{len(nodenames):,} workers"


def _plain(action: AnyAction, top: CelerytopApp) -> None:
    confirm(top, action)


def _stamp(top: CelerytopApp) -> None:
    from celerytop.ui.offers.tasks import stamp

    stamp(top)


def _resumes(names: tuple[str, ...], snapshot: Snapshot) -> Iterator[Offer]:
    for queue, workers in paused_here(snapshot).items():
        mine = tuple(name for name in workers if name in names)
        if mine:
            action = act.AddConsumer(workers=mine, queue=queue)
            yield Offer(f"resume {queue}", "paused from here", partial(_plain, action))


def _pause(names: tuple[str, ...], top: CelerytopApp) -> None:
    workers = [worker for name in names if (worker := top.newest.workers.get(name)) is not None]
    queues = list(dict.fromkeys(queue.name for worker in workers for queue in worker.queues or ()))

    def pause(queue: str) -> None:
        these = tuple(
            worker.nodename for worker in workers if any(one.name == queue for one in worker.queues or ())
        )  # only those that take from it
        confirm(top, act.CancelConsumer(workers=these or names, queue=queue))

    if not queues:
        _ask_queue(names, top, act.CancelConsumer, "Pause a queue")
    elif len(queues) == 1:
        pause(queues[0])
    else:
        choose(top, "Pause which queue", queues, pause)


def _resume(names: tuple[str, ...], top: CelerytopApp) -> None:
    _ask_queue(names, top, act.AddConsumer, "Resume a queue")


def _ask_queue(
    names: tuple[str, ...], top: CelerytopApp, kind: type[act.AddConsumer] | type[act.CancelConsumer], title: str
) -> None:
    from celerytop.ui.screens.ask import Field

    ask(top, title, [Field("queue", "queue")], lambda values: kind(workers=names, queue=values["queue"].strip()))


def _number(
    top: CelerytopApp, title: str, make: type[act.PoolGrow] | type[act.PoolShrink], names: tuple[str, ...]
) -> None:
    from celerytop.ui.screens.ask import Field, whole

    ask(top, title, [Field("n", "slots", "1", whole(1, 1000))], lambda values: make(workers=names, n=int(values["n"])))


def _grow(names: tuple[str, ...], top: CelerytopApp) -> None:
    _number(top, "Grow the pool", act.PoolGrow, names)


def _shrink(names: tuple[str, ...], top: CelerytopApp) -> None:
    _number(top, "Shrink the pool", act.PoolShrink, names)


def _autoscale(names: tuple[str, ...], top: CelerytopApp) -> None:
    from celerytop.ui.screens.ask import Field, whole

    fields = [Field("min", "least slots", "1", whole(0, 1000)), Field("max", "most slots", "8", whole(1, 1000))]

    def make(values: Mapping[str, str]) -> AnyAction:
        return act.Autoscale(workers=names, max=int(values["max"]), min=int(values["min"]))

    def together(values: Mapping[str, str]) -> str | None:
        return None if int(values["min"]) <= int(values["max"]) else "least is more than most"

    ask(top, "Autoscale", fields, make, together)


def _usual(names: tuple[str, ...], top: CelerytopApp) -> str:
    """The task name that most likely is meant: what runs there longest."""
    running = [
        task
        for task in top.newest.tasks.values()
        if task.state == "STARTED" and task.finished_at is None and task.worker in names and task.started_at is not None
    ]
    return (min(running, key=lambda task: task.started_at or 0.0).name or "") if running else ""


def _rate(names: tuple[str, ...], top: CelerytopApp) -> None:
    from celerytop.ui.screens.ask import Field, rate

    fields = [Field("name", "task", _usual(names, top)), Field("rate", "rate", "10/m", rate, "0: no limit")]

    def make(values: Mapping[str, str]) -> AnyAction:
        return act.RateLimit(workers=names, task_name=values["name"].strip(), rate_limit=values["rate"])

    ask(top, "Rate limit", fields, make)


def _time(names: tuple[str, ...], top: CelerytopApp) -> None:
    from celerytop.ui.screens.ask import Field, seconds

    fields = [
        Field("name", "task", _usual(names, top)),
        Field("soft", "soft limit", "", seconds, "seconds; nothing: none"),
        Field("hard", "hard limit", "", seconds, "seconds; nothing: none"),
    ]

    def make(values: Mapping[str, str]) -> AnyAction:
        soft, hard = (float(values[key]) if values[key] else None for key in ("soft", "hard"))
        return act.TimeLimit(workers=names, task_name=values["name"].strip(), soft=soft, hard=hard)

    ask(top, "Time limit", fields, make)


def main_processes(snapshot: Snapshot, nodename: str) -> list[Process]:
    """Its main process, when it is on this host; several, when several workers of this cluster use its name.

    A worker of another cluster may have the same name here: as soon as this one has told its pids, only those count.
    """
    worker = snapshot.workers.get(nodename)
    pids = {worker.pid, *worker.pids} - {None} if worker is not None else set()
    found = [
        process
        for host in snapshot.hosts.values()
        for process in host.processes
        if process.role == "main"
        and (
            process.nodename == nodename
            or (worker is not None and process.pid == worker.pid and worker.host == host.name)
        )
    ]
    mine = [process for process in found if process.pid in pids]
    return mine or (found if not pids and len(found) == 1 else [])


def kills(names: Sequence[str], snapshot: Snapshot) -> Iterator[Offer]:
    """SIGKILL to the main process of one worker; of several that use one name, to each."""
    if len(names) != 1:
        return
    found = main_processes(snapshot, names[0])
    if not found:
        yield Offer("kill its process", "not seen on this host", _not_here)
    for process in found:
        action = act.KillWorker(worker=names[0], pid=process.pid, pid_started_at=process.created_at)
        what = "kill its process" if len(found) == 1 else f"kill process {process.pid}"
        why = "for one that hangs" if len(found) == 1 else f"one of {len(found)} of this name"
        yield Offer(what, f"SIGKILL to pid {process.pid}, {why}", partial(_plain, action))


def _not_here(top: CelerytopApp) -> None:
    top.say("its main process is not seen on this host: kill it where it runs", "warn")

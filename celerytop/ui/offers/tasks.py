"""What can be done to tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from celerytop.model.action import AnyAction, Resend, RevokeStamped, SendTask
from celerytop.model.snapshot import Snapshot
from celerytop.model.worker import GONE, UNKNOWN
from celerytop.ui.acting import Offer, ask, offer
from celerytop.ui.ladder import climb

if TYPE_CHECKING:
    from celerytop.ui.app import CelerytopApp


def offers(task_ids: Sequence[str], all_shown: Sequence[str] = (), filter: str = "") -> list[Offer]:
    """Of these tasks. ``all_shown``: ids that match the filter, to be offered as a set."""
    ids = tuple(task_ids)
    found = [
        Offer("revoke only", "do not start it; what runs, runs on", partial(_climb, ids, None)),
        Offer("interrupt, SIGUSR1", "SoftTimeLimitExceeded where it is stuck", partial(_climb, ids, "SIGUSR1")),
        Offer("terminate, SIGTERM", "end the process that runs it", partial(_climb, ids, "SIGTERM")),
        Offer("kill, SIGKILL", "the same, and it cannot hold it back", partial(_climb, ids, "SIGKILL")),
        Offer("kill the process tree", "on this host, past a worker that hangs", partial(_climb, ids, "tree")),
        Offer("revoke with descendants", "it and all that it has sent", partial(_climb, ids, "", family="with")),
        Offer("revoke descendants only", "what it has sent, not itself", partial(_climb, ids, "", family="only")),
    ]
    if len(ids) == 1:
        found.append(Offer("send again", "its message once more, under a new id", partial(resend, ids[0])))
    if not set(ids).issuperset(all_shown):
        which = f"that match {filter}" if filter else "of this list"
        shown = tuple(all_shown)
        found.append(Offer(f"all {len(shown):,} {which} ...", "the same menu for all of them", partial(_all, shown)))
    return [*found, *others_offers()]


def title(task_ids: Sequence[str], snapshot: Snapshot) -> str:
    """What the menu is about."""
    if len(task_ids) != 1:
        return f"{len(task_ids):,} tasks"
    task = snapshot.tasks.get(task_ids[0])
    return f"{(task.name if task is not None else None) or '?'} {task_ids[0][:8]}"


def others_offers() -> list[Offer]:
    """What needs no task under the cursor."""
    return [
        Offer("revoke by a stamp", "whatever carries it, for ever", stamp),
        Offer("send a task", "by its name, as `celery call`", send),
    ]


def _climb(ids: tuple[str, ...], rung: str | None, top: CelerytopApp, family: str = "no") -> None:
    climb(top, ids, rung, family)


def _all(ids: tuple[str, ...], top: CelerytopApp) -> None:
    offer(top, f"{len(ids):,} tasks", offers(ids))


def revoke_only(task_id: str, top: CelerytopApp) -> None:
    """The last question about a mere revoke of it."""
    climb(top, (task_id,), None)


def resend(task_id: str, top: CelerytopApp) -> None:
    """Its original once more."""
    from celerytop.ui.screens.ask import Field, anything

    fields = [
        Field("queue", "queue", "", anything, "nothing: where it came from"),
        Field("dump", "dump file", "", anything, "nothing: from the broker or the result backend"),
    ]

    def make(values: Mapping[str, str]) -> AnyAction:
        return Resend(task_id=task_id, queue=values["queue"].strip() or None, dump=values["dump"].strip() or None)

    ask(top, f"Send {task_id[:8]} again", fields, make)


def listeners(snapshot: Snapshot) -> tuple[str, ...]:
    """Workers that may hear a command."""
    return tuple(name for name, worker in snapshot.workers.items() if worker.state not in (GONE, UNKNOWN))


def stamp(top: CelerytopApp) -> None:
    """Revoke whatever carries a stamp: on all workers there are."""
    from celerytop.ui.screens.ask import Field, anything

    fields = [
        Field("header", "stamp", note="its key, e.g. tenant"),
        Field("values", "values", note="one or several, commas between them"),
        Field("signal", "signal", "", anything, "nothing, or SIGTERM, SIGKILL for those that run"),
    ]

    def make(values: Mapping[str, str]) -> AnyAction:
        return RevokeStamped(
            header=values["header"].strip(),
            values=tuple(value.strip() for value in values["values"].split(",") if value.strip()),
            workers=listeners(top.newest),
            signal=values["signal"].strip() or None,
        )

    def together(values: Mapping[str, str]) -> str | None:
        known = ("", "SIGTERM", "SIGKILL", "SIGINT", "SIGUSR1")
        return None if values["signal"].strip() in known else f"signal: {', '.join(known[1:])} or nothing"

    ask(top, "Revoke by a stamp", fields, make, together)


def send(top: CelerytopApp, queue: str = "") -> None:
    """Send a task by its name."""
    from celerytop.ui.screens.ask import Field, anything, json_list, json_object, seconds

    fields = [
        Field("name", "task", note="its full name, e.g. app.add"),
        Field("args", "args", "[]", json_list),
        Field("kwargs", "kwargs", "{}", json_object),
        Field("queue", "queue", queue, anything, "nothing: celery"),
        Field("countdown", "countdown", "", seconds, "seconds from now, or nothing"),
        Field("expires", "expires", "", seconds, "seconds from now, or nothing"),
        Field("priority", "priority", "", _priority, "0 to 255, or nothing"),
    ]

    def make(values: Mapping[str, str]) -> AnyAction:
        return SendTask(
            name=values["name"].strip(),
            args=values["args"],
            kwargs=values["kwargs"],
            queue=values["queue"].strip() or None,
            countdown=float(values["countdown"]) if values["countdown"] else None,
            expires=float(values["expires"]) if values["expires"] else None,
            priority=int(values["priority"]) if values["priority"] else None,
        )

    ask(top, "Send a task", fields, make)


def _priority(text: str) -> str | None:
    from celerytop.ui.screens.ask import whole

    return whole(0, 255)(text) if text else None

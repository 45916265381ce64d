"""What can be done to queues and the messages in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from celerytop.model import action as act
from celerytop.model.action import AnyAction
from celerytop.model.snapshot import Snapshot
from celerytop.ui.acting import Offer, ask, confirm, count_or_do, restore_or_force
from celerytop.undo import paused_here

if TYPE_CHECKING:
    from celerytop.ui.app import CelerytopApp


def offers(queue: str, snapshot: Snapshot, message: str | None = None) -> list[Offer]:
    """Of this queue; ``message`` is the task id of the message under the cursor."""
    return [
        *_resume(queue, snapshot),
        *_one(queue, message),
        Offer("peek", "its messages, page by page; takes none", partial(_peek, queue)),
        Offer("pause", "all its workers take no more from it", partial(_pause, queue)),
        Offer("purge what matches", "by name, args, age; dumped first", partial(_purge, queue)),
        Offer("purge ALL", "every message; dumped first", partial(_plain, act.PurgeQueue(queue=queue))),
        Offer("move what matches", "into another queue; dumped first", partial(_move, queue)),
        Offer("restore a dump", "put back what was removed", restore),
        Offer(
            "restore orphaned unacked",
            "what dead workers hold, now (Redis)",
            partial(_plain, act.RestoreUnacked(queue=queue)),
        ),
        Offer("send a task", "into it, by name", partial(_send, queue)),
    ]


def _plain(action: AnyAction, top: CelerytopApp) -> None:
    confirm(top, action)


def _resume(queue: str, snapshot: Snapshot) -> Iterator[Offer]:
    workers = paused_here(snapshot).get(queue)
    if workers:
        action = act.AddConsumer(workers=workers, queue=queue)
        yield Offer("resume", f"paused from here on {len(workers)}: {workers[0]}", partial(_plain, action))


def _one(queue: str, message: str | None) -> Iterator[Offer]:
    if message is not None:
        from celerytop.ui.offers.tasks import resend, revoke_only

        action = act.PurgeQueue(queue=queue, task_ids=(message,))
        yield Offer("delete this message", f"{message[:8]}; dumped first", partial(_plain, action))
        yield Offer("revoke this message", "it stays; who takes it throws it away", partial(revoke_only, message))
        yield Offer("send it again", "once more, under a new id", partial(resend, message))


def _peek(queue: str, top: CelerytopApp) -> None:
    from celerytop.ui.screens.queue_detail import QueueDetail

    if isinstance(top.screen, QueueDetail):
        top.screen.show_page()
    else:
        top.push_screen(QueueDetail(queue, begins=(0,)))


def _pause(queue: str, top: CelerytopApp) -> None:
    known = top.newest.queues.get(queue)
    confirm(top, act.CancelConsumer(workers=known.workers if known is not None else (), queue=queue))


def _filter_check(text: str) -> str | None:
    """Whether the words are of the one grammar."""
    from celerytop.errors import CelerytopError
    from celerytop.select import parse

    if not text.strip():
        return "is needed: purge ALL is another line of the menu"
    try:
        parse(text)
    except CelerytopError as error:
        return str(error)
    return None


def _purge(queue: str, top: CelerytopApp) -> None:
    from celerytop.ui.screens.ask import Field, anything

    fields = [
        Field("filter", "which", "", _filter_check, "e.g. name:app.pay args:8841 age:>1h !name:app.mail"),
        Field("dump", "dump file", "", anything, "nothing: one in the state directory"),
    ]

    def make(values: Mapping[str, str]) -> AnyAction:
        return act.PurgeQueue(queue=queue, filter=values["filter"].strip(), dump=values["dump"].strip() or None)

    ask(top, f"Purge what matches in {queue}", fields, make, then=count_or_do)


def _move(queue: str, top: CelerytopApp) -> None:
    from celerytop.ui.screens.ask import Field, anything

    fields = [
        Field("to", "to queue"),
        Field("filter", "which", "", _filter_or_all, "e.g. name:app.pay age:>1h; nothing: all of them"),
        Field("dump", "dump file", "", anything, "nothing: one in the state directory"),
    ]

    def make(values: Mapping[str, str]) -> AnyAction:
        filter, dump = values["filter"].strip(), values["dump"].strip() or None
        return act.MoveMessages(queue=queue, to=values["to"].strip(), filter=filter, dump=dump)

    ask(top, f"Move from {queue}", fields, make, then=count_or_do)


def _filter_or_all(text: str) -> str | None:
    return _filter_check(text) if text.strip() else None


def restore(top: CelerytopApp) -> None:
    """Put the messages of a dump back."""
    from celerytop.ui.screens.ask import Field, anything

    last = next((report.dump for report in reversed(top.newest.actions) if report.dump is not None), "")
    fields = [
        Field("path", "dump file", last or "", note="written by a purge or a move"),
        Field("to", "to queue", "", anything, "nothing: where they came from"),
    ]

    def make(values: Mapping[str, str]) -> AnyAction:
        return act.RestoreDump(path=values["path"].strip(), to=values["to"].strip() or None)

    ask(top, "Restore a dump", fields, make, then=restore_or_force)


def _send(queue: str, top: CelerytopApp) -> None:
    from celerytop.ui.offers.tasks import send

    send(top, queue)

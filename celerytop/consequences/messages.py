"""What happens to messages."""

from __future__ import annotations

from collections.abc import Iterator

from celerytop import format as fmt
from celerytop.consequences.said import MANY, Judgement, Said, checked, cut_off, number
from celerytop.model import action as act
from celerytop.model.snapshot import Snapshot, message_of


def taking(snapshot: Snapshot, action: act.PurgeQueue | act.MoveMessages) -> Judgement:
    """Purge, delete one, move."""
    queue = snapshot.queues.get(action.queue)
    ready = queue.messages if queue is not None else None
    which = _which(action, ready)
    if action.dry_run:
        return _counted(snapshot, action, which)
    says = [*cut_off(snapshot), *_matching(snapshot, action)]
    if isinstance(action, act.MoveMessages):
        says += [Said("each message as it is, byte for byte; order among them is kept"), *_to(snapshot, action)]
        title, verb = f"MOVE {which} from {action.queue} to {action.to}", "move"
    else:
        title, verb = f"PURGE {which} of {action.queue}", "purge"
        if len(action.task_ids) == 1:
            title, verb = f"DELETE {which} from {action.queue}", "delete"
        says.append(Said("their work will never be done; who waits for a result waits for ever", "bad"))
    if _borrows(snapshot, action):
        says.append(Said("no worker gets any of them meanwhile; what is given back is marked redelivered", "warn"))
    where = action.dump or "the state directory"
    says += [
        Said(f"first a dump is written to {where} and fsynced: `restore` puts it back byte for byte"),
        Said("a message that a worker takes in between is reported, not lost; what is unacked stays", "dim"),
        Said(checked(snapshot, "queues"), "dim"),
    ]
    return Judgement(
        title=title,
        verb=verb,
        subjects=(
            Said(f"{action.queue}  {fmt.count(ready)} ready  {fmt.count(queue.unacked if queue else None)} unacked"),
        ),
        does=tuple(says),
        sends="Takes them from the queue; no worker is asked",
        typed=None if 0 < len(action.task_ids) <= MANY else snapshot.cluster.name,
        barred=_same(action),
    )


def _counted(snapshot: Snapshot, action: act.PurgeQueue | act.MoveMessages, which: str) -> Judgement:
    """A dry run."""
    return Judgement(
        title=f"COUNT {which} in {action.queue}",
        verb="count",
        does=(
            *cut_off(snapshot),
            Said("the queue is walked from end to end; nothing is removed, no dump is written"),
        ),
        sends="Reads the queue; no worker is asked",
        barred=_same(action) or (_UNSEEN if _borrows(snapshot, action) else None),
    )


_UNSEEN = "RabbitMQ cannot show messages without marking them redelivered; doing it counts them too"


def _borrows(snapshot: Snapshot, action: act.PurgeQueue | act.MoveMessages) -> bool:
    """AMQP cannot pick: to choose, all of them have to be fetched and given back."""
    return snapshot.cluster.transport == "rabbitmq" and bool(action.filter or action.task_ids)


def _same(action: act.PurgeQueue | act.MoveMessages) -> str | None:
    return "both are the same queue" if isinstance(action, act.MoveMessages) and action.to == action.queue else None


def _which(action: act.PurgeQueue | act.MoveMessages, ready: int | None) -> str:
    if action.task_ids:
        return number(len(action.task_ids), "message")
    return f"what matches {action.filter}" if action.filter else f"ALL {fmt.count(ready)} messages"


def _matching(snapshot: Snapshot, action: act.PurgeQueue | act.MoveMessages) -> Iterator[Said]:
    """What is known of them before the queue is walked."""
    for task_id in action.task_ids[:3]:
        message = message_of(snapshot, task_id)
        name = message.name if message is not None else None
        yield Said(f"{task_id[:8]}  {name or 'not looked at'}", "" if message is not None else "warn")
    sample = snapshot.samples.get(action.queue)
    field, sign, value = action.filter.partition(":")
    if not action.filter:
        return
    if sample is None or not sample.sampled or (field, sign) != ("name", ":") or " " in value or value[:1] in "~!":
        yield Said("how many match is counted when it is done; nothing is removed before the dump is written", "warn")
        return
    match = sum(count for name, count in sample.by_name if value.lower() in name.lower())
    about = match / sample.sampled * sample.total
    yield Said(f"{match:,} of {sample.sampled:,} looked at match: about {about:,.0f} of {sample.total:,}", "warn")


def _to(snapshot: Snapshot, action: act.MoveMessages) -> Iterator[Said]:
    to = snapshot.queues.get(action.to)
    if to is None:
        yield Said(f"{action.to} is not known here: is it spelt right?", "warn")
    elif to.consumers == 0:
        yield Said(f"nobody takes from {action.to}", "warn")
    else:
        yield Said(f"{action.to}: {fmt.count(to.messages)} ready, {fmt.count(to.consumers)} consumers")


def restoring(snapshot: Snapshot, action: act.RestoreDump | act.RestoreUnacked) -> Judgement:
    """Put messages back."""
    if isinstance(action, act.RestoreDump):
        to = action.to or "the queues they came from"
        return Judgement(
            title=f"RESTORE {action.path}",
            verb="restore",
            subjects=(Said(f"dump {action.path}"),),
            does=(
                *cut_off(snapshot),
                Said(f"its messages go back to {to}, byte for byte, and run"),
                Said("also what was put back before, moved or never removed: that runs twice", "bad")
                if action.force
                else Said("those restored before are told apart and left out", "dim"),
            ),
            sends="Publishes the messages of the dump; no worker is asked",
        )
    unacked = snapshot.unacked
    orphaned = dict(unacked.orphaned_by_queue).get(action.queue) if unacked and action.queue else None
    if action.queue is None and unacked is not None:
        orphaned = unacked.orphaned
    barred = None if snapshot.cluster.transport == "redis" else "RabbitMQ gives them back itself when a connection ends"
    timeout = unacked.visibility_timeout if unacked is not None else None
    return Judgement(
        title=f"RESTORE orphaned unacked messages{f' of {action.queue}' if action.queue else ''}",
        verb="restore",
        subjects=(Said(f"{fmt.count(orphaned)} are claimed by no living worker"),),
        does=(
            *cut_off(snapshot),
            Said(f"they run now, not only after the visibility timeout ({fmt.duration(timeout)})"),
            Said("every worker is asked first: what a living one holds is left where it is", ""),
            Said("a worker that is cut off and alive may still run one of them: then it runs twice", "warn"),
            Said(checked(snapshot, "queues"), "dim"),
        ),
        sends="Asks all workers what they hold; then gives back what nobody holds",
        barred=barred,
    )


def sending(snapshot: Snapshot, action: act.Resend | act.SendTask) -> Judgement:
    """A task that runs anew."""
    if isinstance(action, act.Resend):
        task = snapshot.tasks.get(action.task_id)
        name = (task.name if task is not None else None) or "?"
        return Judgement(
            title=f"SEND AGAIN {name}",
            verb="send",
            subjects=(Said(f"{action.task_id[:8]}  {name}  {task.state if task is not None else '?'}"),),
            does=(
                *cut_off(snapshot),
                Said("its original body and headers under a new id, which is shown then"),
                Said("only where they are really known: queue, unacked, a dump, a result with result_extended"),
                Said("what it has done already it does twice, if it is not idempotent", "warn"),
            ),
            sends=f"Publishes 1 message to {action.queue or 'the queue it came from'}",
        )
    queue = action.queue or "celery"
    known = snapshot.queues.get(queue)
    alone = known is not None and known.consumers == 0
    return Judgement(
        title=f"SEND {action.name}",
        verb="send",
        subjects=(Said(f"{action.name}  args {action.args}  kwargs {action.kwargs}"),),
        does=(
            *cut_off(snapshot),
            *_registered(snapshot, action.name),
            Said(f"nobody takes from {queue}" if alone else f"queue {queue}", "warn" if alone else ""),
        ),
        sends=f"Publishes 1 message to {queue}",
    )


def _registered(snapshot: Snapshot, name: str) -> Iterator[Said]:
    known = [worker.registered for worker in snapshot.workers.values() if worker.registered is not None]
    if not known:
        yield Said("whether any worker knows this task is not known", "warn")
    elif not any(name in each for each in known):
        yield Said("no worker that was asked knows this task: it would be thrown away", "bad")

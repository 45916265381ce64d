"""Which queues a worker takes from: pause (``cancel_consumer``) and resume (``add_consumer``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from celerytop.actions.deed import Deed
from celerytop.actions.link import Answer
from celerytop.actions.readings import queues_of
from celerytop.actions.telling import Telling, Verdict
from celerytop.model.action import AddConsumer, CancelConsumer
from celerytop.model.outcome import DONE
from celerytop.model.snapshot import Snapshot
from celerytop.model.text import some
from celerytop.model.worker import GONE, ConsumedQueue
from celerytop.undo import TOOK


def cancel_consumer(deed: Deed) -> Iterator[None]:
    """Take no more from a queue. Who took from it before is written into the evidence, for ``undo.paused_here``."""
    action = deed.action
    assert isinstance(action, CancelConsumer)
    told = Telling(deed, action.workers, action.queue)
    told.look("active_queues")
    before = {nodename: queues_of(answer) for nodename, answer in told.before.items()}
    yield
    told.tell("cancel_consumer", {"queue": action.queue}, f"cancel_consumer({action.queue})")
    yield

    def judge(nodename: str, answer: Answer) -> Verdict | str:
        queues, had = queues_of(answer), before.get(nodename)
        if queues is None:
            return "it does not tell which queues it takes from"
        if action.queue in queues:
            return f"it still takes from {action.queue}"
        if had is not None and action.queue not in had:
            seen = told.saw(nodename, f"did not take from {action.queue} before either")
            return Verdict(DONE, f"It did not take from {action.queue}: nothing has changed.", seen)
        seen = told.saw(nodename, f"takes from {_list(queues)}")
        if had is not None:
            seen += told.saw(nodename, f"{TOOK} {action.queue}", strength=3)
        return Verdict(DONE, _paused(deed.see(), action), seen)

    yield from told.watch("active_queues", {}, judge)


def add_consumer(deed: Deed) -> Iterator[None]:
    """Begin to take from a queue, with the exchange and routing key it is known to have."""
    action = deed.action
    assert isinstance(action, AddConsumer)
    told = Telling(deed, action.workers, action.queue)
    told.look("active_queues")
    before = {nodename: queues_of(answer) for nodename, answer in told.before.items()}
    known = _known(deed.see(), action.queue)
    yield
    words = f"add_consumer({action.queue})"
    told.tell("add_consumer", {"queue": action.queue, **(_bound(known) if known is not None else {})}, words)
    yield

    def judge(nodename: str, answer: Answer) -> Verdict | str:
        queues, had = queues_of(answer), before.get(nodename)
        if queues is None or action.queue not in queues:
            return f"it does not take from {action.queue} yet"
        seen = told.saw(nodename, f"takes from {_list(queues)}")
        if had is not None and action.queue in had:
            return Verdict(DONE, f"It took from {action.queue} already: nothing has changed.", seen)
        sentence = f"It takes from {action.queue} now. Lost when the worker restarts, unless its -Q names it."
        return Verdict(DONE, sentence, seen)

    yield from told.watch("active_queues", {}, judge)


def _known(now: Snapshot, queue: str) -> ConsumedQueue | None:
    """How others consume it; a worker that took from it before has its own definition, and uses that."""
    found = (one for worker in now.workers.values() for one in worker.queues or () if one.name == queue)
    return next(found, None)


def _bound(queue: ConsumedQueue) -> dict[str, Any]:
    """As ``add_consumer`` wants it; RabbitMQ closes the channel of who declares a queue otherwise than it is."""
    found: dict[str, Any] = {"exchange": queue.exchange, "exchange_type": queue.exchange_type}
    found["routing_key"] = queue.routing_key
    arguments = {"x-queue-type": queue.queue_type, "x-max-priority": queue.max_priority}
    given = {key: value for key, value in arguments.items() if value is not None}
    if given:
        found["queue_arguments"] = given
    return {key: value for key, value in found.items() if value is not None}


def _paused(now: Snapshot, action: CancelConsumer) -> str:
    """What ``now`` knows of queues is seconds old: who was told with it to pause is not said to take on."""
    others = [
        one.nodename
        for one in now.workers.values()
        if one.nodename not in action.workers
        and one.state != GONE
        and any(each.name == action.queue for each in one.queues or ())
    ]
    else_ = "Nobody else" if len(action.workers) == 1 else "Nobody but those told with it"
    rest = f"{_list(others)} take on from it." if others else f"{else_} is known to take from it."
    return (
        f"It takes nothing more from {action.queue}; what it has prefetched it still runs. {rest} "
        "A restart resumes it, and so does add_consumer."
    )


def _list(names: Any) -> str:
    """A few names.

    >>> _list(["b", "a"]), _list([]), _list("abcde")
    ('a, b', 'no queue', 'a, b, c and 2 more')
    """
    known = sorted(names)
    return some(known, 3) or "no queue"

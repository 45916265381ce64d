"""Is it known that a task waits? That nobody lists it proves nothing: what was told to end is listed by nobody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from celerytop.actions.case import Case
from celerytop.actions.deed import Deed
from celerytop.actions.look import holders
from celerytop.errors import BrokerError
from celerytop.model.snapshot import Snapshot

if TYPE_CHECKING:
    from celerytop.actions.redis.bodies import Place

WAITS = frozenset({"PENDING", "RECEIVED", "RETRY", "REJECTED"})
"""States of a task that events have told of and that has not begun."""
QUEUES = 200
"""Queues that are searched for a message."""
SECONDS = 2.0
"""For the search."""


def find_out(deed: Deed, cases: Sequence[Case], held: Mapping[str, object], workers: Iterable[str]) -> None:
    """Note of each case where it waits, or that somebody had revoked it before us. Asked before anything is sent.

    Raises:
        BrokerError: the broker does not answer.
    """
    now = deed.see()
    for case in cases:
        task = now.tasks.get(case.task_id)
        waits = case.task_id in held or case.future or (task is not None and task.state in WAITS)
        case.waits = waits or (case.target.queue is not None and case.target.state in (None, *WAITS))
    doubtful = {case.task_id: case for case in cases if not case.waits}
    if not doubtful:
        return
    for task_id, place in _messages(deed, doubtful, now).items():
        case = doubtful[task_id]
        # unacked is also what runs with acks_late: then somebody lists it, or does not answer
        case.queue, case.waits, case.taken = place.queue, not place.taken, place.taken
        case.see("broker", f"its message {'was taken from' if place.taken else 'lies in'} queue {place.queue}", 3)
    before = {task_id for ids in holders(deed.link.control, workers).values() for task_id in ids}
    for case in doubtful.values():
        case.revoked_before = case.task_id in before


def _messages(deed: Deed, cases: Mapping[str, Case], now: Snapshot) -> Mapping[str, Place]:
    """Only Redis lets us look for a message without taking it."""
    if deed.settings.address.transport != "redis":
        return {}
    from celerytop.actions.redis.bodies import located
    from celerytop.actions.redis.link import RedisLink

    assert isinstance(deed.link, RedisLink)
    taken = [queue.name for worker in now.workers.values() for queue in worker.queues or ()]
    queues = list(dict.fromkeys([*taken, *now.queues]))[:QUEUES]
    try:
        found, whole = located(deed.link.client, deed.settings, cases, queues, min(SECONDS, deed.left()))
    except BrokerError as error:
        deed.say("broker", f"the queues cannot be searched: {error}")
        return {}
    for task_id, case in cases.items():
        case.no_message = whole and task_id not in found
    return found

"""Further steps of the tasks that are revoked with what comes after them: known by name, not sent yet."""

from __future__ import annotations

from celerytop.actions.deed import Deed
from celerytop.actions.descend import future_ids
from celerytop.errors import BrokerError
from celerytop.model.action import Revoke, Target
from celerytop.model.snapshot import Snapshot


def future_targets(deed: Deed, action: Revoke, now: Snapshot) -> tuple[Target, ...]:
    """Steps that stand in the messages of ``roots`` (else of the targets) and are no targets yet.

    Only Redis lets us read a message without taking it, and only while it waits or is unacked.
    """
    if action.descendants == "no":
        return ()
    if deed.settings.address.transport != "redis":
        deed.say("broker", "steps that are not sent yet cannot be read on RabbitMQ without taking their message")
        return ()
    from celerytop.actions.redis.bodies import bodies
    from celerytop.actions.redis.link import RedisLink

    assert isinstance(deed.link, RedisLink)
    ids = action.roots or tuple(target.task_id for target in action.targets)
    queues = {target.queue for target in action.targets} | {now.tasks[one].queue for one in ids if one in now.tasks}
    known = {target.task_id for target in action.targets} | set(ids)
    found: dict[str, None] = {}
    try:
        for _, body in bodies(deed.link.client, deed.settings, ids, [queue for queue in queues if queue]):
            found |= dict.fromkeys(one for one in future_ids(body) if one not in known)
    except BrokerError as error:
        deed.say("broker", f"steps that are not sent yet cannot be read: {error}")
    if found:
        deed.say("broker", f"{len(found)} further steps stand in their messages")
    return tuple(Target(task_id) for task_id in found)

"""Which judgement is whose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celerytop.consequences.messages import restoring, sending, taking
from celerytop.consequences.said import Judgement
from celerytop.consequences.tasks import kill_tree, revoke, stamped
from celerytop.consequences.workers import consuming, ending, setting, sizing
from celerytop.model import action as act
from celerytop.model.action import AnyAction
from celerytop.model.snapshot import Snapshot

BY_CLASS: dict[type[act.Action], Callable[[Snapshot, Any], Judgement]] = {
    act.Revoke: revoke,
    act.KillTree: kill_tree,
    act.RevokeStamped: stamped,
    act.PoolGrow: sizing,
    act.PoolShrink: sizing,
    act.Autoscale: sizing,
    act.AddConsumer: consuming,
    act.CancelConsumer: consuming,
    act.RateLimit: setting,
    act.TimeLimit: setting,
    act.EnableEvents: setting,
    act.DisableEvents: setting,
    act.PoolRestart: ending,
    act.Shutdown: ending,
    act.KillWorker: ending,
    act.PurgeQueue: taking,
    act.MoveMessages: taking,
    act.RestoreDump: restoring,
    act.RestoreUnacked: restoring,
    act.Resend: sending,
    act.SendTask: sending,
}
"""Every class that changes the cluster: a test says so."""


def judge(snapshot: Snapshot, action: AnyAction) -> Judgement:
    """What ``action`` would do now."""
    return BY_CLASS[type(action)](snapshot, action)

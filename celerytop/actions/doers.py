"""Which function does which action. Each is imported when it is first needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from celerytop.model import action

if TYPE_CHECKING:
    from celerytop.actions.deed import Deed, Doer


def _of(module: str, function: str) -> Doer:
    def do(deed: Deed) -> Iterator[None]:
        found: Doer = getattr(import_module(f"celerytop.actions.{module}"), function)
        return found(deed)

    return do


DOERS: Mapping[type, Doer] = {
    action.Revoke: _of("revoke", "revoke"),
    action.KillTree: _of("tree", "kill_tree"),
    action.RevokeStamped: _of("stamped", "revoke_stamped"),
    action.PoolGrow: _of("pool", "pool_grow"),
    action.PoolShrink: _of("pool", "pool_shrink"),
    action.Autoscale: _of("pool", "autoscale"),
    action.AddConsumer: _of("consumers", "add_consumer"),
    action.CancelConsumer: _of("consumers", "cancel_consumer"),
    action.RateLimit: _of("limits", "rate_limit"),
    action.TimeLimit: _of("limits", "time_limit"),
    action.EnableEvents: _of("reporting", "enable_events"),
    action.DisableEvents: _of("reporting", "disable_events"),
    action.PoolRestart: _of("pool", "pool_restart"),
    action.Shutdown: _of("shutdown", "shutdown"),
    action.KillWorker: _of("tree", "kill_worker"),
    action.PurgeQueue: _of("purge", "purge_queue"),
    action.MoveMessages: _of("purge", "move_messages"),
    action.RestoreDump: _of("restore", "restore_dump"),
    action.RestoreUnacked: _of("unacked", "restore_unacked"),
    action.Resend: _of("resend", "resend"),
    action.SendTask: _of("send", "send_task"),
}
"""Every class of ``AnyAction``: a new one without its line here fails a test."""

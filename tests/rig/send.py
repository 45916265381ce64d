"""Produce messages: one task, or a chain, group or chord of signatures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tests.rig.worker import backend_for

if TYPE_CHECKING:
    from celery import Celery
    from celery.result import AsyncResult

_apps: dict[tuple[str, str, str], Celery] = {}


def rig_app(broker_url: str, result_backend: str | None = None, conf: Mapping[str, Any] | None = None) -> Celery:
    """The rig's app on the producer's side, one per broker; its connections stay open till :func:`close_apps`.

    For workflows: ``app = rig_app(url); chord([app.signature("rig.add", (i, i)) for i in range(3)],
    app.signature("rig.echo"), app=app)()``.
    """
    from celery.result import AsyncResult

    from tests.rig.app import make_app

    AsyncResult.__del__ = _go_quietly  # type: ignore[method-assign]
    backend = backend_for(broker_url) if result_backend is None else result_backend
    key = (broker_url, backend, json.dumps(dict(conf or {}), sort_keys=True))
    if key not in _apps:
        _apps[key] = make_app(broker_url, backend or None, dict(conf or {}))
    return _apps[key]


def _go_quietly(_result: object) -> None:
    """A result that is garbage would unsubscribe, and try for 20 s in whatever test it is, when its server is gone."""


def send(
    to: str | Celery,
    task_name: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    queue: str = "celery",
    **options: Any,
) -> AsyncResult[Any]:
    """Send one task to a broker URL (or through an app); ``options`` are ``apply_async``'s: countdown, priority…"""
    app = rig_app(to) if isinstance(to, str) else to
    return app.send_task(task_name, args=list(args), kwargs=dict(kwargs or {}), queue=queue, **options)


def close_apps() -> None:
    """Close every producer connection. The fixtures do so after each test."""
    while _apps:
        _apps.popitem()[1].close()

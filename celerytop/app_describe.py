"""What an app's settings say about its broker, as JSON.

Two lives: ``describe(app)`` is called with an app object that exists already (``celery -A proj top``); and the text of
this file is run by the Python that has the app (``python -c``), so that the app's import never happens in our process.
Hence: the standard library alone, syntax of Python 3.8 (annotations are never evaluated), any Celery from 4.0 on.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

OPTIONS = (
    "visibility_timeout",
    "global_keyprefix",
    "priority_steps",
    "sep",
    "fanout_prefix",
    "unacked_key",
    "unacked_index_key",
    "master_name",
)


def describe(app: Any) -> dict[str, Any]:
    """The settings that move names on the broker. Holds the broker's password: never print it."""
    conf = app.conf
    options = dict(_get(conf, "broker_transport_options") or {})
    backend_options = dict(_get(conf, "result_backend_transport_options") or {})
    sentinel = options.get("sentinel_kwargs") or {}
    return {
        "app": app.main or None,
        "broker_url": _url(conf),
        "user": _get(conf, "broker_user"),
        "password": _get(conf, "broker_password"),
        "port": _get(conf, "broker_port"),
        "vhost": _get(conf, "broker_vhost"),
        "options": {name: _plain(options[name]) for name in OPTIONS if options.get(name) is not None},
        "sentinel_password": sentinel.get("password") if isinstance(sentinel, dict) else None,
        "tls": _tls(_get(conf, "broker_use_ssl")),
        "queues": _queues(app),
        "event_exchange": _get(conf, "event_exchange"),
        "control_exchange": _get(conf, "control_exchange"),
        "result_backend": _text(_get(conf, "result_backend")),
        "backend_tls": _tls(_get(conf, "redis_backend_use_ssl")),
        "backend_prefix": _text(backend_options.get("global_keyprefix")),
        "backend_master": _text(backend_options.get("master_name")),
    }


def _get(conf: Any, name: str) -> Any:
    """A setting; ``None`` where this Celery does not have it. An attribute, because properties read the environment."""
    try:
        return getattr(conf, name)
    except (AttributeError, KeyError):
        return None


def _url(conf: Any) -> str | None:
    """Where the workers read; a list becomes kombu's own ``;`` form."""
    url = _get(conf, "broker_read_url") or _get(conf, "broker_url")
    if isinstance(url, (list, tuple)):
        return ";".join(map(str, url)) or None
    return _text(url)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _plain(value: Any) -> Any:
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple, range)):
        return [item for item in value if isinstance(item, (int, float, str))]
    return str(value)


def _tls(given: Any) -> Any:
    """``broker_use_ssl``: false, true, or options with the names a URL uses (``ssl_cert_reqs``…)."""
    if not isinstance(given, dict):
        return bool(given)
    named = {str(key) if str(key).startswith("ssl_") else "ssl_" + str(key): value for key, value in given.items()}
    return {key: _tls_value(value) for key, value in named.items() if value is not None}


def _tls_value(value: Any) -> str:
    name = getattr(value, "name", None)  # ssl.CERT_REQUIRED is an enum
    return name.replace("CERT_", "").lower() if isinstance(name, str) else str(value)


def _queues(app: Any) -> list[str]:
    names = list(_declared(app))
    names += [name for route in _routes(_get(app.conf, "task_routes")) for name in _route_queue(route)]
    return list(dict.fromkeys(str(name) for name in names if name))


def _declared(app: Any) -> Iterator[Any]:
    """task_queues, or the default queue where there are none."""
    try:
        yield from app.amqp.queues
    except Exception:  # whatever a project's own Queue class raises: the default queue is still known
        yield _get(app.conf, "task_default_queue")


def _routes(routers: Any) -> Iterator[Any]:
    """The routes of task_routes: of dicts and of lists of pairs; a router that is a function cannot be asked."""
    for router in routers if isinstance(routers, (list, tuple)) else [routers]:
        pairs = router.items() if isinstance(router, dict) else router if isinstance(router, (list, tuple)) else ()
        for pair in pairs:
            if isinstance(pair, (list, tuple)) and len(pair) == 2:
                yield pair[1]


def _route_queue(route: Any) -> Iterator[Any]:
    queue = route.get("queue") if isinstance(route, dict) else route
    name = getattr(queue, "name", queue)
    if isinstance(name, str):
        yield name


# ------------------------------------------------------------------------------------------------- as a script
def find(name: str) -> Any:
    """The app behind ``-A name``, found as the ``celery`` command finds it; without a name the default app."""
    if not name:
        from celery._state import get_current_app

        return get_current_app()
    from celery.app.utils import find_app

    return find_app(name)


def answer(name: str) -> dict[str, Any]:
    """``describe``, or what went wrong: kind and one line of text."""
    try:
        import celery  # noqa: F401
    except ImportError as error:
        return {"error": "no celery", "text": str(error)}
    try:
        app = find(name)
    except ModuleNotFoundError as error:
        if ":" in (error.name or ""):  # proj:x, and proj has no x
            return {"error": "no app", "text": "it has no " + str(error.name).rpartition(":")[2]}
        mine = (name.partition(":")[0] + ".").startswith((error.name or "?") + ".")
        return {"error": "not found" if mine else "raised", "text": error.name if mine else _line(error)}
    except AttributeError as error:
        return {"error": "no app", "text": _line(error)}
    except BaseException as error:
        return {"error": "raised", "text": _line(error)}
    try:
        return describe(app)
    except BaseException as error:
        return {"error": "no app" if not hasattr(app, "conf") else "raised", "text": _line(error)}


def _line(error: BaseException) -> str:
    return "{}: {}".format(type(error).__name__, str(error).strip().partition("\n")[0])


def main() -> None:
    """Print the answer on the real stdout; whatever the app prints goes nowhere."""
    out = os.dup(1)
    os.dup2(2, 1)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    text = json.dumps(answer(sys.argv[1] if len(sys.argv) > 1 else ""))
    with os.fdopen(out, "w") as stream:
        stream.write(text)
    os._exit(0)  # an app may have started threads that would keep us


if __name__ == "__main__":
    main()

"""Where is the broker? Ask the app, or else the Celery workers that run on this host.

A worker's app is imported by that worker's own Python, in its directory, as its user; never in our process.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import msgspec
import psutil

from celerytop.app_settings import TIMEOUT, AppQuery, resolve_app, settings_from_facts
from celerytop.broker_url import parse_url
from celerytop.errors import NoBrokerError, OptionsError
from celerytop.model.address import Address, BrokerSettings
from celerytop.options import Options, finish
from celerytop.sources.worker_process import find_mains
from celerytop.sources.worker_start import Start, connected, look

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})
MOST_APPS = 16
"""Different apps that are asked at most: each costs a Python start."""


class Found(msgspec.Struct, frozen=True):
    """A broker that workers of this host use."""

    settings: BrokerSettings
    nodenames: tuple[str, ...]
    pids: tuple[int, ...]
    """Main processes."""
    how: str
    """One phrase, e.g. ``found from worker w1@db-7, pid 4690``."""
    app: str | None = None


Choose = Callable[[tuple[Found, ...]], Found]


def find(
    options: Options,
    environ: Mapping[str, str],
    choose: Choose | None = None,
    only_pids: Collection[int] | None = None,
) -> Options:
    """Complete ``options.broker``: from the app, or from the workers of this host.

    Args:
        choose: is asked when there are several brokers; without it they are an error that names them.
        only_pids: look at no other processes.

    Raises:
        NoBrokerError: none found, or several and nobody to choose.
        OptionsError: the app cannot be asked.
    """
    if options.broker is not None:
        return options
    if options.app is not None:
        return _from_app(options, environ)
    found, troubles = candidates(only_pids)
    if not found:
        raise NoBrokerError(_nothing(options, troubles))
    if len(found) > 1 and choose is None:
        urls = ", ".join(f"{one.settings.address.url} ({one.nodenames[0]})" for one in found)
        raise NoBrokerError(f"Workers on this host use {len(found)} brokers: {urls}; choose one with -b or -A.")
    return use(options, choose(found) if choose is not None and len(found) > 1 else found[0])


def use(options: Options, found: Found) -> Options:
    """``options`` with this broker."""
    return finish(msgspec.structs.replace(options, app=options.app or found.app, found_by=found.how), found.settings)


def candidates(only_pids: Collection[int] | None = None) -> tuple[tuple[Found, ...], tuple[str, ...]]:
    """The distinct brokers of the workers on this host, and one phrase for each worker that could not be asked."""
    workers = []
    for main in find_mains(only_pids).values():
        with contextlib.suppress(psutil.NoSuchProcess):
            workers.append(look(main))
    troubles: list[str] = []
    grouped: dict[tuple[object, ...], list[tuple[Start, BrokerSettings]]] = {}
    for worker, settings in _settings(workers, troubles):
        grouped.setdefault(identity(settings), []).append((worker, settings))
    return tuple(_found(members) for members in grouped.values()), tuple(troubles)


def identity(settings: BrokerSettings) -> tuple[object, ...]:
    """What makes two brokers the same cluster: servers, database or vhost, and the prefix of all names."""
    address = settings.address
    servers = tuple(
        endpoint.path or f"{'localhost' if endpoint.host in _LOCAL else endpoint.host.lower()}:{endpoint.port}"
        for endpoint in address.endpoints
    )
    place = address.db if address.transport == "redis" else address.vhost
    names = (settings.global_keyprefix, settings.event_exchange, settings.control_exchange)
    return (address.transport, servers, place, address.master_name, *names)


# ------------------------------------------------------------------------------------------------- one's own app
def _from_app(options: Options, environ: Mapping[str, str]) -> Options:
    assert options.app is not None
    cwd, address = Path(options.workdir or os.getcwd()), options.address
    try:
        settings = resolve_app(options.app, cwd, environ, address)
    except OptionsError as error:
        if address is None:
            raise
        # The broker is known: without the app only its settings are assumed.
        warning = f"{error} Celery's default settings are assumed."
        options = msgspec.structs.replace(options, warnings=(*options.warnings, warning))
        settings = BrokerSettings(address=address)
    return finish(options, settings)


def _nothing(options: Options, troubles: tuple[str, ...]) -> str:
    tried = ", ".join(options.tried) or "-b, -A, CELERYTOP_BROKER, CELERY_BROKER_URL and the config file"
    here = f"workers on this host ({'; '.join(troubles)})" if troubles else "Celery workers running on this host"
    return f"No broker found; tried {tried}, and {here}. Give -b URL or -A APP, or see one: celerytop demo."


# ------------------------------------------------------------------------------------------------ their settings
def _settings(workers: list[Start], troubles: list[str]) -> list[tuple[Start, BrokerSettings]]:
    """Each worker's settings: its app's, else those of its broker URL alone. Apps are asked all at once."""
    queries: dict[tuple[object, ...], AppQuery | OptionsError] = {}
    for worker in workers:
        if worker.trouble is None and len(queries) < MOST_APPS:
            queries.setdefault(_key(worker), _ask(worker))
    answers = _answers(queries)
    made = []
    for worker in workers:
        settings, trouble = _one(worker, answers.get(_key(worker)))
        if settings is not None:
            made.append((worker, settings))
        elif trouble is not None:
            troubles.append(trouble)
    return made


def _key(worker: Start) -> tuple[object, ...]:
    """Workers with the same one have the same settings."""
    said = tuple(sorted((name, value) for name, value in worker.environ.items() if name not in _OWN))
    return (worker.app, worker.broker, worker.python, worker.cwd, worker.owner, hash(said))


_OWN = frozenset({"PWD", "OLDPWD", "SHLVL", "_", "INVOCATION_ID", "JOURNAL_STREAM", "MAINPID", "SYSTEMD_EXEC_PID"})
"""Variables that differ from process to process and mean nothing to an app."""


def _ask(worker: Start) -> AppQuery | OptionsError:
    if worker.python is None or worker.cwd is None:
        return OptionsError("its Python is not known")
    try:
        return AppQuery(worker.app, worker.cwd, worker.environ, worker.python, worker.owner)
    except OptionsError as error:
        return error


def _answers(
    queries: Mapping[tuple[object, ...], AppQuery | OptionsError],
) -> dict[tuple[object, ...], Mapping[str, object] | OptionsError]:
    answers: dict[tuple[object, ...], Mapping[str, object] | OptionsError] = {}
    patience = TIMEOUT
    for key, query in queries.items():
        if isinstance(query, OptionsError):
            answers[key] = query
            continue
        try:
            answers[key] = query.facts(patience)
        except OptionsError as error:
            answers[key] = error
            if "took longer" in str(error):  # all of them have had this time
                patience = 0.5
    return answers


def _one(worker: Start, answer: Mapping[str, object] | OptionsError | None) -> tuple[BrokerSettings | None, str | None]:
    """Settings, or the phrase that says why there are none."""
    why = worker.trouble
    try:
        address: Address | None = parse_url(worker.broker) if worker.broker else None
        if isinstance(answer, Mapping):
            return _checked(worker, settings_from_facts(answer, address))
        if isinstance(answer, OptionsError):
            why = f"{worker.name}: {str(answer).rstrip('.')}"
    except OptionsError as error:
        why = f"{worker.name}: {str(error).rstrip('.')}"
        return None, f"{why}; its title hides its environment" if worker.hidden else why
    if address is not None:
        return BrokerSettings(address=address), None
    return None, why


def _checked(worker: Start, settings: BrokerSettings) -> tuple[BrokerSettings | None, str | None]:
    """An app asked without its worker's environment may name another broker: the worker's connections decide."""
    address = settings.address
    if not worker.hidden or worker.broker or connected(worker.main.pid, address):
        return settings, None
    return None, f"{worker.name}: its title hides its environment, and it has no connection to {address.url}"


def _found(members: list[tuple[Start, BrokerSettings]]) -> Found:
    """One broker with all the workers that use it; the first worker's settings, everybody's queues."""
    first, settings = members[0]
    queues = tuple(dict.fromkeys(name for _, one in members for name in one.queues))
    more = f" and {len(members) - 1} more" if len(members) > 1 else ""
    return Found(
        settings=msgspec.structs.replace(settings, queues=queues),
        nodenames=tuple(worker.name for worker, _ in members),
        pids=tuple(worker.main.pid for worker, _ in members),
        how=f"found from worker {first.name}, pid {first.main.pid}{more}",
        app=first.app,
    )

"""What the user asked for: flags, then the environment, then the config file. Secrets are hidden where they are parsed.

``load`` never talks to anybody. When it leaves ``Options.broker`` open, ``discover.find`` asks the app or looks for
workers on this host.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from celerytop.broker_url import holds_password, parse_url
from celerytop.config import ClusterConfig, Loaded, cluster_of, load_config, overlay
from celerytop.errors import OptionsError
from celerytop.model.address import Address, BrokerSettings, Secret
from celerytop.model.text import clean

PAGES = ("queues", "workers", "tasks", "broker", "hosts", "types", "actions")
INTERVAL = (0.1, 3600.0)
MAX_TASKS = 100_000
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "no", "off"})


class Options(msgspec.Struct, frozen=True):
    """Everything that was chosen. ``None`` is for the program to find out."""

    broker: BrokerSettings | None = None
    """Finished; ``None`` until ``discover.find`` has asked the app or this host."""
    address: Address | None = None
    """A broker that was given, while the app is still to be asked for the rest."""
    app: str | None = None
    """As for ``celery -A``."""
    workdir: str | None = None
    """Where the app is imported."""
    cluster: str | None = None
    """Its name for the header."""
    overrides: ClusterConfig | None = None
    """What the config file says of this cluster; laid over the app's settings."""
    found_by: str | None = None
    """One phrase, e.g. ``from CELERY_BROKER_URL``."""
    read_only: bool = False
    passive: bool = False
    interval: float = 1.0
    page: str = "queues"
    filter: str = ""
    ascii: bool | None = None
    theme: str | None = None
    mouse: bool | None = None
    utc: bool = False
    max_tasks: int = MAX_TASKS
    management_url: str | None = None
    """A ``Secret`` when it holds a password."""
    columns: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    keys: Mapping[str, str] = msgspec.field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    """One sentence each, for stderr before the screen opens."""
    barred: tuple[Address, ...] = ()
    """Brokers of clusters that the config file forbids to act on, however one comes there."""
    barred_apps: tuple[str, ...] = ()
    """The same of those that it knows by their app alone."""
    tried: tuple[str, ...] = ()
    """Where no broker was found, for the sentence that says so."""


def load(flags: Mapping[str, Any], environ: Mapping[str, str], cwd: str | Path) -> Options:
    """Merge flags, environment and config file. A flag that is ``None`` was not given; unknown flags are ignored.

    Raises:
        OptionsError: one sentence, without a secret.
    """
    loaded = load_config(environ)
    found = _where(flags, environ, loaded)
    cluster = found.overrides
    workdir = (cluster.workdir if cluster else None) or str(flags.get("workdir") or cwd)
    management = _management(flags, environ, cluster)
    options = _screen(
        msgspec.structs.replace(found, workdir=workdir, management_url=management), flags, environ, loaded
    )
    options = _barred(options, loaded)
    options = msgspec.structs.replace(options, warnings=(*loaded.warnings, *_warnings(flags, environ, options)))
    settings = flags.get("settings")
    if isinstance(settings, BrokerSettings):  # celery -A proj top: the app is loaded already
        return finish(options, settings)
    if options.address is not None and options.app is None:
        return finish(options, BrokerSettings(address=options.address))
    return options


def finish(options: Options, settings: BrokerSettings) -> Options:
    """Put the broker in, with what the config file and the flags say on top.

    Raises:
        OptionsError: sentinels, and nobody has said which master.
    """
    if options.overrides is not None:
        settings = overlay(settings, options.overrides)
    if options.management_url is not None:
        settings = msgspec.structs.replace(settings, management_url=options.management_url)
    if settings.address.sentinel and not settings.address.master_name:
        raise OptionsError(
            "sentinel:// needs its master's name: add ?master_name=NAME to the URL, give -A APP, or set master_name "
            "in the config file."
        )
    by_app = options.overrides is None and options.app in options.barred_apps
    barred = by_app or any(map(settings.address.meets, options.barred))
    return msgspec.structs.replace(
        options, broker=settings, address=settings.address, read_only=options.read_only or barred
    )


# ------------------------------------------------------------------------------------------------ the broker
def _where(flags: Mapping[str, Any], environ: Mapping[str, str], loaded: Loaded) -> Options:
    """Which broker or app, and what says so: flags, environment, config file."""
    label = flags.get("cluster_label")
    if isinstance(flags.get("settings"), BrokerSettings):
        name = flags.get("app_name")
        return Options(app=name, cluster=label, found_by=f"from app {clean(name)}" if name else "from the app")
    if any(flags.get(name) for name in ("broker", "app", "cluster")):
        return _from_flags(flags, loaded, label)
    for name in ("CELERYTOP_BROKER", "CELERY_BROKER_URL"):
        if environ.get(name):
            return Options(address=_parsed(environ[name], name), cluster=label, found_by=f"from {name}")
    chosen = cluster_of(loaded, None)
    if chosen is not None:
        return _from_cluster(*chosen, loaded, label)
    places = ", ".join(map(str, loaded.tried))
    return Options(cluster=label, tried=("-b and -A", "CELERYTOP_BROKER", "CELERY_BROKER_URL", places))


def _from_flags(flags: Mapping[str, Any], loaded: Loaded, label: str | None) -> Options:
    made = Options(cluster=label)
    if flags.get("cluster"):
        chosen = cluster_of(loaded, str(flags["cluster"]))
        if chosen is None:
            raise OptionsError(f"-C {clean(str(flags['cluster']))}: the config file has no clusters.")
        made = _from_cluster(*chosen, loaded, label)
    if flags.get("app"):
        name = str(flags["app"])
        made = msgspec.structs.replace(made, app=name, found_by=made.found_by or f"from app {clean(name)}")
    if flags.get("broker"):
        address = _parsed(str(flags["broker"]), "-b")
        made = msgspec.structs.replace(made, address=address, found_by="from -b")
    return made


def _from_cluster(name: str, cluster: ClusterConfig, loaded: Loaded, label: str | None) -> Options:
    return Options(
        address=parse_url(cluster.broker.reveal()) if cluster.broker is not None else None,
        app=cluster.app,
        cluster=label or clean(cluster.name or name),
        overrides=cluster,
        found_by=f"from cluster {clean(name)} in {loaded.path}",
    )


def _parsed(text: str, source: str) -> Address:
    try:
        return parse_url(text)
    except OptionsError as error:
        raise OptionsError(f"{source}: {error}") from None


def _management(flags: Mapping[str, Any], environ: Mapping[str, str], cluster: ClusterConfig | None) -> str | None:
    told = cluster.management.reveal() if cluster is not None and cluster.management is not None else None
    url = flags.get("management_url") or environ.get("CELERYTOP_MANAGEMENT") or told
    if not url:
        return None
    url = str(url) if "://" in str(url) else f"http://{url}"
    if not url.startswith(("http://", "https://")):
        raise OptionsError("The management URL must begin with http:// or https://.")
    return Secret(url) if holds_password(url) else url


# ------------------------------------------------------------------------------------------------ the rest
def _screen(options: Options, flags: Mapping[str, Any], environ: Mapping[str, str], loaded: Loaded) -> Options:
    config, cluster = loaded.config, options.overrides or ClusterConfig()

    def pick(name: str, default: Any) -> Any:
        given = flags.get(name)
        told = getattr(config, name) if given is None else given
        return default if told is None else told

    # The strictest word counts: what the file or the environment forbids, no flag allows.
    asked = [flags.get("read_only"), _truth(environ, "CELERYTOP_READ_ONLY"), config.read_only]
    passive = any([flags.get("passive"), config.passive, cluster.passive])
    return msgspec.structs.replace(
        options,
        read_only=any([*asked, cluster.read_only, cluster.actions == "never", passive]),
        passive=passive,
        interval=_within(pick("interval", 1.0)),
        page=_page(pick("page", "queues")),
        filter=pick("filter", ""),
        ascii=pick("ascii", None),
        theme=pick("theme", None),
        mouse=pick("mouse", None),
        utc=pick("utc", False),
        max_tasks=_at_least_one(pick("max_tasks", MAX_TASKS)),
        columns=config.columns,
        keys=config.keys,
    )


def _barred(options: Options, loaded: Loaded) -> Options:
    """What the file forbids holds for ``-b``, ``-A`` and the environment too: they name the same broker otherwise."""
    clusters = [
        one for one in loaded.config.clusters.values() if one.read_only or one.passive or one.actions == "never"
    ]
    addresses = tuple(parse_url(one.broker.reveal()) for one in clusters if one.broker is not None)
    apps = tuple(one.app for one in clusters if one.app is not None and one.broker is None)
    return msgspec.structs.replace(options, barred=addresses, barred_apps=apps)


def _truth(environ: Mapping[str, str], name: str) -> bool:
    given = environ.get(name, "").strip().lower()
    if given in _TRUE or given in _FALSE:
        return given in _TRUE
    raise OptionsError(f"{name} is neither 1 nor 0.")


def _within(seconds: float) -> float:
    low, high = INTERVAL
    if not low <= seconds <= high:
        raise OptionsError(f"The interval is {seconds:g} s, not between {low:g} and {high:g}.")
    return float(seconds)


def _page(name: str) -> str:
    if name in PAGES:
        return name
    close = difflib.get_close_matches(name, PAGES, n=1)
    raise OptionsError(
        f"There is no page {clean(name, 40)}; {f'did you mean {close[0]}?' if close else ', '.join(PAGES)}"
    )


def _at_least_one(number: int) -> int:
    if number < 1:
        raise OptionsError("max_tasks must be at least 1.")
    return number


def _warnings(flags: Mapping[str, Any], environ: Mapping[str, str], options: Options) -> list[str]:
    found = []
    if flags.get("broker") and holds_password(str(flags["broker"])):
        instead = "CELERY_BROKER_URL" if options.app else "CELERYTOP_BROKER"
        found.append(_on_command_line("broker URL", instead))
    if flags.get("management_url") and holds_password(str(flags["management_url"])):
        found.append(_on_command_line("management URL", "CELERYTOP_MANAGEMENT"))
    if flags.get("app") and not flags.get("broker") and environ.get("CELERYTOP_BROKER"):
        found.append("CELERYTOP_BROKER is not used: with -A the app's own broker counts. Give -b to replace it.")
    return found


def _on_command_line(what: str, instead: str) -> str:
    return f"The {what} on the command line holds a password: every user of this host can read it in ps. Use {instead}."

"""The config file: ``$XDG_CONFIG_HOME/celerytop/config.toml``, else ``/etc/celerytop/config.toml``.

::

    default = "prod"
    interval = 2.0

    [clusters.prod]
    broker = "redis://:secret@10.0.0.5/0"       # with a password the file must be 0600
    visibility_timeout = 86400
    read_only = true                            # no flag can undo it
"""

from __future__ import annotations

import difflib
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from celerytop.broker_url import holds_password, parse_url
from celerytop.errors import OptionsError
from celerytop.model.address import BrokerSettings, Secret
from celerytop.model.text import clean

_Kind = TypeVar("_Kind", bound=msgspec.Struct)
_KINDS = {"float": "a number", "int": "a whole number", "str": "text", "array": "a list", "bool": "true or false"}
"""What msgspec calls the things of a TOML file."""
SYSTEM = Path("/etc/celerytop/config.toml")


class ClusterConfig(msgspec.Struct, frozen=True):
    """``[clusters.NAME]``. What is ``None`` is left to the app, or to Celery's default."""

    broker: Secret | None = None
    app: str | None = None
    workdir: str | None = None
    """Where the app is imported; else the current directory."""
    name: str | None = None
    """For the header, when it is not the table's."""
    management: Secret | None = None
    read_only: bool = False
    actions: str | None = None
    """``never`` is the same as ``read_only = true``."""
    passive: bool = False
    visibility_timeout: float | None = None
    global_keyprefix: str | None = None
    fanout_prefix: str | bool | None = None
    priority_steps: tuple[int, ...] | None = None
    sep: str | None = None
    unacked_key: str | None = None
    unacked_index_key: str | None = None
    event_exchange: str | None = None
    control_exchange: str | None = None
    queues: tuple[str, ...] = ()
    master_name: str | None = None
    sentinel_password: Secret | None = None
    result_backend: Secret | None = None
    result_prefix: str | None = None


class Config(msgspec.Struct, frozen=True):
    """The whole file."""

    default: str | None = None
    """The cluster taken without ``-C``."""
    clusters: Mapping[str, ClusterConfig] = msgspec.field(default_factory=dict)
    read_only: bool = False
    passive: bool = False
    interval: float | None = None
    page: str | None = None
    filter: str | None = None
    ascii: bool | None = None
    theme: str | None = None
    mouse: bool | None = None
    utc: bool | None = None
    max_tasks: int | None = None
    columns: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Page to its columns, in order."""
    keys: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Textual's keymap: id of an action to its keys."""


class Loaded(msgspec.Struct, frozen=True):
    """A config file that was read, or the absence of one."""

    config: Config = Config()
    path: Path | None = None
    tried: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()


def places(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where a config file may be; the first that exists counts."""
    xdg, home = environ.get("XDG_CONFIG_HOME", ""), environ.get("HOME", "")
    base = Path(xdg) if xdg.startswith("/") else Path(home, ".config") if home else None
    return (*((base / "celerytop" / "config.toml",) if base else ()), SYSTEM)


def load_config(environ: Mapping[str, str]) -> Loaded:
    """Read the config file.

    Raises:
        OptionsError: it is not TOML, or a key is unknown or has the wrong type; one sentence that names the key.
    """
    tried = places(environ)
    warnings: list[str] = []
    for path in tried:
        try:
            text, mode = path.read_text(encoding="utf-8"), path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8"
            warnings.append(f"{clean(str(path))} cannot be read: {why}.")
            continue
        config = parse_config(text, path)
        if _holds_secret(config) and mode & (stat.S_IRWXG | stat.S_IRWXO):
            warnings.append(f"{path} holds a password and others may read it: chmod 600 {path}.")
        return Loaded(config, path, tried, tuple(warnings))
    return Loaded(tried=tried, warnings=tuple(warnings))


def parse_config(text: str, path: Path) -> Config:
    """The file's text as a ``Config``; ``path`` is for its errors."""
    import tomllib  # only who has a config file pays for it

    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"line \d+", str(error))  # the rest may quote a value
        raise OptionsError(f"{path} is not TOML{f': see {where[0]}' if where else ''}.") from None
    _known(raw, Config, "", path)
    clusters = raw.get("clusters", {})
    if isinstance(clusters, dict):
        for name, table in clusters.items():
            if isinstance(table, dict):
                _known(table, ClusterConfig, f" in [clusters.{clean(name)}]", path)
                _converted(table, ClusterConfig, f"{path}: [clusters.{clean(name)}]")
    config = _converted(raw, Config, f"{path}:")
    _sound(config, path)
    return config


def cluster_of(loaded: Loaded, name: str | None) -> tuple[str, ClusterConfig] | None:
    """The chosen cluster; without a name the default or the only one; ``None`` when the file has none.

    Raises:
        OptionsError: there is no such cluster, or there are several and none is the default.
    """
    clusters = loaded.config.clusters
    wanted = name or loaded.config.default or (next(iter(clusters)) if len(clusters) == 1 else None)
    if wanted in clusters:
        assert wanted is not None
        return wanted, clusters[wanted]
    if wanted is None and not clusters:
        return None
    there = ", ".join(clean(known) for known in clusters) or "none"
    if wanted is None:
        raise OptionsError(f"{loaded.path} has several clusters ({there}): choose one with -C NAME or set default.")
    if loaded.path is None:
        looked = " or ".join(map(str, loaded.tried))
        raise OptionsError(f"-C {clean(wanted)}: there is no config file ({looked}).")
    raise OptionsError(f"There is no cluster {clean(wanted)} in {loaded.path}; it has: {there}.")


def overlay(settings: BrokerSettings, cluster: ClusterConfig) -> BrokerSettings:
    """Lay what the config file says over what the app says, or over Celery's defaults."""
    said = {name: getattr(cluster, name) for name in _SAME if getattr(cluster, name) is not None}
    if cluster.visibility_timeout is not None:
        said["visibility_known"] = True
    if cluster.fanout_prefix is not None:
        given = cluster.fanout_prefix
        said["fanout_prefix"] = given or "" if isinstance(given, str) or not given else None
    if cluster.result_backend is not None:
        said["result_backend"] = parse_url(cluster.result_backend.reveal())
    address = settings.address
    said["address"] = msgspec.structs.replace(
        address,
        master_name=cluster.master_name or address.master_name,
        sentinel_password=cluster.sentinel_password or address.sentinel_password,
    )
    said["queues"] = tuple(dict.fromkeys((*settings.queues, *cluster.queues)))
    return msgspec.structs.replace(settings, **said)


_SAME = (
    "visibility_timeout",
    "global_keyprefix",
    "priority_steps",
    "sep",
    "unacked_key",
    "unacked_index_key",
    "event_exchange",
    "control_exchange",
    "result_prefix",
)
"""Fields with the same name and meaning in ``ClusterConfig`` and ``BrokerSettings``."""


# ------------------------------------------------------------------------------------------------ inside
def _secret(kind: type, value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise TypeError("expected `str`")  # msgspec adds where; the value itself is not told


def _known(table: Mapping[str, Any], kind: type[msgspec.Struct], where: str, path: Path) -> None:
    fields = kind.__struct_fields__
    for key in table:
        if key not in fields:
            close = difflib.get_close_matches(key, fields, n=1)
            hint = f"; did you mean {close[0]}?" if close else "."
            raise OptionsError(f"{path}: unknown key {clean(key, 60)}{where}{hint}")


def _converted(table: Mapping[str, Any], kind: type[_Kind], where: str) -> _Kind:
    try:
        return msgspec.convert(table, kind, dec_hook=_secret)
    except msgspec.ValidationError as error:
        raise OptionsError(f"{where} {_plain(str(error))}.") from None


def _plain(message: str) -> str:
    """msgspec's words in those of a person, without its path syntax.

    >>> _plain("Expected `float | null`, got `str` - at `$.interval`")
    'interval: expected a number, got text'
    """
    message = re.sub(r"`([^`$]+)`", lambda found: _KINDS.get(found[1].removesuffix(" | null"), found[1]), message)
    what, _, at = message.replace("`", "").partition(" - at ")
    keys = re.sub(r"^\$\.?|\[\.\.\.\]", "", at)
    return f"{keys}: {what[:1].lower()}{what[1:]}" if keys else what


def _sound(config: Config, path: Path) -> None:
    for name, cluster in config.clusters.items():
        where = f"{path}: [clusters.{clean(name)}]"
        if cluster.broker is None and cluster.app is None:
            raise OptionsError(f"{where} has neither broker nor app.")
        if cluster.actions not in (None, "never"):
            raise OptionsError(f'{where} actions can only be "never".')
        for key in ("broker", "result_backend"):
            url = getattr(cluster, key)
            try:
                if url is not None:
                    parse_url(url.reveal())
            except OptionsError as error:
                raise OptionsError(f"{where} {key}: {error}") from None


def _holds_secret(config: Config) -> bool:
    for cluster in config.clusters.values():
        urls = (cluster.broker, cluster.management, cluster.result_backend)
        if cluster.sentinel_password or any(url and holds_password(url.reveal()) for url in urls):
            return True
    return False

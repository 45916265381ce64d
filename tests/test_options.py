"""Flags, environment, config file, host: who wins, and what is never shown."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from celerytop import config
from celerytop.broker_url import parse_url
from celerytop.errors import OptionsError
from celerytop.model.address import BrokerSettings, Secret
from celerytop.options import Options, finish, load

SECRET = "hunter2"
FLAG, TOP_ENV, CELERY_ENV, FILE = (f"redis://:{SECRET}@{host}/0" for host in ("flag", "top", "celery", "file"))
PROD = f'[clusters.prod]\nbroker = "{FILE}"\n'
EVERYWHERE = {"CELERYTOP_BROKER": TOP_ENV, "CELERY_BROKER_URL": CELERY_ENV}


@pytest.fixture(autouse=True)
def _no_system_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "SYSTEM", tmp_path / "etc" / "celerytop" / "config.toml")


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "celerytop" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def loaded(tmp_path: Path, text: str = "", flags: Mapping[str, Any] | None = None, **environ: str) -> Options:
    if text:
        write(tmp_path / "xdg", text)
    return load(flags or {}, {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), **environ}, tmp_path)


def host(options: Options) -> str | None:
    return options.broker.address.endpoints[0].host if options.broker else None


@pytest.mark.parametrize(
    ("flags", "environ", "file", "expected", "found_by"),
    [
        ({"broker": FLAG}, EVERYWHERE, PROD, "flag", "from -b"),
        ({"cluster": "prod"}, EVERYWHERE, PROD, "file", "from cluster prod in"),
        ({"broker": FLAG, "cluster": "prod"}, EVERYWHERE, PROD, "flag", "from -b"),
        ({}, EVERYWHERE, PROD, "top", "from CELERYTOP_BROKER"),
        ({"broker": None}, {"CELERYTOP_BROKER": "", **EVERYWHERE}, PROD, "top", "from CELERYTOP_BROKER"),
        ({}, {"CELERYTOP_BROKER": "", "CELERY_BROKER_URL": CELERY_ENV}, PROD, "celery", "from CELERY_BROKER_URL"),
        ({}, {}, PROD, "file", "from cluster prod in"),
        ({}, {}, "", None, None),
    ],
)
def test_flags_win_over_environment_over_file_over_host(
    tmp_path: Path,
    flags: Mapping[str, Any],
    environ: dict[str, str],
    file: str,
    expected: str | None,
    found_by: str | None,
) -> None:
    options = loaded(tmp_path, file, flags, **environ)
    assert host(options) == expected
    assert (options.found_by or "").startswith(found_by or "")
    assert SECRET not in repr(options) + str(options) + repr(msgspec.structs.asdict(options))


def test_an_app_leaves_the_broker_open(tmp_path: Path) -> None:
    options = loaded(tmp_path, PROD, {"app": "proj"}, **EVERYWHERE)
    assert (options.broker, options.address, options.app, options.found_by) == (None, None, "proj", "from app proj")
    assert "CELERYTOP_BROKER is not used" in options.warnings[0]
    both = loaded(tmp_path, PROD, {"app": "proj", "broker": FLAG})
    assert both.broker is None and both.address is not None and both.address.endpoints[0].host == "flag"


def test_an_app_that_is_loaded_already_wins(tmp_path: Path) -> None:
    settings = loaded(tmp_path, flags={"broker": FLAG}).broker
    options = loaded(tmp_path, PROD, {"settings": settings, "app_name": "proj"}, **EVERYWHERE)
    assert (host(options), options.found_by, options.app) == ("flag", "from app proj", "proj")


def test_the_file_of_the_user_wins_over_the_system_one(tmp_path: Path) -> None:
    write(tmp_path / "etc", '[clusters.all]\nbroker = "redis://etc"\n')
    assert host(loaded(tmp_path)) == "etc"
    assert host(loaded(tmp_path, PROD)) == "file"
    home = tmp_path / "home"
    write(home / ".config", '[clusters.mine]\nbroker = "redis://home"\n')
    assert host(load({}, {"HOME": str(home)}, tmp_path)) == "home"


def test_the_config_file_moves_names(tmp_path: Path) -> None:
    text = f"""
        default = "prod"
        interval = 5
        theme = "light"
        [columns]
        tasks = ["name", "state"]
        [clusters.test]
        broker = "redis://test"
        [clusters.prod]
        broker = "sentinel://:{SECRET}@s1;sentinel://s2"
        name = "Production"
        management = "http://mon:{SECRET}@h:15672"
        visibility_timeout = 86400
        global_keyprefix = "px:"
        priority_steps = [0, 1, 2]
        fanout_prefix = false
        queues = ["a", "b"]
        master_name = "main"
        sentinel_password = "{SECRET}"
        result_backend = "redis://:{SECRET}@r/2"
        read_only = true
    """
    options = loaded(tmp_path, text)
    broker = options.broker
    assert isinstance(broker, BrokerSettings)
    assert (options.cluster, options.interval, options.theme) == ("Production", 5.0, "light")
    assert options.read_only and options.columns == {"tasks": ("name", "state")}
    assert (broker.visibility_timeout, broker.visibility_known, broker.global_keyprefix) == (86400.0, True, "px:")
    assert (broker.priority_steps, broker.fanout_prefix, broker.queues) == ((0, 1, 2), "", ("a", "b"))
    assert broker.address.master_name == "main" and broker.result_backend is not None
    assert isinstance(broker.management_url, Secret) and SECRET in broker.management_url.reveal()
    assert SECRET not in repr(options)
    assert loaded(tmp_path, text, {"interval": 0.5, "theme": "dark"}).interval == 0.5
    assert host(loaded(tmp_path, text, {"cluster": "test"})) == "test"


@pytest.mark.parametrize(
    ("flags", "environ", "text", "read_only"),
    [
        ({}, {}, "", False),
        ({"read_only": True}, {}, "", True),
        ({}, {"CELERYTOP_READ_ONLY": "1"}, "", True),
        ({}, {"CELERYTOP_READ_ONLY": "0"}, "", False),
        ({"read_only": False}, {"CELERYTOP_READ_ONLY": "yes"}, "", True),
        ({"read_only": False}, {}, "read_only = true", True),
        ({"read_only": False}, {}, '[clusters.a]\nbroker = "redis://h"\nactions = "never"', True),
        ({"passive": True}, {}, "", True),
    ],
)
def test_the_strictest_word_counts(
    tmp_path: Path, flags: Mapping[str, Any], environ: dict[str, str], text: str, read_only: bool
) -> None:
    assert loaded(tmp_path, text, flags, **environ).read_only is read_only


def test_a_password_on_the_command_line_gets_a_warning(tmp_path: Path) -> None:
    expected = (
        "The broker URL on the command line holds a password: every user of this host can read it in ps. "
        "Use CELERYTOP_BROKER."
    )
    assert loaded(tmp_path, flags={"broker": FLAG}).warnings == (expected,)
    assert loaded(tmp_path, flags={"broker": "redis://h"}).warnings == ()
    assert loaded(tmp_path, "", {}, **EVERYWHERE).warnings == ()
    management = loaded(tmp_path, flags={"broker": "amqp://h", "management_url": f"http://u:{SECRET}@h"})
    assert "CELERYTOP_MANAGEMENT" in management.warnings[0] and SECRET not in repr(management)


def test_a_readable_file_with_a_password_gets_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "xdg", PROD, 0o644)
    options = loaded(tmp_path)
    assert options.warnings == (f"{path} holds a password and others may read it: chmod 600 {path}.",)
    path.chmod(stat.S_IRUSR)
    assert loaded(tmp_path).warnings == ()
    write(tmp_path / "xdg", '[clusters.a]\nbroker = "redis://h"\n', 0o644)
    assert loaded(tmp_path).warnings == ()


@pytest.mark.parametrize(
    ("flags", "environ", "barred"),
    [
        ({"broker": "redis://:other@FILE:6379"}, {}, True),
        ({}, {"CELERY_BROKER_URL": FILE}, True),
        ({"cluster": "same"}, {}, True),
        ({"settings": BrokerSettings(parse_url(FILE)), "app_name": "proj"}, {}, True),
        ({"settings": BrokerSettings(parse_url(FLAG)), "app_name": "secret.app"}, {}, True),
        ({"broker": "redis://file/1"}, {}, False),
        ({"broker": "redis://file:6380/0"}, {}, False),
        ({"broker": "amqp://file/0"}, {}, False),
        ({"broker": FLAG}, {}, False),
        ({"cluster": "other"}, {}, False),
    ],
)
def test_what_the_file_forbids_holds_however_one_comes_there(
    tmp_path: Path, flags: Mapping[str, Any], environ: dict[str, str], barred: bool
) -> None:
    """A broker in the environment wins over the file's cluster; its guard it does not take away."""
    file = (
        f'{PROD}actions = "never"\n[clusters.same]\nbroker = "{FILE}"\n'
        '[clusters.hidden]\napp = "secret.app"\nactions = "never"\n'
        f'[clusters.other]\nbroker = "{FLAG}"\napp = "secret.app"\n'
    )
    options = loaded(tmp_path, file, flags, **environ)
    assert finish(options, options.broker or BrokerSettings(parse_url(FLAG))).read_only is barred


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("intervall = 1", ("unknown key intervall", "did you mean interval?")),
        ('[clusters.a]\nbroker = "redis://h"\nvisbility_timeout = 1', ("visbility_timeout", "[clusters.a]")),
        ('interval = "1"', ("interval", "expected")),
        ("[clusters.a]\nname = 'x'", ("[clusters.a]", "neither broker nor app")),
        (f'[clusters.a]\nbroker = "reddis://:{SECRET}@h"', ("[clusters.a] broker", "redis://?")),
        (f"broker = redis://:{SECRET}@h", ("is not TOML", "line 1")),
        ('[clusters.a]\nbroker = "redis://h"\nqueues = "celery"', ("queues", "expected")),
        ('[clusters.a]\nbroker = "redis://h"\nsep = 3', ("[clusters.a] sep: expected text, got a whole number",)),
        ('[clusters.a]\nbroker = "redis://h"\nactions = "always"', ("never",)),
        ('[clusters.a]\nbroker="redis://a"\n[clusters.b]\nbroker="redis://b"', ("a, b", "-C NAME")),
        ('default = "c"\n[clusters.a]\nbroker="redis://a"', ("no cluster c", "a.")),
        ("interval = 0.001", ("interval", "between")),
        ('page = "quues"', ("quues", "did you mean queues?")),
        ("max_tasks = 0", ("max_tasks",)),
        ('[clusters.a]\nbroker="sentinel://h"', ("master_name",)),
    ],
)
def test_a_wrong_file_gets_one_sentence(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(OptionsError) as caught:
        loaded(tmp_path, text)
    said = str(caught.value)
    assert all(word in said for word in words), said
    assert "\n" not in said and SECRET not in said


@pytest.mark.parametrize(
    ("flags", "environ", "words"),
    [
        ({"broker": f"reddis://:{SECRET}@h"}, {}, "-b:"),
        ({}, {"CELERYTOP_BROKER": f"amqp://u:12/{SECRET}@h"}, "CELERYTOP_BROKER:"),
        ({"cluster": "prod"}, {}, "no config file"),
        ({}, {"CELERYTOP_READ_ONLY": "maybe"}, "CELERYTOP_READ_ONLY"),
        ({"broker": "amqp://h", "management_url": f"amqp://u:{SECRET}@h"}, {}, "http://"),
        ({"broker": f"sentinel://:{SECRET}@h"}, {}, "master_name"),
    ],
)
def test_wrong_flags_and_variables_get_one_sentence(
    tmp_path: Path, flags: Mapping[str, Any], environ: dict[str, str], words: str
) -> None:
    with pytest.raises(OptionsError) as caught:
        loaded(tmp_path, "", flags, **environ)
    assert words in str(caught.value) and SECRET not in str(caught.value)


def test_management_url_comes_from_flag_then_environment_then_file(tmp_path: Path) -> None:
    text = '[clusters.a]\nbroker="amqp://h"\nmanagement="http://file:1"'
    env = {"CELERYTOP_MANAGEMENT": "env:2"}
    assert loaded(tmp_path, text).management_url == "http://file:1"
    assert loaded(tmp_path, text, {}, **env).management_url == "http://env:2"
    options = loaded(tmp_path, text, {"management_url": "https://flag:3"}, **env)
    assert options.management_url == "https://flag:3"
    assert options.broker is not None and options.broker.management_url == "https://flag:3"


def test_an_unreadable_file_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "xdg" / "celerytop" / "config.toml").mkdir(parents=True)
    assert "cannot be read" in loaded(tmp_path).warnings[0]

"""How a Celery app uses its broker: ``-A app``, asked in a Python of its own.

The app is imported by a short-lived process: its import may start threads, patch the standard library, print, or hang,
and Celery would cost ours 30 MB. Only ``settings_from_app`` runs here, for ``celery -A proj top``, where the app is
loaded already.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from celerytop import app_describe
from celerytop.broker_url import parse_url
from celerytop.errors import OptionsError
from celerytop.model.address import Address, BrokerSettings, Secret
from celerytop.model.secret import mask_args
from celerytop.model.text import clean

TIMEOUT = 10.0
"""Seconds an app's import may take."""
VISIBILITY_TIMEOUT = 3600.0
"""kombu's default."""
_REDIS = ("redis://", "rediss://", "redis+socket://", "socket://", "sentinel://", "valkey://", "valkeys://")
_SCRIPT = Path(app_describe.__file__)


class Elsewhere(OptionsError):
    """This Python has neither Celery nor the app: another one may."""


class AppQuery:
    """One app being asked. Start several, then read them one by one."""

    def __init__(
        self,
        name: str | None,
        cwd: Path,
        environ: Mapping[str, str],
        python: str = sys.executable,
        owner: tuple[int, int] | None = None,
    ) -> None:
        """Start the process.

        Args:
            name: as for ``-A``; ``None`` is the default app of that environment.
            owner: user and group to run as: root must not run another user's code as root.

        Raises:
            OptionsError: that Python cannot be started.
        """
        self.what = f"-A {clean(name)}" if name else "the default Celery app"
        self.name = name or ""
        self.python = python
        self.cwd = cwd
        identity: dict[str, Any] = {"user": owner[0], "group": owner[1], "extra_groups": []} if owner else {}
        try:
            self._process = subprocess.Popen(
                [python, "-c", _SCRIPT.read_text(encoding="utf-8"), self.name],
                cwd=cwd,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                **identity,
            )
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise OptionsError(f"{self.what}: {clean(python)} cannot be started: {why}.") from None

    def facts(self, timeout: float = TIMEOUT) -> Mapping[str, Any]:
        """What ``app_describe`` found. Holds the broker's password.

        Raises:
            OptionsError: one sentence.
        """
        try:
            answer, _ = self._process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.close()
            raise OptionsError(f"{self.what}: its import took longer than {timeout:g} s.") from None
        try:
            facts: Mapping[str, Any] = json.loads(answer)
        except ValueError:
            code = self._process.returncode
            raise OptionsError(f"{self.what}: its import ended Python with exit status {code}.") from None
        if "error" in facts:
            raise self._error(str(facts["error"]), _harmless(str(facts.get("text"))))
        return facts

    def close(self) -> None:
        """End it, and whatever it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def _error(self, kind: str, text: str) -> OptionsError:
        match kind:
            case "no celery":
                return Elsewhere(f"{self.what}: {clean(self.python)} has no Celery; give -b URL instead.")
            case "not found":
                where = f"{clean(str(self.cwd))} or on the Python path"
                return Elsewhere(f"{self.what}: no module named {text} in {where}.")
            case "no app":
                return OptionsError(f"{self.what}: no Celery app in it ({text}).")
            case _:
                return OptionsError(f"{self.what}: its import raised {text}.")


def resolve_app(name: str, cwd: Path, environ: Mapping[str, str], address: Address | None = None) -> BrokerSettings:
    """The settings of ``-A name``; ``address`` (``-b``) replaces its broker.

    Asks this Python first, then the active virtualenv's and the ``PATH``'s, for a celerytop that was installed alone.

    Raises:
        OptionsError: one sentence.
    """
    first: Elsewhere | None = None
    for python in _pythons(environ):
        try:
            facts = AppQuery(name, cwd, environ, python).facts()
        except Elsewhere as error:
            first = first or error
        else:
            return settings_from_facts(facts, address)
    raise first or OptionsError(f"-A {clean(name)}: no Python to ask.")


def settings_from_app(app: Any, address: Address | None = None) -> BrokerSettings:
    """The settings of an app that is loaded already (``celery -A proj top``)."""
    return settings_from_facts(app_describe.describe(app), address)


def _pythons(environ: Mapping[str, str]) -> list[str]:
    candidates = [sys.executable]
    if environ.get("VIRTUAL_ENV"):
        candidates.append(str(Path(environ["VIRTUAL_ENV"], "bin", "python")))
    candidates.append(shutil.which("python3", path=environ.get("PATH")) or "")
    return [python for python in dict.fromkeys(candidates) if python and Path(python).exists()]


def _harmless(text: str) -> str:
    return clean(mask_args(text), 200).rstrip(".")


# -------------------------------------------------------------------------------------------- facts to settings
def settings_from_facts(facts: Mapping[str, Any], address: Address | None = None) -> BrokerSettings:
    """Celery's settings as ours; ``address`` replaces the app's broker.

    Raises:
        OptionsError: its broker is neither Redis nor RabbitMQ, or its URL cannot be read.
    """
    options = facts["options"]
    where = _with_options(address or _address(facts), facts, options)
    backend = _backend(facts)
    return BrokerSettings(
        address=where,
        global_keyprefix=str(options.get("global_keyprefix", "")),
        fanout_prefix=_fanout_prefix(options.get("fanout_prefix", True), where.db),
        priority_steps=tuple(int(step) for step in options.get("priority_steps") or (0, 3, 6, 9)),
        sep=str(options.get("sep", "\x06\x16")),
        visibility_timeout=float(options.get("visibility_timeout", VISIBILITY_TIMEOUT)),
        visibility_known=True,
        unacked_key=str(options.get("unacked_key", "unacked")),
        unacked_index_key=str(options.get("unacked_index_key", "unacked_index")),
        event_exchange=str(facts.get("event_exchange") or "celeryev"),
        control_exchange=str(facts.get("control_exchange") or "celery"),
        queues=tuple(facts["queues"]),
        result_backend=backend,
        result_prefix=_result_prefix(facts.get("backend_prefix")),
    )


def _address(facts: Mapping[str, Any]) -> Address:
    """broker_url, completed by the old settings broker_host, broker_user… as kombu does."""
    url = facts["broker_url"] or "localhost"
    bare = "://" not in url
    if bare:  # kombu takes a bare host for AMQP; without any setting it is localhost
        port = f":{facts['port']}" if facts.get("port") else ""
        url = f"amqp://{url}{port}/"
    made = parse_url(url)
    if bare and facts.get("vhost"):
        made = msgspec.structs.replace(made, vhost=str(facts["vhost"]))
    if "@" not in url and (facts.get("user") or facts.get("password")):
        password = Secret(facts["password"]) if facts.get("password") else made.password
        made = msgspec.structs.replace(made, username=facts.get("user") or made.username, password=password)
    return made


def _with_options(address: Address, facts: Mapping[str, Any], options: Mapping[str, Any]) -> Address:
    password = facts.get("sentinel_password")
    address = msgspec.structs.replace(
        address,
        master_name=address.master_name or options.get("master_name"),
        sentinel_password=Secret(password) if password else address.sentinel_password,
    )
    return with_tls(address, facts.get("tls"), facts.get("broker_url") or "")


def with_tls(address: Address, given: bool | Mapping[str, str] | None, text: str = "") -> Address:
    """``broker_use_ssl``: options of the URL win. ``text`` is the URL: a port it names stays."""
    if not given or address.tls_options:
        return address
    endpoints, url = address.endpoints, address.url
    if address.transport == "rabbitmq" and not address.tls and ":5672" not in text:
        endpoints = tuple(msgspec.structs.replace(one, port=5671) for one in endpoints)
        url = url.replace(":5672/", ":5671/")
    options = tuple(sorted(given.items())) if isinstance(given, Mapping) else ()
    return msgspec.structs.replace(address, tls=True, tls_options=options, endpoints=endpoints, url=url)


def _fanout_prefix(given: bool | str, db: int) -> str | None:
    if isinstance(given, str) and given:
        return given.replace("{db}", str(db))
    return None if given is True else ""


def _result_prefix(prefix: str | None) -> str:
    if not prefix:
        return "celery-task-meta-"
    joint = "" if prefix[-1] in ":_-." else "_"  # celery/backends/base.py, _add_global_keyprefix
    return f"{prefix}{joint}celery-task-meta-"


def _backend(facts: Mapping[str, Any]) -> Address | None:
    """The result backend where it is a Redis; what celerytop cannot read is none."""
    text = facts.get("result_backend") or ""
    if not text.startswith(_REDIS):
        return None
    try:
        made = parse_url(text)
    except OptionsError:
        return None
    made = with_tls(made, facts.get("backend_tls"))
    return msgspec.structs.replace(made, master_name=made.master_name or facts.get("backend_master"))

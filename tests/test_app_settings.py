"""``-A app``: a real app in a Python of its own, and what may be wrong with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from celery import Celery
from kombu import Queue

from celerytop.app_settings import AppQuery, resolve_app, settings_from_app
from celerytop.broker_url import parse_url, tls_label
from celerytop.errors import OptionsError
from celerytop.model.address import BrokerSettings
from tests.rig import RedisServer

SECRET = "hunter2"
PROJECT = f"""
import ssl, sys, threading
from celery import Celery
from kombu import Queue
print("noise that must not disturb")
threading.Thread(target=threading.Event().wait).start()     # keeps Python from ending
app = Celery("proj", broker="redis://:{SECRET}@10.0.0.5:6390/3", backend="rediss://:{SECRET}@10.0.0.6/4")
app.conf.update(
    broker_transport_options={{
        "visibility_timeout": 86400, "global_keyprefix": "px:", "priority_steps": range(3), "sep": ":",
        "fanout_prefix": "/other{{db}}.", "unacked_key": "mine", "unacked_index_key": "mine_index",
        "queue_order_strategy": "priority", "socket_timeout": 3.0,
    }},
    broker_use_ssl={{"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "/etc/ca.pem"}},
    redis_backend_use_ssl={{"ssl_cert_reqs": ssl.CERT_NONE}},
    task_queues=[Queue("a"), Queue("b", routing_key="b.#")],
    task_routes=([("x.*", {{"queue": "c"}}), ("y", "d")], {{"z": {{"queue": Queue("e")}}}}, lambda *a, **k: None),
    event_exchange="evx", control_exchange="ctl",
    result_backend_transport_options={{"global_keyprefix": "rp"}},
)
"""


@pytest.fixture(autouse=True)
def _a_slow_machine_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AppQuery.facts, "__defaults__", (50.0,))


def project(folder: Path, text: str = PROJECT, name: str = "proj") -> Path:
    (folder / f"{name}.py").write_text(text)
    return folder


def resolve(folder: Path, name: str = "proj", **environ: str) -> BrokerSettings:
    return resolve_app(name, folder, {**os.environ, **environ})


def test_an_apps_own_settings_count(tmp_path: Path) -> None:
    settings = resolve(project(tmp_path))
    address = settings.address
    assert (address.url, address.db) == ("redis://***@10.0.0.5:6390/3", 3)
    assert address.password is not None and address.password.reveal() == SECRET
    assert (settings.visibility_timeout, settings.visibility_known) == (86400.0, True)
    assert (settings.global_keyprefix, settings.fanout_prefix, settings.sep) == ("px:", "/other3.", ":")
    assert (settings.priority_steps, settings.unacked_key) == ((0, 1, 2), "mine")
    assert settings.unacked_index_key == "mine_index"
    assert settings.queues == ("a", "b", "c", "d", "e")
    assert (settings.event_exchange, settings.control_exchange) == ("evx", "ctl")
    assert tls_label(address) == "TLS" and dict(address.tls_options)["ssl_ca_certs"] == "/etc/ca.pem"
    backend = settings.result_backend
    assert backend is not None and (backend.url, backend.tls) == ("rediss://***@10.0.0.6:6379/4", True)
    assert settings.result_prefix == "rp_celery-task-meta-"
    assert SECRET not in repr(settings)


def test_the_loaded_app_says_the_same_as_its_process(tmp_path: Path) -> None:
    conf = {"broker_transport_options": {"visibility_timeout": 7}, "task_queues": [Queue("a")]}
    app = Celery("proj", broker="redis://h/1", backend="redis://h/2", set_as_current=False)
    app.conf.update(conf)
    text = "from celery import Celery\nfrom kombu import Queue\napp = Celery('proj', broker='redis://h/1', "
    text += "backend='redis://h/2')\napp.conf.update({'broker_transport_options': {'visibility_timeout': 7}, "
    text += "'task_queues': [Queue('a')]})"
    assert settings_from_app(app) == resolve(project(tmp_path, text))


def test_inside_celery_the_app_is_called_as_celery_was_told(tmp_path: Path, redis_server: RedisServer) -> None:
    text = f"from celery import Celery\napp = Celery('inner', broker={redis_server.url()!r})"
    words = ["-m", "celery", "-A", "outer:app", "top", "--json", "--page", "broker"]
    folder = project(tmp_path, text, "outer")
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    cluster = json.loads(done.stdout)["cluster"]
    assert (cluster["name"], cluster["found_by"]) == ("outer:app", "from app outer:app")


def test_the_environment_moves_the_broker_as_it_does_for_celery(tmp_path: Path) -> None:
    settings = resolve(project(tmp_path), CELERY_BROKER_URL="redis://elsewhere/0")
    assert settings.address.endpoints[0].host == "elsewhere"
    assert settings.global_keyprefix == "px:"


def test_a_given_broker_replaces_the_apps(tmp_path: Path) -> None:
    settings = resolve_app("proj", project(tmp_path), os.environ, parse_url("redis://given/1"))
    assert (settings.address.endpoints[0].host, settings.fanout_prefix) == ("given", "/other1.")


@pytest.mark.parametrize(
    ("arguments", "url", "port"),
    [
        ("", "amqp://localhost:5672//", 5672),
        ("broker='h'", "amqp://h:5672//", 5672),
        ("broker=['redis://a', 'redis://b']", "redis://a:6379/0;redis://b:6379/0", 6379),
        ("broker='amqp://h/v', broker_use_ssl=True", "amqp://h:5671/v", 5671),
        ("broker='sentinel://h/2', broker_transport_options={'master_name': 'main'}", "sentinel://h:26379/2", 26379),
    ],
)
def test_brokers_are_read_as_celery_reads_them(tmp_path: Path, arguments: str, url: str, port: int) -> None:
    conf = f"dict({arguments.replace('broker=', 'broker_url=')})"
    text = f"from celery import Celery\napp = Celery('proj')\napp.conf.update({conf})"
    address = resolve(project(tmp_path, text)).address
    assert (address.url, address.endpoints[0].port) == (url, port)
    assert address.master_name == ("main" if "sentinel" in url else None)


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("", "nowhere", "no module named nowhere"),
        ("", "proj.sub", "proj.sub"),
        ("x = 1", "proj", "no Celery app"),
        ("app = 3", "proj:app", "no Celery app"),
        ("from celery import Celery\nfoo = Celery()", "proj:bar", "it has no bar"),
        ("import not_there", "proj", "No module named 'not_there'"),
        (f"raise RuntimeError('cannot reach redis://:{SECRET}@h, password={SECRET}')", "proj", "raised RuntimeError"),
        ("raise SystemExit(3)", "proj", "raised SystemExit"),
        ("import os; os._exit(7)", "proj", "exit status 7"),
        ("def (", "proj", "raised SyntaxError"),
        (f"from celery import Celery\napp = Celery(broker='sqs://a:{SECRET}@')", "proj", "not sqs"),
        ("raise ValueError('\\x1b[31mred\\nsecond line')", "proj", "\\x1b[31mred"),
    ],
)
def test_a_broken_app_gets_one_sentence(tmp_path: Path, text: str, name: str, words: str) -> None:
    with pytest.raises(OptionsError) as caught:
        resolve(project(tmp_path, text), name)
    said = str(caught.value)
    assert words in said and "\n" not in said and SECRET not in said


def test_an_import_that_hangs_is_given_up_and_ended(tmp_path: Path) -> None:
    project(tmp_path, "import subprocess; subprocess.Popen(['sleep', '600']).wait()")
    query = AppQuery("proj", tmp_path, os.environ)
    with pytest.raises(OptionsError, match="took longer than"):
        query.facts(timeout=1.5)
    assert query._process.returncode == -9


def test_a_python_without_celery_is_named(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')  # -S: no site-packages
    bare.chmod(0o755)
    with pytest.raises(OptionsError, match="has no Celery; give -b URL"):
        AppQuery("proj", tmp_path, os.environ, str(bare)).facts()


def test_celery_is_never_imported_here(tmp_path: Path) -> None:
    project(tmp_path)
    script = (
        "import os, sys, pathlib\n"
        "from celerytop.app_settings import resolve_app\n"
        f"resolve_app('proj', pathlib.Path({str(tmp_path)!r}), os.environ)\n"
        "sys.exit(bool({'celery', 'kombu', 'proj'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

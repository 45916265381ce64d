"""Which command lines are workers, and what they say."""

from __future__ import annotations

import pytest
from celery.bin.worker import Hostname
from celery.utils.nodenames import gethostname

from celerytop.sources.command_line import expand, read_command


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("celery -A proj worker", {"app": "proj"}),
        ("/v/bin/python3.11 /v/bin/celery -A proj worker -n w1@%h", {"app": "proj", "hostname": "w1@%h"}),
        ("python -m celery --app=proj worker --hostname=w1", {"app": "proj", "hostname": "w1"}),
        ("python3 -X dev -Wd -m celery worker -A proj -nw2@%h", {"app": "proj", "hostname": "w2@%h"}),
        ("/x/python /l/celery/__main__.py -A proj worker -P threads", {"app": "proj", "pool": "threads"}),
        ("celery -b amqp://h -A proj --workdir /srv worker -c 2", {"broker": "amqp://h", "workdir": "/srv"}),
        ("celery worker -A proj --loglevel info -Q worker,beat", {"app": "proj"}),  # the order of Celery 4
        ("celery -A worker worker", {"app": "worker"}),
        ("celery --config celeryconfig worker", {"config": "celeryconfig"}),
        ("python -m celery -A proj worker --detach -n w1@h --pidfile=/run/w1.pid", {"hostname": "w1@h"}),  # multi
        ("[celeryd: st@h:MainProcess] -active- (-A fapp worker -n x@%h)", {"app": "fapp", "hostname": "st@h"}),
        ("[celeryd: st@h:ForkPoolWorker-12]", {"hostname": "st@h", "process": "ForkPoolWorker-12"}),
        ("python manage.py worker -l info", {"embedded": True}),
    ],
)
def test_a_worker(line: str, said: dict[str, object]) -> None:
    command = read_command(line.split())
    assert command is not None
    assert {name: getattr(command, name) for name in said} == said


@pytest.mark.parametrize(
    "line",
    [
        "",
        "celery",
        "celery -A proj beat",
        "celery -A proj flower --basic_auth=worker",
        "celery -A proj inspect active",
        "celery -A proj multi start worker",
        "celery -A proj beat worker",
        "sh -c celery",
        "watchmedo auto-restart -- celery -A proj worker",
        "python -c import-celery worker",
        "python -m pytest worker",
        "vim celery worker",
        "[celery beat]",
        "python",
    ],
)
def test_no_worker(line: str) -> None:
    assert read_command(line.split()) is None


def test_a_command_never_prints_its_broker() -> None:
    command = read_command(["celery", "-b", "redis://:hunter2@h", "worker"])
    assert command is not None and "hunter2" not in repr(command) + str(command)


@pytest.mark.parametrize("given", ["w1@%h", "w1", "%n", "%n@%d", "@%h", "x@y", "%h", "a%%b@%h", "w@%i%I"])
def test_node_names_expand_as_celerys(given: str) -> None:
    assert expand(given, gethostname()) == Hostname().convert(given, None, None)


def test_without_a_name_it_is_celery() -> None:
    assert expand(None, "db-7.lan") == "celery@db-7.lan"

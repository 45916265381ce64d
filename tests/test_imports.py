"""What must never be loaded: the process stays light and never meets kombu's consumers."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.rig import RabbitServer, RedisServer

pytestmark = pytest.mark.timeout(180)
HEAVY = ("celery", "kombu", "pika", "amqp")
_CHILD = """
import json, sys
{code}
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


def _loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD.format(code=code)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_command_line_loads_no_client_library_and_no_textual() -> None:
    loaded = _loaded("import celerytop.cli")
    assert not loaded.intersection({*HEAVY, "textual", "redis", "psutil", "urllib3", "rich"})


@pytest.mark.parametrize("command", [["once", "--json"], ["once"]])
def test_a_whole_look_at_redis_loads_neither_celery_nor_kombu_nor_pika(
    redis_server: RedisServer, command: list[str]
) -> None:
    words = ["celerytop", *command, "-b", redis_server.url()]
    code = f"""
from celerytop.cli import main
sys.argv = {words!r}
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
    loaded = _loaded(code)
    assert "redis" in loaded
    assert not loaded.intersection({*HEAVY, "textual"})


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "amqp://guest:guest@127.0.0.1:1//"])
def test_what_a_broker_needs_is_not_loaded_before_it_is_used(url: str) -> None:
    code = f"""
import os
from celerytop.build import build
from celerytop.options import load
options = load({{"broker": {url!r}}}, dict(os.environ), os.getcwd())
build(options, options.broker)
"""
    assert not _loaded(code).intersection({*HEAVY, "redis", "hiredis", "psutil", "urllib3", "textual"})


@pytest.mark.rabbitmq
def test_a_whole_look_at_rabbitmq_loads_neither_celery_nor_kombu_nor_redis(
    rabbitmq_server: RabbitServer, rabbitmq_vhost: str
) -> None:
    words = ["celerytop", "once", "--json", "-b", rabbitmq_server.url(rabbitmq_vhost)]
    code = f"""
from celerytop.cli import main
sys.argv = {words!r}
sys.stdout, out = sys.stderr, sys.stdout
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
sys.stdout = out
"""
    loaded = _loaded(code)
    assert {"pika", "urllib3"} <= loaded
    assert not loaded.intersection({"celery", "kombu", "amqp", "redis", "textual"})


def test_the_full_screen_on_redis_loads_neither_celery_nor_kombu_nor_pika(redis_server: RedisServer) -> None:
    code = f"""
import os, asyncio
from celerytop.build import build
from celerytop.options import load
from celerytop.ui.app import CelerytopApp
options = load({{"broker": {redis_server.url()!r}}}, dict(os.environ), os.getcwd())
monitor = build(options, options.broker)
monitor.start()
app = CelerytopApp(monitor)
async def look():
    async with app.run_test(size=(80, 24)) as pilot:
        for key in "12356 8".replace(" ", ""):
            await pilot.press(key)
asyncio.run(look())
monitor.stop()
"""
    loaded = _loaded(code)
    assert "textual" in loaded
    assert not loaded.intersection(HEAVY)


_FIRST_SCREEN = """
import os, asyncio
import celerytop.cli
from celerytop.build import build, first_picture
from celerytop.options import load
from celerytop.ui.app import CelerytopApp
from celerytop.ui.feed import LaterFeed
options = load({"broker": URL}, dict(os.environ), os.getcwd())
feed = LaterFeed(first_picture(options, options.broker), lambda: build(options, options.broker))
app = CelerytopApp(feed)
loaded = []
def shown():
    loaded.extend(sys.modules)
    app.exit()
app.shown_first = shown
asyncio.run(app.run_async(headless=True, size=(100, 30)))
print(json.dumps(loaded))
raise SystemExit
"""


def test_the_first_screen_loads_only_what_it_shows(redis_server: RedisServer) -> None:
    code = _FIRST_SCREEN.replace("URL", repr(redis_server.url()))
    done = subprocess.run(
        [sys.executable, "-c", _CHILD.format(code=code)], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    ours = {name for name in loaded if name.partition(".")[0] == "celerytop"}
    assert "celerytop.ui.screens.queues" in ours
    late = (
        "monitor",
        "cluster",
        "sources.redis",
        "sources.rabbitmq",
        "sources.host",
        "report",
        "discover",
        "demo",
        "watch",
        "runbook",
        "ui.screens.asking",
    )
    assert not [name for name in ours for part in late if name.startswith(f"celerytop.{part}")]
    pages = {
        f"celerytop.ui.screens.{page}" for page in ("workers", "tasks", "broker", "hosts", "types", "menu", "help")
    }
    assert not ours & pages
    assert not {name.partition(".")[0] for name in loaded} & {*HEAVY, "redis", "hiredis", "psutil", "urllib3"}
    assert len(ours) <= 75, sorted(ours)

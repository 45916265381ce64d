"""What must never be loaded: the process stays light and never meets kombu's consumers."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.rig import RedisServer

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

"""Take the pictures of the README from the real program on the demo's real cluster: ``make screenshots``."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from celerytop.build import build
from celerytop.demo.cluster import DemoCluster
from celerytop.monitor import Monitor
from celerytop.options import load
from celerytop.ui.app import CelerytopApp

HERE = Path(__file__).parent
SIZE = (100, 30)
WARM_UP = float(os.environ.get("WARM_UP", "75"))
"""Seconds the demo runs before the first picture: trends and percentiles need some."""
PICTURES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "mix": {
        "queues": ("1",),
        "queue": ("1", "enter"),
        "workers": ("escape", "2", "right"),
        "tasks": ("3",),
        "task": ("enter",),
        "broker": ("escape", "5"),
        "hosts": ("6",),
        "types": ("8",),
    },
    "stuck": {
        "confirm": ("3", "/", *"name:mail.render_template", "enter", "home", "K", "t"),
        "outcome": ("y",),
        "actions": ("escape", "9"),
    },
}
"""Of each scenario: keys to press, one picture after another."""
_FONTS = re.compile(r"@font-face\s*\{[^}]*\}\s*")


async def take(monitor: Monitor, pictures: Mapping[str, tuple[str, ...]]) -> None:
    """Press the keys of each picture and write what the screen shows then."""
    app = CelerytopApp(monitor, theme="dark")
    async with app.run_test(size=SIZE) as pilot:
        await asyncio.sleep(WARM_UP)
        for name, keys in pictures.items():
            await pilot.press(*keys)
            await asyncio.sleep(3)
            svg = _FONTS.sub("", app.export_screenshot(title="celerytop"))  # no font from elsewhere
            (HERE / f"{name}.svg").write_text(svg, encoding="utf-8")
            print(f"screenshots/{name}.svg")


def show(scenario: str) -> bool:
    """Start the demo, look at it, take its pictures; ``False``: there was nothing to look at."""
    with DemoCluster(scenario) as cluster:
        options = load({"broker": cluster.broker_url, "cluster_label": "demo"}, {}, os.getcwd())
        if options.broker is None:
            return False
        monitor = build(options, options.broker)
        monitor.start()
        try:
            asyncio.run(take(monitor, PICTURES[scenario]))
        finally:
            monitor.stop()
    return True


def main() -> int:
    """Take all pictures; what is done for them goes into an audit file of their own."""
    with tempfile.TemporaryDirectory(prefix="celerytop-") as state:
        os.environ["XDG_STATE_HOME"] = state
        return 0 if all(show(scenario) for scenario in PICTURES) else 1


if __name__ == "__main__":
    sys.exit(main())

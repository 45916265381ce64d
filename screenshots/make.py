"""Take the pictures of the README from the real program on the demo's real cluster: ``make screenshots``."""

from __future__ import annotations

import asyncio
import os
import re
import sys
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
PICTURES: dict[str, tuple[str, ...]] = {
    "queues": ("1",),
    "queue": ("1", "enter"),
    "workers": ("escape", "2", "right"),
    "tasks": ("3",),
    "task": ("enter",),
    "broker": ("escape", "5"),
    "hosts": ("6",),
    "types": ("8",),
}
"""Keys to press, one picture after another."""
_FONTS = re.compile(r"@font-face\s*\{[^}]*\}\s*")


async def take(monitor: Monitor) -> None:
    """Press the keys of each picture and write what the screen shows then."""
    app = CelerytopApp(monitor, theme="dark")
    async with app.run_test(size=SIZE) as pilot:
        await asyncio.sleep(WARM_UP)
        for name, keys in PICTURES.items():
            await pilot.press(*keys)
            await asyncio.sleep(3)
            svg = _FONTS.sub("", app.export_screenshot(title="celerytop"))  # no font from elsewhere
            (HERE / f"{name}.svg").write_text(svg, encoding="utf-8")
            print(f"screenshots/{name}.svg")


def main() -> int:
    """Start the demo, look at it, take the pictures."""
    with DemoCluster("mix") as cluster:
        options = load({"broker": cluster.broker_url, "cluster_label": "demo"}, {}, os.getcwd())
        if options.broker is None:
            return 1
        monitor = build(options, options.broker)
        monitor.start()
        try:
            asyncio.run(take(monitor))
        finally:
            monitor.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())

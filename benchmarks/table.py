"""Figures: printed as a table, kept in ``results.json``, and from there written into the README."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from tests.rig.redis import redis_binary

RESULTS = Path(__file__).parent / "results.json"
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- measured by `make figures` -->", "<!-- end of what was measured -->"
SCRIPTS = ("ingest", "paced", "memory", "picture", "screen", "start", "asking", "stop", "cost")
_PACKAGES = ("celery", "kombu", "flower", "redis", "hiredis", "pika", "msgspec", "textual")


class Row(NamedTuple):
    """One line: what was measured, ours, the other's, and how they compare."""

    what: str
    ours: str
    other: str = ""
    compared: str = ""
    shown: bool = True
    """Whether the README shows it."""


def middle(values: Sequence[float]) -> float:
    """The median of some rounds."""
    return statistics.median(values)


def share(values: Sequence[float], part: float) -> float:
    """The value below which this part of them lies: ``share(lags, 0.95)``."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def times(ours: float, other: float) -> str:
    """How many times the other's."""
    return f"{ours / other:.1f} x" if other else "-"


def report(name: str, title: str, rows: Sequence[Row]) -> None:
    """Print the figures of one script, and keep them unless they are a mere ``trial``."""
    head = (title, "celerytop", "others", "")
    lines = [head, *(row[:4] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if name not in SCRIPTS:
        return
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept[name] = {"rows": [list(row) for row in rows], "measured on": machine(), "versions": versions()}
    RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def machine() -> str:
    """Where it was measured."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text()) if sys.platform == "linux" else None
    return f"{os.cpu_count()} cores ({model[1] if model else platform.machine()}), CPython {platform.python_version()}"


def versions() -> str:
    """Of all that took part."""
    found = [f"Redis {_after('v=', redis_binary(), '--version')}", f"RabbitMQ {_rabbitmq()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _after(mark: str, *command: str) -> str:
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return told.partition(mark)[2].split()[0] if mark in told else "?"


def _rabbitmq() -> str:
    from tests.rig import Missing
    from tests.rig.rabbitmq import rabbitmq_scripts

    try:
        return rabbitmq_scripts().parent.name.rpartition("-")[2]
    except Missing:
        return "-"


def write_readme() -> None:
    """Put what was measured between the two marks."""
    kept = json.loads(RESULTS.read_text())
    lines = ["| | celerytop | others | |", "| --- | --- | --- | --- |"]
    for name in SCRIPTS:
        rows = [Row(*row) for row in kept.get(name, {}).get("rows", ())]
        lines += [f"| {row.what} | {row.ours} | {row.other} | {row.compared} |" for row in rows if row.shown]
    last = next(kept[name] for name in reversed(SCRIPTS) if name in kept)
    told = f"Measured by `make figures` on {last['measured on']}; {last['versions']}. Events: the best of the "
    told += "rounds; Flower reads the first part of the same stream. Take the ratios, not the numbers."
    text = README.read_text()
    before, found, rest = text.partition(BEGIN)
    if not found or END not in rest:
        raise SystemExit(f"README.md lacks `{BEGIN}` or `{END}`")
    README.write_text("\n".join([before + BEGIN, *lines, "", told, END]) + rest.partition(END)[2])


if __name__ == "__main__":
    write_readme()

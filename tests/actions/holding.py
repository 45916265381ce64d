"""Messages in queues, and the Actor that handles them without a monitor."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from celerytop.actions.actor import Actor
from celerytop.actions.audit import Audit
from celerytop.broker_url import parse_url
from celerytop.model.action import AnyAction
from celerytop.model.address import BrokerSettings
from celerytop.model.outcome import ActionReport, Outcome
from celerytop.model.queue import Queue
from celerytop.model.snapshot import ClusterInfo, Snapshot
from celerytop.model.task import Task
from tests.actions.stage import perform


class Holding:
    """One broker, acted upon; ``tasks`` is what the snapshot knows."""

    def __init__(self, url: str, folder: Path, **settings: Any) -> None:
        self.settings = BrokerSettings(parse_url(url), **settings)
        self.folder = folder
        self.tasks: dict[str, Task] = {}
        self.queues: dict[str, Queue] = {}
        self.actor = Actor(self.settings, cluster="c", allowed=True, audit=Audit("c", folder))

    def see(self) -> Snapshot:
        """As much as the doers ask for."""
        info = ClusterInfo("c", "u", self.settings.address.transport)
        return Snapshot(0.0, info, tasks=self.tasks, queues=self.queues)

    def report(self, action: AnyAction) -> ActionReport:
        """The settled one."""
        return perform(self.actor, action, self.see)

    def perform(self, action: AnyAction) -> Outcome:
        """Its only verdict."""
        (outcome,) = self.report(action).outcomes
        return outcome


def raw_message(task_id: str, name: str = "rig.echo", args: str = "()", padding: int = 0) -> bytes:
    """As a producer pushes it, spelled our way: spaces and key order must survive."""
    return json.dumps(
        {
            "body": base64.b64encode(json.dumps([["x" * padding], {}, {}]).encode()).decode(),
            "content-encoding": "utf-8",
            "headers": {"task": name, "id": task_id, "argsrepr": args, "kwargsrepr": "{}"},
            "content-type": "application/json",
            "properties": {"correlation_id": task_id, "delivery_tag": f"tag-{task_id}", "priority": 0},
        },
        separators=(" ,", ":  "),
    ).encode()


def lines_of(path: str | Path | None) -> list[dict[str, Any]]:
    """Of a dump."""
    assert path is not None
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def dumped(path: str | Path | None) -> list[bytes]:
    """The messages of a dump."""
    return [base64.b64decode(line["raw"]) for line in lines_of(path) if line["type"] == "message"]


def fates(path: str | Path | None) -> dict[str, str]:
    """Task id to what became of it."""
    lines = lines_of(path)
    ids = {line["n"]: line["task_id"] for line in lines if line["type"] == "message"}
    found = dict.fromkeys(ids.values(), ".")
    for line in lines:
        if line["type"] == "fate":
            for count, letter in enumerate(line["was"]):
                found[ids[line["first"] + line["by"] * count]] = letter
    return found


def ran(log: str, ids: Iterable[str]) -> dict[str, int]:
    """How often each task succeeded, by a worker's log."""
    wanted = set(ids)
    counts = dict.fromkeys(wanted, 0)
    for line in log.splitlines():
        if "succeeded in" in line and (task_id := line.partition("[")[2] and _id_in(line)) in counts:
            counts[task_id] += 1
    return counts


def _id_in(line: str) -> str:
    return line.partition("Task ")[2].partition("[")[2].partition("]")[0]


def newest_first(entries: Sequence[bytes]) -> list[bytes]:
    """As a list holds what was pushed in this order."""
    return list(reversed(entries))

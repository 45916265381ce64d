"""What the demo cluster goes through: which workers run, and what is sent how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CONSUMED = ("orders", "reports", "images", "mail")
ABANDONED = "billing"
"""A queue that nobody consumes."""

RESULT_EXPIRES = 300
"""Results stay so long: the demo may run all night."""


@dataclass(frozen=True)
class WorkerSpec:
    """One ``celery worker``."""

    name: str
    """The part of the node name before ``@``."""
    pool: str
    concurrency: int
    queues: tuple[str, ...]
    events: bool = True
    """``-E``."""

    def words(self) -> list[str]:
        """The command line after ``celery -A app``."""
        words = ["worker", "-n", f"{self.name}@%h", "-P", self.pool, "-c", str(self.concurrency)]
        words += ["-Q", ",".join(self.queues), "-l", "CRITICAL", "--without-mingle"]
        return [*words, "-E"] if self.events else words


@dataclass(frozen=True)
class Scenario:
    """A mix of flows: names of functions in ``producer.FLOWS``."""

    summary: str
    per_second: Mapping[str, float]
    """Average rate of each flow."""
    at_start: tuple[str, ...] = ()
    """Flows that run once, in this order."""
    ceiling: Mapping[str, int] = field(default_factory=lambda: {ABANDONED: 5_000, "orders": 2_000})
    """A queue this long gets nothing more, so that a demo left alone does not fill the memory."""


WORKERS = (
    WorkerSpec("orders", "prefork", 4, ("orders",)),
    WorkerSpec("reports", "threads", 4, ("reports", "images")),
    WorkerSpec("mail", "prefork", 2, ("mail",), events=False),
)

_MIX = {
    "charge": 4.0,
    "stock": 1.5,
    "mail": 2.0,
    "ship": 0.4,
    "report": 0.12,
    "gallery": 0.15,
    "month_end": 0.04,
    "reminder": 0.25,
    "invoice": 0.5,
    "fraud_check": 0.15,
}

SCENARIOS: Mapping[str, Scenario] = {
    "mix": Scenario(
        "an ordinary day: short, long, failing and retrying tasks, and one queue nobody consumes",
        _MIX,
        at_start=("report", "gallery", "reminder", "invoice", "ship", "month_end"),
    ),
    "backlog": Scenario(
        "orders come faster than the workers can charge them",
        {**_MIX, "charge": 60.0, "fraud_check": 0.6},
        at_start=("rush",),
        ceiling={ABANDONED: 5_000, "orders": 50_000},
    ),
    "stuck": Scenario(
        "every slot of one pool waits for its own subtask, and a mail task sleeps on a lock",
        {"charge": 0.5, "mail": 1.0, "report": 0.12, "gallery": 0.1, "invoice": 0.5},
        at_start=("locked", "checkouts"),
    ),
}

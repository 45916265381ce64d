"""The recorded stream, and ways to disturb it."""

from __future__ import annotations

import gzip
import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from celerytop.model.event import Event, TaskEvent, WorkerEvent

_FILE = Path(__file__).parent / "streams" / "mix.jsonl.gz"


@cache
def recorded() -> tuple[dict[str, Any], ...]:
    """All task events of the recording, as Celery wrote them, in the order they came."""
    with gzip.open(_FILE, "rt") as file:
        events = (json.loads(line) for line in file)
        return tuple(event for event in events if event["type"].startswith("task-"))


def typed(raw: dict[str, Any]) -> TaskEvent:
    """One of them as celerytop decodes it."""
    event: Event = msgspec.convert(raw, Event)
    assert not isinstance(event, WorkerEvent)
    return event


def shuffled(seed: int, window: int) -> list[dict[str, Any]]:
    """The recording with every event at most ``window`` places from where it was; none lost."""
    chance = random.Random(seed)
    places = [(place + chance.uniform(0, window), event) for place, event in enumerate(recorded())]
    return [event for _, event in sorted(places, key=lambda pair: pair[0])]

"""Sources that are imported when they are first used, in the thread that uses them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from celerytop.model.observation import Observation
from celerytop.sources.base import Interest, Lane, Probe, Source

T = TypeVar("T")


class Once(Generic[T]):
    """Makes a thing when it is first called, whichever thread that is, and gives the same from then on."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: list[T] = []

    def __call__(self) -> T:
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]


class LaterSource:
    """A stream that is made when it is first observed."""

    def __init__(self, name: str, make: Callable[[], Source]) -> None:
        self.name = name
        self._make = make
        self._source: Source | None = None

    def observe(self) -> Iterator[Observation | None]:
        """See ``Source``."""
        self._source = self._source or self._make()
        return self._source.observe()

    def drain(self) -> None:
        """See ``Source``."""
        if self._source is not None:
            self._source.drain()

    def hang_up(self) -> None:
        """See ``Source``."""
        if self._source is not None:
            self._source.hang_up()


class LaterLane:
    """A lane that is made when it first connects; until then only the names of its probes are known."""

    def __init__(self, name: str, asked: Sequence[str], make: Callable[[], Lane]) -> None:
        self.name = name
        self.probes: tuple[Probe, ...] = tuple(_Named(one) for one in asked)
        self._make = make
        self._lane: Lane | None = None

    def connect(self) -> None:
        """See ``Lane``."""
        if self._lane is None:
            self._lane = self._make()
            self.probes = self._lane.probes
        self._lane.connect()

    def close(self) -> None:
        """See ``Lane``."""
        if self._lane is not None:
            self._lane.close()


class _Named:
    """Stands for a probe that is not there yet."""

    every = 1.0
    took = 0.0

    def __init__(self, name: str) -> None:
        self.name = name

    def attend(self, interest: Interest) -> None:
        """Nothing to attend to."""

    def poll(self) -> Iterator[Observation]:
        """Nothing to ask."""
        return iter(())

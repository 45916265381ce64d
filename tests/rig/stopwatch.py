"""Time as this machine has let us have it."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

TICK = 0.05


class Stopwatch:
    """Seconds in which this process ran: a machine that stands still, or runs others, counts as one tick.

    For what is promised in seconds: "within eight seconds" is within eight of these, however loaded the machine is.

    >>> with Stopwatch() as watch:
    ...     watch.seconds < 1
    True
    """

    def __init__(self) -> None:
        self._ticks = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._ended.wait(TICK):
            self._ticks += 1

    @property
    def seconds(self) -> float:
        """Since the block began."""
        return self._ticks * TICK

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

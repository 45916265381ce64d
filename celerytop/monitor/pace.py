"""How often a broker that answers slowly is asked: so that it spends at most a tenth of its time on us."""

from __future__ import annotations

from collections import deque

SHARE = 0.1
"""Part of the time that one connection of ours may keep the broker answering: 100 ms a second."""
SLOWEST = 60.0
"""Seconds; whatever it takes, something is asked once a minute."""
_TOGETHER = 3
"""Answers that must all be slow: one that was held up says nothing of the broker."""


class Pace:
    """Of one lane: what its questions took, and by how much they are stretched."""

    def __init__(self) -> None:
        self._took: dict[int, deque[float]] = {}
        self._stretch: dict[int, float] = {}

    def answered(self, question: int, took: float, usual: float) -> None:
        """Learn from one answer.

        Args:
            question: tells the lane's questions apart.
            took: seconds the broker took; 0.0: it was not asked this time.
            usual: seconds between two of this question when all is well.
        """
        last = self._took.setdefault(question, deque(maxlen=_TOGETHER))
        if took:
            last.append(took)
        slow = min(last) if len(last) == _TOGETHER else 0.0
        self._stretch[question] = max(1.0, min(slow / SHARE, SLOWEST) / usual)

    def every(self, usual: float) -> float:
        """Seconds between two questions: ``usual`` unless the broker is slow. One slow answer slows the whole lane.

        >>> pace = Pace()
        >>> for _ in range(3):
        ...     pace.answered(1, took=0.5, usual=1.0)
        >>> pace.every(1.0), pace.every(5.0)
        (5.0, 25.0)
        """
        return max(usual, min(usual * max(self._stretch.values(), default=1.0), SLOWEST))

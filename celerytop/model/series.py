"""Short histories and quantiles, as values."""

from __future__ import annotations

import msgspec


class Series(msgspec.Struct, frozen=True, eq=False):
    """Evenly spaced samples, oldest first; ``None`` where nothing was measured."""

    step: float
    """Seconds between two samples."""
    until_at: float
    """Moment of the last sample."""
    values: tuple[float | None, ...]


class Quantiles(msgspec.Struct, frozen=True, gc=False):
    """Quantiles of ``count`` samples, each within 1 % of the true value."""

    count: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None

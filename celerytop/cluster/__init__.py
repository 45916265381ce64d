"""From observations to pictures: bounded memory, no clock, no input or output."""

from __future__ import annotations

from celerytop.cluster.cluster import Cluster

__all__ = ["Cluster"]

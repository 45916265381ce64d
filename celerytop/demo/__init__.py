"""A real Celery cluster in a box: an embedded Valkey, three workers, a producer; for looking and for trying keys."""

from __future__ import annotations

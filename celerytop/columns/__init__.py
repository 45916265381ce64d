"""What a table shows: every column of every page, once, for the screen and for the text report.

A column is a title, a width, a sortable value and a text. To add one, write it in the page's file, at the
place where it shall stand, and raise nothing: a value that is not known is ``None`` and its text ``?``.
"""

from __future__ import annotations

from celerytop.columns.column import (
    GAP,
    MARKS,
    Cell,
    Column,
    Look,
    fit,
    heading,
    mark,
    row_cells,
    sort_key,
    table_width,
)
from celerytop.columns.losses import last_bad, losses
from celerytop.columns.processes import PROCESSES, process_tone
from celerytop.columns.queues import QUEUES, queue_tone
from celerytop.columns.tasks import TASKS, task_tone
from celerytop.columns.types import TYPES, type_tone
from celerytop.columns.workers import WORKERS, worker_tone

COLUMNS: dict[str, tuple[Column, ...]] = {
    "queues": QUEUES,
    "workers": WORKERS,
    "tasks": TASKS,
    "hosts": PROCESSES,
    "types": TYPES,
}
"""Columns by page."""

DEFAULT_SORT: dict[str, tuple[str, bool]] = {
    "queues": ("ready", True),
    "workers": ("state", True),
    "tasks": ("ratio", True),
    "hosts": ("cpu", True),
    "types": ("rate", True),
}
"""(column, largest first) by page."""

__all__ = [
    "COLUMNS",
    "DEFAULT_SORT",
    "GAP",
    "MARKS",
    "PROCESSES",
    "QUEUES",
    "TASKS",
    "TYPES",
    "WORKERS",
    "Cell",
    "Column",
    "Look",
    "fit",
    "heading",
    "last_bad",
    "losses",
    "mark",
    "process_tone",
    "queue_tone",
    "row_cells",
    "sort_key",
    "table_width",
    "task_tone",
    "type_tone",
    "worker_tone",
]

"""Tests of the screen need not wait for fifteen frames a second."""

from __future__ import annotations

import os

os.environ.setdefault("TEXTUAL_FPS", "240")

"""The full screen: Textual over a Feed. Knows Snapshot and Command and nothing else."""

from __future__ import annotations

import os

# Read once, when textual is imported: animations and smooth scrolling only cost bytes on a slow line.
os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
os.environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
os.environ.setdefault("TEXTUAL_FPS", "15")

"""The full screen: Textual over a Feed. Knows Snapshot and Command and nothing else."""

from __future__ import annotations

import os

# Read once, when textual is imported: animations and smooth scrolling only cost bytes on a slow line.
os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
os.environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
# A painting waits for the next of so many moments in a second: of a key's latency with 60 it is the larger part. A slow
# line gets no more bytes for it: nothing is painted while the terminal has not taken the last (screens/frame.py).
os.environ.setdefault("TEXTUAL_FPS", "120")

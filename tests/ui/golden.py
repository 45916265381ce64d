"""Screens as text, kept in git and looked at in review. ``UPDATE_GOLDEN=1`` writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

from textual.app import App

FOLDER = Path(__file__).parent / "golden_text"


def shown(app: App[None]) -> str:
    """What stands on the screen now."""
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips) + "\n"


def check(name: str, text: str) -> None:
    """Compare with the kept text."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"{path.name} is missing: UPDATE_GOLDEN=1 pytest {path.parent.parent}"
    assert text == path.read_text(encoding="utf-8"), f"{path.name} differs: look at it, then UPDATE_GOLDEN=1"

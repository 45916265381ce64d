"""The smallest full-screen Textual program: what nobody who uses Textual can go below."""

from __future__ import annotations

import os

os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")

from textual.app import App, ComposeResult
from textual.widgets import Static


class Minimal(App[None]):
    """One line of text."""

    def compose(self) -> ComposeResult:
        """The line."""
        yield Static("it is here")


if __name__ == "__main__":
    Minimal().run()

"""The smallest full-screen Textual program: what nobody who uses Textual can go below."""

from __future__ import annotations

import os

os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")

from textual import events
from textual.app import App, ComposeResult
from textual.widgets import Static


class Minimal(App[None]):
    """One line of text, which counts the keys."""

    keys = 0

    def compose(self) -> ComposeResult:
        """The line."""
        yield Static("it is here")

    def on_key(self, event: events.Key) -> None:
        """Another text for each key."""
        self.keys += 1
        self.query_one(Static).update(f"it is here, after {self.keys} keys")


if __name__ == "__main__":
    Minimal().run()

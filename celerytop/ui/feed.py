"""What the screen is given: pictures in, wishes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from celerytop.model.command import Command
from celerytop.model.snapshot import Snapshot


class Feed(Protocol):
    """The monitor, as the screen sees it."""

    @property
    def latest(self) -> Snapshot:
        """The newest picture; before the first one, an empty picture that names the cluster."""
        ...

    def subscribe(self, callback: Callable[[Snapshot], None]) -> Callable[[], None]:
        """Call ``callback`` with each new picture, from another thread; the returned function ends it."""
        ...

    def submit(self, command: Command) -> None:
        """Hand over a wish. Returns at once; its fate comes back in a later picture."""
        ...

    def suspend(self) -> None:
        """The process is about to be stopped (Ctrl-Z): a reader that is stopped would fill the broker's buffers."""
        ...

    def resume(self) -> None:
        """It goes on."""
        ...


class StillFeed:
    """A feed that moves only when told to: for tests and pictures."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.latest = snapshot
        self.commands: list[Command] = []
        """Everything the screen asked for, oldest first."""
        self._callbacks: list[Callable[[Snapshot], None]] = []

    def subscribe(self, callback: Callable[[Snapshot], None]) -> Callable[[], None]:
        """See ``Feed.subscribe``."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def submit(self, command: Command) -> None:
        """Remember the wish."""
        self.commands.append(command)

    def suspend(self) -> None:
        """Nothing to close."""

    def resume(self) -> None:
        """Nothing to open."""

    def publish(self, snapshot: Snapshot) -> None:
        """Show ``snapshot`` next."""
        self.latest = snapshot
        for callback in list(self._callbacks):
            callback(snapshot)

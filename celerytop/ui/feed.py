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


class Running(Feed, Protocol):
    """A feed that is begun and ended."""

    def start(self) -> None:
        """Begin to look. Returns at once."""
        ...

    def stop(self, patience: float) -> None:
        """End it; wait for that at most ``patience`` seconds."""
        ...


class LaterFeed:
    """A feed that is made when the first screen is there: what it must import is a sixth of the time until then."""

    def __init__(self, first: Snapshot, make: Callable[[], Running]) -> None:
        self._first = first
        self._make = make
        self._made: Running | None = None
        self._callbacks: dict[Callable[[Snapshot], None], Callable[[], None] | None] = {}
        self._wishes: list[Command] = []

    def begin(self) -> None:
        """Make it and start it; it hears what was wished for before."""
        made = self._made = self._make()
        for callback in self._callbacks:
            self._callbacks[callback] = made.subscribe(callback)
        for command in self._wishes:
            made.submit(command)
        made.start()

    def stop(self, patience: float) -> None:
        """See ``Running``."""
        if self._made is not None:
            self._made.stop(patience)

    @property
    def latest(self) -> Snapshot:
        """See ``Feed``."""
        return self._first if self._made is None else self._made.latest

    def subscribe(self, callback: Callable[[Snapshot], None]) -> Callable[[], None]:
        """See ``Feed``."""
        self._callbacks[callback] = None if self._made is None else self._made.subscribe(callback)

        def unsubscribe() -> None:
            if (end := self._callbacks.pop(callback, None)) is not None:
                end()

        return unsubscribe

    def submit(self, command: Command) -> None:
        """See ``Feed``."""
        if self._made is None:
            self._wishes.append(command)
        else:
            self._made.submit(command)

    def suspend(self) -> None:
        """See ``Feed``."""
        if self._made is not None:
            self._made.suspend()

    def resume(self) -> None:
        """See ``Feed``."""
        if self._made is not None:
            self._made.resume()


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

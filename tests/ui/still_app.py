"""A program for the pseudo-terminal tests: the screen over a hand-made picture.

``python -m tests.ui.still_app KIND [moving] [crash] [patient]``
"""

from __future__ import annotations

import sys
import threading
import time

import msgspec

from celerytop.errors import TerminalError
from celerytop.model.command import Command, RetryNow
from celerytop.ui import driver, run
from celerytop.ui.feed import StillFeed
from celerytop.ui.terminal import Settings
from tests.ui import snapshots


class CrashingFeed(StillFeed):
    """Breaks when asked to try again: as a bug in the screen's own thread would."""

    def submit(self, command: Command) -> None:
        """See ``Feed``."""
        if isinstance(command, RetryNow):
            raise RuntimeError("broken on purpose, redis://me:hunter2@h/0")
        super().submit(command)


def _move(feed: StillFeed) -> None:
    """One new picture a second, with times going on and some numbers changing."""
    first = feed.latest
    for step in range(1, 3600):
        time.sleep(1.0)
        at = first.at + step
        queues = dict(first.queues)
        for name in list(queues)[:5]:
            queue = queues[name]
            queues[name] = msgspec.structs.replace(queue, messages=(queue.messages or 0) + step)
        feed.publish(msgspec.structs.replace(first, at=at, queues=queues, sources=snapshots.up(at)))


def main() -> int:
    """Run until somebody ends it."""
    words = set(sys.argv[2:])
    snapshot = getattr(snapshots, sys.argv[1])()
    feed = CrashingFeed(snapshot) if "crash" in words else StillFeed(snapshot)
    if "patient" in words:
        driver._PATIENCE = run._GIVE_UP = 3600.0  # so that a test sees whether it waits
    if "moving" in words:
        threading.Thread(target=_move, args=(feed,), daemon=True).start()
    try:
        return run.run_app(feed, Settings(utc=True))
    except TerminalError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())

"""Runs one action and is killed in the middle of it: ``python -m tests.actions.killed URL FOLDER WHEN COUNT WORDS``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from celerytop.actions.dump import Dump
from celerytop.actions.rabbitmq.messages import RabbitMessages
from celerytop.actions.redis.messages import RedisMessages
from celerytop.model.action import MoveMessages, PurgeQueue, RestoreDump
from tests.actions.holding import Holding

HOOKS: dict[str, tuple[type, str]] = {
    "script": (RedisMessages, "_by_script"),
    "commit": (RabbitMessages, "_commit"),
    "restore": (RedisMessages, "put_back"),
    "dump": (Dump, "add"),
    "sync": (Dump, "sync"),
}


def main(url: str, folder: str, when: str, count: str, what: str, *words: str) -> None:
    """``when``: ``before:script`` or ``after:commit``; the call number ``count`` is the last one."""
    side, _, name = when.partition(":")
    owner, method = HOOKS[name]
    original, calls = getattr(owner, method), [0]

    def hooked(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if side == "before" and calls[0] == int(count):
            os.kill(os.getpid(), signal.SIGKILL)
        found = original(*args, **kwargs)
        if side == "after" and calls[0] == int(count):
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(owner, method, hooked)
    dump = str(Path(folder) / "dump")
    held = Holding(url, Path(folder))
    if what == "purge":
        held.perform(PurgeQueue(queue="celery", dump=dump, filter=" ".join(words)))
    elif what == "move":
        held.perform(MoveMessages(queue="celery", to=words[0], dump=dump))
    else:
        held.perform(RestoreDump(path=dump))


if __name__ == "__main__":
    main(*sys.argv[1:])

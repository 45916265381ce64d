"""Sources that are made when they are first used."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from celerytop.sources.later import Once


def test_whichever_thread_comes_first_it_is_made_once() -> None:
    together = threading.Barrier(8, timeout=60)
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    once = Once(make)

    def call(_: int) -> object:
        together.wait()
        return once()

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(call, range(8))) == {made[0]}
    assert len(made) == 1


def test_what_could_not_be_made_is_tried_again() -> None:
    attempts: list[int] = []

    def make() -> int:
        attempts.append(1)
        if len(attempts) < 2:
            raise OSError("not yet")
        return 7

    once = Once(make)
    with pytest.raises(OSError, match="not yet"):
        once()
    assert (once(), once(), len(attempts)) == (7, 7, 2)

"""Which process the menu of a worker offers to kill: never one of another cluster that happens to have its name."""

from __future__ import annotations

from msgspec.structs import replace

from celerytop.model.host import Host, Process
from celerytop.model.snapshot import Snapshot
from celerytop.model.worker import Worker
from celerytop.ui.offers.workers import kills
from tests.ui import snapshots

NAME = "w1@h"


def picture(*mains: int, **facts: object) -> Snapshot:
    """One worker, and main processes of its name on this host."""
    at = snapshots.AT
    processes = tuple(Process(pid, 1, at - 900, "main", pid, NAME) for pid in mains)
    known = replace(Worker(NAME, host="h", state="alive"), **facts)
    return replace(snapshots.healthy(), workers={NAME: known}, hosts={"h": Host("h", at, processes=processes)})


def offered(snapshot: Snapshot) -> list[str]:
    """The lines of the menu."""
    return [f"{one.label}: {one.note}" for one in kills((NAME,), snapshot)]


def test_its_own_process_is_offered_and_not_that_of_another_cluster() -> None:
    assert offered(picture(100, 200, pid=100, pids=(100,))) == [
        "kill its process: SIGKILL to pid 100, for one that hangs"
    ]
    assert offered(picture(200, pid=100, pids=(100,))) == ["kill its process: not seen on this host"]


def test_of_two_that_use_the_name_each_is_offered() -> None:
    assert offered(picture(100, 200, 300, pid=100, pids=(100, 200))) == [
        "kill process 100: SIGKILL to pid 100, one of 2 of this name",
        "kill process 200: SIGKILL to pid 200, one of 2 of this name",
    ]


def test_without_its_own_word_only_one_that_is_alone_is_offered() -> None:
    assert offered(picture(100)) == ["kill its process: SIGKILL to pid 100, for one that hangs"]
    assert offered(picture(100, 200)) == ["kill its process: not seen on this host"]

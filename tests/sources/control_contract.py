"""What every broker's way of asking workers must do: inherited by one test class per broker, run on real servers.

A worker says that it is ready before it listens, and on a loaded machine its answers may miss the second of a round.
So rounds are held until one is as it must be; nobody sleeps.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, ExitStack, closing
from typing import Any

import pytest

from celerytop.model.address import BrokerSettings
from celerytop.model.observation import TasksListed, WorkersAnswered
from celerytop.sources.base import Interest
from tests.rig import Worker, eventually, wait_until
from tests.sources.answers import check_everything, nodenames, only, replies, start
from tests.sources.contract import SECRET, Site, produce


class Skipping:
    """A clock that can be set ahead, so that a round is due now and not in five seconds; and that may be slow."""

    def __init__(self, pace: float = 1.0) -> None:
        self._ahead = 0.0
        self._pace = pace

    def __call__(self) -> float:
        return time.monotonic() * self._pace + self._ahead

    def skip(self, seconds: float) -> None:
        self._ahead += seconds


def hurry(probe: Any, clock: Skipping) -> None:
    """Let ``clock`` decide what is due."""
    probe._asking._clock = clock


class ControlContract:
    """Any broker's way of asking workers."""

    def probe(self, settings: BrokerSettings) -> AbstractContextManager[Any]:
        """A connected probe."""
        raise NotImplementedError

    @pytest.fixture
    def site(self) -> Site:
        raise NotImplementedError

    def debris(self, site: Site) -> list[str]:
        """What a probe that is closed has left behind on the broker."""
        raise NotImplementedError

    def test_workers_of_every_pool_answer_everything_at_once(self, site: Site) -> None:
        with ExitStack() as stack:
            queues = {"prefork": "celery", "threads": "celery", "gevent": "celery", "solo": "alone"}
            workers = {
                pool: stack.enter_context(closing(Worker(site.url, pool=pool, queues=(queue,))))
                for pool, queue in queues.items()
            }
            start(*workers.values())
            task_id = produce(site.url, "rig.sleep", 600, "\x1b[31m")
            wait_until(lambda: any(task_id in worker.log for worker in workers.values()))
            with self.probe(site.settings) as probe:
                probe.attend(Interest(workers=tuple(worker.nodename for worker in workers.values())))

                def at_once() -> None:
                    probe._asking.forget()  # everything is due
                    answered = only(probe.poll())
                    assert answered.expected == 4 or not self.counts
                    assert answered.window < 0.8
                    assert answered.late == 0
                    assert not answered.absent
                    check_everything(workers, answered, task_id)
                    assert SECRET not in str(answered)
                    assert not list(probe.poll()), "nothing is due"

                eventually(at_once)
            assert not self.debris(site)

    counts = True
    """The broker tells how many listen, asked or not, and holds answers to old questions."""

    def test_who_is_busy_or_frozen_is_waited_for_once_and_late_answers_are_ignored(self, site: Site) -> None:
        with ExitStack() as stack:
            prefork, frozen = (stack.enter_context(closing(Worker(site.url, queues=(q,)))) for q in "ab")
            solo = stack.enter_context(closing(Worker(site.url, pool="solo", queues=("c",))))
            start(prefork, frozen, solo)
            clock = Skipping()
            with self.probe(site.settings) as probe:
                hurry(probe, clock)
                names = (prefork.nodename, frozen.nodename, solo.nodename)
                probe.attend(Interest(workers=names))
                late: list[int] = []

                def all_back() -> bool:
                    clock.skip(5)
                    rounds = list(probe.poll())
                    late.extend(one.late for one in rounds if isinstance(one, WorkersAnswered))
                    return any(nodenames(one) == set(names) for one in rounds)

                wait_until(all_back, 60, "all answer")
                frozen.freeze()
                produce(site.url, "rig.subprocess", 600, queue="c")
                busy = wait_until(solo.children, 30, "it waits for its task")
                eventually(lambda: self._waits_once(probe, clock, names))
                frozen.thaw()
                for program in busy:
                    program.kill()
                late.clear()
                wait_until(all_back, 60, "all answer again")
                assert sum(late) > 0 or not self.counts
            assert not self.debris(site)

    def _waits_once(self, probe: Any, clock: Skipping, names: tuple[str, ...]) -> None:
        """Only the first of ``names`` can answer."""
        probe._asking.forget()
        probe.attend(Interest(workers=names))
        clock.skip(5)
        first = only(probe.poll())
        assert nodenames(first) == {names[0]}
        assert first.expected == 3 or not self.counts
        assert 0.9 < first.window < 1.3
        probe.attend(Interest(workers=names[:1], quiet=names[1:]))
        clock.skip(5)
        second = only(probe.poll())
        assert nodenames(second) == {names[0]}
        assert second.window < 0.5, "nobody waits for those known to be silent"
        assert not second.absent

    def test_big_replies_are_capped(self, site: Site) -> None:
        with Worker(site.url, concurrency=1) as worker:
            for _ in range(3):
                produce(site.url, "rig.echo", "x" * 500_000, countdown=600)
            for _ in range(1050):
                produce(site.url, "rig.add", 1, 2, countdown=600)
            wait_until(lambda: worker.log.count(" received") >= 1053, 60, "it holds them all")
            clock = Skipping(pace=0.2)  # a slow machine needs more than a second for such a reply
            with self.probe(site.settings) as probe:
                hurry(probe, clock)
                probe.attend(Interest(page="tasks", workers=(worker.nodename,)))

                def all_scheduled() -> TasksListed | None:
                    clock.skip(101)
                    found = [
                        reply for one in probe.poll() for reply in replies(one, TasksListed) if reply.total == 1053
                    ]
                    return found[0] if found else None

                scheduled = wait_until(all_scheduled, 100)
                assert scheduled is not None
                assert scheduled.place == "scheduled"
                assert len(scheduled.tasks) == 1000
                assert all(task.eta_at and 0 < task.eta_at - time.time() < 601 for task in scheduled.tasks)
                assert max(len(task.args or "") for task in scheduled.tasks) <= 4096
                clock.skip(20)
                assert "scheduled" not in only(probe.poll()).asked, "a heavy one is asked less often"

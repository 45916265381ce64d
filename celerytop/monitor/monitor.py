"""Runs everything there is of one cluster, and is the screen's Feed."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from celerytop.cluster import Cluster
from celerytop.errors import bug
from celerytop.model.command import Attend, Command, RetryNow, SetInterval
from celerytop.model.observation import Observation
from celerytop.model.snapshot import Snapshot
from celerytop.model.worker import ALIVE, GONE
from celerytop.monitor.acting import Acting, Performer
from celerytop.monitor.runners import LaneRunner, Runner, StreamRunner
from celerytop.sources.base import Interest, Lane, Source

INTERVALS = (0.5, 10.0)
_IDLE = 0.005
_COLLECT = (10_000, 20, 50)
"""For the collector of reference cycles, of which no event makes any. With Python's own (700, 10, 10) it took 5 % of
the time at 100,000 events/s, and each look at everything stopped all threads for 15 to 30 ms."""
_STEP, _TURN = 0.001, 0.003
"""Seconds that a picture is made without a pause, and those that others may fold in then."""
_MEANWHILE = 0.002
"""Seconds between two looks at what a stream is sent while its batch waits to be folded."""


class Monitor:
    """Runs sources and lanes, folds what they say into a ``Cluster``, publishes Snapshots: the screen's Feed."""

    def __init__(
        self,
        cluster: Cluster,
        streams: Sequence[Source],
        lanes: Sequence[Lane],
        *,
        interval: float = 1.0,
        attention: Attend | None = None,
        performer: Performer | None = None,
    ) -> None:
        """Nothing runs yet.

        Args:
            cluster: what folds.
            streams: each gets a thread.
            lanes: each gets a thread.
            interval: seconds between two pictures.
            attention: what is shown at first.
            performer: what performs actions; ``None``: they cannot be asked for.
        """
        self._cluster = cluster
        self._lock = threading.Lock()
        self._camera = threading.Lock()
        """Held by who makes a picture, which lets go of the other one now and then."""
        self._stopping = threading.Event()
        self._suspended = threading.Event()
        self._listeners: list[Callable[[Snapshot], None]] = []
        self._attention = attention or Attend()
        self._interval = interval
        self._frame_now = threading.Event()
        self._runners: list[Runner] = [StreamRunner(self, stream) for stream in streams]
        self._runners += [LaneRunner(self, lane) for lane in lanes]
        self._frames = threading.Thread(target=self._take_pictures, name="frames", daemon=True)
        self.latest = cluster.snapshot(time.time())
        self._acting = None if performer is None else Acting(performer, self.picture, self.fold)

    # -- what a screen or a report uses

    def start(self) -> None:
        """Begin to look. Returns at once."""
        gc.set_threshold(*_COLLECT)
        for runner in self._runners:
            runner.thread.start()
        self._frames.start()

    def stop(self, patience: float = 4.0) -> None:
        """Stop looking and close every connection; wait for that at most ``patience`` seconds."""
        self._stopping.set()
        self._suspended.clear()
        self._frame_now.set()
        deadline = time.monotonic() + patience
        if self._acting is not None:
            self._acting.close()
        for runner in self._runners:
            runner.wake.set()
            runner.interrupt()
        for thread in [runner.thread for runner in self._runners] + [self._frames]:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))

    def subscribe(self, callback: Callable[[Snapshot], None]) -> Callable[[], None]:
        """Call ``callback`` with every new Snapshot, from another thread; returns what ends that."""
        self._listeners.append(callback)

        def unsubscribe() -> None:
            with suppress(ValueError):
                self._listeners.remove(callback)

        return unsubscribe

    def submit(self, command: Command) -> None:
        """Take a wish; returns at once."""
        match command:
            case Attend():
                changed = command != self._attention
                self._attention = command
                if changed:
                    self._wake_lanes(again=False)
            case SetInterval(seconds=seconds):
                self._interval = min(max(seconds, INTERVALS[0]), INTERVALS[1])
                self._frame_now.set()
            case RetryNow():
                self._wake_lanes(again=True)
            case _:
                if self._acting is not None:
                    self._acting.begin(command)

    def looked(self, times: int = 1) -> bool:
        """Whether every lane has asked all its questions ``times`` times, and every other source has answered.

        One that has failed has answered: nobody waits for its next attempt, which may be a minute away.
        """
        return all(
            runner.looks >= (times if isinstance(runner, LaneRunner) and not runner.failing else 1)
            for runner in self._runners
        )

    def wait(self, looks: int, patience: float) -> bool:
        """Wait until ``looked(looks)``, at most ``patience`` seconds; returns whether it came true."""
        deadline = time.monotonic() + patience
        while not self.looked(looks) and time.monotonic() < deadline:
            self._stopping.wait(_IDLE)
        return self.looked(looks)

    def look_again(self) -> None:
        """Ask all questions now, whenever they are due: names found by one source are then known to the others."""
        self._wake_lanes(again=False)

    def picture(self) -> Snapshot:
        """Take a Snapshot now, beside the regular ones. A large one is made in steps; others fold in between."""
        with self._camera:
            making = self._cluster.making(time.time(), self._interval)
            while True:
                with self._lock:
                    began = time.perf_counter()
                    try:
                        while time.perf_counter() - began < _STEP:
                            next(making)
                    except StopIteration as made:
                        picture: Snapshot = made.value
                        return picture
                # a lock alone is no turn: who lets go of it and asks again gets it before who has waited
                time.sleep(_TURN)

    def suspend(self, patience: float = 2.5) -> None:
        """Close the streams before the process is stopped (Ctrl-Z): a stopped reader fills the broker's buffers."""
        self._suspended.set()
        deadline = time.monotonic() + patience
        for runner in self._runners:
            if isinstance(runner, StreamRunner):
                runner.quiet.wait(max(0.0, deadline - time.monotonic()))

    def resume(self) -> None:
        """Open the streams again; the gap is recorded."""
        self._suspended.clear()
        for runner in self._runners:
            runner.wake.set()

    # -- what the threads use

    def fold(self, observation: Observation, meanwhile: Callable[[], None] | None = None) -> None:
        """Put one observation into the cluster; ``meanwhile`` is called again and again as long as that must wait."""
        if meanwhile is None:
            self._lock.acquire()
        else:
            while not self._lock.acquire(timeout=_MEANWHILE):
                meanwhile()
        try:
            self._cluster.apply(observation)
        finally:
            self._lock.release()

    def interest(self) -> Interest:
        """What is worth looking at: the screen's attention, and what the cluster is known to hold."""
        seen = self._attention
        # the first looks of a report must know at once what the others have found; later ones need not
        now = self.picture() if seen.page == "all" and not self.looked(3) else self.latest
        known = {worker.nodename: worker.state for worker in now.workers.values()}
        return Interest(
            page=seen.page,
            queue=seen.queue,
            worker=seen.worker,
            task_id=seen.task_id,
            peek_from=seen.peek_from,
            queues=tuple(now.queues),
            workers=tuple(name for name, state in known.items() if state == ALIVE),
            quiet=tuple(name for name, state in known.items() if state not in (ALIVE, GONE)),
            pids=tuple(worker.pid for worker in now.workers.values() if worker.pid is not None),
        )

    def stopping(self) -> bool:
        """Whether the threads should end."""
        return self._stopping.is_set()

    def suspended(self) -> bool:
        """Whether streams should be closed for now."""
        return self._suspended.is_set()

    def _wake_lanes(self, *, again: bool) -> None:
        for runner in self._runners:
            if again:
                runner.again.set()
            runner.wake.set()

    def _take_pictures(self) -> None:
        started = time.monotonic()
        while not self._stopping.is_set():
            try:
                snapshot = self.picture()
            except Exception as error:  # the old picture, ageing, and why: never a screen that has just stopped
                sentence = f"celerytop has a bug in its pictures: {bug(error)}"
                snapshot = msgspec.structs.replace(self.latest, notes=(sentence,))
            self.latest = snapshot
            for listener in tuple(self._listeners):
                listener(snapshot)
            # the first screen fills as the answers come
            filling = time.monotonic() - started < 2.0 and not self.looked()
            self._frame_now.wait(0.1 if filling else self._interval)
            self._frame_now.clear()

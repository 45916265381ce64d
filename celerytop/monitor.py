"""Threads, retries and pictures: the only file with ``Thread`` and with ``except Exception``.

One thread for each stream (it reads *and* folds, so a batch never changes hands), one for each lane of probes, one that
takes the pictures. All of them fold under one lock, in slices of a few milliseconds: a reader never waits for the
screen, and the screen never waits for a reader longer than that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from celerytop.cluster import Cluster
from celerytop.errors import DeniedError, RefusedError, SourceError, bug
from celerytop.model.command import Attend, Command, RetryNow, SetInterval
from celerytop.model.observation import DOWN, UP, Observation, SourceAlive, SourceChanged
from celerytop.model.snapshot import Snapshot
from celerytop.model.worker import ALIVE, GONE
from celerytop.sources.base import Interest, Lane, Probe, Source

RETRY_AFTER = (0.2, 0.5, 1.0, 1.5)
"""Seconds between attempts; the last one repeats: back within three seconds of the broker's return."""
REFUSED_AFTER = (5.0, 15.0, 60.0)
"""The same after a refused login: hammering locks accounts."""
INTERVALS = (0.5, 10.0)
_IDLE = 0.05


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
    ) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._suspended = threading.Event()
        self._listeners: list[Callable[[Snapshot], None]] = []
        self._attention = attention or Attend()
        self._interval = interval
        self._frame_now = threading.Event()
        self._runners: list[_Runner] = [_Stream(self, stream) for stream in streams]
        self._runners += [_Lane(self, lane) for lane in lanes]
        self._frames = threading.Thread(target=self._take_pictures, name="frames", daemon=True)
        self.latest = cluster.snapshot(time.time())

    # -- what a screen or a report uses

    def start(self) -> None:
        """Begin to look. Returns at once."""
        for runner in self._runners:
            runner.thread.start()
        self._frames.start()

    def stop(self, patience: float = 4.0) -> None:
        """Stop looking and close every connection; wait for that at most ``patience`` seconds."""
        self._stopping.set()
        self._suspended.clear()
        self._frame_now.set()
        deadline = time.monotonic() + patience
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

    def looked(self, times: int = 1) -> bool:
        """Whether every lane has asked all its questions ``times`` times, and every other source has answered.

        One that has failed has answered: nobody waits for its next attempt, which may be a minute away.
        """
        return all(
            runner.looks >= (times if isinstance(runner, _Lane) and not runner.failing else 1)
            for runner in self._runners
        )

    def wait(self, looks: int, patience: float) -> bool:
        """Wait until ``looked(looks)``, at most ``patience`` seconds; returns whether it came true."""
        deadline = time.monotonic() + patience
        while not self.looked(looks) and time.monotonic() < deadline:
            self._stopping.wait(_IDLE / 2)
        return self.looked(looks)

    def look_again(self) -> None:
        """Ask all questions now, whenever they are due: names found by one source are then known to the others."""
        self._wake_lanes(again=False)

    def picture(self) -> Snapshot:
        """Take a Snapshot now, beside the regular ones."""
        with self._lock:
            return self._cluster.snapshot(time.time(), self._interval)

    def suspend(self, patience: float = 2.5) -> None:
        """Close the streams before the process is stopped (Ctrl-Z): a stopped reader fills the broker's buffers."""
        self._suspended.set()
        deadline = time.monotonic() + patience
        for runner in self._runners:
            if isinstance(runner, _Stream):
                runner.quiet.wait(max(0.0, deadline - time.monotonic()))

    def resume(self) -> None:
        """Open the streams again; the gap is recorded."""
        self._suspended.clear()
        for runner in self._runners:
            runner.wake.set()

    # -- what the threads use

    def fold(self, observation: Observation) -> None:
        """Put one observation into the cluster."""
        with self._lock:
            self._cluster.apply(observation)

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


class _Runner:
    """A thread that keeps one source going: connects, reports its state, waits, tries again."""

    def __init__(self, monitor: Monitor, name: str, sources: tuple[str, ...]) -> None:
        self.monitor = monitor
        self.sources = sources
        self.wake = threading.Event()
        self.again = threading.Event()
        self.looks = 0
        """Rounds done, failed ones too."""
        self.failing = False
        """The last round of it failed."""
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._states: dict[str, tuple[str, str | None]] = {}
        self._attempts = 0

    def _run(self) -> None:
        while not self.monitor.stopping():
            try:
                self.work()
            except SourceError as error:
                if self.monitor.stopping():
                    return
                self._failed(str(error), REFUSED_AFTER if isinstance(error, RefusedError) else RETRY_AFTER)
            except Exception as error:
                # a broken source must show as DOWN and never as silence
                self._failed(f"celerytop has a bug here: {bug(error)}", REFUSED_AFTER)

    def work(self) -> None:
        """Connect and look until an error or the end."""
        raise NotImplementedError

    def interrupt(self) -> None:
        """End a wait that ``wake`` does not; called from another thread."""

    def report(self, state: str, error: str | None = None, *, only: str | None = None) -> None:
        """Tell the cluster how this source is doing, when that has changed."""
        for name in self.sources if only is None else (only,):
            if self._states.get(name) != (state, error):
                self._states[name] = (state, error)
                self.monitor.fold(SourceChanged(time.time(), name, state, error))
        if state == UP:
            self._attempts, self.failing = 0, False

    def _failed(self, sentence: str, delays: tuple[float, ...]) -> None:
        delay = delays[min(self._attempts, len(delays) - 1)]
        self._attempts += 1
        now = time.time()
        for name in self.sources:
            self._states[name] = (DOWN, sentence)
            self.monitor.fold(SourceChanged(now, name, DOWN, sentence, now + delay))
        self.failing = True
        self.looks += 1
        self.again.clear()
        deadline = time.monotonic() + delay
        while not self.monitor.stopping() and not self.again.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                break
            self.wake.wait(left)
            self.wake.clear()


class _Stream(_Runner):
    """Reads and folds one stream."""

    def __init__(self, monitor: Monitor, source: Source) -> None:
        super().__init__(monitor, source.name, (source.name,))
        self._source = source
        self.quiet = threading.Event()
        """Set while the stream is closed because the process is about to be stopped."""

    def work(self) -> None:
        items = self._source.observe()
        try:
            for item in items:
                self.report(UP)
                self.looks = 1
                self.monitor.fold(item if item is not None else SourceAlive(time.time(), self._source.name))
                if self.monitor.stopping() or self.monitor.suspended():
                    break
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
        if self.monitor.suspended():
            self._rest()

    def interrupt(self) -> None:
        self._source.hang_up()

    def _rest(self) -> None:
        self.report(DOWN, "celerytop was suspended (Ctrl-Z)")
        self.quiet.set()
        while self.monitor.suspended() and not self.monitor.stopping():
            self.wake.wait(1.0)
            self.wake.clear()
        self.quiet.clear()


class _Lane(_Runner):
    """Asks the probes of one lane, each when it is due."""

    def __init__(self, monitor: Monitor, lane: Lane) -> None:
        super().__init__(monitor, lane.name, tuple(dict.fromkeys(probe.name for probe in lane.probes)))
        self._lane = lane
        self._denied: set[str] = set()
        """Sources whose last word was that a right is missing: not being due for a question does not change that."""

    def work(self) -> None:
        try:
            self._lane.connect()
            due = {id(probe): 0.0 for probe in self._lane.probes}
            while not self.monitor.stopping():
                for probe in self._lane.probes:
                    if time.monotonic() >= due[id(probe)] and not self.monitor.stopping():
                        self._ask(probe)
                        due[id(probe)] = time.monotonic() + probe.every
                self.looks += 1
                self._pause(due)
        finally:
            self._lane.close()

    def _ask(self, probe: Probe) -> None:
        probe.attend(self.monitor.interest())
        try:
            for observation in probe.poll():
                self.monitor.fold(observation)
                self._denied.discard(probe.name)
        except DeniedError as error:
            # one right is missing: the other probes of this connection go on
            self._denied.add(probe.name)
            self.report(DOWN, str(error), only=probe.name)
        else:
            if probe.name not in self._denied:
                self.report(UP, only=probe.name)
                self.monitor.fold(SourceAlive(time.time(), probe.name))

    def _pause(self, due: dict[int, float]) -> None:
        wait = min(due.values()) - time.monotonic()
        if self.wake.wait(max(wait, _IDLE)):
            # somebody turned a page or asked again: all that page's probes are due
            self.wake.clear()
            self.again.clear()
            due.update(dict.fromkeys(due, 0.0))

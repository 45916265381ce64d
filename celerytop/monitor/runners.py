"""Threads that keep a source going: connect, look, tell how it went, try again.

One thread for each stream (it reads *and* folds, so a batch never changes hands), one for each lane of probes. All of
them fold under one lock, in slices of a few milliseconds: the screen never waits for a reader longer than that. A
picture holds it for longer; a stream takes in what it is sent meanwhile, for a broker cuts off who lets too much wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from celerytop.errors import DeniedError, RefusedError, SourceError, bug
from celerytop.model.observation import DOWN, UP, Observation, SourceAlive, SourceChanged, SourcePaced
from celerytop.monitor.pace import Pace
from celerytop.sources.base import Interest, Lane, Probe, Source

RETRY_AFTER = (0.2, 0.5, 1.0, 1.5)
"""Seconds between attempts; the last one repeats: back within three seconds of the broker's return."""
REFUSED_AFTER = (5.0, 15.0, 60.0)
"""The same after a refused login: hammering locks accounts."""
STEADY = 5.0
"""Seconds a stream must last before the next attempt is a first one again: who is cut off by a flood would come back at
once, and be cut off, twice a second."""
_IDLE = 0.05


class Watch(Protocol):
    """What a runner needs of the monitor."""

    def fold(self, observation: Observation, meanwhile: Callable[[], None] | None = None) -> None:
        """Put one observation into the cluster; ``meanwhile`` is called again and again as long as that must wait."""

    def interest(self) -> Interest:
        """What is worth looking at."""
        ...

    def stopping(self) -> bool:
        """Whether the threads should end."""
        ...

    def suspended(self) -> bool:
        """Whether streams should be closed for now."""
        ...


class Runner:
    """A thread that keeps one source going: connects, reports its state, waits, tries again."""

    def __init__(self, monitor: Watch, name: str, sources: tuple[str, ...]) -> None:
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

    def fold(self, observation: Observation) -> None:
        """Put one observation into the cluster."""
        self.monitor.fold(observation)

    def report(self, state: str, error: str | None = None, *, only: str | None = None) -> None:
        """Tell the cluster how this source is doing, when that has changed."""
        for name in self.sources if only is None else (only,):
            if self._states.get(name) != (state, error):
                self._states[name] = (state, error)
                self.fold(SourceChanged(time.time(), name, state, error))
        if state == UP:
            self.failing = False
            if self.steady():
                self._attempts = 0

    def steady(self) -> bool:
        """Whether what is up now counts: the next failure is then a first one."""
        return True

    def _failed(self, sentence: str, delays: tuple[float, ...]) -> None:
        delay = delays[min(self._attempts, len(delays) - 1)]
        self._attempts += 1
        now = time.time()
        for name in self.sources:
            self._states[name] = (DOWN, sentence)
            self.fold(SourceChanged(now, name, DOWN, sentence, now + delay))
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


class StreamRunner(Runner):
    """Reads and folds one stream."""

    def __init__(self, monitor: Watch, source: Source) -> None:
        super().__init__(monitor, source.name, (source.name,))
        self._source = source
        self.quiet = threading.Event()
        """Set while the stream is closed because the process is about to be stopped."""
        self._began = 0.0

    def work(self) -> None:
        self._began = time.monotonic()
        items = self._source.observe()
        try:
            for item in items:
                self.report(UP)
                self.looks = 1
                self.fold(item if item is not None else SourceAlive(time.time(), self._source.name))
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

    def steady(self) -> bool:
        """See ``Runner``."""
        return time.monotonic() - self._began >= STEADY

    def fold(self, observation: Observation) -> None:
        self.monitor.fold(observation, self._source.drain)

    def _failed(self, sentence: str, delays: tuple[float, ...]) -> None:
        """See ``Runner``. While it waits to try again nothing is open: Ctrl-Z need not wait for it."""
        self.quiet.set()
        super()._failed(sentence, delays)
        self.quiet.clear()

    def _rest(self) -> None:
        self.report(DOWN, "celerytop was suspended (Ctrl-Z)")
        self.quiet.set()
        while self.monitor.suspended() and not self.monitor.stopping():
            self.wake.wait(1.0)
            self.wake.clear()
        self.quiet.clear()


class LaneRunner(Runner):
    """Asks the probes of one lane, each when it is due."""

    def __init__(self, monitor: Watch, lane: Lane) -> None:
        super().__init__(monitor, lane.name, tuple(dict.fromkeys(probe.name for probe in lane.probes)))
        self._lane = lane
        self._pace = Pace()
        self._slowed: set[str] = set()
        """Sources that were said to be asked less often."""
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
                        due[id(probe)] = time.monotonic() + self._every(probe)
                self.looks += 1
                self._pause(due)
        finally:
            self._lane.close()

    def _ask(self, probe: Probe) -> None:
        probe.attend(self.monitor.interest())
        try:
            for observation in probe.poll():
                self.fold(observation)
                self._denied.discard(probe.name)
        except DeniedError as error:
            # one right is missing: the other probes of this connection go on
            self._denied.add(probe.name)
            self.report(DOWN, str(error), only=probe.name)
        else:
            if probe.name not in self._denied:
                self.report(UP, only=probe.name)
                self.fold(SourceAlive(time.time(), probe.name))

    def _every(self, probe: Probe) -> float:
        """Seconds until it is asked again; told, when that is not the usual time."""
        self._pace.answered(id(probe), probe.took, probe.every)
        every = self._pace.every(probe.every)
        slowed = every >= 2 * probe.every
        if slowed or probe.name in self._slowed:
            self._slowed.add(probe.name)
            if not slowed:
                self._slowed.discard(probe.name)
            self.fold(SourcePaced(time.time(), probe.name, probe.took, every, probe.every))
        return every

    def _pause(self, due: dict[int, float]) -> None:
        wait = min(due.values()) - time.monotonic()
        if self.wake.wait(max(wait, _IDLE)):
            # somebody turned a page or asked again: all that page's probes are due
            self.wake.clear()
            self.again.clear()
            due.update(dict.fromkeys(due, 0.0))

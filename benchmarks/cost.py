"""What looking costs the cluster: the servers' own counts with and without celerytop's screen, and what it has sent.

``python -m benchmarks.cost`` takes eight minutes. ``--whole`` measures every size of both brokers for a minute each,
in half an hour; ``--page workers`` looks at another page than the first; ``redis`` or ``rabbitmq`` at one broker.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

from benchmarks.cost_servers import REAL, Broker, Spent, rabbit_broker, redis_broker
from benchmarks.table import Row, report
from benchmarks.toll import Passed
from tests.rig import Terminal

WATCHED, WHOLE = 12.0, 60.0
"""Seconds with; in turns with as many without, at most 12."""
USUAL = (5, 20)
"""The size that is promised for: several turns, so that chance is evened out; the others have one."""
SETTLED = 10.0
"""Seconds after the first screen until everything that is asked once has been asked."""
SIZES = (USUAL, (5, 1000), (200, 100))
MATRIX = tuple((workers, queues) for workers in (5, 200) for queues in (10, 100, 1000))
"""(workers, queues); the README shows the first."""
BROKERS = {"redis": redis_broker, "rabbitmq": rabbit_broker}
KEYS = {"queues": "1", "workers": "2", "tasks": "3", "broker": "5"}

CONNECTIONS = {"Redis": 2, "RabbitMQ": 4}
BYTES = {"Redis": 20_000, "RabbitMQ": 50_000}
"""A second, both ways, besides events."""
ANSWERS = {"Redis": 20_000, "RabbitMQ": 0}
"""The same above twenty workers, for what they answer."""
SLOW = 1000.0
"""Microseconds. The average of a command counts: a busy machine may hold up any single one for longer."""
BUDGET = """\
Budget: 4 commands a second for each queue and 12; 2 connections (RabbitMQ: 3 and 1 of HTTP), none opened meanwhile;
20 kB/s besides events, and as many above 20 workers for their answers (RabbitMQ: 50 kB/s in all); no command that takes
a millisecond, no log line of a worker, no key and no queue left behind. Counts are exact; CPU is the server's whole
process with less without, and on a machine that does anything else mostly noise."""


class Cell(NamedTuple):
    """One broker of one size."""

    broker: str
    workers: int
    queues: int
    seconds: float
    """Counted with celerytop."""
    cpu: float
    """Of a core: with, less without."""
    alone_cpu: float
    alone_calls: float
    """A second."""
    calls: float
    traffic: float
    """Bytes a second that the server counted more, events and the workers' answers included."""
    connections: int
    log_lines: float
    slowest: tuple[float, str]
    """Microseconds of Redis that one of celerytop's commands took on average, and which."""
    passed: Passed
    left: frozenset[str]

    def rate(self, *names: str) -> float:
        """Of what celerytop has sent, a second."""
        return sum(self.passed.names[name] for name in names or self.passed.names) / self.seconds

    @property
    def asked(self) -> float:
        """Bytes a second both ways, events apart."""
        return (self.passed.to_server + self.passed.to_us) / self.seconds

    def over(self) -> list[str]:
        """What is above the budget."""
        limit = BYTES[self.broker] + (ANSWERS[self.broker] if self.workers > 20 else 0)
        told = {
            f"{self.rate():.0f} commands/s": self.rate() > 4 * self.queues + 12,
            f"{self.passed.open} connections": self.passed.open > CONNECTIONS[self.broker],
            f"{self.passed.opened} connections opened": self.passed.opened > 0,
            f"{self.asked / 1000:.1f} kB/s": self.asked > limit,
            f"{self.log_lines:.0f} log lines": self.log_lines > 0,
            f"{self.slowest[1]} takes {self.slowest[0]:.0f} us": self.slowest[0] > SLOW,
            f"left: {', '.join(sorted(self.left)[:3])}": bool(self.left),
        }
        return [what for what, above in told.items() if above]


@contextmanager
def screen(broker: Broker, page: str) -> Iterator[None]:
    """The real program."""
    command = [sys.executable, "-m", "celerytop", *broker.words]
    with Terminal(command, columns=100, rows=30) as terminal:
        terminal.wait_for("LIVE", 30)
        if page:
            terminal.keys(KEYS[page])
        time.sleep(SETTLED)
        yield


class _Turn(NamedTuple):
    """Between two looks at the counters."""

    seconds: float
    before: Spent
    after: Spent
    passed: Passed

    @property
    def cpu(self) -> float:
        return (self.after.cpu - self.before.cpu) / self.seconds

    @property
    def calls(self) -> float:
        return (self.after.calls.total() - self.before.calls.total()) / self.seconds

    @property
    def traffic(self) -> float:
        return (self.after.traffic - self.before.traffic) / self.seconds


def _turn(broker: Broker, seconds: float, look: AbstractContextManager[None]) -> _Turn:
    with look:
        before, passed, begun = broker.spent(), broker.passed(), time.monotonic()
        time.sleep(seconds)
        return _Turn(time.monotonic() - begun, before, broker.spent(), broker.passed().since(passed))


def measure(broker: Broker, size: tuple[int, int], seconds: float, turns: int, page: str) -> Cell:
    """Without and with, in turns."""
    broker.hold(size[1])
    there, without, looking = broker.there(), [], []
    for _ in range(turns if size == USUAL else 1):
        without.append(_turn(broker, min(seconds, WATCHED), nullcontext()))
        looking.append(_turn(broker, seconds, screen(broker, page)))
    left = broker.there() - there
    took = sum(turn.seconds for turn in looking)
    names, sums = looking[0].passed.names, [turn.passed for turn in looking]
    for more in sums[1:]:
        names = names + more.names
    last = looking[-1]
    passed = Passed(
        names,
        sum(one.to_server for one in sums),
        sum(one.to_us for one in sums),
        sum(one.events for one in sums),
        last.passed.open,
        sum(one.opened for one in sums),
    )
    return Cell(
        broker=broker.name,
        workers=size[0],
        queues=size[1],
        seconds=took,
        cpu=_mean(turn.cpu for turn in looking) - _mean(turn.cpu for turn in without),
        alone_cpu=_mean(turn.cpu for turn in without),
        alone_calls=_mean(turn.calls for turn in without),
        calls=_mean(turn.calls for turn in looking) - _mean(turn.calls for turn in without),
        traffic=_mean(turn.traffic for turn in looking) - _mean(turn.traffic for turn in without),
        connections=last.after.connections - without[-1].after.connections,
        log_lines=sum(turn.after.log_lines - turn.before.log_lines for turn in looking),
        slowest=max((_taken(looking, name), name) for name in (*names, "")),
        passed=passed,
        left=left,
    )


def _taken(turns: Sequence[_Turn], name: str) -> float:
    """Microseconds of Redis for one command of this name."""
    calls = sum(turn.after.calls[name] - turn.before.calls[name] for turn in turns)
    return sum(turn.after.took[name] - turn.before.took[name] for turn in turns) / calls if calls else 0.0


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def told(cell: Cell) -> str:
    """Three lines of the matrix."""
    sent = sorted(cell.passed.names.items(), key=lambda item: -item[1])
    names = ", ".join(f"{name} {count / cell.seconds:.2f}" for name, count in sent if name != "connection.tune-ok")
    asked = 60 * cell.rate("PUBLISH", "basic.publish")
    played = " (played)" if cell.workers > REAL else ""
    over = "; ".join(cell.over())
    rates = [part / cell.seconds / 1000 for part in cell.passed[1:4]]
    return (
        f"{cell.broker:9}{cell.workers:4} workers{played:9} {cell.queues:5} queues  "
        f"sent {cell.rate():7.1f}/s  to it {rates[0]:6.2f}, to us {rates[1]:6.2f}, events {rates[2]:6.2f} kB/s  "
        f"connections {cell.passed.open}  asks workers {asked:5.1f}/min  {f'OVER: {over}' if over else 'OK'}\n"
        f"{'':13}{names}\n"
        f"{'':13}server: cpu {100 * cell.cpu:+.2f} % (alone {100 * cell.alone_cpu:.2f} %), "
        f"calls {cell.calls:+.1f}/s (alone {cell.alone_calls:.1f}), traffic {cell.traffic / 1000:+.1f} kB/s, "
        f"connections {cell.connections:+d}{_slowest(cell)}, log lines {cell.log_lines:.0f}, left {len(cell.left)}"
    )


def _slowest(cell: Cell) -> str:
    return f", slowest {cell.slowest[1]} {cell.slowest[0]:.0f} us" if cell.slowest[0] else ""


def row(cell: Cell) -> Row:
    """One line of the README's table."""
    what = "commands" if cell.broker == "Redis" else "messages"
    played = ", played" if cell.workers > REAL else ""
    ours = (
        f"{100 * cell.cpu:+.2f} % of a core, {cell.calls:+.0f} {what}/s, {cell.asked / 1000:.1f} kB/s and the events, "
        f"{cell.passed.open} connections"
    )
    alone = f"alone {100 * cell.alone_cpu:.2f} %, {cell.alone_calls:.0f} {what}/s"
    note = f"log lines {cell.log_lines:.0f}, left behind {len(cell.left)}"
    note += _slowest(cell)
    named = f"cost to {cell.broker}: {cell.workers} workers{played}, {cell.queues:,} queues"
    return Row(named, ours, alone, note, (cell.workers, cell.queues) in SIZES)


def run(
    start: Callable[[int], AbstractContextManager[Broker]],
    sizes: Sequence[tuple[int, int]],
    seconds: float,
    turns: int,
    page: str,
) -> Iterator[Cell]:
    """Of one broker; its queues become more and more."""
    for number in sorted({workers for workers, _ in sizes}):
        with start(number) as broker:
            for size in sorted(size for size in sizes if size[0] == number):
                cell = measure(broker, size, seconds, turns, page)
                print(told(cell), flush=True)
                yield cell


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("brokers", nargs="*", choices=[*BROKERS, []], help="both unless told")
    parser.add_argument("--whole", action="store_true", help="every size, a minute each")
    parser.add_argument("--page", default="", choices=["", *KEYS], help="which page is looked at")
    parser.add_argument("--sizes", default="", help="as 5x100,200x1000")
    parser.add_argument("--turns", type=int, default=3, help="with and without, of the size that is promised for")
    asked = parser.parse_args()
    sizes: Sequence[tuple[int, int]] = (USUAL, *MATRIX) if asked.whole else SIZES
    if asked.sizes:
        pairs = (size.partition("x") for size in asked.sizes.split(","))
        sizes = [(int(workers), int(queues)) for workers, _, queues in pairs]
    seconds = WHOLE if asked.whole else WATCHED
    print(BUDGET, flush=True)
    starts = [BROKERS[name] for name in asked.brokers or BROKERS]
    cells = [cell for start in starts for cell in run(start, sizes, seconds, asked.turns, asked.page)]
    part = asked.page or asked.sizes or asked.brokers
    report("trial" if part else "cost", "cost to the cluster", [row(cell) for cell in cells])


if __name__ == "__main__":
    main()

"""What waits in one Redis queue: a look at both its ends that takes nothing out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from celerytop.model.address import BrokerSettings
from celerytop.model.queue import Message, QueueSample
from celerytop.model.series import Quantiles
from celerytop.sources.redis.names import list_key
from celerytop.sources.redis.pipeline import Command, Pipeline, whole
from celerytop.sources.wire_message import decode_message

PER_END = 200
FIRST_PER_END = 20
BYTES_PER_END = 1 << 20
"""Never LRANGE more than about this: messages may be megabytes."""
SHOWN = 20
PAGE = 50
"""Messages of a page that somebody leafs through."""


class QueueSampler:
    """Looks into a queue on request."""

    def __init__(self, settings: BrokerSettings, pipeline: Pipeline) -> None:
        self._prefix = settings.global_keyprefix
        self._sep = settings.sep
        self._pipeline = pipeline

    def sample(self, key: str, name: str, steps: Sequence[int], now: float, peek_from: int = 0) -> QueueSample:
        """Read up to 200 messages from each end, and one page in between when that is looked at.

        Args:
            key: the queue as Redis has it.
            name: the same, clean.
            steps: its priority steps, most urgent first.
            now: for ``expired``.
            peek_from: how many run before the page that is looked at.
        """
        lists = [list_key(key, step, self._prefix, self._sep) for step in sorted(steps)]
        sizes = self._pipeline.ask(*(("LLEN", each) for each in lists), *(("MEMORY", "USAGE", each) for each in lists))
        lengths = [whole(reply) for reply in sizes[: len(lists)]]
        if all(length is None for length in lengths):
            return QueueSample(name, now, 0, 0, note="not allowed to look into it: needs +llen and +lrange")
        filled = [
            (each, length, (whole(memory) or 0) / length)
            for each, length, memory in zip(lists, lengths, sizes[len(lists) :], strict=True)
            if length
        ]
        total = sum(length for _, length, _ in filled)
        fronts, backs, note = self._read(filled)
        oldest = _decoded(fronts, name)
        newest = _decoded(backs, name)
        sample = _compose(name, now, total, oldest, newest, note)
        page = _decoded(self._page(filled, peek_from), name) if peek_from else oldest[:PAGE]
        return replace(sample, page=tuple(page), page_from=peek_from)

    def _page(self, filled: list[tuple[bytes, int, float]], skip: int) -> list[bytes]:
        """Fifty messages after the first ``skip``, over the steps, next to run first; fewer when they are big."""
        commands: list[Command] = []
        left = PAGE
        for key, length, average in filled:
            count = min(left, length - skip, _affordable(average, PAGE))
            if count > 0:
                commands.append(("LRANGE", key, -skip - count, -skip - 1))
                left -= count
            skip = max(0, skip - length)
        replies = self._pipeline.ask(*commands)
        return [raw for reply in replies if isinstance(reply, list) for raw in reversed(reply)]

    def _read(self, filled: list[tuple[bytes, int, float]]) -> tuple[list[bytes], list[bytes], str | None]:
        """(next to run first, newest first) of all steps together, no message twice, and why some were left out."""
        fronts: list[bytes] = []
        backs: list[bytes] = []
        note = None
        wanted = [(key, length, min(FIRST_PER_END, _affordable(average))) for key, length, average in filled]
        looks = self._ranges(wanted)
        for (key, length, average), look in zip(filled, looks, strict=True):
            seen = [*look[0], *look[1]]
            size = max(average, sum(map(len, seen)) / len(seen)) if seen else average
            affordable = _affordable(size)
            more = min(PER_END - len(fronts), affordable)
            deeper = seen and more > FIRST_PER_END and length > len(seen)
            front, back = self._ranges([(key, length, more)])[0] if deeper else look
            if affordable < min(FIRST_PER_END, length):
                note = f"its messages are big ({size / 1e3:,.0f} kB each): only a few were read"
            fronts += front
            backs += back
        return fronts[:PER_END], backs[:PER_END], note

    def _ranges(self, wanted: list[tuple[bytes, int, int]]) -> list[tuple[list[bytes], list[bytes]]]:
        """Both ends of each list; a short list is all front."""
        commands: list[Command] = []
        for key, length, count in wanted:
            rest = min(count, max(0, length - count))
            commands.append(("LRANGE", key, -count, -1) if count else ("LRANGE", key, 1, 0))
            commands.append(("LRANGE", key, 0, rest - 1) if rest else ("LRANGE", key, 1, 0))
        replies = self._pipeline.ask(*commands)
        found = []
        for front, back in zip(replies[::2], replies[1::2], strict=True):
            first = list(reversed(front)) if isinstance(front, list) else []
            known = set(first)  # the list may have shrunk meanwhile: the same bytes are the same message
            found.append((first, [raw for raw in back if raw not in known] if isinstance(back, list) else []))
        return found


def _affordable(average: float, most: int = PER_END) -> int:
    """Messages of this size that may be read from one end; one is allowed up to the limit itself.

    >>> _affordable(0), _affordable(1000), _affordable(100_000), _affordable(5e6)
    (20, 200, 10, 0)
    """
    return min(most, int(BYTES_PER_END / average)) if average else FIRST_PER_END


def _decoded(raw: list[bytes], name: str) -> list[Message]:
    return [decode_message(entry, name, whole=True) or Message(queue=name, size=len(entry)) for entry in raw]


def _compose(
    name: str, now: float, total: int, oldest: list[Message], newest: list[Message], note: str | None
) -> QueueSample:
    messages = [*oldest, *newest]
    ids = Counter(message.task_id for message in messages if message.task_id is not None)
    return QueueSample(
        name=name,
        at=now,
        total=total,
        sampled=len(messages),
        by_name=_counted(message.name for message in messages),
        by_origin=_counted(message.origin for message in messages),
        duplicates=sum(count for count in ids.values() if count > 1),
        expired=sum(message.expires_at is not None and message.expires_at < now for message in messages),
        with_eta=sum(message.eta_at is not None for message in messages),
        retries=sum((message.retries or 0) > 0 for message in messages),
        redelivered=sum(bool(message.redelivered) for message in messages),
        sizes=_quantiles(sorted(message.size for message in messages)),
        oldest=tuple(oldest[:SHOWN]),
        newest=tuple([*newest, *reversed(oldest)][:SHOWN]),
        note=note,
    )


def _counted(values: Any) -> tuple[tuple[str, int], ...]:
    return tuple(Counter(value or "?" for value in values).most_common())


def _quantiles(values: list[int]) -> Quantiles:
    """Exact, of sorted values.

    >>> _quantiles([1, 2, 3, 4])
    Quantiles(count=4, p50=2, p95=4, p99=4, max=4)
    """
    if not values:
        return Quantiles(0)

    def at(part: float) -> float:
        return values[max(0, -(-int(part * 1000) * len(values) // 1000) - 1)]

    return Quantiles(len(values), at(0.50), at(0.95), at(0.99), values[-1])

"""Put the messages of a dump back where they came from, byte for byte, each of them once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

from celerytop.actions.deed import Deed
from celerytop.actions.dump import Dump, DumpError, Head
from celerytop.actions.messages import ABOUT, MOVED, REMEMBERED, REMOVED, TAKEN, UNSURE, UnsentError
from celerytop.errors import BrokerError
from celerytop.model.action import RestoreDump
from celerytop.model.outcome import DONE, NOT_DONE, REFUSED, UNKNOWN

BATCH, BYTES = 200, 4 << 20


def restore_dump(deed: Deed) -> Iterator[None]:
    """Put back what the dump says was removed. What was put back, moved or taken by a worker is left alone."""
    action = cast(RestoreDump, deed.action)
    try:
        dump = Dump.open(Path(action.path).expanduser())
    except DumpError as error:
        deed.settle(REFUSED, f"Nothing was sent. {error}")
        return
    try:
        yield from _restore(deed, action, dump)
    finally:
        dump.close()


def _restore(deed: Deed, action: RestoreDump, dump: Dump) -> Iterator[None]:
    head = dump.head
    assert head is not None
    deed.know(dump=str(dump.path))
    queue = action.to or head.queue
    refusal = _refusal(deed, action, head, queue)
    if refusal is not None:
        deed.settle(REFUSED, refusal, queue=queue)
        return
    _learn(deed, dump, head)
    numbers = _numbers(dump, action.force)
    if not numbers:
        deed.settle(REFUSED, _nothing(dump), queue=queue)
        return
    deed.say("sent", f"puts {len(numbers):,} messages into {queue}")
    done, trouble = 0, None
    for batch in _batches(dump, numbers):
        try:
            _put_back(deed, dump, head, queue, tuple(batch))
        except (BrokerError, DumpError) as error:
            trouble = str(error)
            break
        done += len(batch)
        yield
        if deed.left() <= 0 and done < len(numbers):
            trouble = "The time did not suffice; restore it again for the rest."
            break
    else:
        deed.link.messages.forget(head.id)
    _conclude(deed, dump, queue, done, len(numbers), trouble)


def _put_back(deed: Deed, dump: Dump, head: Head, queue: str, batch: tuple[int, ...]) -> None:
    """One step, announced in the dump: should we be killed in it, the next one does not do it again unasked."""
    kept = [dump[n] for n in batch]
    dump.note_restoring(batch, deed.now())
    try:
        deed.link.messages.put_back(head.id, queue, kept)
    except UnsentError:
        dump.note_restoring(batch, deed.now(), off=True)
        raise
    dump.note_restored(batch, queue, deed.now())


def _refusal(deed: Deed, action: RestoreDump, head: Head, queue: str) -> str | None:
    transport = deed.settings.address.transport
    if queue.endswith(".pidbox"):
        return f"{queue} is a queue of remote control, not of tasks."
    if head.transport != transport:
        return f"The dump is of a {head.transport} broker; its messages do not fit into {transport}."
    where, server = deed.link.messages.identity()
    same = where == head.broker or (server is not None and server == head.server)
    if not same and action.to is None and not action.force:
        return f"The dump is of another broker, {head.broker}; name the queue to put it into this one."
    if deed.link.messages.count(queue) is None:
        return f"There is no queue {queue}."
    return None


def _learn(deed: Deed, dump: Dump, head: Head) -> None:
    """What a killed celerytop could not write down, as far as the broker remembers it."""
    messages = deed.link.messages
    last = messages.last_fate(head.id)
    if last is not None and 0 <= last[0] < len(dump) and dump.fates[last[0]] == ord(UNSURE):
        by = 1 if messages.oldest_first else -1
        if 0 <= last[0] + by * (len(last[1]) - 1) < len(dump):
            dump.note_fates(last[0], by, last[1], deed.now())
            deed.say("broker", f"{len(last[1])} messages were taken out just before celerytop was killed")
    back = messages.last_put_back(head.id)
    if back is not None:
        missed = tuple(n for n in _open(dump) if n <= back)
        if missed:
            dump.note_restored(missed, head.queue, deed.now())
            deed.say("broker", f"{len(missed)} messages had been put back just before celerytop was killed")
    if messages.remembers and all(deed.now() - at < REMEMBERED for at in dump.begun.values()):
        dump.begun.clear()  # it would know


def _doubtful(dump: Dump) -> list[int]:
    """Killed right there, or cut off: they were taken out, or put back, or not. What was moved is in one queue."""
    moved = dump.head is not None and dump.head.to is not None
    about = ord(ABOUT) if not moved else -1
    return [n for n, fate in enumerate(dump.fates) if (fate == about or n in dump.begun) and n not in dump.restored]


def _open(dump: Dump) -> list[int]:
    return [n for n, fate in enumerate(dump.fates) if fate == ord(REMOVED) and n not in dump.restored]


def _numbers(dump: Dump, force: bool) -> list[int]:
    """By force what is in doubt too; where nothing is, all of it once more."""
    doubtful = _doubtful(dump)
    if force and not doubtful:
        return [n for n, fate in enumerate(dump.fates) if fate != ord(TAKEN)]
    return sorted({*_open(dump), *doubtful} if force else {*_open(dump)}.difference(doubtful))


def _nothing(dump: Dump) -> str:
    """Why there is nothing to put back."""
    if doubtful := _doubtful(dump):
        return _doubt(len(doubtful))
    if dump.restored:
        return f"Its {len(dump.restored):,} messages were put back already; with force once more, and they run twice."
    moved = dump.fates.count(MOVED.encode())
    if moved and dump.head is not None:
        return f"Its {moved:,} messages were not removed but moved to {dump.head.to}; move them back."
    taken, unsure = dump.fates.count(TAKEN.encode()), dump.fates.count(UNSURE.encode())
    if unsure:
        torn = "The file ends in the middle of a line: is it a copy that is not whole? " if dump.torn else ""
        return (
            f"None of its {unsure:,} messages is known to have been removed: they are in the queue still, or ran. "
            f"{torn}With force they are put back all the same."
        )
    return f"Nothing to put back: workers had taken all {taken:,}." if taken else "The dump holds no message."


def _doubt(count: int) -> str:
    return (
        f"Of {count:,} messages nobody knows whether they were taken out, or put back: celerytop was killed, or cut "
        "off, right there, and this broker remembers nothing. With force they are put back, and may run twice."
    )


def _batches(dump: Dump, numbers: list[int]) -> Iterator[list[int]]:
    batch: list[int] = []
    size = 0
    for n in numbers:
        length = dump.size_of(n)
        if batch and (len(batch) >= BATCH or size + length > BYTES):
            yield batch
            batch, size = [], 0
        batch.append(n)
        size += length
    if batch:
        yield batch


def _conclude(deed: Deed, dump: Dump, queue: str, done: int, asked: int, trouble: str | None) -> None:
    evidence = [deed.say("broker", f"{done:,} of {asked:,} messages were put into {queue}", 2)]
    unsure, taken = dump.fates.count(UNSURE.encode()), dump.fates.count(TAKEN.encode())
    if taken:
        evidence.append(deed.say("audit", f"{taken:,} more are in the dump that workers had taken: not put back"))
    if unsure:
        evidence.append(deed.say("audit", f"{unsure:,} more are in the dump that were never removed, or nobody knows"))
    doubtful = _doubtful(dump)
    if trouble is None and doubtful:
        sentence = f"{done:,} messages are in {queue} again. {_doubt(len(doubtful))}"
        deed.settle(UNKNOWN, sentence, evidence, queue=queue)
    elif trouble is None:
        deed.settle(DONE, f"{done:,} messages are in {queue} again.", evidence, queue=queue)
    else:
        word = NOT_DONE if done or not dump.begun else UNKNOWN
        deed.settle(
            word, f"{done:,} of {asked:,} were put into {queue}, then it ended: {trouble}", evidence, queue=queue
        )

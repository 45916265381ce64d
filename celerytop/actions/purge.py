"""Take messages out of a queue, or move them to another: dumped and on disk before the first one is touched."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from celerytop.actions.deed import Deed
from celerytop.actions.dump import Dump, DumpError, Head, Kept, default_path, new_id
from celerytop.actions.matching import Choice
from celerytop.actions.messages import ABOUT, MOVED, REMOVED, TAKEN, Messages
from celerytop.actions.taken import Tally, ageless_told, conclude
from celerytop.errors import BrokerError
from celerytop.model.action import MoveMessages, PurgeQueue
from celerytop.model.outcome import CANNOT, DONE, NOT_DONE, REFUSED
from celerytop.model.queue import Queue
from celerytop.select import FilterError

BATCH, STEP = 500, 100
"""Messages read back from the dump at a time; so many stay in doubt when we are killed and no broker remembers."""


def purge_queue(deed: Deed) -> Iterator[None]:
    """Remove them."""
    action = cast(PurgeQueue, deed.action)
    yield from _Taking(deed, action, None).run()


def move_messages(deed: Deed) -> Iterator[None]:
    """Move them, each in one step; they keep their order and go behind what waits there already."""
    action = cast(MoveMessages, deed.action)
    if action.to == action.queue:
        deed.settle(REFUSED, "They are in this queue already.", queue=action.queue)
        return
    yield from _Taking(deed, action, action.to).run()


class _Taking:
    def __init__(self, deed: Deed, action: PurgeQueue | MoveMessages, to: str | None) -> None:
        self._deed = deed
        self._action = action
        self._to = to
        self._messages: Messages = deed.link.messages
        self._tally = Tally()
        self._passed: Counter[int] = Counter()
        """Messages by step that are not meant."""
        self._verb = "remove" if to is None else f"move to {to}"

    def run(self) -> Iterator[None]:
        """All of it."""
        refusal = self._refusal()
        if refusal is not None:
            self._deed.settle(*refusal, queue=self._action.queue)
            return
        try:
            choice = self._choice()
        except FilterError as error:
            self._deed.settle(REFUSED, f"Nothing was looked at. {error}", queue=self._action.queue)
            return
        try:
            yield from self._count(choice) if self._action.dry_run else self._take(choice)
        finally:
            with contextlib.suppress(BrokerError):  # then the connection is gone, and has given them back
                self._messages.release()

    def _choice(self) -> Choice:
        action = self._action
        return Choice(action.filter, action.task_ids, self._deed.see().tasks, self._deed.now())

    def _refusal(self) -> tuple[str, str] | None:
        """Why it is not even begun."""
        queue, messages = self._action.queue, self._messages
        if queue.endswith(".pidbox") or (self._to or "").endswith(".pidbox"):
            return REFUSED, "That is a queue of remote control, not of tasks."
        seen = self._deed.see().queues.get(queue)
        if seen is not None and seen.type == "stream":
            return CANNOT, "It is a stream: nobody can take anything out of it."
        if (count := messages.count(queue)) is None:
            return REFUSED, f"There is no queue {queue}."
        if not count and seen is None and messages.at_once is None:  # Redis itself knows no empty lists
            return NOT_DONE, f"No queue {queue} is known: nothing waits in it, and no worker and no binding names it."
        if self._to is not None and messages.count(self._to) is None:
            return REFUSED, f"There is no queue {self._to}."
        self._tally.there = count
        return self._unpickable(count, seen)

    def _unpickable(self, count: int, seen: Queue | None) -> tuple[str, str] | None:
        """Why some of them cannot be picked out."""
        messages = self._messages
        if messages.at_once is None or not (self._action.filter or self._action.task_ids):
            return None
        if seen is not None and seen.type == "quorum":
            return CANNOT, (
                "From a quorum queue single messages cannot be picked: whatever is looked at and given back counts as "
                "a failed delivery, and after some of them the broker drops it."
            )
        if count > messages.at_once:
            return CANNOT, (
                f"AMQP cannot remove from the middle: all {count:,} messages would have to be borrowed at once, and "
                f"more than {messages.at_once:,} are not."
            )
        return None

    # ------------------------------------------------------------------------------------------------ counting
    def _count(self, choice: Choice) -> Iterator[None]:
        deed, queue = self._deed, self._action.queue
        if choice.everything:
            self._tally.chosen = self._tally.there
        elif self._messages.at_once is not None:
            deed.settle(
                CANNOT, "AMQP cannot look into a queue without marking every message as redelivered.", queue=queue
            )
            return
        else:
            self._tally.there = 0
            for page in self._messages.walk(queue):
                self._tally.there += len(page)
                self._tally.chosen += sum(map(choice, page))
                if deed.left() <= 0:
                    seen = self._tally.there
                    deed.settle(NOT_DONE, f"In time only {seen:,} messages could be looked at.", queue=queue)
                    return
                yield
        tally = self._tally
        evidence = [deed.say("broker", f"{tally.chosen:,} of {tally.there:,} messages match", 2)]
        evidence += [deed.say("broker", told) for told in _left_out(choice)]
        tally.seen, tally.ageless = tally.there, choice.ageless
        if tally.ageless and not tally.chosen:
            deed.settle(CANNOT, ageless_told(tally), evidence, queue=queue)
            return
        deed.settle(DONE, f"Would {self._verb} {tally.chosen:,} of {tally.there:,}.", evidence, queue=queue)

    # ------------------------------------------------------------------------------------------------ taking
    def _take(self, choice: Choice) -> Iterator[None]:
        try:
            dump = self._make()
        except DumpError as error:
            sentence = f"Nothing was removed: without a dump nothing is. {error}"
            self._deed.settle(REFUSED, sentence, queue=self._action.queue)
            return
        try:
            yield from self._rounds(dump, choice)
        finally:
            dump.close()

    def _rounds(self, dump: Dump, choice: Choice) -> Iterator[None]:
        """One round on Redis; on RabbitMQ as many as it takes to borrow what was there at the begin."""
        tally, trouble = self._tally, None
        left = tally.there
        try:
            while True:
                before = tally.seen
                yield from self._dump(dump, choice, left)
                if tally.late:
                    break
                yield from self._remove(dump)
                self._messages.release()
                left -= tally.seen - before
                if self._messages.at_once is None or left <= 0 or tally.seen == before or tally.late:
                    break
                if not choice.everything:
                    note = f"only the first {tally.seen:,} were looked at: the others would not fit into memory"
                    tally.left_out = [note]
                    break
        except (BrokerError, DumpError) as error:
            trouble = str(error)
        if trouble is None:
            self._messages.forget(dump.head.id if dump.head else "")
        tally.left_out, tally.ageless = [*tally.left_out, *_left_out(choice)], choice.ageless
        conclude(self._deed, dump, tally, self._to, trouble)
        yield

    def _make(self) -> Dump:
        deed, action = self._deed, self._action
        dump_id, at = new_id(), deed.now()
        stamp = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%S")
        path = Path(action.dump).expanduser() if action.dump else default_path(action.queue, stamp, dump_id)
        where, server = self._messages.identity()
        head = Head(
            dump_id,
            deed.settings.address.transport,
            where,
            action.queue,
            at,
            server=server,
            cluster=deed.see().cluster.name,
            filter=action.filter,
            to=self._to,
        )
        dump = Dump.make(path.absolute(), head)
        deed.know(dump=str(dump.path))
        return dump

    def _dump(self, dump: Dump, choice: Choice, left: int) -> Iterator[None]:
        """Write what is meant into the dump; it is on disk at the end."""
        tally, begun = self._tally, len(dump)
        self._passed.clear()
        for page in self._messages.walk(self._action.queue, left):
            tally.seen += len(page)
            for found in page:
                if not choice(found):
                    self._passed[found.step] += 1
                else:
                    message = found.message
                    dump.add(
                        found.raw,
                        step=found.step,
                        index=found.index,
                        passed=self._passed[found.step],
                        properties=found.properties,
                        tag=found.tag,
                        task_id=message.task_id if message else None,
                        name=message.name if message else None,
                    )
            if self._deed.left() <= 0:
                tally.late = True
                return
            yield
        dump.sync()
        tally.chosen = len(dump)
        self._deed.say("broker", f"{len(dump) - begun:,} of {tally.seen:,} messages are in the dump, and on disk")
        tally.dumped_from = begun
        yield

    def _remove(self, dump: Dump) -> Iterator[None]:
        """Remove what is in the dump, oldest first, and note after each step what became of it."""
        deed, action, tally = self._deed, self._action, self._tally
        numbers = range(tally.dumped_from, len(dump))
        by = 1 if self._messages.oldest_first else -1
        if not numbers:
            return
        deed.say("sent", f"begins to {self._verb} {len(numbers):,} messages of {action.queue}")
        dump_id = dump.head.id if dump.head else ""
        sure = self._messages.remembers
        for batch in _batched(numbers[::by], BATCH if sure else STEP):
            kept = [(one := dump[n], self._depth(one)) for n in batch]
            at = 0
            if not sure:
                dump.note_fates(batch[0], by, ABOUT * len(batch), deed.now())
            for count, was in self._messages.take_out(dump_id, action.queue, kept, self._to):
                dump.note_fates(kept[at][0].n, by, was, deed.now())
                at += count
                tally.gone += was.count(REMOVED) + was.count(MOVED)
                tally.taken += was.count(TAKEN)
                yield
                if deed.left() <= 0:
                    tally.late = True
                    return

    def _depth(self, one: Kept) -> int:
        """Oldest first are removed: so before it lie what is newer, and behind it what is older and not meant."""
        behind = self._passed[one.step] - one.passed
        return -behind - 1 if behind <= one.index else one.index + 1


def _batched(numbers: range, size: int) -> Iterator[range]:
    return (numbers[at : at + size] for at in range(0, len(numbers), size))


def _left_out(choice: Choice) -> list[str]:
    told = []
    if choice.unreadable:
        told.append(f"{choice.unreadable:,} entries are no task messages: no filter finds them")
    if choice.ageless:
        told.append(f"of {choice.ageless:,} nobody knows when they were sent (no task-sent event): age: skips them")
    return told

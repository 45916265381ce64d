"""What is said after messages were taken out of a queue: how many, how many a worker was faster with, what is left."""

from __future__ import annotations

import msgspec

from celerytop.actions.deed import Deed
from celerytop.actions.dump import Dump
from celerytop.actions.messages import MOVED, REMOVED, TAKEN, UNSURE
from celerytop.errors import BrokerError
from celerytop.model.action import MoveMessages, PurgeQueue
from celerytop.model.outcome import CANNOT, DONE, NOT_DONE, REFUSED, UNKNOWN, Evidence

ONE_BY_ONE = 50
"""So many named ids get a verdict each."""


class Tally(msgspec.Struct):
    """Counts of one purge."""

    there: int = 0
    """Ready messages at the begin."""
    seen: int = 0
    chosen: int = 0
    dumped_from: int = 0
    """First number of this round."""
    gone: int = 0
    taken: int = 0
    late: bool = False
    """The deadline has passed."""
    ageless: int = 0
    """Not meant, because nobody knows when they were sent, and the filter asks for it."""
    left_out: list[str] = []


def conclude(deed: Deed, dump: Dump, tally: Tally, to: str | None, trouble: str | None) -> None:
    """Settle a purge or a move.

    Args:
        deed: its action is a PurgeQueue or MoveMessages.
        dump: with the fate of each.
        tally: what was counted.
        to: where they went.
        trouble: why it ended early.
    """
    action = deed.action
    assert isinstance(action, PurgeQueue | MoveMessages)
    done = "removed" if to is None else f"moved to {to}"
    evidence = [deed.say("broker", f"{done}: {tally.gone:,} of {tally.chosen:,} messages", 2)]
    if tally.taken:
        evidence.append(deed.say("broker", f"{tally.taken:,} were taken by workers meanwhile", 2))
    whole = f"{len(dump):,} messages" if deed.sent or trouble is None else "not whole, and of no use"
    evidence.append(deed.say("audit", f"dump: {dump.path}, {whole}", 3))
    evidence += [deed.say("broker", told) for told in tally.left_out]
    if (rest := _rest(deed, action.queue)) is not None:
        evidence.append(deed.say("broker", f"{rest:,} are in {action.queue} now", 3))
    word, sentence = _verdict(deed, tally, done, trouble)
    if action.task_ids and len(action.task_ids) <= ONE_BY_ONE and trouble is None and not tally.late:
        _each(deed, action.task_ids, dump, done, evidence)
    else:
        deed.settle(word, sentence, evidence, queue=action.queue)


def _verdict(deed: Deed, tally: Tally, done: str, trouble: str | None) -> tuple[str, str]:
    unsure = tally.chosen - tally.gone - tally.taken
    if trouble is not None:
        if not deed.sent:
            return REFUSED, f"Nothing was {done}. {trouble}"
        return UNKNOWN, (
            f"{tally.gone:,} were {done}, then it ended: {trouble} All are in the dump; restore puts back what is gone."
        )
    if tally.late:
        if not deed.sent:
            return NOT_DONE, f"The time did not suffice to look through the queue; nothing was {done}."
        return (
            NOT_DONE,
            f"{tally.gone:,} were {done}; for {unsure:,} the time did not suffice, they are where they were.",
        )
    if not tally.chosen and tally.ageless:
        return CANNOT, f"{ageless_told(tally)} Nothing was {done}."
    if not tally.chosen:
        of = f"None of {tally.seen:,} messages is meant" if tally.seen else "No message waits there"
        return DONE, f"{of}; nothing was {done}."
    if not tally.gone:
        return NOT_DONE, f"None was {done}: workers had taken all {tally.taken:,} meanwhile."
    faster = f"; workers were faster with {tally.taken:,}" if tally.taken else ""
    return DONE, f"{tally.gone:,} of {tally.chosen:,} were {done}{faster}."


def ageless_told(tally: Tally) -> str:
    """Why a filter for ages finds nothing: no message says when it was sent."""
    return (
        f"Of {tally.ageless:,} of {tally.seen:,} messages nobody knows how old they are: that is known only of those "
        "whose task-sent event (task_send_sent_event) this celerytop has seen. Choose by name:, args: or id:."
    )


def _each(deed: Deed, task_ids: tuple[str, ...], dump: Dump, done: str, evidence: list[Evidence]) -> None:
    """A verdict for each id."""
    fates: dict[str | None, set[str]] = {}
    for n, fate in enumerate(dump.fates):
        fates.setdefault(dump[n].task_id, set()).add(chr(fate))
    for task_id in dict.fromkeys(task_ids):
        was = fates.get(task_id, set())
        if was & {REMOVED, MOVED}:
            deed.settle(DONE, f"It was {done}.", evidence, task_id=task_id)
        elif TAKEN in was:
            deed.settle(NOT_DONE, "A worker was faster and has taken it.", evidence, task_id=task_id)
        else:
            word = UNKNOWN if UNSURE in was else NOT_DONE
            deed.settle(word, "It is not in this queue.", evidence, task_id=task_id)


def _rest(deed: Deed, queue: str) -> int | None:
    try:
        return deed.link.messages.count(queue)
    except BrokerError:
        return None

"""Restore unacknowledged messages of dead workers now, instead of after the visibility timeout (Redis).

Only after proof that no living worker holds them; a message given back while a worker has it runs twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import cast

from celerytop.actions.deed import Deed
from celerytop.actions.holders import Holders, NoProof, ask_holders
from celerytop.actions.redis.unacked import Unacked, UnackedMessages
from celerytop.errors import BrokerError
from celerytop.model.action import RestoreUnacked
from celerytop.model.outcome import CANNOT, DONE, NOT_DONE, REFUSED, UNKNOWN, Evidence
from celerytop.model.text import some

ONE_BY_ONE = 50


def restore_unacked(deed: Deed) -> Iterator[None]:
    """Look, prove, give back, look again."""
    action = cast(RestoreUnacked, deed.action)
    if deed.settings.address.transport != "redis":
        sentence = "RabbitMQ gives messages back by itself, as soon as a worker's connection ends."
        deed.settle(CANNOT, sentence, queue=action.queue)
        return
    hashed: UnackedMessages = deed.link.unacked  # type: ignore[attr-defined]  # RedisLink's alone
    chosen = [one for page in hashed.walk() for one in page if _is_meant(one, action)]
    yield
    if not chosen:
        deed.settle(NOT_DONE, "No such message is unacknowledged.", queue=action.queue)
        return
    try:
        holders = ask_holders(deed, hashed.bound_nodes(), hashed.waiting_clients())
    except NoProof as error:
        deed.settle(REFUSED, f"Nothing was given back: it cannot be proven that nobody has them. {error}")
        return
    alive = some([holder.nodename for holder in holders.holders], 5) or "no worker"
    proof = deed.say("inspect", f"all that listen have answered: {alive}", 2)
    yield
    yield from _Restoring(deed, hashed, holders, proof).run(chosen)


def _is_meant(one: Unacked, action: RestoreUnacked) -> bool:
    if action.task_ids and one.message.task_id not in action.task_ids:
        return False
    return action.queue is None or action.queue in one.queues


class _Restoring:
    def __init__(self, deed: Deed, hashed: UnackedMessages, holders: Holders, proof: Evidence) -> None:
        self._deed = deed
        self._hashed = hashed
        self._holders = holders
        self._proof = proof
        self._words: Counter[str] = Counter()
        self._objections: Counter[str] = Counter()
        self._each = False
        self._trouble = ""
        """The last word of the broker's, where it was none of success."""

    def run(self, chosen: list[Unacked]) -> Iterator[None]:
        """The newest first: the oldest then runs next."""
        action = cast(RestoreUnacked, self._deed.action)
        self._each = bool(action.task_ids) and len(action.task_ids) <= ONE_BY_ONE
        with self._hashed.alone() as alone:
            if not alone:
                self._deed.settle(REFUSED, "A worker is giving unacknowledged messages back at this moment.")
                return
            for one in sorted(chosen, key=lambda one: one.message.reserved_at or 0.0, reverse=True):
                self._restore(one)
                yield
                if self._deed.left() <= 0:
                    break
        self._conclude(action, chosen)

    def _restore(self, one: Unacked) -> None:
        objection = self._holders.objection(one.message)
        if objection is None and not one.queues:
            objection = "nothing tells from which queue it came"
        if objection is not None:
            self._objections[objection] += 1
            self._settle(one, REFUSED, f"It was left: {objection}.")
            return
        if not self._deed.sent:
            self._deed.say("sent", "begins to give back what nobody holds")
        try:
            gone = self._hashed.give_back(one) and not self._hashed.holds(one)
        except BrokerError as error:
            self._trouble = str(error)
            self._settle(one, UNKNOWN, f"Whether it was given back is not known. {error}")
            return
        queue = ", ".join(one.queues)
        if gone:
            self._settle(one, DONE, f"It is in {queue} again, and runs next.")
        else:
            self._settle(one, NOT_DONE, "Meanwhile it was acknowledged, or taken again.")

    def _settle(self, one: Unacked, word: str, sentence: str) -> None:
        self._words[word] += 1
        if self._each:
            self._deed.settle(word, sentence, [self._proof], task_id=one.message.task_id, queue=one.message.queue)

    def _conclude(self, action: RestoreUnacked, chosen: list[Unacked]) -> None:
        deed, words = self._deed, self._words
        done, tried = words[DONE], words.total()
        if self._each:
            had = {one.task_id for one in deed.report.outcomes}
            for task_id in action.task_ids:
                if task_id not in had:
                    deed.settle(NOT_DONE, "It is not unacknowledged.", [self._proof], task_id=task_id)
            return
        evidence = [self._proof, deed.say("broker", f"{done:,} of {len(chosen):,} were given back", 2)]
        for objection, count in self._objections.most_common(5):
            evidence.append(deed.say("inspect", f"{count:,} left: {objection}", 3))
        if words[NOT_DONE]:
            evidence.append(deed.say("broker", f"{words[NOT_DONE]:,} were acknowledged or taken again meanwhile", 3))
        if done:
            left = f"; {tried - done:,} were left" if tried > done else ""
            deed.settle(DONE, f"{done:,} messages are in their queues again{left}.", evidence, queue=action.queue)
        else:
            word, sentence = self._none()
            deed.settle(word, sentence, evidence, queue=action.queue)

    def _none(self) -> tuple[str, str]:
        """Why not one was given back."""
        if self._words[REFUSED]:
            return REFUSED, f"Nothing was given back: {self._objections.most_common(1)[0][0]}."
        if unsure := self._words[UNKNOWN]:
            return UNKNOWN, f"Of {unsure:,} it is not known whether they were given back. {self._trouble}"
        return NOT_DONE, "None of them was unacknowledged any more."

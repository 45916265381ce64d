"""One command to several workers: who can hear it, what each answers, and the watch for its effect.

A worker that answers has read the command, no more: ``pool_grow`` is answered before there is a process, and
``add_consumer`` before the queue is known to exist. So each is asked again for what would show the effect, until it
does or the deadline is there. A worker that does not answer is told all the same, for it may read it later.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from celerytop.actions.deed import Deed
from celerytop.actions.link import Answer
from celerytop.model.outcome import CANNOT, NOT_DONE, REFUSED, UNKNOWN, WILL_APPLY_LATER, Evidence
from celerytop.model.worker import ALIVE, BUSY_SOLO, FROZEN, GONE, Worker

PATIENCE = 1.5
"""Seconds for an answer; a main loop that runs needs 5 ms."""
SHORT = 0.3
"""The same for one that has not answered before."""
PACE = (0.05, 0.5)
"""Seconds between two looks, at first and later: each is handled in the workers' main loops."""


class Verdict(NamedTuple):
    """On one worker."""

    outcome: str
    sentence: str
    evidence: tuple[Evidence, ...] = ()
    next: str | None = None


Judge = Callable[[str, Answer], "Verdict | str"]
"""What a worker's answer to a look shows: the verdict, or why there is none yet."""
AtLast = Callable[[str], "Verdict | None"]
"""The verdict at the deadline, where it is not simply that the effect has not come about."""
OnError = Callable[[str, str], "Verdict | None"]
"""What it means that a worker answers with this error; ``None``: watch on."""


class Telling:
    """Every worker gets one verdict."""

    def __init__(self, deed: Deed, workers: Iterable[str], queue: str | None = None) -> None:
        """Whoever is gone is refused at once: nobody would read it."""
        self.deed = deed
        self.queue = queue
        self.waiting: dict[str, None] = dict.fromkeys(workers)
        """Who has no verdict yet."""
        self.hears: set[str] = set()
        """Who has answered anything so far."""
        self.before: dict[str, Answer] = {}
        self.replies: dict[str, Evidence] = {}
        """What each answered to the command."""
        self.said: dict[str, Answer] = {}
        self.late = NOT_DONE
        """The word for what has not come about at the deadline."""
        self.late_next: str | None = None
        self._why: dict[str, str] = {}
        self._sent_at = 0.0
        self._looked = False
        self.known: Mapping[str, Worker] = deed.see().workers
        for nodename in list(self.waiting):
            worker = self.known.get(nodename)
            if worker is not None and worker.state == GONE:
                why = worker.why or "its process or its connection is not there any more"
                self.settle(nodename, Verdict(REFUSED, f"Nothing was sent: {nodename} is gone ({why})."))

    # ------------------------------------------------------------------------------------------- the verbs
    def look(self, method: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Answer]:
        """How it is before anything is sent; ``before`` keeps it."""
        for workers, patience in self._groups([one for one in self.waiting if self._may_answer(one)]):
            answers = self.deed.link.control.ask(method, arguments or {}, workers, patience).by_worker
            self.before.update(answers)
            self.hears.update(answers)
        self._looked = True
        return self.before

    def looked(self) -> None:
        """They have been asked by other means; ``hears`` is who has answered."""
        self._looked = True

    def tell(
        self,
        method: str,
        arguments: Mapping[str, Any],
        what: str,
        on_error: OnError | None = None,
        only: Collection[str] | None = None,
    ) -> dict[str, Answer]:
        """Send the command to all that wait, or ``only`` to these of them; ``what`` says it in the story."""
        asked = [one for one in self.waiting if only is None or one in only]
        if not asked:
            return {}
        self.deed.say("sent", f"{what} to {', '.join(asked)}")
        self._sent_at = self.deed.now()
        heard = [one for one in asked if self._may_answer(one)]
        for workers, patience in self._groups(heard):
            answers = self.deed.link.control.ask(method, arguments, workers, patience)
            for nodename, answer in answers.by_worker.items():
                self._reply(nodename, answer, on_error)
            self._nobody(answers.listening, workers)
        deaf = tuple(one for one in asked if one not in heard)
        if deaf:  # what it would answer in an hour, nobody would fetch
            self._nobody(self.deed.link.control.tell(method, arguments, deaf), deaf)
        for nodename in asked:
            if nodename in self.waiting and nodename not in self.said:
                self.deed.say("reply", f"{nodename}: no answer")
        return self.said

    def watch(
        self, method: str, arguments: Mapping[str, Any], judge: Judge, at_last: AtLast | None = None
    ) -> Iterator[None]:
        """Look until every worker has its verdict; whoever has none at the deadline gets what was seen last."""
        pace, told, last = PACE[0], 0, False
        while self.waiting and (self.deed.left() > 0 or not last):
            last = self.deed.left() <= 0
            self._look(method, arguments, judge)
            if told != len(self.deed.report.steps):
                told = len(self.deed.report.steps)
                yield
            if self.waiting:
                self.deed.rest(pace)
            pace = min(pace * 1.5, PACE[1])
        for nodename in list(self.waiting):
            verdict = at_last(nodename) if at_last is not None else None
            self.settle(nodename, verdict or self._unseen(nodename))
        yield

    def settle(self, nodename: str, verdict: Verdict) -> None:
        """The verdict on one worker."""
        self.waiting.pop(nodename, None)
        reply = self.replies.get(nodename)
        evidence = verdict.evidence if reply is None else (*verdict.evidence, reply)
        self.deed.settle(
            verdict.outcome,
            verdict.sentence,
            evidence,
            worker=nodename,
            queue=self.queue,
            next=verdict.next,
        )

    def settle_all(self, outcome: str, sentence: str) -> None:
        """The same verdict for all that wait."""
        for nodename in list(self.waiting):
            self.settle(nodename, Verdict(outcome, sentence))

    def saw(self, nodename: str, text: str, source: str = "inspect", strength: int = 2) -> tuple[Evidence, ...]:
        """Note what proves something of one worker."""
        return (self.deed.say(source, f"{nodename}: {text}", strength),)

    # -------------------------------------------------------------------------------------------- the parts
    def _groups(self, workers: Iterable[str]) -> list[tuple[tuple[str, ...], float]]:
        """Who is asked together: nobody waits for a solo worker, which answers at once or after its task."""
        asked = list(workers)
        slow = tuple(one for one in asked if one in self.known and self.known[one].pool == "solo")
        quick = tuple(one for one in asked if one not in slow)
        patience = max(0.05, min(PATIENCE, self.deed.left()))
        return [(who, most) for who, most in ((quick, patience), (slow, SHORT)) if who]

    def _may_answer(self, nodename: str) -> bool:
        """It has answered just now; or has not been asked yet, and is not known to be deaf."""
        if self._looked or nodename in self.hears:
            return nodename in self.hears
        worker = self.known.get(nodename)
        return worker is None or worker.state in (ALIVE, "unknown")

    def _nobody(self, listening: int | None, workers: Iterable[str]) -> None:
        for nodename in workers if listening == 0 else ():
            self.settle(nodename, Verdict(UNKNOWN, "No worker of this broker was listening: it is lost."))

    def _reply(self, nodename: str, answer: Answer, on_error: OnError | None) -> None:
        self.hears.add(nodename)
        self.said[nodename] = answer
        phrase = answer.ok or answer.error or "an answer of no known form"
        self.replies[nodename] = self.deed.say("reply", f"{nodename}: {phrase}", 4, at=answer.at)
        if answer.error is not None:
            verdict = on_error(nodename, answer.error) if on_error is not None else None
            if verdict is not None or on_error is None:
                self.settle(nodename, verdict or Verdict(CANNOT, f"The worker refuses: {answer.error}"))

    def _look(self, method: str, arguments: Mapping[str, Any], judge: Judge) -> None:
        self._hear_again()
        asked = tuple(one for one in self.waiting if one in self.hears)
        if not asked:
            return
        patience = max(0.05, min(PATIENCE, self.deed.left()))
        for nodename, answer in self.deed.link.control.ask(method, arguments, asked, patience).by_worker.items():
            found = judge(nodename, answer)
            if isinstance(found, Verdict):
                self.settle(nodename, found)
            elif found != self._why.get(nodename):
                self._why[nodename] = found
                self.deed.say("inspect", f"{nodename}: {found}")

    def _hear_again(self) -> None:
        """Whoever was silent is asked again once the monitor has heard from it: questions to one that does not read
        would only lie before it, and their answers come when nobody waits for them any more."""
        silent = [one for one in self.waiting if one not in self.hears]
        if not silent:
            return
        self.known = self.deed.see().workers
        for nodename in silent:
            worker = self.known.get(nodename)
            if worker is not None and worker.answered_at is not None and worker.answered_at > self._sent_at:
                self.hears.add(nodename)

    def _unseen(self, nodename: str) -> Verdict:
        """The deadline is there."""
        why = self._why.get(nodename)
        if why is not None:
            return Verdict(self.late, f"Not within {self.deed.action.wait:g} s: {why}.", next=self.late_next)
        if nodename in self.hears:
            return Verdict(UNKNOWN, "It answered, and then no more: what became of it is not known.")
        return silence(nodename, self.known.get(nodename))


def silence(nodename: str, worker: Worker | None) -> Verdict:
    """What it means that a worker which was told something has not answered."""
    state = worker.state if worker is not None else None
    if state == BUSY_SOLO or (worker is not None and worker.pool == "solo" and state != GONE):
        return Verdict(
            WILL_APPLY_LATER, "It runs the solo pool and is busy: it reads the command when its task has ended."
        )
    if state == FROZEN:
        return Verdict(WILL_APPLY_LATER, "It is frozen: it reads the command when it goes on, if it ever does.")
    if state == GONE:
        return Verdict(NOT_DONE, f"{nodename} has gone meanwhile.")
    return Verdict(
        UNKNOWN,
        "It has not answered: whether it has read the command is not known. It may still, when it answers again.",
    )

"""When workers are asked for what, and how long a round waits: no broker, a clock of our own."""

from __future__ import annotations

import json

from celerytop.model.observation import Pong, WorkersAnswered
from celerytop.sources.asking import GRACE, HEAVY, METHODS, WINDOW, Asking, Request, Round
from celerytop.sources.base import Interest

JSON = "application/json"
EMPTY = {"ping": {"ok": "pong"}, "stats": {}, "conf": {}}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """Workers that answer at once."""

    def __init__(self, *nodenames: str, mute: int = 0) -> None:
        self.clock = Clock()
        self.asking = Asking(self.clock, lambda: 1.8e9)
        self.nodenames = list(nodenames)
        self.mute = mute

    def answer(self, round_: Round, request: Request, nodename: str, size: int = 0) -> None:
        content: object = EMPTY.get(request.method, [])
        body = json.dumps({nodename: content}) + " " * size
        round_.take(request.ticket, body.encode(), JSON)

    def begin(self, after: float = 0.0) -> Round | None:
        self.clock.now += after
        round_ = self.asking.begin()
        for request in round_.requests if round_ else ():
            assert round_ is not None
            round_.expect(request, len(self.nodenames) + self.mute)
        return round_

    def hold(self, after: float = 0.0) -> WorkersAnswered | None:
        """One round, answered by all who are asked."""
        round_ = self.begin(after)
        if round_ is None:
            return None
        for request in round_.requests:
            for nodename in self.nodenames:
                if request.destination is None or nodename in request.destination:
                    self.answer(round_, request, nodename)
        assert round_.remaining() <= GRACE
        return self.asking.settle(round_)


def test_the_first_round_asks_everybody_everything() -> None:
    bench = Bench("a@h", "b@h")
    first = bench.hold()
    assert first is not None
    assert (first.asked, first.asked_workers, first.expected) == (METHODS, None, 2)
    assert len(first.replies) == 2 * len(METHODS)
    assert first.at == 1.8e9
    assert bench.hold(0.5) is None


def test_each_method_has_its_pace_and_the_page_shown_quickens_some() -> None:
    bench = Bench("a@h")
    bench.hold()
    counted: dict[str, int] = {}

    def minute(page: str) -> dict[str, int]:
        bench.asking.attend(Interest(page=page, workers=("a@h",)))
        counted.clear()
        for _ in range(60):
            answered = bench.hold(1.0)
            for method in answered.asked if answered else ():
                counted[method] = counted.get(method, 0) + 1
        return dict(counted)

    assert minute("queues") == {
        "ping": 12, "stats": 12, "active": 6, "reserved": 2, "scheduled": 2, "active_queues": 4
    }  # fmt: skip
    assert minute("tasks")["active"] == 20
    assert minute("tasks")["reserved"] == 6
    assert minute("workers")["stats"] == 30


def test_a_worker_somebody_looks_into_is_asked_at_once_and_alone() -> None:
    bench = Bench("a@h", "b@h")
    bench.hold()
    bench.asking.attend(Interest(workers=("a@h", "b@h"), worker="b@h"))
    answered = bench.hold(2.0)
    assert answered is not None
    assert set(answered.asked) >= {"conf", "registered", "revoked", "reserved", "scheduled", "active", "stats"}
    assert answered.asked_workers == ("b@h",)
    again = bench.hold(1.0)
    assert again is None or "conf" not in again.asked


def test_a_newcomer_is_asked_everything_and_nobody_else_is() -> None:
    bench = Bench("a@h")
    bench.hold()
    bench.nodenames.append("new@h")
    bench.hold(5.0)
    answered = bench.hold(1.0)
    assert answered is not None
    assert answered.asked_workers == ("new@h",)
    assert set(answered.asked) == set(METHODS) - {"ping"}


def test_the_silent_are_only_pinged() -> None:
    bench = Bench("a@h", mute=1)
    bench.asking.attend(Interest(workers=("a@h",), quiet=("solo@h",)))
    for _ in range(30):
        round_ = bench.begin(1.0)
        for request in round_.requests if round_ else ():
            assert request.destination == ("a@h",) or request.method == "ping"
        if round_ is not None:
            for request in round_.requests:
                bench.answer(round_, request, "a@h")
            bench.asking.settle(round_)


def test_a_round_waits_for_all_who_listen_and_no_longer() -> None:
    bench = Bench("a@h", "b@h")
    round_ = bench.begin()
    assert round_ is not None
    assert round_.remaining() == WINDOW
    for request in round_.requests:
        bench.answer(round_, request, "a@h")
    assert round_.remaining() == WINDOW
    for request in round_.requests:
        bench.answer(round_, request, "b@h")
    assert round_.remaining() == 0.0


def test_who_did_not_answer_once_is_given_a_short_grace_only() -> None:
    bench = Bench("a@h", mute=1)
    for waits in (WINDOW, GRACE):
        round_ = bench.begin(5.0)
        assert round_ is not None
        for request in round_.requests:
            bench.answer(round_, request, "a@h")
        assert abs(round_.remaining() - waits) < 1e-6
        bench.clock.now += waits + 0.001
        assert round_.remaining() == 0.0
        bench.asking.settle(round_)


def test_two_workers_of_one_name_are_two_answers() -> None:
    bench = Bench("a@h", "a@h")
    answered = bench.hold()
    assert answered is not None
    assert [reply.nodename for reply in answered.replies if isinstance(reply, Pong)] == ["a@h", "a@h"]


def test_unknown_tickets_are_counted_and_ignored() -> None:
    bench = Bench("a@h")
    round_ = bench.begin()
    assert round_ is not None
    for ticket in ("", "old", "\ud800"):
        round_.take(ticket, b"{}", JSON)
    assert round_.late == 3
    assert bench.asking.settle(round_).late == 3
    assert not round_.replies


def test_when_all_who_listen_have_answered_the_others_are_gone() -> None:
    bench = Bench("a@h")
    bench.asking.attend(Interest(workers=("a@h", "dead@h"), quiet=("gone@h",)))
    answered = bench.hold()
    assert answered is not None
    assert answered.absent == ("dead@h", "gone@h")
    bench.mute = 1
    round_ = bench.begin(5.0)
    assert round_ is not None
    bench.answer(round_, round_.requests[0], "a@h")
    answered = bench.asking.settle(round_)
    assert answered.absent == (), "somebody listens and is silent: it may be one of them"


def test_a_heavy_answer_is_asked_for_ten_times_less_often() -> None:
    bench = Bench("a@h", "big@h")
    bench.asking.attend(Interest(page="tasks", workers=("a@h", "big@h")))
    asked_big = 0
    for _ in range(100):
        round_ = bench.begin(1.0)
        if round_ is None:
            continue
        for request in round_.requests:
            names = request.destination or bench.nodenames
            for nodename in names:
                bench.answer(
                    round_, request, nodename, HEAVY if (nodename, request.method) == ("big@h", "reserved") else 0
                )
            asked_big += request.method == "reserved" and "big@h" in names
        bench.asking.settle(round_)
    assert asked_big == 1


def test_names_instead_of_a_count() -> None:
    bench = Bench()
    bench.asking.attend(Interest(workers=("a@h", "gone@h")))
    round_ = bench.asking.begin()
    assert round_ is not None
    assert round_.remaining() == WINDOW
    round_.expect_names(("a@h", "b@h"), absent=("gone@h",))
    for request in round_.requests:
        bench.answer(round_, request, "a@h")
    assert round_.remaining() == WINDOW
    for request in round_.requests:
        bench.answer(round_, request, "b@h")
    assert round_.remaining() == 0.0
    answered = bench.asking.settle(round_)
    assert (answered.present, answered.absent, answered.expected) == (("a@h", "b@h"), ("gone@h",), 2)


def test_names_told_in_the_middle_of_a_round_wait_for_nobody_twice() -> None:
    bench = Bench()
    round_ = bench.asking.begin()
    assert round_ is not None
    for request in round_.requests:
        bench.answer(round_, request, "a@h")
    round_.expect_names(("a@h", "b@h"))
    assert round_.remaining() == WINDOW
    for request in round_.requests:
        bench.answer(round_, request, "b@h")
    assert round_.remaining() == 0.0, "a@h had answered before it was named"


def test_a_request_is_what_kombu_writes() -> None:
    body = json.loads(Request("active", ("a@h",), "t1").body("mine"))
    assert body == {
        "method": "active",
        "arguments": {"safe": True},
        "destination": ["a@h"],
        "pattern": None,
        "matcher": None,
        "ticket": "t1",
        "reply_to": {"exchange": "", "routing_key": "mine"},
    }


def test_ten_thousand_workers_are_counted_quickly() -> None:
    bench = Bench(*(f"w{number}@h" for number in range(10_000)))
    answered = bench.hold()
    assert answered is not None
    assert len(answered.replies) == 10_000 * len(METHODS)

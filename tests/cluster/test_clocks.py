"""Whose clock is off, and what is only late."""

from __future__ import annotations

import pytest

from celerytop.cluster.clocks import Clocks, skew
from celerytop.model.event import TaskStarted
from tests.cluster.feeding import T0, Fed


def beat(clocks: Clocks, host: str, start: float, stop: float, offset: float) -> None:
    """Events every two seconds whose clock is ``offset`` seconds ahead of ours."""
    while start <= stop:
        clocks.of(f"w@{host}").note(T0 + start + offset - 0.001, T0 + start)
        start += 2.0


def told(clocks: Clocks, host: str, now: float) -> float | None:
    clocks.judge(T0 + now)
    return skew(clocks.of(f"w@{host}"))


@pytest.mark.parametrize("offset", [3600.0, -3600.0, 5.0, -5.0])
def test_a_constant_offset_of_one_machine_is_its_clock(offset: float) -> None:
    clocks = Clocks()
    beat(clocks, "a", 0, 10, offset)
    beat(clocks, "b", 0, 10, 0.0)
    assert told(clocks, "a", 10) == pytest.approx(offset, abs=0.01)
    assert told(clocks, "b", 10) is None


def test_what_comes_from_the_future_proves_it_at_once() -> None:
    clocks = Clocks()
    beat(clocks, "a", 0, 0, 30.0)
    assert told(clocks, "a", 0) == pytest.approx(30.0, abs=0.01)


def test_a_stall_is_no_skew() -> None:
    clocks = Clocks()
    for host in ("a", "b", "c"):
        beat(clocks, host, 0, 20, 0.0)
    for host in ("a", "b", "c"):  # then 25 s of silence, and all comes at once
        for sent in range(22, 46, 2):
            clocks.of(f"w@{host}").note(T0 + sent, T0 + 47.0)
    assert [told(clocks, host, 47) for host in ("a", "b", "c")] == [None, None, None]
    assert clocks.common is None


def test_all_late_alike_is_a_stall_first_and_our_own_clock_after_half_a_minute() -> None:
    clocks = Clocks()
    for host in ("a", "b"):
        beat(clocks, host, 0, 10, -20.0)
    assert told(clocks, "a", 10) is None
    for host in ("a", "b"):
        beat(clocks, host, 12, 40, -20.0)
    assert told(clocks, "a", 40) == pytest.approx(-20.0, abs=0.01)
    assert clocks.common == pytest.approx(20.0, abs=0.01)


def test_a_clock_that_was_set_right_is_believed_again() -> None:
    clocks = Clocks()
    beat(clocks, "a", 0, 10, 60.0)
    assert told(clocks, "a", 10) is not None
    beat(clocks, "a", 12, 20, 0.0)
    assert told(clocks, "a", 20) is None


def test_moments_of_tasks_are_on_our_clock() -> None:
    fed = Fed()
    fed.beat(0, "w1@h", sent=3600.0)
    assert fed.at(0).workers["w1@h"].skew == pytest.approx(3600.0)
    fed.events(5, TaskStarted("a", T0 + 3605.0, "w1@h"))
    task = fed.at(6).tasks["a"]
    assert task.started_at == pytest.approx(T0 + 5)
    assert task.ran(T0 + 6) == pytest.approx(1.0)

"""Quantiles within one per cent, rates of a minute, histories of ten."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celerytop.cluster.statistics import SAMPLES, History, Rate, Sketch
from celerytop.model.series import Quantiles

SHARES = (0.0, 0.5, 0.95, 0.99, 1.0)


def exact(values: list[float], share: float) -> float:
    return sorted(values)[math.floor(share * (len(values) - 1))]


def sketch_of(values: list[float]) -> Sketch:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    return sketch


@pytest.mark.parametrize("kind", ["exponential", "lognormal", "two humps", "constant"])
def test_quantiles_are_within_one_per_cent(kind: str) -> None:
    chance = random.Random(1)
    draws: dict[str, Callable[[], float]] = {
        "exponential": lambda: chance.expovariate(3.0),
        "lognormal": lambda: chance.lognormvariate(0, 4),
        "two humps": lambda: chance.choice((0.002, 340.0)) * chance.uniform(0.9, 1.1),
        "constant": lambda: 0.25,
    }
    values = [draws[kind]() for _ in range(20_000)]
    sketch = sketch_of(values)
    for share in SHARES:
        assert sketch.quantile(share) == pytest.approx(exact(values, share), rel=0.0101)
    told = sketch.quantiles()
    assert (told.count, told.max) == (20_000, max(values))


@given(st.lists(st.floats(1e-5, 1e9), min_size=1, max_size=200), st.lists(st.floats(1e-5, 1e9), max_size=200))
def test_merged_sketches_are_the_sketch_of_all(one: list[float], two: list[float]) -> None:
    merged = sketch_of(one)
    merged.merge(sketch_of(two))
    whole = sketch_of(one + two)
    assert merged.quantiles() == whole.quantiles()
    for share in SHARES:
        assert merged.quantile(share) == pytest.approx(exact(one + two, share), rel=0.0101)


@given(st.lists(st.floats(-1e300, 1e300), max_size=500))
def test_memory_is_bounded_whatever_comes(values: list[float]) -> None:
    sketch = sketch_of(values)
    assert len(sketch.buckets) <= 2100
    assert sketch.count == len(values)
    assert sum(sketch.buckets.values()) + sketch.zeros == len(values)
    sketch.quantiles()


def test_zero_and_nothing() -> None:
    assert Sketch().quantiles() == Quantiles(0)
    assert Sketch().quantile(0.5) is None
    assert sketch_of([0.0, 0.0, 0.0]).quantiles() == Quantiles(3, 0.0, 0.0, 0.0, 0.0)


def test_rate_of_the_last_minute() -> None:
    rate = Rate()
    for second in range(120):
        rate.add(1000.0 + second, 2 if second >= 60 else 1)
    assert rate.rate(1119.5, 1000.0) == 2.0
    assert rate.count(1149.0) == 60
    assert rate.count(2000.0) == 0
    assert rate.total == 180


def test_rate_since_a_moment_and_none_below_a_second() -> None:
    rate = Rate()
    rate.add(1000.2, 5)
    assert rate.rate(1000.5, 1000.0) is None
    assert rate.rate(1010.0, 1000.0) == 0.5
    assert Rate().rate(1010.0, 1000.0) == 0.0


def test_a_clock_that_jumps_back_loses_nothing() -> None:
    rate = Rate()
    rate.add(1000.0)
    rate.add(400.0)
    assert rate.count(1000.0) == 2


@given(st.lists(st.floats(0, 500), max_size=100))
def test_rate_counts_what_a_list_counts(moments: list[float]) -> None:
    rate, moments = Rate(), sorted(moments)
    for at in moments:
        rate.add(at)
    assert rate.count(500.0) == sum(int(at) > 440 for at in moments)


def test_history_keeps_ten_minutes_and_shows_holes() -> None:
    history = History()
    assert history.series() is None
    history.put(1000.0, 1.0)
    history.put(1002.0, 2.0)
    history.put(1016.0, 5.0)
    series = history.series()
    assert series is not None
    assert series.values == (2.0, None, None, 5.0)
    assert (series.step, series.until_at) == (5.0, 1015.0)
    assert history.change(600, 10) == 0.2
    assert history.change(600, 60) is None
    history.put(99_000.0, 1.0)
    series = history.series()
    assert series is not None
    assert len(series.values) == SAMPLES


def test_a_rate_holds_more_than_a_short_number() -> None:
    rate = Rate()
    for _ in range(3):
        rate.add(10.0, 60_000)
    rate.add(11.0)
    assert (rate.count(12.0), rate.total) == (180_001, 180_001)

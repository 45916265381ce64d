"""Numbers, times and texts keep their form and their width, whatever they are given."""

from __future__ import annotations

import doctest
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celerytop import format as fmt

NUMBERS = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.integers(-(10**15), 10**15))


def test_examples_in_the_docstrings() -> None:
    assert doctest.testmod(fmt).failed == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"), (math.nan, "?"), (0, "0s"), (0.0003, "0.3ms"), (0.05, "50ms"), (1.1, "1.1s"), (9.94, "9.9s"),
        (9.96, "10s"), (59.4, "59s"), (59.6, "1m00s"), (3599.7, "1h00m"), (86399.9, "1d00h"), (187_200, "2d04h"),
        (40_000_000, "462d"), (math.inf, "never"), (-41, "-41s"),
    ],
)  # fmt: skip
def test_duration(seconds: float | None, text: str) -> None:
    assert fmt.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "?"), (0, "0 B"), (1, "1 B"), (1023, "1.0 KB"), (1024, "1.0 KB"), (1.9 * 2**30, "1.9 GB"),
        (512 * 1024, "512 KB"), (4 * 2**30, "4.0 GB"), (24.34 * 2**20, "24.3 MB"), (math.inf, "?"),
    ],
)  # fmt: skip
def test_size_has_three_digits_and_always_a_unit(number: float | None, text: str) -> None:
    assert fmt.size(number) == text


def test_unknown_is_not_zero_anywhere() -> None:
    forms = (fmt.count, fmt.duration, fmt.clock_duration, fmt.size, fmt.rate, fmt.percent, fmt.ago, fmt.clock)
    for form in forms:
        assert form(None) == "?"
        assert form(0) != "?"


@given(NUMBERS)
def test_widths_are_bounded(number: float | None) -> None:
    assert len(fmt.size(number, signed=True)) <= 8 or (number is not None and abs(number) > 2**60)
    assert len(fmt.clock_duration(number)) <= 8 or (number is not None and number > 86400 * 10_000)
    if number is None or abs(number) < 86400 * 1000:
        assert len(fmt.duration(number)) <= 6 or (number is not None and number < 0)
    if number is None or abs(number) < 1e7:
        assert len(fmt.count(number)) <= 10
        assert len(fmt.rate(number, signed=True)) <= 8


@given(st.one_of(st.none(), st.floats(allow_nan=True), st.floats(-1e12, 1e12)))
def test_no_time_ever_raises(at: float | None) -> None:
    assert fmt.clock(at, utc=True)
    assert fmt.clock(at)
    assert fmt.moment(at, 1.7e9, utc=True)


@given(st.lists(st.one_of(st.none(), st.floats()), max_size=80), st.integers(1, 40), st.booleans())
def test_a_sparkline_is_as_wide_as_asked(values: list[float | None], width: int, ascii: bool) -> None:
    text = fmt.sparkline(values, width, ascii)
    assert len(text) == width
    assert not ascii or text.isascii()


def test_a_gap_in_a_sparkline_is_not_a_zero() -> None:
    assert fmt.sparkline([None, 0, 4], 3) == " ▁█"
    assert fmt.sparkline([None, 0, 4], 3, ascii=True) == " .@"


@given(st.one_of(st.none(), st.floats()), st.integers(1, 40), st.booleans())
def test_a_bar_is_as_wide_as_asked(part: float | None, width: int, ascii: bool) -> None:
    text = fmt.bar(part, width, ascii)
    assert len(text) == width
    assert not ascii or text.isascii()


@given(st.text(max_size=40), st.integers(0, 30), st.sampled_from(["left", "right"]), st.booleans())
def test_pad_fills_exactly_its_cells(text: str, width: int, align: str, ascii: bool) -> None:
    assert fmt.cells(fmt.pad(text, width, align, ascii)) == width


@given(st.text(max_size=40))
def test_plain_is_ascii_and_as_wide(text: str) -> None:
    plain = fmt.plain(text)
    assert plain.isascii()
    assert len(plain) == fmt.cells(text)


def test_wide_characters_are_never_cut_in_half() -> None:
    assert fmt.cut("日本語テスト", 5) == "日本…"
    assert fmt.pad("日本語テスト", 6) == "日本… "
    assert fmt.cells("ｅ\u0301") == 2

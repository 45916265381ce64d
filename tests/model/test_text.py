"""Text from the wire, made harmless."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celerytop.model.text import LIMIT, clean, clean_lines

UNSAFE = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("user\u202etxt.exe", "user\\u202etxt.exe"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("line\r\nforged", "line␍⏎forged"),
        ("tab\tdel\x7f", "tab⇥del\\x7f"),
        ("\udc80", "\\udc80"),
        ("\U000e0041", "\\U000e0041"),
        ("[/bold][link=http://x]", "[/bold][link=http://x]"),
        ("naïve 漢字 🙂", "naïve 漢字 🙂"),
    ],
)
def test_unsafe_characters_become_visible(raw: str, shown: str) -> None:
    assert clean(raw) == shown


def test_marks_do_not_pile_up() -> None:
    assert len(clean("e" + "\u0301" * 50)) == 4


def test_long_text_is_cut() -> None:
    assert len(clean("x" * (2 * LIMIT))) == LIMIT


@given(st.text())
def test_nothing_unsafe_survives(text: str) -> None:
    assert not [char for char in clean(text) if unicodedata.category(char) in UNSAFE]
    assert not [char for char in clean_lines(text) if char != "\n" and unicodedata.category(char) in UNSAFE]


@given(st.text())
def test_clean_text_stays_as_it_is(text: str) -> None:
    once = clean(text)
    assert clean(once) == once

"""Boxes, menus and outcomes as text, kept under ``golden_text`` and looked at in review."""

from __future__ import annotations

import msgspec
import pytest

from celerytop.model.snapshot import Snapshot
from tests.ui import snapshots
from tests.ui.acting import PAY, allowed, being_done, half_done, many, with_task
from tests.ui.test_golden import screen

SIZES = ((80, 24), (100, 30))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_boxes_that_ask(size: tuple[int, int]) -> None:
    screen("confirm", allowed(), size, "3", "K")
    screen("confirm_tree", allowed(), size, "3", "K", "p")
    screen("confirm_read_only", snapshots.healthy(), size, "3", "K")
    screen("confirm_typed", many(), size, "3", "x", *"same menu", "enter", *"kill, s", "enter", *"pro")
    screen("confirm_over", with_task(allowed(), PAY, state="SUCCESS", finished_at=1.7e9), size, "3", "f", "K")
    screen("confirm_shutdown", allowed(), size, "2", "x", *"shut", "enter", *"w9@")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_menus_and_forms(size: tuple[int, int]) -> None:
    for page, key in (("tasks", "3"), ("workers", "2"), ("queues", "1")):
        screen(f"act_{page}", allowed(), size, key, "x")
    screen("ask_send", allowed(), size, "1", "x", *"send", "enter", *"app.add", "enter", *"[1")
    screen("tagged", allowed(), size, "3", "v", "down", "down", "v")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_outcomes(size: tuple[int, int]) -> None:
    screen("outcome_begun", being_done(), size, "9", "enter")
    screen("outcome", half_done(), size, "9", "enter")
    screen("page_actions", half_done(), size, "9")
    screen("page_tasks_verdict", half_done(), size, "3", "l")
    screen("leaving", being_done(), size, "q")


def test_the_smallest_window_the_largest_and_ascii() -> None:
    for size in ((60, 10), (200, 50)):
        screen("confirm", allowed(), size, "3", "K")
        screen("outcome", half_done(), size, "9", "enter")
    for name, snapshot, keys in (
        ("confirm_hostile", allowed(snapshots.hostile()), ("3", "K")),
        ("act_hostile", allowed(snapshots.hostile()), ("2", "x")),
        ("outcome_hostile", _hostile(), ("9", "enter")),
    ):
        text = screen(name, snapshot, (80, 24), *keys, ascii=True)
        assert text.isascii() and "\x1b" not in text


def _hostile() -> Snapshot:
    found: Snapshot = snapshots._poison(half_done())
    words = [outcome.outcome for outcome in half_done().actions[0].outcomes]
    report = found.actions[0]
    outcomes = tuple(
        msgspec.structs.replace(outcome, outcome=word, next=None)
        for outcome, word in zip(report.outcomes, words, strict=True)
    )
    return msgspec.structs.replace(found, actions=(msgspec.structs.replace(report, outcomes=outcomes),))

"""Every page as text, kept under ``golden_text`` and looked at in review."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from celerytop.format import cells
from celerytop.model.snapshot import Snapshot
from tests.ui import golden, snapshots
from tests.ui.drive import Driver, drive

PAGES = {"queues": "1", "workers": "2", "tasks": "3", "hosts": "6", "types": "8"}
SIZES = ((80, 24), (100, 30))
KINDS: dict[str, Callable[[], Snapshot]] = {
    "healthy": snapshots.healthy,
    "stale": snapshots.stale,
    "empty": snapshots.empty,
    "hostile": snapshots.hostile,
}


def screen(name: str, snapshot: Snapshot, size: tuple[int, int], *keys: str, ascii: bool = False) -> str:
    """Press ``keys``, compare the screen with the kept one; no line may be wider than the window."""
    texts: list[str] = []

    async def deed(driver: Driver) -> None:
        await driver.press(*keys)
        texts.append(driver.text)

    drive(snapshot, deed, size, ascii=ascii)
    golden.check(f"{name}_{size[0]}x{size[1]}", texts[0])
    lines = texts[0].splitlines()
    assert len(lines) == size[1]
    assert all(cells(line) <= size[0] for line in lines)
    return texts[0]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("page", PAGES)
def test_page(page: str, kind: str, size: tuple[int, int]) -> None:
    text = screen(f"page_{page}_{kind}", KINDS[kind](), size, PAGES[page])
    assert "\x1b" not in text and "\u202e" not in text


@pytest.mark.parametrize("page", PAGES)
def test_page_in_a_large_and_in_the_smallest_window(page: str) -> None:
    screen(f"page_{page}_healthy", snapshots.healthy(), (200, 50), PAGES[page])
    screen(f"page_{page}_healthy", snapshots.healthy(), (60, 10), PAGES[page])


@pytest.mark.parametrize("page", PAGES)
def test_ascii_page_has_no_other_character(page: str) -> None:
    text = screen(f"page_{page}_ascii", snapshots.hostile(), (100, 30), PAGES[page], ascii=True)
    assert text.isascii()


def test_trees_unfolded() -> None:
    screen("workers_unfolded", snapshots.healthy(), (80, 24), "2", "down", "down", "right", "down")
    screen("hosts_folded", snapshots.healthy(), (80, 24), "6", "left")


def test_boxes_and_help() -> None:
    keys = {"sort": ("s",), "columns": ("c",), "palette": (":",), "help": ("?",), "filter": ("/", "p", "a")}
    for name, pressed in keys.items():
        screen(name, snapshots.healthy(), (80, 24), *pressed)
    screen("palette_ascii", snapshots.healthy(), (80, 24), ":", "s", "o", "r", "t", ascii=True)


def test_task_lists() -> None:
    for name, key in (("reserved", "r"), ("scheduled", "h"), ("failed", "f"), ("recent", "l")):
        screen(f"tasks_{name}", snapshots.healthy(), (80, 24), "3", key)

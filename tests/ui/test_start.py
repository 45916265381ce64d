"""What the first screen costs: paintings, style sheets, widgets."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

import pytest
from textual._compositor import LayoutUpdate
from textual.css import stylesheet
from textual.css.parse import parse
from textual.drivers._writer_thread import WriterThread

from celerytop.ui.app import CelerytopApp
from celerytop.ui.driver import TopDriver, Writer
from celerytop.ui.feed import StillFeed
from tests.ui import snapshots

SIZES = [(100, 30), (80, 24), (60, 10)]


def begun(size: tuple[int, int], page: str = "queues", look: Callable[[CelerytopApp], None] | None = None) -> list[Any]:
    """Everything that was painted until the first screen was there."""
    app = CelerytopApp(StillFeed(snapshots.healthy()), page=page)
    painted: list[Any] = []
    paint = app._display

    def display(screen: Any, update: Any) -> None:
        if update is not None:
            painted.append(update)
        paint(screen, update)

    def there() -> None:
        if look is not None:
            look(app)
        app.exit()

    setattr(app, "_display", display)  # noqa: B010 - mypy minds that it is narrower
    app.shown_first = there
    asyncio.run(app.run_async(headless=True, size=size))
    assert app.crash is None
    return painted


def lines(update: LayoutUpdate) -> list[str]:
    return ["".join(segment.text for segment in strip) for strip in update.strips]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("page", ["queues", "workers", "tasks"])
def test_the_first_painting_is_the_whole_screen(page: str, size: tuple[int, int]) -> None:
    first = begun(size, page)[0]
    assert isinstance(first, LayoutUpdate)
    shown = lines(first)
    assert len(shown) == size[1]
    assert shown[0].startswith("celerytop") and shown[1].startswith(("workers", "wk")), shown
    assert shown[-1].rstrip().endswith("q quit") and any("STATE" in line for line in shown), shown


def test_each_style_sheet_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[object] = []

    def counted(scope: str, css: str, read_from: Any, *args: Any, **words: Any) -> Any:
        parsed.append(read_from)
        return parse(scope, css, read_from, *args, **words)

    monkeypatch.setattr(stylesheet, "parse", counted)
    begun((100, 30))
    assert 0 < len(parsed) == len(set(parsed)) <= 6, parsed


def test_no_more_widgets_than_are_seen() -> None:
    names: list[str] = []

    def look(app: CelerytopApp) -> None:
        names.extend(type(widget).__name__ for widget in app.screen.walk_children())

    begun((100, 30), look=look)
    assert sorted(names) == ["Container", "Header", "Lines", "Lines", "Lines", "QueuesPage", "TagTable"]


def test_textuals_own_writer_is_never_begun() -> None:
    async def made() -> None:
        driver = TopDriver(CelerytopApp(StillFeed(snapshots.healthy())))
        textuals = WriterThread(io.StringIO())
        driver._writer_thread = textuals
        assert isinstance(driver._writer_thread, Writer) and not textuals.is_alive()
        assert not driver.behind

    asyncio.run(made())

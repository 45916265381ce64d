"""A box with a list: sort menu, columns, palette. Typing narrows it; no widget in it knows markup."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import ClassVar, NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.strip import Strip

from celerytop.format import pad
from celerytop.ui.widgets.painted import Painted, Span, Spans, strip_of


class Choice(NamedTuple):
    """One entry."""

    key: str
    label: str
    note: str = ""


class Box(Painted):
    """Draws the list; the screen has the keys."""

    def __init__(self, menu: Menu) -> None:
        super().__init__(id="box")
        self.menu = menu

    def strips(self, width: int, height: int) -> list[Strip]:
        """See ``Painted``."""
        menu, look = self.menu, self.look
        left, right, foot, end, across, down = "++++-|" if look.ascii else "┌┐└┘─│"
        title = f" {menu.title_text} "
        top = left + across + title + across * max(0, width - len(title) - 3) + right
        inner = [self._query(), *self._entries(height - 3, width - 4)]
        lines: list[Spans] = [[(top, "line")]]
        for spans in inner:
            strip = strip_of(spans, width - 4, look)
            lines.append(
                [(f"{down} ", "line"), *((s.text, _tone(spans, i)) for i, s in enumerate(strip)), (f" {down}", "line")]
            )
        lines += [[(f"{down}{' ' * (width - 2)}{down}", "line")]] * (height - 1 - len(lines))
        lines.append([(foot + across * (width - 2) + end, "line")])
        return [strip_of(line, width, look) for line in lines]

    def _query(self) -> Spans:
        menu = self.menu
        if menu.query_text:
            return [("/ ", "note"), (menu.query_text + "_", "")]
        what = (
            "space: show or hide   enter: done"
            if menu.checked is not None
            else "type to search   enter: choose   esc: back"
        )
        return [(what, "dim")]

    def _entries(self, height: int, width: int) -> list[Spans]:
        menu = self.menu
        shown = menu.matching
        first = max(0, min(menu.at - height // 2, len(shown) - height))
        label = max((len(choice.label) for choice in menu.choices), default=0)
        lines: list[Spans] = []
        for index, choice in enumerate(shown[first : first + height], first):
            box = "" if menu.checked is None else ("[x] " if choice.key in menu.checked else "[ ] ")
            here = index == menu.at
            text = f"{'>' if here else ' '}{box}{pad(choice.label, min(label, 34), ascii=self.look.ascii)}  "
            spans: list[Span] = [(text, "cursor" if here else ""), (choice.note, "cursor" if here else "dim")]
            lines.append(spans)
        return lines or [[(" nothing matches", "dim")]]


def _tone(spans: Spans, index: int) -> str:
    """Tone of the segment at ``index``; what was filled up has none."""
    return spans[index][1] if index < len(spans) else ""


class Menu(ModalScreen[str | None]):
    """Returns the key that was chosen; with ``checked`` entries are switched on and off instead."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back", show=False),
        Binding("up", "step(-1)", "Previous", show=False),
        Binding("down", "step(1)", "Next", show=False),
        Binding("pageup", "step(-10)", "Ten back", show=False),
        Binding("pagedown", "step(10)", "Ten on", show=False),
        Binding("enter", "choose", "Choose", show=False),
    ]
    AUTO_FOCUS = ""

    def __init__(
        self,
        title: str,
        choices: Sequence[Choice],
        at: str = "",
        checked: Collection[str] | None = None,
        changed: Callable[[frozenset[str]], None] | None = None,
    ) -> None:
        super().__init__()
        self.title_text = title
        self.choices = choices
        self.checked: set[str] | None = None if checked is None else set(checked)
        self.changed = changed
        self.query_text = ""
        self.at = next((index for index, choice in enumerate(choices) if choice.key == at), 0)

    @property
    def matching(self) -> Sequence[Choice]:
        """Entries that hold every word typed."""
        words = self.query_text.lower().split()
        if not words:
            return self.choices
        return [c for c in self.choices if all(word in f"{c.label} {c.note}".lower() for word in words)]

    def compose(self) -> ComposeResult:
        """One box."""
        yield Box(self)

    def on_mount(self) -> None:
        """As high as it needs."""
        self._fit()

    def on_resize(self) -> None:
        """Other room."""
        self._fit()

    def _fit(self) -> None:
        box = self.query_one(Box)
        box.styles.height = max(4, min(len(self.choices) + 3, self.size.height - 2))
        box.styles.width = max(20, min(84, self.size.width - 4))

    def _repaint(self) -> None:
        for box in self.query(Box):  # none yet, when somebody types faster than it opens
            box.repaint()

    def action_step(self, step: int) -> None:
        """Move."""
        count = len(self.matching)
        if count:
            self.at = (self.at + step) % count if abs(step) == 1 else max(0, min(count - 1, self.at + step))
        self._repaint()

    def action_leave(self) -> None:
        """Esc: first what was typed, then the box."""
        if self.query_text:
            self._search("")
        else:
            self.dismiss(None)

    def action_choose(self) -> None:
        """Enter."""
        if self.checked is not None:
            self.dismiss(None)
        elif self.at < len(self.matching):
            self.dismiss(self.matching[self.at].key)

    def _search(self, text: str) -> None:
        self.query_text, self.at = text, 0
        self._repaint()

    def on_key(self, event: events.Key) -> None:
        """What is typed narrows the list; Space switches an entry."""
        if event.key == "space" and self.checked is not None:
            self._switch()
        elif event.key == "backspace":
            self._search(self.query_text[:-1])
        elif event.is_printable and event.character is not None and (event.character != " " or self.query_text):
            self._search(self.query_text + event.character)
        else:
            return
        event.stop()
        event.prevent_default()

    def _switch(self) -> None:
        if self.checked is None or self.at >= len(self.matching):
            return
        self.checked ^= {self.matching[self.at].key}
        self._repaint()
        if self.changed is not None and self.checked:
            self.changed(frozenset(self.checked))

"""A small form: one line for each parameter, checked while it is typed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from textual import events

from celerytop.format import cells, cut
from celerytop.ui.screens.asking import Asking
from celerytop.ui.widgets.boxed import wrapped
from celerytop.ui.widgets.painted import Span, Spans

LONGEST = 4000
"""Characters in one line."""
Check = Callable[[str], str | None]
"""What is wrong with a text, one phrase; ``None``: nothing."""


def whole(least: int = 0, most: int = 10_000) -> Check:
    """A whole number.

    >>> whole(1)("3"), whole(1)("0"), whole()("x")
    (None, 'a number from 1 to 10,000', 'a number from 0 to 10,000')
    """

    def check(text: str) -> str | None:
        good = text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most
        return None if good else f"a number from {least:,} to {most:,}"

    return check


def seconds(text: str) -> str | None:
    """Seconds, or nothing.

    >>> seconds(""), seconds("2.5"), seconds("-1"), seconds("nan")
    (None, None, 'seconds, e.g. 30, or nothing', 'seconds, e.g. 30, or nothing')
    """
    try:
        good = not text or (float(text) > 0 and math.isfinite(float(text)))
    except ValueError:
        good = False
    return None if good else "seconds, e.g. 30, or nothing"


def rate(text: str) -> str | None:
    """Celery's rate.

    >>> rate("10/m"), rate("0"), rate("5"), rate("10/x")
    (None, None, None, 'e.g. 10/m, 1/s, 100/h; 0 for no limit')
    """
    return None if re.fullmatch(r"\d{1,9}(\.\d{1,6})?(/[smh])?", text) else "e.g. 10/m, 1/s, 100/h; 0 for no limit"


def said(text: str) -> str | None:
    """Not nothing."""
    return None if text.strip() else "is needed"


def anything(text: str) -> str | None:
    """Nothing, too."""
    return None


def json_list(text: str) -> str | None:
    """A JSON list.

    >>> json_list("[1]"), json_list("{}")
    (None, 'a JSON list, e.g. [1, "a"]')
    """
    return _json(text, list, 'a JSON list, e.g. [1, "a"]')


def json_object(text: str) -> str | None:
    """A JSON object.

    >>> json_object("{}"), json_object("{a: 1}")
    (None, 'a JSON object, e.g. {"a": 1}')
    """
    return _json(text, dict, 'a JSON object, e.g. {"a": 1}')


def _json(text: str, kind: type, phrase: str) -> str | None:
    try:
        good = isinstance(json.loads(text), kind)
    except (ValueError, RecursionError):
        good = False
    return None if good else phrase


class Field(NamedTuple):
    """One line."""

    key: str
    label: str
    value: str = ""
    """What stands there at first."""
    check: Check = said
    note: str = ""
    """One phrase, shown while it is edited."""


class Ask(Asking[Mapping[str, str]]):
    """Returns what was typed, by key; every field has passed its check."""

    def __init__(
        self,
        title: str,
        fields: Sequence[Field],
        together: Callable[[Mapping[str, str]], str | None] | None = None,
    ) -> None:
        """``together``: what is wrong with all of them together, one phrase."""
        super().__init__()
        self.title_text = title
        self.fields = fields
        self.values = {field.key: field.value for field in fields}
        self.at = 0
        self.together = together
        self.complaint = ""
        self._fresh = True
        """What stands there was not typed: the first letter replaces it."""

    @property
    def field(self) -> Field:
        """The one that is edited."""
        return self.fields[self.at]

    def wanted(self, width: int) -> int:
        """See ``Asking``."""
        return len(self.fields) + 3

    def lines(self, width: int, height: int) -> Sequence[Spans]:
        """See ``Asking``."""
        label = max(cells(field.label) for field in self.fields)
        shown: list[Spans] = [self._line(index, field, label, width) for index, field in enumerate(self.fields)]
        wrong = self.field.check(self.values[self.field.key])
        note = self.complaint or wrong or self.field.note
        tone = "bad" if self.complaint else "warn" if wrong else "dim"
        last = "enter: next" if self.at < len(self.fields) - 1 else "enter: go on"
        return [*shown, *wrapped(note, width, tone, most=1), [(f"{last}   tab: other line   esc: back", "dim")]]

    def _line(self, index: int, field: Field, label: int, width: int) -> list[Span]:
        here = index == self.at
        value = self.values[field.key]
        room = max(4, width - label - 5)
        if here and cells(value) > room:
            value = "…" + value[-(room - 1) :] if not self.look_ascii else "~" + value[-(room - 1) :]
        tone = "" if field.check(self.values[field.key]) is None else "warn"
        blank = " " * (label - cells(field.label))
        text = (value, "cursor" if here and self._fresh and value else tone)
        return [
            (">" if here else " ", "note"),
            (f" {field.label}{blank}  ", "title" if here else "dim"),
            text if here else (cut(value, room), tone),
            ("_" if here else "", "note"),
        ]

    @property
    def look_ascii(self) -> bool:
        """Only ASCII may be drawn."""
        return self.top.ascii

    def pressed(self, event: events.Key) -> None:
        """See ``Asking``."""
        key = event.key
        self.complaint = ""
        if key in ("tab", "down"):
            self._go(1)
        elif key in ("shift+tab", "up"):
            self._go(-1)
        elif key == "enter":
            self._entered()
        elif key == "ctrl+u":
            self._put("")
        elif key == "backspace":
            self._put(self.values[self.field.key][:-1])
        elif event.is_printable and event.character is not None:
            before = "" if self._fresh else self.values[self.field.key]
            self._put((before + event.character)[:LONGEST])

    def on_paste(self, event: events.Paste) -> None:
        """One line of what is pasted."""
        event.stop()
        if self.painted and not self.over:
            before = "" if self._fresh else self.values[self.field.key]
            self._put((before + (event.text.splitlines() or [""])[0])[:LONGEST])
            self.show()

    def _put(self, text: str) -> None:
        self._fresh = False
        self.values[self.field.key] = text

    def _go(self, step: int) -> None:
        self.at = (self.at + step) % len(self.fields)
        self._fresh = True

    def _entered(self) -> None:
        """The next line; from the last, all of them, if all are good."""
        if self.field.check(self.values[self.field.key]) is not None:
            return
        if self.at < len(self.fields) - 1:
            self._go(1)
            return
        wrong = [i for i, field in enumerate(self.fields) if field.check(self.values[field.key]) is not None]
        if wrong:
            self.at, self._fresh = wrong[0], True
            return
        self.complaint = (self.together(self.values) if self.together is not None else None) or ""
        if not self.complaint:
            self.leave(dict(self.values))

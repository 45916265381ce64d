"""Colours and symbols: what a tone looks like in each theme, and what may not reach the terminal."""

from __future__ import annotations

from functools import cache

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.theme import BUILTIN_THEMES, Theme

from celerytop.format import plain
from celerytop.model.text import clean
from celerytop.ui.terminal import THEMES

_ATTRIBUTES = {
    "": "",
    "ok": "",
    "title": "bold",
    "head": "bold",
    "key": "bold",
    "dim": "dim",
    "line": "dim",
    "note": "",
    "warn": "bold",
    "bad": "bold",
    "cursor": "reverse",
    "gone": "strike dim",
    "found": "underline",
}
"""Tone to attributes: enough to tell them apart without any colour."""

_COLOURS = {
    "dark": {"note": "cyan", "warn": "yellow", "bad": "bright_red", "line": "default"},
    # Yellow and cyan cannot be read on white: the darker ones of the 256 colours.
    "light": {"note": "color(24)", "warn": "color(130)", "bad": "color(124)"},
    "mono": {},
}
_COLOURS["ascii"] = _COLOURS["dark"]


class Look:
    """One theme: tones to styles, and whether only ASCII may be drawn."""

    def __init__(self, theme: str = "dark", ascii: bool = False) -> None:
        self.theme = theme if theme in THEMES else "dark"
        self.only_ascii = ascii
        """The terminal shows nothing else, whatever the theme."""

    @property
    def ascii(self) -> bool:
        """Whether to draw with ASCII alone."""
        return self.only_ascii or self.theme == "ascii"

    def next(self) -> str:
        """The theme that follows this one."""
        return THEMES[(THEMES.index(self.theme) + 1) % len(THEMES)]

    def style(self, tone: str) -> Style | None:
        """The style of a tone, or of several joined by a blank; ``None``: as the terminal writes."""
        return _style(self.theme, tone)


@cache
def _style(theme: str, tone: str) -> Style | None:
    words: list[str] = []
    for part in tone.split():
        words.append(_ATTRIBUTES.get(part, ""))
        words.append(_COLOURS[theme].get(part, ""))
    definition = " ".join(word for word in words if word)
    return Style.parse(definition) if definition else None


def themes() -> list[Theme]:
    """Themes for Textual's own widgets (input, list, notice): the terminal's 16 colours on its own background."""
    return [_theme(name) for name in THEMES]


def _theme(name: str) -> Theme:
    accent = "ansi_default" if name == "mono" else "ansi_blue" if name == "light" else "ansi_cyan"
    return Theme(
        name=name,
        ansi=True,
        dark=name != "light",
        primary=accent,
        secondary=accent,
        accent=accent,
        success="ansi_default",
        warning="ansi_default" if name == "mono" else "ansi_yellow",
        error="ansi_default" if name == "mono" else "ansi_red",
        foreground="ansi_default",
        background="ansi_default",
        surface="ansi_default",
        panel="ansi_default",
        boost="ansi_default",
        variables=BUILTIN_THEMES["ansi-light" if name == "light" else "ansi-dark"].variables,
    )


class OnlyPlain(LineFilter):
    """The last thing before the terminal: no control or bidi character, only ASCII where nothing else can be drawn,
    no colour when none is wanted, and no byte more than needed."""

    def __init__(self, ascii: bool, no_color: bool = False) -> None:
        super().__init__()
        self.ascii = ascii
        self.no_color = no_color

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """See ``LineFilter``. Neighbours that look the same become one."""
        out: list[Segment] = []
        for raw, dressed, control in segments:
            text = raw if raw.isascii() and raw.isprintable() else self._harmless(raw)
            style = None if dressed is None else colourless(dressed) if self.no_color else lean(dressed)
            if out and not control and out[-1].style == style and not out[-1].control:
                out[-1] = Segment(out[-1].text + text, style)
            else:
                out.append(Segment(text, style, control))
        return out

    def _harmless(self, text: str) -> str:
        return plain(clean(text)) if self.ascii else clean(text)


@cache
def lean(style: Style) -> Style | None:
    """The same style without colours that are the terminal's own anyway; ``None`` when nothing is left.

    >>> str(lean(Style.parse("bold default on default"))), lean(Style.parse("on default"))
    ('bold', None)
    """
    color = None if style.color is not None and style.color.is_default else style.color
    back = None if style.bgcolor is not None and style.bgcolor.is_default else style.bgcolor
    plainer = colourless(style) + Style(color=color, bgcolor=back)
    return plainer if plainer else None


@cache
def colourless(style: Style) -> Style:
    """The same style without colours: attributes stay, colours go, greys too (NO_COLOR).

    >>> str(colourless(Style.parse("bold red on blue")))
    'bold'
    """
    return Style(
        bold=style.bold,
        dim=style.dim,
        italic=style.italic,
        underline=style.underline,
        reverse=style.reverse,
        strike=style.strike,
        meta=style.meta or None,
    )

"""Help of one page: what each column and sign means, then every key that works here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import ClassVar, NamedTuple

from textual.app import App
from textual.binding import Binding, BindingType
from textual.dom import DOMNode

from celerytop.format import cells
from celerytop.model.snapshot import Snapshot
from celerytop.ui.screens.frame import Detail
from celerytop.ui.widgets.painted import Spans
from celerytop.ui.widgets.scroll import ruler

_NAMES = {
    "slash": "/", "question_mark": "?", "colon": ":", "plus": "+", "minus": "-", "equals_sign": "=", "escape": "esc",
    "pagedown": "PgDn", "pageup": "PgUp", "home": "Home", "end": "End", "f1": "F1",
    "left_square_bracket": "[", "right_square_bracket": "]",
}  # fmt: skip


_EVERYWHERE = (
    ("? - 0", "not known; does not apply; zero"),
    ("LIVE STALE", "news of the last 8 s; none, or a source is down: rows keep their last values"),
    ("PART", "this page is live, another source is not"),
    ("PAUSED", "the picture stands still; the watch goes on"),
)


class Deed(NamedTuple):
    """Something a key does here."""

    keys: tuple[str, ...]
    what: str
    action: str
    node: DOMNode


def deeds(app: App[None]) -> list[Deed]:
    """All that works on the screen in front, from the innermost widget outwards; keys of Textual's own are left out."""
    found: dict[tuple[str, int], Deed] = {}
    taken: set[str] = set()
    nodes = list(_nodes(app))
    folds = any(getattr(node, "foldable", False) for node in nodes)
    for node in nodes:
        for binding in _bindings(node):
            if binding.action.startswith("fold(") and not folds:
                continue
            free = tuple(key for key in binding.key.split(",") if key not in taken)
            taken.update(free)
            same = (binding.action, id(node))
            if free:
                before = found[same].keys if same in found else ()
                found[same] = Deed((*before, *free), binding.description, binding.action, node)
    return list(found.values())


def _nodes(app: App[None]) -> Iterator[DOMNode]:
    node: DOMNode | None = app.focused or app.screen
    while node is not None:
        yield node
        parent = node.parent
        node = parent if isinstance(parent, DOMNode) else None
    if not isinstance(app.screen.parent, App):
        yield app


def _bindings(node: DOMNode) -> Iterator[Binding]:
    for kind in type(node).__mro__:
        if not kind.__module__.startswith("celerytop."):
            continue
        for binding in kind.__dict__.get("BINDINGS", ()):
            if isinstance(binding, Binding) and binding.description:
                yield binding


def key_name(key: str) -> str:
    """A key as it stands on the keyboard.

    >>> key_name("question_mark"), key_name("ctrl+p"), key_name("j")
    ('?', 'ctrl+p', 'j')
    """
    return _NAMES.get(key, key)


class Help(Detail):
    """Everything about one page."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("?,f1,q", "back", "Back", show=False)]

    def __init__(
        self, page: str, needs: tuple[str, ...], words: Sequence[tuple[str, str]], keys: Sequence[Deed]
    ) -> None:
        super().__init__()
        self.page = page
        self.needs = needs
        self._words = list(words)
        self._deeds = list(keys)

    def crumbs(self, snapshot: Snapshot) -> Spans:
        """See ``Detail``."""
        return [(f" Help > {self.page}", "title")]

    def content(self, snapshot: Snapshot, width: int) -> Sequence[Spans]:
        """See ``Detail``."""
        lines: list[Spans] = [ruler("what it says", width)]
        for word, text in self._words:
            lines += _entry(word, text, 16, width)
        lines += [[], ruler("keys", width)]
        for deed in self._deeds:
            lines += _entry(" ".join(map(key_name, deed.keys)), deed.what, 20, width)
        lines += [[], ruler("everywhere", width)]
        for word, text in _EVERYWHERE:
            lines += _entry(word, text, 16, width)
        return lines

    def keys(self) -> Sequence[tuple[str, str]]:
        """See ``Frame``."""
        return (("esc", "back"), ("up/dn PgUp/PgDn", "scroll"))


def _entry(word: str, text: str, at: int, width: int) -> list[Spans]:
    """A word and what it says from column ``at`` on, on as many lines as that takes.

    >>> _entry("PREF", "how many it takes", 6, 20)
    [[(' ', ''), ('PREF', 'key'), ('  ', ''), ('how many it', '')], [('       ', ''), ('takes', '')]]
    """
    gap = max(1, at - cells(word))
    first = " " * max(0, cells(word) + gap - at)
    head, *rest = wrap(text, max(10, width - at - 2), initial_indent=first, break_long_words=False) or [""]
    lines: list[Spans] = [[(" ", ""), (word, "key"), (" " * gap, ""), (head.removeprefix(first), "")]]
    return [*lines, *([(" " * (at + 1), ""), (part, "")] for part in rest)]

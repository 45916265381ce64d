"""What boxes that ask have in common: no key counts before they are painted, and none reaches what lies below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.screen import ModalScreen
from textual.strip import Strip

from celerytop.ui.widgets.boxed import boxed
from celerytop.ui.widgets.painted import Painted, Spans

if TYPE_CHECKING:
    from celerytop.ui.app import CelerytopApp

WIDEST = 96
T = TypeVar("T")


class Boxed(Painted):
    """Draws what its screen says."""

    def __init__(self, owner: Asking[T]) -> None:
        super().__init__(id="box")
        self.owner = owner

    def strips(self, width: int, height: int) -> list[Strip]:
        """See ``Painted``."""
        lines = self.owner.lines(width - 4, height - 2)
        return boxed(self.owner.title_text, lines, width, height, self.look)


class Asking(ModalScreen[T | None], Generic[T]):
    """A box. A subclass gives ``title_text``, ``lines``, ``wanted`` and ``pressed``."""

    AUTO_FOCUS = ""
    title_text = ""
    painted = False
    """It was seen: from now on keys count."""
    over = False

    @property
    def top(self) -> CelerytopApp:
        """The application, by its type."""
        from celerytop.ui.app import CelerytopApp

        assert isinstance(self.app, CelerytopApp)
        return self.app

    def compose(self) -> ComposeResult:
        """One box."""
        yield Boxed(self)

    def on_mount(self) -> None:
        """As high as it needs; keys count once it is there."""
        self.fit()
        self.call_after_refresh(self._is_there)

    def _is_there(self) -> None:
        self.painted = True

    def on_resize(self) -> None:
        """Other room."""
        self.fit()

    def on_screen_resume(self) -> None:
        """In front again after a box above it."""
        self.show()

    def fit(self) -> None:
        """Take the room it needs."""
        for box in self.query(Boxed):
            width = max(24, min(WIDEST, self.size.width - 2))
            box.styles.width = width
            box.styles.height = max(5, min(self.wanted(width - 4) + 2, self.size.height))

    def show(self) -> None:
        """Paint what has changed."""
        self.fit()
        for box in self.query(Boxed):
            box.repaint()

    def wanted(self, width: int) -> int:
        """Lines it would like to have."""
        return 10

    def lines(self, width: int, height: int) -> Sequence[Spans]:
        """What it says, in this room."""
        return ()

    def pressed(self, event: events.Key) -> None:
        """A key that counts."""

    def leave(self, answer: T | None) -> None:
        """Close it, once."""
        if not self.over:
            self.over = True
            self.dismiss(answer)

    def on_key(self, event: events.Key) -> None:
        """All keys are its own; what was typed before it could be read is dropped."""
        if event.key in ("ctrl+c", "ctrl+z", "ctrl+l"):
            return
        event.stop()
        event.prevent_default()
        if not self.painted or self.over:
            return
        if event.key == "escape":
            self.leave(None)
        else:
            self.pressed(event)
            self.show()

    def look_again(self) -> None:
        """There is a new picture."""
        self.show()

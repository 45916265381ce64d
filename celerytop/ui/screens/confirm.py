"""The last question before anything is changed: what it does to exactly these, by facts of now.

It is judged anew with each picture while the box is open; what is over or has moved bars it. The focus is on Cancel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from textual import events

from celerytop.consequences import Judgement, judge, still
from celerytop.equivalent import Equivalent, equivalent
from celerytop.format import cells
from celerytop.model.action import AnyAction
from celerytop.model.snapshot import Snapshot
from celerytop.model.text import clean
from celerytop.ui.screens.asking import Asking
from celerytop.ui.widgets.boxed import wrapped
from celerytop.ui.widgets.painted import Span, Spans

LOOK_ONLY = ("READ-ONLY", "PASSIVE")
_TYPED = 64
"""Characters that can be typed."""


class Variant(NamedTuple):
    """One way to do it: a rung of a ladder."""

    key: str
    """The letter that chooses it."""
    label: str
    make: Callable[[Snapshot], AnyAction]
    """The action, by the newest facts."""


class Confirm(Asking[AnyAction]):
    """Returns the action to submit; ``None``: nothing shall be done, or nothing may."""

    def __init__(self, variants: Sequence[Variant], at: int = 0) -> None:
        super().__init__()
        self.variants = variants
        self.at = max(0, min(at, len(variants) - 1))
        self.going = False
        """The focus is on doing it, not on Cancel."""
        self.typed = ""
        self.first = 0
        """The line of the text from which on it is shown."""
        self._made: tuple[object, int, AnyAction] | None = None
        self._judged: Judgement | None = None

    # ------------------------------------------------------------------------------------------------ what it is
    @property
    def action(self) -> AnyAction:
        """As it is chosen, by the newest picture, paused or not."""
        now = self.top.newest
        if self._made is None or self._made[0] is not now or self._made[1] != self.at:
            self._made = (now, self.at, self.variants[self.at].make(now))
            self._judged = None
        return self._made[2]

    @property
    def judgement(self) -> Judgement:
        """Of it, by the newest picture."""
        action = self.action
        if self._judged is None:
            self._judged = judge(self.top.newest, action)
        return self._judged

    @property
    def look_only(self) -> bool:
        """Nothing may be sent from here."""
        return self.top.newest.cluster.mode in LOOK_ONLY

    @property
    def barred(self) -> str | None:
        """Why it cannot be done now."""
        if self.top.silence:
            return "no new picture has come for a while: nothing is known of now"
        return self.judgement.barred

    @property
    def typed_right(self) -> bool:
        """What has to be typed stands there."""
        return self.judgement.typed is None or self.typed == clean(self.judgement.typed)

    @property
    def instead(self) -> Equivalent:
        """What to type in a shell instead."""
        now = self.top.newest
        takers = tuple(name for name, worker in now.workers.items() if worker.state not in ("gone", "unknown"))
        return equivalent(self.action, now.cluster, self.top.app_name, takers)

    # ------------------------------------------------------------------------------------------------------ draw
    def lines(self, width: int, height: int) -> Sequence[Spans]:
        """See ``Asking``: head and foot always, of what is between as much as fits."""
        judgement = self.judgement
        self.title_text = f"{judgement.title} on {self.top.newest.cluster.name}"
        if self.look_only:
            self.title_text += f" ({self.top.newest.cluster.mode})"
        head, body, foot = self._head(width), self._body(width), self._foot(width)
        room = max(1, height - len(head) - len(foot))
        self.first = max(0, min(self.first, len(body) - room))
        shown = body[self.first : self.first + room]
        if len(body) > room:
            more = len(body) - self.first - room
            shown = [*shown[:-1], [(f"  {more + 1} lines more: PgDn" if more else "  PgUp: back to the top", "note")]]
        return [*head, *shown, *[[]] * (room - len(shown)), *foot]

    def wanted(self, width: int) -> int:
        """See ``Asking``."""
        return len(self._head(width)) + len(self._body(width)) + len(self._foot(width))

    def _head(self, width: int) -> list[Spans]:
        subjects = self.judgement.subjects
        most = 2 if len(subjects) == 1 else 1  # acks_late stands at its end
        return [line for said in subjects for line in wrapped(said.text, width, said.tone, " ", most=most)]

    def _body(self, width: int) -> list[Spans]:
        out: list[Spans] = [[("What it does", "title")]]
        for said in self.judgement.does:
            out += wrapped(said.text, width, said.tone, "  - ", most=4)
        if self.judgement.sends:
            out += wrapped(self.judgement.sends, width)
        return out

    def _foot(self, width: int) -> list[Spans]:
        out: list[Spans] = [self._rungs(width)] if len(self.variants) > 1 else []
        if self.look_only:
            return [*out, *self._foot_look_only(width)]
        if self.barred is not None:
            out += wrapped(self.barred, width, "bad", "Not possible now: ", most=3)
            return [*out, [("[ Cancel ]", "cursor"), ("   esc", "dim")]]
        verb = self.judgement.verb
        if self.judgement.typed is None:
            keys = f"   y: {verb}   esc: cancel"
        else:
            out.append(self._typing(clean(self.judgement.typed)))
            keys = f"   enter: {verb}   esc: cancel" if self.typed_right else "   esc: cancel"
        on = self.going or (self.judgement.typed is not None and self.typed_right)
        cancel: Span = ("[ Cancel ]", "" if on else "cursor")
        go: Span = (f"[ {verb} ]", "cursor" if on else "" if self.typed_right else "dim")
        return [*out, [cancel, ("  ", ""), go, (keys, "dim")]]

    def _typing(self, name: str) -> list[Span]:
        tone = "ok" if self.typed_right else "bad" if not name.startswith(self.typed) else ""
        return [("Type  ", ""), (name, "title"), ("  to go on: ", ""), (self.typed + "_", tone)]

    def _rungs(self, width: int) -> list[Span]:
        spans: list[Span] = []
        letters = self.judgement.typed is None
        for index, variant in enumerate(self.variants):
            here = index == self.at
            key = f"{variant.key} " if letters else ""
            spans.append((f"({'o' if here else ' '}) {key}{variant.label}", "title" if here else ""))
            spans.append(("  ", ""))
        used = sum(cells(text) for text, _ in spans)
        return [*spans, ("left/right", "dim")] if used + 10 <= width else spans

    def _foot_look_only(self, width: int) -> list[Spans]:
        instead = self.instead
        out: list[Spans] = [[(f"{self.top.newest.cluster.mode}: nothing is sent from here. In a shell:", "warn")]]
        for command in instead.commands[:3]:
            out += wrapped(command, width, "title", "  ", most=5)
        if len(instead.commands) > 3:
            out.append([(f"  and {len(instead.commands) - 3} more", "dim")])
        if instead.note is not None:
            out += wrapped(instead.note, width, "dim", "  ")
        keys = "   y: copy it   esc: back" if instead.line is not None else "   esc: back"
        return [*out, [("[ Back ]", "cursor"), (keys, "dim")]]

    # ------------------------------------------------------------------------------------------------------ keys
    def pressed(self, event: events.Key) -> None:
        """See ``Asking``."""
        key = event.key
        if key in ("pageup", "pagedown"):
            self.first += 5 if key == "pagedown" else -5
        elif key in ("left", "right", "up", "down"):
            self._step(1 if key in ("right", "down") else -1)
        elif key in ("tab", "shift+tab"):
            self.going = not self.going and not self.look_only and self.barred is None
        elif key == "enter":
            self._entered()
        elif self.judgement.typed is not None and not self.look_only:
            self._type(event)
        else:
            self._letter(event.character or "")

    def _step(self, step: int) -> None:
        """Another rung; where there is none, the other button."""
        self.first, self.going = 0, False
        self.at = (self.at + step) % len(self.variants)

    def _letter(self, letter: str) -> None:
        found = [index for index, variant in enumerate(self.variants) if variant.key == letter]
        if letter == "y":
            self._yes()
        elif found and len(self.variants) > 1:
            self.at, self.first, self.going = found[0], 0, False
        elif letter == "K" and len(self.variants) > 1:
            self._step(1 if self.at < len(self.variants) - 1 else 0)
        elif letter in ("n", "q"):
            self.leave(None)

    def _type(self, event: events.Key) -> None:
        if event.key == "backspace":
            self.typed = self.typed[:-1]
        elif event.key == "ctrl+u":
            self.typed = ""
        elif event.is_printable and event.character is not None and len(self.typed) < _TYPED * 4:
            self.typed += event.character

    def _yes(self) -> None:
        if not self.look_only:
            self._go()
        elif (line := self.instead.line) is not None:
            self.leave(None)
            self.app.screen.call_later(self.top.copy, line)  # behind its coming to the front: that writes there too

    def _entered(self) -> None:
        """Where the focus is; with a name to type, only once it stands there."""
        if self.look_only:
            self.leave(None)
        elif self.judgement.typed is not None:
            if self.typed_right:
                self._go()
        elif self.going:
            self._go()
        else:
            self.leave(None)

    def _go(self) -> None:
        """Do it, unless something is in the way."""
        if self.barred is None and self.typed_right and not self.look_only:
            self.leave(still(self.top.newest, self.action))

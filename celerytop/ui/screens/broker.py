"""Page 5: the broker's own health, Redis or RabbitMQ."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import ClassVar, assert_never

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from celerytop.columns import Look
from celerytop.format import plain
from celerytop.model.broker import RabbitBroker, RedisBroker
from celerytop.model.observation import DOWN
from celerytop.model.snapshot import Snapshot
from celerytop.ui.details import rabbit, redis
from celerytop.ui.details.line import BLANK, Line, line
from celerytop.ui.details.lost import lost_lines
from celerytop.ui.screens.page import Page
from celerytop.ui.screens.walking import screen_for
from celerytop.ui.widgets.walk import Walk


def broker_lines(snapshot: Snapshot, look: Look, width: int, own: bool = False) -> list[Line]:
    """The page's text; ``own`` adds what celerytop costs in detail."""
    return [*_down(snapshot, look, width), *_of_broker(snapshot, look, width, own), *lost_lines(snapshot, width)]


def _down(snapshot: Snapshot, look: Look, width: int) -> list[Line]:
    """Why sources are down, in full: the header cuts it off in a narrow window. The management API tells below."""
    reasons: dict[str, list[str]] = {}
    for status in snapshot.sources:
        if status.state == DOWN and status.error and status.name not in ("host", "management"):
            reasons.setdefault(status.error, []).append(status.name)
    lines: list[Line] = []
    for reason, names in reasons.items():
        text = plain(reason) if look.ascii else reason
        parts = wrap(f"{text} ({', '.join(names)})", width - 4)
        lines += [line((f" {sign} {part}", "bad")) for sign, part in zip("X" + " " * len(parts), parts, strict=False)]
    return lines


def _of_broker(snapshot: Snapshot, look: Look, width: int, own: bool) -> list[Line]:
    match snapshot.broker:
        case None:
            return [BLANK, line((" The broker has not told anything about itself yet.", "dim"))]
        case RedisBroker() as broker:
            return redis.lines(broker, snapshot, look, width, own)
        case RabbitBroker() as broker:
            return rabbit.lines(broker, snapshot, look, width, own)
        case unreachable:
            assert_never(unreachable)


class BrokerPage(Page):
    """Page 5. While it is open, clients are listed and (Redis) keys are walked."""

    page = "broker"
    title = "Broker"
    needs = ("broker",)
    WORDS: ClassVar[tuple[tuple[str, str], ...]] = (
        ("policy", "what Redis does when it is full: noeviction refuses, all others throw keys away"),
        ("SHARE", "part of the used memory; sizes are extrapolated from a sample"),
        ("NO TTL", "keys that never expire"),
        ("BUFFER", "bytes the server holds for a client that reads too slowly"),
        ("blocked", "Redis: clients that wait in BRPOP, as idle workers do"),
        ("alarm", "RabbitMQ: while one is on, nobody can publish on any node"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b", "own", "What celerytop costs here, in detail", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(id=self.page)
        self.own = False

    def compose(self) -> ComposeResult:
        """One text."""
        yield Walk(id="broker-text")

    def draw(self, snapshot: Snapshot) -> None:
        """See ``Page``."""
        lines = broker_lines(snapshot, self.top.columns_look, max(40, self.size.width), self.own)
        self.query_one(Walk).show_lines(lines, "dim" if self.stale else "")

    def on_resize(self) -> None:
        """Other room: other widths."""
        if self.snapshot is not None and self.ready:
            self.draw(self.snapshot)

    def keys(self) -> Sequence[tuple[str, str]]:
        """See ``Page``."""
        return (
            ("up/dn", "move"), ("enter", "open"), ("b", "own cost"), ("space", "pause"), ("?", "help"), ("q", "quit"),
        )  # fmt: skip

    def copied(self) -> str | None:
        """What the line leads to: a worker, a queue."""
        target = self.query_one(Walk).target
        return target.id if target is not None else None

    def aside(self) -> str:
        """What lies below the window."""
        return self.query_one(Walk).aside() if self.ready else ""

    def action_own(self) -> None:
        """More or less about what celerytop costs."""
        self.own = not self.own
        if self.snapshot is not None:
            self.draw(self.snapshot)

    @on(Walk.Scrolled)
    def scrolled(self, event: Walk.Scrolled) -> None:
        """Tell how much is below."""
        event.stop()
        self.top.main.draw_aside()

    @on(Walk.Opened)
    def opened(self, event: Walk.Opened) -> None:
        """Enter: a worker, a queue."""
        event.stop()
        self.app.push_screen(screen_for(event.target))

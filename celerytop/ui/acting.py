"""From a key to an action: a menu of what can be done, a form for what it needs, the last question, the submission."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from celerytop.model.action import AnyAction
from celerytop.model.snapshot import Snapshot

if TYPE_CHECKING:
    from celerytop.ui.app import CelerytopApp
    from celerytop.ui.screens.ask import Field
    from celerytop.ui.screens.confirm import Variant

TAGS = 50
"""Rows that can be tagged."""


class Offer(NamedTuple):
    """One line of the menu of actions."""

    label: str
    note: str
    begin: Callable[[CelerytopApp], None]
    """Ask for what it needs, then the last question."""


def offer(top: CelerytopApp, title: str, offers: Sequence[Offer]) -> None:
    """Open the menu."""
    from celerytop.ui.screens.menu import Choice, Menu

    choices = [Choice(str(index), one.label, one.note) for index, one in enumerate(offers)]

    def chosen(key: str | None) -> None:
        if key is not None:
            offers[int(key)].begin(top)

    top.push_screen(Menu(title, choices), chosen)


def choose(top: CelerytopApp, title: str, names: Sequence[str], then: Callable[[str], None]) -> None:
    """Open a menu of names."""
    from celerytop.ui.screens.menu import Choice, Menu

    def chosen(key: str | None) -> None:
        if key is not None:
            then(names[int(key)])

    top.push_screen(Menu(title, [Choice(str(index), name) for index, name in enumerate(names)]), chosen)


def ask(
    top: CelerytopApp,
    title: str,
    fields: Sequence[Field],
    make: Callable[[Mapping[str, str]], AnyAction],
    together: Callable[[Mapping[str, str]], str | None] | None = None,
    then: Callable[[CelerytopApp, AnyAction], None] | None = None,
) -> None:
    """Open a form, then the last question; ``then`` asks it in another way."""
    from celerytop.ui.screens.ask import Ask

    def typed(values: Mapping[str, str] | None) -> None:
        if values is not None:
            (then or confirm)(top, make(values))

    top.push_screen(Ask(title, fields, together), typed)


def confirm(top: CelerytopApp, action: AnyAction) -> None:
    """The last question about one action."""
    from celerytop.ui.screens.confirm import Variant

    confirm_one_of(top, [Variant("", "", lambda snapshot: action)])


def confirm_one_of(top: CelerytopApp, variants: Sequence[Variant], at: int = 0) -> None:
    """The last question, with several ways to do it."""
    from celerytop.ui.screens.confirm import Confirm

    def answered(action: AnyAction | None) -> None:
        if action is not None:
            submit(top, action)

    top.push_screen(Confirm(variants, at), answered)


def count_or_do(top: CelerytopApp, action: AnyAction) -> None:
    """Of what takes messages: first only count them."""
    from msgspec.structs import replace

    from celerytop.ui.screens.confirm import Variant

    only_count = replace(action, dry_run=True)
    variants = (
        Variant("c", "only count", lambda snapshot: only_count),
        Variant("d", "do it", lambda snapshot: action),
    )
    confirm_one_of(top, variants)


def restore_or_force(top: CelerytopApp, action: AnyAction) -> None:
    """Of a dump: what was removed and is not back yet; or all of it, whatever became of it."""
    from msgspec.structs import replace

    from celerytop.ui.screens.confirm import Variant

    forced = replace(action, force=True)
    variants = (
        Variant("r", "what was removed", lambda snapshot: action),
        Variant("f", "all of it, by force", lambda snapshot: forced),
    )
    confirm_one_of(top, variants)


def submit(top: CelerytopApp, action: AnyAction) -> None:
    """Hand it over, and show what becomes of it."""
    from celerytop.ui.screens.action_detail import ActionDetail

    numbers = [report.number for report in top.newest.actions]
    top.submit(action)
    top.push_screen(ActionDetail(action, after=max(numbers, default=0)))


def now(top: CelerytopApp) -> Snapshot:
    """The newest picture, also while the shown one is paused: decisions are made on facts of now."""
    return top.newest

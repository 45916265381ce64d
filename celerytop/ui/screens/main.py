"""The main screen: the header, one page at a time, the filter line."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.geometry import Size
from textual.reactive import reactive
from textual.widget import AwaitMount
from textual.widgets import Input

from celerytop.model.command import Attend
from celerytop.model.snapshot import Snapshot
from celerytop.ui.screens.frame import Frame
from celerytop.ui.screens.page import Page, TablePage
from celerytop.ui.sift import EVERYTHING, FilterError, Sift
from celerytop.ui.widgets.header import DEEDS, TABS, Header
from celerytop.ui.widgets.painted import Spans

if TYPE_CHECKING:
    from celerytop.ui.screens.tasks import TasksPage

_FILTER_KEYS = (
    ("name: state: worker: queue: args:", ""), ("runtime:>30", ""), ("!word", "not"), ("~word", "regex"),
    ("enter", "keep"), ("esc", "clear"),
)  # fmt: skip


PAGES = {
    "queues": "QueuesPage",
    "workers": "WorkersPage",
    "tasks": "TasksPage",
    "broker": "BrokerPage",
    "hosts": "HostsPage",
    "types": "TypesPage",
    "actions": "ActionsPage",
}
"""Class by name; its module, called like the page, is imported when the page is first wanted."""


def _made(name: str) -> Page:
    page: Page = getattr(import_module(f"celerytop.ui.screens.{name}"), PAGES[name])()
    return page


class FilterLine(Input):
    """What a filter is typed into. Textual's has the whole screen laid out for each letter, for its text has grown: two
    paintings, 16 ms apart; this one stays one line, as wide as the screen."""

    virtual_size = reactive(Size(0, 0))


class Main(Frame):
    """All pages."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"page('{page}')", f"Page {title}", show=False) for key, page, title, _ in (*TABS, DEEDS)),
        Binding("tab", "turn(1)", "Next page", show=False),
        Binding("shift+tab", "turn(-1)", "Previous page", show=False),
        Binding("/", "filter", "Filter", show=False),
        Binding("escape,backspace", "clear_filter", "Clear the filter", show=False),
        Binding("n", "match(1)", "Next match", show=False),
        Binding("N", "match(-1)", "Previous match", show=False),
        Binding("s", "sort", "Sort by a column", show=False),
        Binding("S", "reverse", "Turn the order round", show=False),
        Binding("c", "columns", "Choose columns", show=False),
        Binding("y", "copy", "Copy the id under the cursor", show=False),
    ]

    def __init__(self, page: str = "queues", filter: str = "") -> None:
        """The first page, and what it shows at first.

        Raises:
            FilterError: a sentence for the user.
        """
        super().__init__()
        self.page = page if page in PAGES else "queues"
        self.pages: dict[str, Page] = {}
        self._first = Sift(filter)
        self._refused = ""
        """Why what stands in the filter line cannot be read."""

    def body(self) -> ComposeResult:
        """See ``Frame``. With the first page: mounted afterwards it would come one painting later."""
        page = self.pages[self.page] = _made(self.page)
        if isinstance(page, TablePage):
            page.sift = self._first
        yield Container(page, id="pages")

    def on_mount(self) -> None:
        """The first page."""
        self.set_page(self.page)

    # ------------------------------------------------------------------------------------------------- pages
    @property
    def current(self) -> Page:
        """The page in front."""
        return self.pages[self.page]

    def set_page(self, name: str) -> AwaitMount | None:
        """Turn to a page; it is made when it is first wanted: wait for that before the next key is taken."""
        self._end_filter()
        new = name not in self.pages
        if new:
            self.pages[name] = _made(name)
        for page in self.pages.values():
            page.display = page is self.pages[name]
        self.page = name
        page = self.pages[name]
        self.needs = page.needs
        page.snapshot = self.top.shown
        mounted = self.query_one("#pages").mount(page) if new else None
        if not new:
            page.focus_first()
        self.call_after_refresh(self._arrived, page)
        self.top.feed.submit(page.attend())
        return mounted

    def _arrived(self, page: Page) -> None:
        if page is self.current:
            self.snapshot = self.top.shown
            if not self.query("#filter"):
                page.focus_first()

    def draw(self, snapshot: Snapshot) -> None:
        """See ``Frame``."""
        if self.page in self.pages:
            self.current.snapshot = snapshot
            self.draw_aside()

    def draw_aside(self) -> None:
        """Order and place changed."""
        page = self.pages.get(self.page)
        self.query_one("#header", Header).aside = page.aside() if page is not None and page.ready else ""

    def keys(self) -> Sequence[tuple[str, str]]:
        """See ``Frame``."""
        if self.query("#filter"):
            return _FILTER_KEYS
        return self.current.keys() if self.page in self.pages else ()

    def help(self) -> Sequence[tuple[str, str]]:
        """See ``Frame``."""
        return self.current.help()

    def attend(self) -> Attend:
        """See ``Frame``."""
        return self.current.attend() if self.page in self.pages else Attend(page=self.page)

    async def action_page(self, name: str) -> None:
        """A page by its name."""
        if name != self.page and (mounted := self.set_page(name)) is not None:
            await mounted

    async def action_turn(self, step: int) -> None:
        """The next page."""
        names = [page for _, page, _, _ in TABS] + (
            [DEEDS[1]] if self.top.newest.actions or self.page == DEEDS[1] else []
        )
        await self.action_page(names[(names.index(self.page) + step) % len(names)])

    def show_tasks(self, text: str) -> None:
        """The tasks page with this filter, over all tasks."""
        self.set_page("tasks")
        page = cast("TasksPage", self.pages["tasks"])
        page.sift = Sift(text)
        self.call_after_refresh(page.action_view, "recent")

    # ------------------------------------------------------------------------------------------------ filter
    async def action_filter(self) -> None:
        """Open the filter line; the next key is for it, however soon it comes."""
        page = self._table_page()
        if page is None or self.query("#filter"):
            return
        line = FilterLine(page.sift.text, placeholder="words, or name:x state:x !x ~regex", id="filter", compact=True)
        line.select_on_focus = False
        page.begin_filter()
        await self.mount(line, before="#hints")
        self.set_focus(line)
        self.call_after_refresh(self.hint)

    @on(Input.Changed, "#filter")
    def filter_typed(self, event: Input.Changed) -> None:
        """Filter while it is typed."""
        page = self.current
        if not isinstance(page, TablePage):
            return
        try:
            page.filter_typed(event.value)
        except FilterError as error:
            self._refused = str(error)
        else:
            self._refused = ""
        self.hint()
        self.draw_aside()
        self.paint_now()

    @on(Input.Submitted, "#filter")
    def filter_kept(self, event: Input.Submitted) -> None:
        """Enter: what cannot be read is not kept, and the line says why."""
        if not self._refused:
            self._end_filter()

    def notice(self) -> Spans | None:
        """See ``Frame``: first why what is being typed is no filter."""
        return [(f" {self._refused}", "warn")] if self._refused else super().notice()

    def _end_filter(self) -> None:
        self._refused = ""
        for line in self.query("#filter"):
            line.remove()
            self.call_after_refresh(self.hint)
            self.current.focus_first()

    def action_clear_filter(self) -> None:
        """Esc."""
        self._end_filter()
        page = self.pages.get(self.page)
        if isinstance(page, TablePage) and page.sift.text:
            page.filter(EVERYTHING)
            self.draw_aside()

    def action_match(self, step: int) -> None:
        """Next, previous."""
        page = self._table_page()
        if page is not None and page.sift.text:
            page.table.next_match(step)
        elif page is not None:
            self.say("no filter is set: / begins one")

    def _table_page(self) -> TablePage | None:
        """The page in front when it is a table; else say why this key does nothing."""
        page = self.current
        if isinstance(page, TablePage):
            return page
        self.say("this page is no table: nothing to filter, sort or choose")
        return None

    # ----------------------------------------------------------------------------------------------- choices
    def action_sort(self) -> None:
        """A list of the columns."""
        from celerytop.ui.screens.menu import Choice, Menu

        page = self._table_page()
        if page is None:
            return
        now = page.sort[0] if page.sort is not None else ""
        choices = [Choice(column.key, column.title, column.help) for column in page.columns]
        choices.append(Choice("", "(none)", "the natural order: newest first, or as the broker tells"))

        def chosen(key: str | None) -> None:
            if key is not None:
                page.sort_by(key or None)
                self.draw_aside()

        self.app.push_screen(Menu("Sort by", choices, at=now), chosen)

    def action_reverse(self) -> None:
        """The other way."""
        if (page := self._table_page()) is not None:
            page.reverse()
            self.draw_aside()

    def action_columns(self) -> None:
        """A list to choose from."""
        from celerytop.ui.screens.menu import Choice, Menu

        page = self._table_page()
        if page is None:
            return
        choices = [Choice(column.key, column.title, column.help) for column in page.columns]
        menu = Menu("Columns", choices, checked=page.chosen or page.usual, changed=page.choose)
        self.app.push_screen(menu)

    def action_copy(self) -> None:
        """The id under the cursor."""
        self.top.copy(self.current.copied())

    def on_key(self, event: events.Key) -> None:
        """In the filter line Esc means: clear."""
        if event.key == "escape" and self.query("#filter"):
            event.stop()
            self.action_clear_filter()

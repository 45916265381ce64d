"""The four lines above every page: what and how fresh, the whole cluster in numbers, what is wrong, the pages."""

from __future__ import annotations

from textual.reactive import reactive
from textual.strip import Strip

from celerytop.format import ago, cells, clock, clock_duration, count, cut, duration, percent, rate
from celerytop.model.snapshot import Snapshot
from celerytop.ui.news import Freshness, News, freshness, news
from celerytop.ui.widgets.painted import Painted, Span, Spans, strip_of

WIDE = 100
_TINY = 72
"""Below this the numbers of the second line stand without their words."""
TABS = (
    ("1", "queues", "Queues", "Queue"),
    ("2", "workers", "Workers", "Work"),
    ("3", "tasks", "Tasks", "Task"),
    ("5", "broker", "Broker", "Brok"),
    ("6", "hosts", "Hosts", "Host"),
    ("8", "types", "Types", "Type"),
)
"""Key, page, title, short title."""
DEEDS = ("9", "actions", "Actions", "Act")
"""The page of what was done from here: its tab is shown once something was."""
_MODES = {"LIVE": "note", "STALE": "bad", "PART": "warn", "PAUSED": "warn", "START": "warn"}


class Header(Painted):
    """Always visible. The screen gives it the picture, the page's name and the sources that page needs."""

    snapshot: reactive[Snapshot | None] = reactive(None, always_update=True, repaint=False)
    page: reactive[str] = reactive("queues", repaint=False)
    aside: reactive[str] = reactive("", repaint=False)
    """What stands at the right of the tabs: sort order, position."""
    needs: tuple[str, ...] = ()

    def watch_snapshot(self) -> None:
        """Another picture."""
        self.repaint()

    def watch_page(self) -> None:
        """Another page."""
        self.repaint()

    def watch_aside(self) -> None:
        """Another order or place: the last line alone, for this follows each key."""
        now = self.snapshot
        if now is None or not self._strips:
            return
        tabs = self._tabs(freshness(now, self.needs, self.top.silence), self.size.width)
        self.put([*self._strips[:-1], strip_of(tabs, self.size.width, self.look)])

    def strips(self, width: int, height: int) -> list[Strip]:
        """See ``Painted``."""
        now = self.snapshot
        if now is None:
            return []
        fresh = freshness(now, self.needs, self.top.silence)
        lines = [
            self._first(now, fresh, width),
            totals_line(now, width),
            news_line(news(now), width),
            self._tabs(fresh, width),
        ]
        return [strip_of(line, width, self.look) for line in lines]

    def _first(self, now: Snapshot, fresh: Freshness, width: int) -> Spans:
        wide = width >= WIDE
        right = self._mode(now, fresh, wide)
        parts = [part for part in (now.cluster.url, _server(now)) if part]
        gap = "  " if wide else " "
        if not wide:
            parts = [_server(now) or now.cluster.url]
        room = width - cells("celerytop") - sum(cells(text) for text, _ in right) - 1
        what = cut(gap + gap.join([now.cluster.name, *parts]), max(0, room), self.look.ascii)
        return between([("celerytop", "title"), (what, "")], right, width)

    def _mode(self, now: Snapshot, fresh: Freshness, wide: bool) -> list[Span]:
        paused = self.top.paused_at
        if paused is not None:
            length = clock_duration(max(0.0, self.top.newest.at - paused))
            mode, age = "PAUSED", length[3:] if length.startswith("00:") else length
        else:
            mode, age = fresh.mode, duration(fresh.age) if fresh.age is not None else ""
        spans: list[Span] = []
        if now.cluster.mode:
            spans.append(((now.cluster.mode if wide else _short_mode(now.cluster.mode)) + "  ", "note"))
        spans.append((f"{mode} {age}".rstrip(), _MODES[mode]))
        spans.append((f"  {clock(now.at, self.top.utc)}{'Z' if self.top.utc else ''}", ""))
        return spans

    def _shown_tabs(self) -> list[tuple[str, str, str, str]]:
        number = len(self.snapshot.actions) if self.snapshot is not None else 0
        if not number and self.page != DEEDS[1]:
            return list(TABS)
        key, page, title, short = DEEDS
        return [*TABS, (key, page, f"{title} {number}", f"{short} {number}")]

    def _tabs(self, fresh: Freshness, width: int) -> Spans:
        wide = width >= WIDE - 10
        spans: list[Span] = []
        for key, page, title, short in self._shown_tabs():
            text = f" {key} {title} " if wide else f" {key}{short}"
            spans.append((text, "cursor" if page == self.page else ""))
            spans.append((" " if wide else "", ""))
        right = self.aside
        if fresh.mode == "STALE" and fresh.as_of is not None:
            right = f"as of {clock(fresh.as_of, self.top.utc)}  {right}".rstrip()
        room = width - sum(cells(text) for text, _ in spans) - 1
        return between(spans, [(cut(right, max(0, room), self.look.ascii), "dim")], width)


def _server(now: Snapshot) -> str:
    version = now.cluster.version or now.cluster.transport
    return f"{version} {now.cluster.tls}" if now.cluster.tls else version


def _short_mode(mode: str) -> str:
    return {"READ-ONLY": "RO", "PASSIVE": "PASSIVE"}.get(mode, mode)


def between(left: Spans, right: Spans, width: int) -> list[Span]:
    """Left part at the left, right part at the right edge.

    >>> between([("ab", "")], [("c", "")], 5)
    [('ab', ''), ('  ', ''), ('c', '')]
    """
    used = sum(cells(text) for text, _ in left) + sum(cells(text) for text, _ in right)
    return [*left, (" " * max(1, width - used), ""), *right]


def totals_line(now: Snapshot, width: int) -> Spans:
    """The whole cluster in numbers; what is old carries its age."""
    wide = width >= WIDE
    totals = now.totals
    heard = max((s.seen_at for s in now.sources if s.name != "host" and s.seen_at is not None), default=None)
    old = now.cut_off() and heard is not None
    since = ago(now.at - heard) if heard is not None else ""
    age = f" ({since})" if old and wide else ""
    busy = totals.slots_busy / totals.slots if totals.slots and totals.slots_busy is not None else None
    lost = totals.workers is not None and totals.workers_alive is not None and totals.workers_alive < totals.workers
    trend = "" if totals.ready_rate is None or old or width < _TINY else f" {_pace(totals.ready_rate)}/s"
    alive, load = count(totals.workers_alive), f" busy {percent(busy)}" if wide and not age else age
    failed, up = "?" if old else count(totals.failed_per_minute), " up" if width >= _TINY else ""
    parts: list[Span] = [
        (f"{'workers' if wide else 'wk'} {alive}/{count(totals.workers)}{up}{age}", "warn" if lost else ""),
        (f"slots {count(totals.slots_busy)}/{count(totals.slots)}{load}", ""),
        (f"ready {count(totals.ready)}{trend}{age}", ""),
        (f"{'failed' if wide else 'fail'} {failed}/min", "warn" if totals.failed_per_minute and not old else ""),
    ]
    if old and not wide:
        parts.insert(0, (f"{since}:", "warn"))
    more = [
        (f"{'unacked' if wide else 'unack'} {count(totals.unacked)}", ""),
        (f"done {rate(totals.done_rate)}/s", ""),
        (f"events {rate(totals.event_rate)}/s", ""),
    ]
    return _with_more(parts, more if width >= 120 else more[:1], 3 if wide else 2, width)


def _with_more(parts: list[Span], more: list[Span], gap: int, width: int) -> Spans:
    """One line of numbers: of ``more`` as many as fit; the first of them stands before the last of ``parts``."""
    room = width - sum(cells(text) + gap for text, _ in parts) + gap
    fitting: list[Span] = []
    for text, tone in more:
        room -= cells(text) + gap
        if room < 0:
            break
        fitting.append((text, tone))
    line = [*parts[:-1], *fitting[:1], parts[-1], *fitting[1:]]
    return [span for part in line for span in ((" " * gap, ""), part)][1:]


def _pace(change: float) -> str:
    """A signed number a second: whole when it is large.

    >>> _pace(212.4), _pace(-0.3), _pace(0.0)
    ('+212', '-0.3', '0.0')
    """
    return f"{change:+,.0f}" if abs(change) >= 10 else rate(change, signed=True)


def news_line(found: list[News], width: int) -> Spans:
    """As many of the worst as fit, and how many there are."""
    if not found:
        return [("  nothing is known to be wrong", "dim")]
    sign = {"bad": "X " if found[0].text.endswith(".") else "! ", "warn": "! "}.get(found[0].tone, "  ")
    spans: list[Span] = [(sign, found[0].tone)]
    page = f"[{found[0].page}]" if found[0].page else ""
    room = width - len(sign) - len(page) - 1
    for index, item in enumerate(found):
        left = len(found) - index
        more = f"  +{left} more" if left > 1 else ""
        text = item.text if index == 0 else "   " + item.text
        if index and cells(text) + len(more) > room:
            spans.append((f"  +{left} more", "dim"))
            break
        here = room - (len(more) if left > 1 and index == 0 else 0)
        if item.more and cells(text) + cells(item.more) < here:
            text = f"{text} {item.more}"
        text = cut(text, here)
        spans.append((text, item.tone))
        room -= cells(text)
    return between(spans, [(page, "dim")], width)

"""Redis in full: memory and who takes it, clients, load, durability, what celerytop costs."""

from __future__ import annotations

from collections.abc import Iterator

from celerytop import format as fmt
from celerytop.columns import Look
from celerytop.model.broker import BrokerClient, KeyClass, KeyWalk, RedisBroker
from celerytop.model.snapshot import Snapshot
from celerytop.ui.details import forecast
from celerytop.ui.details.cost import cost_lines
from celerytop.ui.details.line import Col, Line, Span, Target, heading, line, pairs, row, ruler

_CLIENTS = 12
_SLOW = 6
_BUFFER = 2**20
"""Bytes waiting in a client's output buffer from which it is called slow; Redis cuts a subscriber at 32 MB."""
_NO_TTL_IS_FINE = frozenset({"queues", "unacked", "bindings"})


def lines(broker: RedisBroker, snapshot: Snapshot, look: Look, width: int, own: bool = False) -> list[Line]:
    """The whole page; ``own`` adds what celerytop costs in detail."""
    return [
        *_server(broker, width),
        *_memory(broker, look, width),
        *_cost_above(broker, look, width, own),
        *_walk(broker.walk, broker, snapshot.at, look, width),
        *_clients(broker, look, width),
        *_health(broker, snapshot.at, width),
        *_slowlog(broker, snapshot.at, look, width),
        *_rights(broker),
        *([] if own else cost_lines(broker.cost, (), look, width, own=False)),
    ]


def _cost_above(broker: RedisBroker, look: Look, width: int, own: bool) -> list[Line]:
    """Asked for, it must be in view."""
    return cost_lines(broker.cost, broker.client_list or (), look, width, own=True) if own else []


def _server(broker: RedisBroker, width: int) -> Iterator[Line]:
    name = {"redis": "Redis", "valkey": "Valkey"}.get(broker.server or "", broker.server or "Redis")
    head = f"{name} {broker.version or '?'} {broker.role or ''}".rstrip()
    spans: list[Span] = [
        (f" {head}", "title"),
        ("   ", ""),
        *pairs(
            ("", broker.mode if broker.mode not in (None, "standalone") else ""),
            ("", _replication(broker)),
            ("up", fmt.duration(broker.uptime)),
            ("policy", broker.maxmemory_policy or "?"),
            ("keys", fmt.count(broker.keys) if width >= 96 else ""),
        ),
    ]
    yield Line(tuple(spans))
    if broker.loading:
        part = "" if broker.loading_done is None else f" {fmt.percent(broker.loading_done)} done"
        yield line((f" ! It reads its data from disk{part}: until then it refuses everything.", "bad"))
    if broker.trouble is not None:
        yield line((f" ! {broker.trouble}", "bad"))


def _replication(broker: RedisBroker) -> str:
    if broker.role == "slave":
        return f"link to its master {broker.master_link_status or '?'}"
    if not broker.replicas:
        return ""
    lag = "" if broker.replication_lag is None else f", lag {fmt.duration(broker.replication_lag)}"
    return f"{broker.replicas} replica{'s' if broker.replicas > 1 else ''}{lag}"


# ----------------------------------------------------------------------------------------------------- memory
def _memory(broker: RedisBroker, look: Look, width: int) -> Iterator[Line]:
    used, limit, growth = broker.used_memory, broker.maxmemory, broker.memory_growth
    part = used / limit if used is not None and limit else None
    pace = "" if growth is None else f"{fmt.size(growth * 3600, signed=True)}/h"
    room = max(10, width - 50)
    if limit:
        tone = "bad" if part is not None and part > 0.95 else "warn" if part is not None and part > 0.8 else "note"
        yield line(
            (" memory  ", "dim"),
            f"{fmt.size(used):>7} of {fmt.size(limit):<7}  ",
            (fmt.bar(part, room, look.ascii), tone),
            f"  {fmt.percent(part):>4}   {pace}",
        )
    else:
        yield line(
            (" memory  ", "dim"), *pairs(("", fmt.size(used)), ("limit", "?" if limit is None else "none"), ("", pace))
        )
    values = broker.memory_trend.values if broker.memory_trend is not None else ()
    known = [value for value in values if value is not None]
    # From nine tenths of the lowest on: from zero, a steady growth would look like none.
    floor = min(known) * 0.9 if known else 0.0
    yield line(
        " " * 9,
        (fmt.sparkline(values, min(30, len(values)), look.ascii, floor) if known else "", "note"),
        "   " if known else "",
        *pairs(
            ("peak", fmt.size(broker.used_memory_peak)),
            ("rss", fmt.size(broker.used_memory_rss)),
            ("fragmentation", "?" if broker.fragmentation is None else f"{broker.fragmentation:.2f}"),
        ),
    )
    said = forecast.redis_memory(broker)
    if said is not None:
        yield line(" " * 9, said)


# ------------------------------------------------------------------------------------------- where it is
def _walk(walk: KeyWalk | None, broker: RedisBroker, now: float, look: Look, width: int) -> Iterator[Line]:
    if walk is None:
        yield ruler("where the memory is", width)
        yield line(("  not looked at yet: keys are walked while this page is open", "dim"))
        return
    yield ruler("where the memory is", width, _progress(walk, now))
    wide = width >= 96
    columns = [Col("WHAT", 38 if wide else 30), Col("KEYS", 10, "right"), Col("BYTES", 8, "right")]
    columns += [Col("SHARE", 5, "right"), Col("NO TTL", 8, "right"), Col("BIGGEST", 10)]
    yield heading(columns, width)
    whole = sum(kind.size for kind in walk.classes)
    for kind in sorted(walk.classes, key=lambda kind: -kind.size):
        yield _kind(columns, kind, broker.used_memory or whole, look, width)
    buffers = sum(client.output_buffer or 0 for client in broker.client_list or ())
    if buffers:
        part = fmt.percent(buffers / (broker.used_memory or whole)) if broker.used_memory or whole else "?"
        tone = "bad" if buffers > _BUFFER else ""
        values: list[str | Span] = ["client buffers", "-", (fmt.size(buffers), tone), part, "-", ""]
        yield row(columns, values, width, look, "!" if tone else " ")
    if walk.note is not None:
        yield line((f"  {walk.note}", "dim"))


def _progress(walk: KeyWalk, now: float) -> str:
    age = fmt.ago(max(0.0, now - walk.at))
    if walk.done:
        return f"{fmt.count(walk.scanned)} keys walked, {age}"
    if not walk.total:
        return f"{fmt.count(walk.scanned)} keys so far"
    return f"{fmt.percent(min(1.0, walk.scanned / walk.total))} of {fmt.count(walk.total)} keys so far"


def _kind(columns: list[Col], kind: KeyClass, whole: int, look: Look, width: int) -> Line:
    forever = kind.without_ttl > 0 and kind.what in ("reply queues", "results")
    name = kind.what if kind.pattern in ("", kind.what) else f"{kind.what}  {kind.pattern}"
    biggest = "" if kind.biggest is None else f"{fmt.size(kind.biggest_size)}  {kind.biggest}"
    values: list[str | Span] = [
        name,
        fmt.count(kind.keys),
        fmt.size(kind.size),
        fmt.percent(kind.size / whole) if whole else "-",
        (fmt.count(kind.without_ttl), "warn" if forever else ""),
        biggest,
    ]
    return row(columns, values, width, look, "!" if forever and kind.what == "reply queues" else " ")


# ---------------------------------------------------------------------------------------------------- clients
def _clients(broker: RedisBroker, look: Look, width: int) -> Iterator[Line]:
    limit = "" if broker.maxclients is None else f" of {fmt.count(broker.maxclients)}"
    yield ruler(f"clients {fmt.count(broker.clients)}{limit}", width, "by output buffer")
    if broker.client_list is None:
        yield line(("  not known: CLIENT LIST is not allowed, or was not asked yet", "dim"))
        return
    columns = (
        Col("ADDRESS", 22),
        Col("COMMAND", 12),
        Col("BUFFER", 7, "right"),
        Col("IDLE", 6, "right"),
        Col("WHO", 10),
    )
    yield heading(columns, width)
    ranked = sorted(broker.client_list, key=_client_rank)
    for client in ranked[:_CLIENTS]:
        buffer = client.output_buffer
        slow = buffer is not None and buffer > _BUFFER
        who = client_name(client) + (": slow reader, cut at 32 MB" if slow else "")
        values: list[str | Span] = [
            client.address,
            client.command or "?",
            (fmt.size(buffer), "bad" if slow else ""),
            fmt.duration(client.idle),
            (who, "dim" if client.own else ""),
        ]
        target = None if client.worker is None else Target("worker", client.worker)
        yield row(columns, values, width, look, "!" if slow else " ", target)
    if len(ranked) > _CLIENTS:
        yield line((f"  and {fmt.count(len(ranked) - _CLIENTS)} more", "dim"))


def _client_rank(client: BrokerClient) -> tuple[int, bool, bool, float]:
    """Most waiting bytes first, then those whose owner is known: workers, this program."""
    known = client.own or client.worker is not None
    return -(client.output_buffer or 0), not known, client.own, client.idle or 0.0


def client_name(client: BrokerClient) -> str:
    """Who is at the other end, as far as known."""
    if client.own:
        return "this program"
    parts = [client.worker or client.name or "", f"pid {client.pid}" if client.pid is not None else ""]
    if client.user not in (None, "default"):
        parts.append(f"user {client.user}")
    return " ".join(part for part in parts if part) or "-"


# ----------------------------------------------------------------------------------------------------- health
def _health(broker: RedisBroker, now: float, width: int) -> Iterator[Line]:
    yield ruler("server", width)
    bad = [
        ("evicted", broker.evicted_keys),
        ("rejected", broker.rejected_connections),
    ]
    spans: list[Span] = [(" ", ""), *pairs(("ops", f"{fmt.rate(broker.ops_rate)}/s"))]
    for word, number in bad:
        spans += [("   ", ""), (f"{word} ", "dim"), (fmt.count(number), "bad" if number else "")]
    spans += [
        ("   ", ""),
        *pairs(
            ("blocked", fmt.count(broker.blocked_clients)),
            ("in", f"{fmt.size(broker.input_rate)}/s"),
            ("out", f"{fmt.size(broker.output_rate)}/s"),
        ),
    ]
    yield Line(tuple(spans))
    yield Line(((" ", ""), *_durability(broker, now)))


def _durability(broker: RedisBroker, now: float) -> list[Span]:
    save = broker.rdb_last_bgsave_status
    failed = save not in (None, "ok")
    age = fmt.ago(max(0.0, now - broker.rdb_last_save_at)) if broker.rdb_last_save_at is not None else "?"
    spans: list[Span] = [("last save ", "dim"), (f"{save or '?'} {age}", "bad" if failed else "")]
    if failed and broker.stop_writes_on_bgsave_error:
        spans.append((": it refuses writes", "bad"))
    aof = {True: broker.aof_last_write_status or "on", False: "off", None: "?"}[broker.aof_enabled]
    spans += [("   AOF ", "dim"), (aof, "bad" if aof == "err" else "")]
    spans += [
        ("   ", ""),
        *pairs(("expired keys", fmt.count(broker.expired_keys)), ("cpu", fmt.duration(broker.cpu_seconds))),
    ]
    return spans


def _slowlog(broker: RedisBroker, now: float, look: Look, width: int) -> Iterator[Line]:
    if not broker.slowlog:
        return
    yield ruler("slowest commands", width, "SLOWLOG")
    columns = (Col("TOOK", 7, "right"), Col("WHEN", 10, "right"), Col("COMMAND", 20))
    for slow in sorted(broker.slowlog, key=lambda slow: -slow.duration)[:_SLOW]:
        command = slow.command + (f"  from {slow.client}" if slow.client else "")
        yield row(columns, (fmt.duration(slow.duration), fmt.ago(max(0.0, now - slow.at)), command), width, look)


def _rights(broker: RedisBroker) -> Iterator[Line]:
    if broker.denied:
        rights = " ".join(broker.denied)
        yield line((f" This user may not do everything that is shown here. Needs: {rights}", "warn"))

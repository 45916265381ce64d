"""RabbitMQ in full: nodes and alarms, connections, memory by queue, what is hidden, what celerytop costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from celerytop import format as fmt
from celerytop.columns import Look
from celerytop.columns.queues import queue_tone
from celerytop.model.broker import BrokerClient, RabbitBroker, RabbitNode
from celerytop.model.snapshot import Snapshot
from celerytop.ui.details.cost import cost_lines
from celerytop.ui.details.line import Col, Line, Span, Target, heading, line, pairs, row, ruler

_CLIENTS = 12
_QUEUES = 12
_ORDER = ("blocked", "blocking", "flow", "running")
_STATE_TONES = {"blocked": "bad", "blocking": "bad", "flow": "warn"}


def lines(broker: RabbitBroker, snapshot: Snapshot, look: Look, width: int, own: bool = False) -> list[Line]:
    """The whole page; ``own`` adds what celerytop costs in detail."""
    cost = cost_lines(broker.cost, broker.client_list or (), look, width, own, "requests")
    return [
        *_server(broker),
        *_alarms(broker),
        *_nodes(broker, look, width),
        *(cost if own else ()),
        *_clients(broker, look, width),
        *_queues(snapshot, broker, look, width),
        *_hidden(broker),
        *_rights(broker),
        *(() if own else cost),
    ]


def _server(broker: RabbitBroker) -> Iterator[Line]:
    count = len(broker.nodes)
    yield line(
        (f" RabbitMQ {broker.version or '?'}", "title"),
        "   ",
        *pairs(
            ("", broker.cluster_name or ""),
            ("", f"{count} node{'' if count == 1 else 's'}" if count else ""),
            ("vhost", broker.vhost or "?"),
            ("management API", "answers" if broker.management is None else "does not answer"),
        ),
    )
    yield line(
        " ",
        *pairs(
            ("messages", fmt.count(broker.messages)),
            ("unacked", fmt.count(broker.unacked)),
            ("published", f"{fmt.rate(broker.publish_rate)}/s"),
            ("delivered", f"{fmt.rate(broker.deliver_rate)}/s"),
        ),
    )
    if broker.management is not None:
        yield line((f" ~ {broker.management}", "warn"))
        yield line(("   Queue lengths are exact all the same; memory, rates and connections need it.", "dim"))


def _alarms(broker: RabbitBroker) -> Iterator[Line]:
    if broker.blocked is not None:
        yield line((f" ! The broker blocks all who publish: {broker.blocked}", "bad"))
    for alarm in broker.alarms or ():
        yield line((f" ! alarm: {alarm}. Nobody can publish until it ends.", "bad"))
    if broker.alarms or broker.blocked is not None:
        yield line(("   Meanwhile no ping, revoke or heartbeat gets through: worker data are old.", "dim"))


# ------------------------------------------------------------------------------------------------------ nodes
def _nodes(broker: RabbitBroker, look: Look, width: int) -> Iterator[Line]:
    if not broker.nodes:
        return
    yield ruler(
        "nodes", width, "partitions none" if not any(node.partitions for node in broker.nodes) else "PARTITIONED"
    )
    name = 16 if width < 100 else 22
    bar = max(8, min(26, width - 58 - name))
    columns = (
        Col("NODE", name),
        Col("MEMORY", 7, "right"),
        Col("", bar),
        Col("LIMIT", 7, "right"),
        Col("DISK FREE", 9, "right"),
        Col("FDS", 6, "right"),
        Col("UP", 6, "right"),
        Col("ALARM", 8),
    )
    yield heading(columns, width)
    for node in broker.nodes:
        yield _node(columns, node, bar, look, width)
    if broker.memory_trend is not None and any(value is not None for value in broker.memory_trend.values):
        values = broker.memory_trend.values
        floor = min(value for value in values if value is not None) * 0.9
        pace = "" if broker.memory_growth is None else f"{fmt.size(broker.memory_growth * 3600, signed=True)}/h"
        yield line(
            (" all nodes  ", "dim"),
            (fmt.sparkline(values, min(30, len(values)), look.ascii, floor), "note"),
            f"   {pace}",
        )


def _node(columns: tuple[Col, ...], node: RabbitNode, bar: int, look: Look, width: int) -> Line:
    part = node.mem_used / node.mem_limit if node.mem_used is not None and node.mem_limit else None
    words = _node_words(node)
    bad = any(tone == "bad" for _, tone in words)
    tone = "bad" if node.mem_alarm else "warn" if part is not None and part > 0.8 else "note"
    values: list[str | Span] = [
        node.name,
        fmt.size(node.mem_used),
        (fmt.bar(part, bar, look.ascii), tone),
        fmt.size(node.mem_limit),
        (fmt.size(node.disk_free), "bad" if node.disk_free_alarm else ""),
        fmt.count(node.fd_used),
        fmt.duration(node.uptime),
        (" ".join(word for word, _ in words) or "-", "bad" if bad else "warn" if words else ""),
    ]
    return row(columns, values, width, look, "!" if bad else " ")


def _node_words(node: RabbitNode) -> list[Span]:
    words: list[Span] = []
    if node.running is False:
        words.append(("DOWN", "bad"))
    if node.mem_alarm:
        words.append(("MEMORY", "bad"))
    if node.disk_free_alarm:
        words.append(("DISK", "bad"))
    if node.partitions:
        words.append((f"PARTITION from {node.partitions}", "bad"))
    if node.fd_used is not None and node.fd_total and node.fd_used > 0.9 * node.fd_total:
        words.append((f"files {fmt.percent(node.fd_used / node.fd_total)}", "warn"))
    return words


# ---------------------------------------------------------------------------------------------------- clients
def _clients(broker: RabbitBroker, look: Look, width: int) -> Iterator[Line]:
    if broker.client_list is None:
        if broker.clients is not None:
            yield ruler(f"connections {fmt.count(broker.clients)}", width)
        return
    states = Counter(client.state or "?" for client in broker.client_list)
    ranked_states = sorted(states, key=_state_rank)
    said = ", ".join(f"{states[state]} {state}" for state in ranked_states)
    channels = "" if broker.channels is None else f", channels {fmt.count(broker.channels)}"
    yield ruler(f"connections {fmt.count(broker.clients)}{channels}", width, said)
    columns = (Col("STATE", 9), Col("ADDRESS", 22), Col("USER", 10), Col("TO SEND", 8, "right"), Col("WHO", 10))
    yield heading(columns, width)
    ranked = sorted(
        broker.client_list, key=lambda client: (_state_rank(client.state or "?"), client.own, client.address)
    )
    for client in ranked[:_CLIENTS]:
        tone = _STATE_TONES.get(client.state or "", "")
        values: list[str | Span] = [
            (client.state or "?", tone),
            client.address,
            client.user or "?",
            fmt.size(client.output_buffer),
            (_who(client), "dim" if client.own else ""),
        ]
        target = None if client.worker is None else Target("worker", client.worker)
        yield row(columns, values, width, look, "!" if tone == "bad" else " ", target)
    if len(ranked) > _CLIENTS:
        yield line((f"  and {fmt.count(len(ranked) - _CLIENTS)} more", "dim"))


def _state_rank(state: str) -> int:
    return _ORDER.index(state) if state in _ORDER else len(_ORDER)


def _who(client: BrokerClient) -> str:
    if client.own:
        return "this program"
    who = client.worker or client.name or "-"
    if client.state == "blocked" and client.worker is not None:
        return f"{who}: takes tasks, cannot send results"
    return who


# ----------------------------------------------------------------------------------------------------- queues
def _queues(snapshot: Snapshot, broker: RabbitBroker, look: Look, width: int) -> Iterator[Line]:
    queues = sorted(snapshot.queues.values(), key=lambda queue: (-(queue.memory or 0), -(queue.messages or 0)))
    yield ruler("queues by memory", width, f"{len(queues)} known")
    columns = [Col("QUEUE", 22), Col("TYPE", 7), Col("READY", 9, "right"), Col("UNACK", 6, "right")]
    columns += [Col("MEMORY", 7, "right"), *([Col("BYTES", 7, "right")] if width >= 96 else [])]
    columns += [Col("CONS", 4, "right"), Col("STATE", 11)]
    yield heading(columns, width)
    for queue in queues[:_QUEUES]:
        tone = queue_tone(queue, snapshot)
        values: list[str | Span] = [
            queue.name,
            queue.type or "?",
            fmt.count(queue.messages),
            fmt.count(queue.unacked),
            fmt.size(queue.memory),
            *([fmt.size(queue.message_bytes)] if width >= 96 else []),
            fmt.count(queue.consumers),
            (queue.state or "?", "dim" if tone == "unknown" else tone),
        ]
        yield row(columns, values, width, look, "!" if tone == "bad" else " ", Target("queue", queue.name))
    if len(queues) > _QUEUES:
        yield line((f"  and {fmt.count(len(queues) - _QUEUES)} more: page 1", "dim"))


def _hidden(broker: RabbitBroker) -> Iterator[Line]:
    if broker.hidden_queues:
        memory = "" if broker.hidden_memory is None else f", {fmt.size(broker.hidden_memory)}"
        text = f" + {fmt.count(broker.hidden_queues)} queues not listed{memory}: pidbox, celeryev, replies, delayed"
        yield line((text, "dim"))
    if broker.delayed:
        yield line(
            " + ", (f"{fmt.count(broker.delayed)} messages wait for their ETA in celery_delayed_* queues", "note")
        )


def _rights(broker: RabbitBroker) -> Iterator[Line]:
    if broker.denied:
        yield line((f" This user may not do everything that is shown here. Needs: {' '.join(broker.denied)}", "warn"))

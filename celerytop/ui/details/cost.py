"""What celerytop itself costs the broker."""

from __future__ import annotations

from collections.abc import Sequence

from celerytop import format as fmt
from celerytop.columns import Look
from celerytop.model.broker import BrokerClient, OwnCost
from celerytop.ui.details.line import Col, Line, heading, line, pairs, row, ruler


def cost_lines(
    cost: OwnCost | None, clients: Sequence[BrokerClient], look: Look, width: int, own: bool, what: str = "commands"
) -> list[Line]:
    """One line; with ``own`` its connections one by one too."""
    if cost is None:
        return [line((" what celerytop costs here is not counted yet", "dim"))] if own else []
    number = f"{fmt.count(cost.connections)} connection{'' if cost.connections == 1 else 's'}"
    parts = [number, f"{fmt.rate(cost.rate)} {what}/s"]
    if not own:
        return [line((f" celerytop costs here: {', '.join(parts)}.   b: detail", "dim"))]
    out = [
        ruler("what celerytop costs here", width, "b: less"),
        line(
            " ",
            *pairs(
                ("connections", fmt.count(cost.connections)),
                (what, f"{fmt.rate(cost.rate)}/s, {fmt.count(cost.commands)} so far"),
                ("read", fmt.size(cost.bytes_in)),
                ("sent", fmt.size(cost.bytes_out)),
            ),
        ),
    ]
    out += _connections([client for client in clients if client.own], look, width)
    out.append(line((" Only reads: no key, queue or binding of the cluster is changed by looking.", "dim")))
    return out


def _connections(mine: Sequence[BrokerClient], look: Look, width: int) -> list[Line]:
    if not mine:
        return []
    columns = (Col("ADDRESS", 22), Col("LAST", 14), Col("BUFFER", 7, "right"), Col("IDLE", 6, "right"), Col("NAME", 10))
    out = [heading(columns, width)]
    for client in mine:
        last = client.command or client.state or "?"
        values = (client.address, last, fmt.size(client.output_buffer), fmt.duration(client.idle), client.name or "-")
        out.append(row(columns, values, width, look))
    return out

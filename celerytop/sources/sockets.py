"""Which process holds which end of a TCP connection: what joins a broker's client list to workers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import psutil

_MAPPED = "::ffff:"
"""An IPv4 address as an IPv6 socket shows it."""


def own_ends(pids: Collection[int]) -> Mapping[int, tuple[str, ...]]:
    """``ip:port`` of our side of every established TCP connection of these processes, as the far side sees it.

    One walk over the whole machine (15 ms with 150 processes): asking process by process costs that for each.
    Sockets of other users' processes are only seen as root; those pids are missing then.
    """
    found: dict[int, list[str]] = {}
    for connection in psutil.net_connections("tcp"):
        pid = connection.pid
        if pid is not None and pid in pids and connection.raddr and connection.laddr:
            found.setdefault(pid, []).append(address(*connection.laddr))
    return {pid: tuple(ends) for pid, ends in found.items()}


def address(ip: str, port: int) -> str:
    """Write an end as Redis does in CLIENT LIST.

    >>> address("::ffff:10.0.0.5", 6379), address("::1", 6379)
    ('10.0.0.5:6379', '[::1]:6379')
    """
    ip = ip.removeprefix(_MAPPED)
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"

"""Which process holds which end of a connection."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack

from celerytop.sources.sockets import own_ends


def listener(stack: ExitStack) -> tuple[str, int]:
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    at: tuple[str, int] = server.getsockname()
    return at


def connected(stack: ExitStack, port: int, to: tuple[str, int]) -> tuple[str, int]:
    """A connection from this port of ours, whoever else uses it to get elsewhere."""
    client = stack.enter_context(socket.socket())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind(("127.0.0.1", port))
    client.connect(to)
    ours: tuple[str, int] = client.getsockname()
    return ours


def test_an_end_that_leads_to_two_servers_is_nobody_s() -> None:
    with ExitStack() as stack:
        one, other = listener(stack), listener(stack)
        host, port = connected(stack, 0, one)
        alone = connected(stack, 0, one)
        assert {f"{host}:{port}", f"{alone[0]}:{alone[1]}"} <= set(own_ends({os.getpid()})[os.getpid()])
        connected(stack, port, other)
        ends = own_ends({os.getpid()})[os.getpid()]
        assert f"{host}:{port}" not in ends
        assert f"{alone[0]}:{alone[1]}" in ends

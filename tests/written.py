"""All that a program has written to its terminal."""

from __future__ import annotations

from tests.rig import Terminal, wait_until


def written(terminal: Terminal) -> bytes:
    """Wait until the program's end of the terminal is closed and the last byte was read: a part may end within a
    character or a sequence."""
    reader = terminal._reader
    assert reader is not None
    wait_until(lambda: not reader.is_alive(), 30, "the last byte")
    return bytes(terminal.raw)

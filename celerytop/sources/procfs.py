"""The few facts that ``/proc`` gives for a tenth of what psutil must pay to be right on every system.

A look at all processes is what costs on a busy host: here it is one small read for each. Where there is no ``/proc``
every function says so (``None``), and the caller asks psutil.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")


def command_words(pid: int, proc: Path = PROC) -> list[str] | None:
    """The command line; a title written over it (one string) is split at its blanks, as psutil does."""
    try:
        data = (proc / str(pid) / "cmdline").read_bytes()
    except OSError:
        return None
    words = data.rstrip(b"\0").decode("utf-8", "replace").split("\0")
    return words[0].split(" ") if len(words) == 1 else words


def parent(pid: int, proc: Path = PROC) -> int | None:
    """Parent's pid: the second word behind the name, which may itself hold blanks and brackets."""
    try:
        data = (proc / str(pid) / "stat").read_bytes()
        return int(data[data.rindex(b")") + 2 :].split(None, 2)[1])
    except (OSError, ValueError, IndexError):
        return None


def children(pid: int, proc: Path = PROC) -> list[int] | None:
    """Direct children by ``task/*/children``; ``None`` where the kernel was built without (CONFIG_PROC_CHILDREN)."""
    found: list[int] = []
    try:
        for thread in os.listdir(proc / str(pid) / "task"):
            found += map(int, (proc / str(pid) / "task" / thread / "children").read_bytes().split())
    except (OSError, ValueError):
        return None
    return sorted(found)


def children_of(pids: Iterable[int], proc: Path = PROC) -> dict[int, list[int]]:
    """Parent to children, over all these processes."""
    found: dict[int, list[int]] = {}
    for pid in pids:
        above = parent(pid, proc)
        if above is not None:
            found.setdefault(above, []).append(pid)
    return found


def wait_channel(pid: int, proc: Path = PROC) -> str | None:
    """Where in the kernel it sleeps; ``None`` while it runs, or when we may not see it (``0``)."""
    try:
        name = (proc / str(pid) / "wchan").read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
    return name if name not in ("", "0") else None


def mapped_files(pid: int, proc: Path = PROC) -> list[str]:
    """Paths of the files mapped into it, each once; none where we may not see."""
    try:
        text = (proc / str(pid) / "maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    fields = (line.split(None, 5) for line in text.splitlines())
    return list(dict.fromkeys(words[5] for words in fields if len(words) == 6 and words[5].startswith("/")))


def same_machine_name(pid: int, proc: Path = PROC) -> bool:
    """Whether it shares our UTS namespace: a container's process has a host name of its own."""
    try:
        return os.readlink(proc / str(pid) / "ns" / "uts") == os.readlink(proc / "self" / "ns" / "uts")
    except OSError:
        return True

"""Which processes of this machine are Celery workers, and which belong to them."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec
import psutil

from celerytop.model.text import clean
from celerytop.sources import procfs
from celerytop.sources.command_line import CHILDLESS_POOLS, MAIN_PROCESS, WorkerCommand, expand, is_python, read_command
from celerytop.sources.process import booted_at, stat

MAIN, CHILD, DESCENDANT = "main", "child", "descendant"


class Main(msgspec.Struct, frozen=True):
    """A worker's main process."""

    pid: int
    created_at: float
    command: WorkerCommand
    words: tuple[str, ...]
    nodename: str | None
    """``None``: in a container, whose host name we do not know."""
    started: float
    """As ``procfs.Stat`` has it."""


class Member(msgspec.Struct, frozen=True):
    """One process of a worker's tree."""

    pid: int
    role: str
    main: Main
    words: tuple[str, ...]
    children: int


def find_mains(only: Collection[int] | None = None, named: Collection[int] = ()) -> Mapping[int, Main]:
    """Every worker's main process.

    Args:
        only: look at no others.
        named: pids that workers call theirs. A script may hold a worker whatever its command line says
            (``app.worker_main()``): it counts only when it is named here.
    """
    commands: dict[int, tuple[WorkerCommand, tuple[str, ...]]] = {}
    for pid in sorted(only) if only is not None else psutil.pids():
        words = _words(pid)
        if not words:
            continue
        command = read_command(words)
        if command is None and pid in named and is_python(words):
            command = WorkerCommand(embedded=True)
        if command is not None:
            commands[pid] = (command, words)
    mains = {}
    for pid, (command, words) in commands.items():
        if (not command.embedded or pid in named) and _is_main(pid, command, words, commands):
            made = _main(pid, command, words)
            if made is not None:
                mains[pid] = made
    return mains


def members(mains: Iterable[Main]) -> Iterator[Member]:
    """Each main, followed by its children, each of these followed by what is below it."""
    known = {main.pid for main in mains}
    table: dict[int, list[int]] | None = None
    for main in mains:
        below = procfs.children(main.pid)
        if below is None and table is None:
            table = _table()
        yield from _tree(main, main.pid, MAIN, main.words, table if below is None else None, known)


def _tree(
    main: Main, pid: int, role: str, words: tuple[str, ...], table: Mapping[int, list[int]] | None, known: set[int]
) -> Iterator[Member]:
    below = table.get(pid, []) if table is not None else procfs.children(pid) or []
    below = [child for child in below if child not in known]  # a worker that a worker started is its own
    yield Member(pid, role, main, words, len(below))
    for child in below:
        its_words = _words(child)
        its_role = _role(main, its_words) if role == MAIN else DESCENDANT
        yield from _tree(main, child, its_role, its_words, table, known)


def _role(main: Main, words: tuple[str, ...]) -> str:
    """A pool's child has its main's own command line, or a title that says so; a zombie has none."""
    if main.command.pool in CHILDLESS_POOLS:
        return DESCENDANT
    if not words or words == main.words:
        return CHILD
    told = read_command(words)
    return CHILD if told is not None and told.titled and told.process != MAIN_PROCESS else DESCENDANT


def _is_main(
    pid: int,
    command: WorkerCommand,
    words: tuple[str, ...],
    commands: Mapping[int, tuple[WorkerCommand, tuple[str, ...]]],
) -> bool:
    """Not a pool's child, which has its main's own command line."""
    if command.process != MAIN_PROCESS:
        return False
    above = procfs.parent(pid)
    if above is None:
        above = _parent_by_psutil(pid)
    return above is None or above not in commands or commands[above][1] != words


def _main(pid: int, command: WorkerCommand, words: tuple[str, ...]) -> Main | None:
    try:
        told = stat(pid)
    except psutil.Error:
        return None
    if told is None:
        return None
    return Main(pid, booted_at() + told.started, command, words, _nodename(pid, command), told.started)


def _nodename(pid: int, command: WorkerCommand) -> str | None:
    given = command.hostname
    if command.titled:
        return clean(given) if given else None
    if command.embedded and given is None:
        return None  # worker_main(argv) may say what no command line shows
    if not procfs.same_machine_name(pid) and (given is None or "@" not in given or "%" in given):
        return None
    return clean(expand(given, socket.gethostname()))


def _words(pid: int) -> tuple[str, ...]:
    words = procfs.command_words(pid)
    if words is None and not procfs.PROC.exists():
        try:
            words = psutil.Process(pid).cmdline()
        except psutil.Error:
            return ()
    return tuple(words) if words and words != [""] else ()


def _parent_by_psutil(pid: int) -> int | None:
    try:
        return psutil.Process(pid).ppid()
    except psutil.Error:
        return None


def _table() -> dict[int, list[int]]:
    """Parent to children over the whole machine, where the kernel does not list children by itself."""
    if procfs.PROC.exists():
        return procfs.children_of(psutil.pids())
    found: dict[int, list[int]] = {}
    for process in psutil.process_iter(["ppid"]):
        found.setdefault(process.info["ppid"], []).append(process.pid)
    return found

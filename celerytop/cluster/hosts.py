"""This machine's processes, joined to the workers that name them and the tasks that run in them.

A number alone joins nothing: pids are reused and containers count their own. The machine, the command line or the
worker's word, and the start time must agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping

from msgspec.structs import replace

from celerytop.cluster.node import Node
from celerytop.cluster.words import OwnProcess
from celerytop.cluster.workers import pool_of_command
from celerytop.model.host import Host, Process, same_host
from celerytop.model.task import Task

LOADING = 120.0
"""Seconds a worker may take from the start of its process to the start of its clock (``stats.uptime``)."""
ROUNDING = 3.0
"""Seconds by which moments of the same thing may differ: uptime is whole seconds."""


class Hosts:
    """Machines by name; today this one alone."""

    def __init__(self) -> None:
        self._hosts: dict[str, Host] = {}
        self._mains: dict[str, dict[int, str]] = {}
        """By machine: main pid to node name, as joined."""

    def measured(self, host: Host, nodes: Mapping[str, Node], owners: Callable[[], Mapping[str, str]] = dict) -> None:
        """Take a new look at one machine; tell the workers on it how their main process does.

        Args:
            owners: far end of a connection to the worker whose it is, where the broker tells.
        """
        self._hosts[host.name] = host
        mains = {process.pid: process for process in host.processes if process.role == "main"}
        _recognise(mains.values(), host, nodes, owners)
        joined: dict[int, str] = {}
        for node in nodes.values():
            main = _main_of(node, host, mains)
            if main is not None:
                joined[main.pid] = node.nodename
                node.touch()
                node.process = OwnProcess(host.name, main.pid, main.created_at, main.status, host.measured_at)
                node.pool = node.pool or pool_of_command(main.command)
            elif node.process is not None and node.process.host == host.name:
                node.touch()
                _missing(node, mains, host.measured_at)
        self._mains[host.name] = joined

    def unknown(self, nodes: Mapping[str, Node], connected: Container[str]) -> list[Process]:
        """Mains whose name no worker has told us, though one of the ``connected`` ends is theirs."""
        return [
            process
            for host in self._hosts.values()
            for process in host.processes
            if process.role == "main" and process.nodename is not None and process.nodename not in nodes
            if any(end in connected for end in process.sockets or ())
        ]

    def picture(self, nodes: Mapping[str, Node], tasks: Mapping[str, Task]) -> dict[str, Host]:
        """All machines, their processes named."""
        found = {}
        for name, host in self._hosts.items():
            joined = self._mains.get(name, {})
            running = _running(joined, nodes, tasks)
            processes = tuple(_named(process, joined, running) for process in host.processes)
            found[name] = replace(host, processes=processes)
        return found


def _recognise(
    mains: Iterable[Process], host: Host, nodes: Mapping[str, Node], owners: Callable[[], Mapping[str, str]]
) -> None:
    """Give its pid to a worker that has never shown itself and whose name the broker (RabbitMQ) tells.

    It was busy in the solo pool, or frozen, before we began to look. Its process is the one that holds a connection of
    the worker's, or the only one here of that name when the name is one of this machine's.
    """
    mute = [process for process in mains if _nameless(nodes.get(process.nodename or ""))]
    if not mute:
        return
    whose, alike = owners(), Counter(process.nodename for process in mute)
    for process in mute:
        node = nodes[process.nodename or ""]
        here = alike[process.nodename] == 1 and same_host(node.host, host.name)
        if here or any(whose.get(end) == node.nodename for end in process.sockets or ()):
            node.sight(process.pid, host.measured_at)


def _nameless(node: Node | None) -> bool:
    return node is not None and node.pid is None and node.seen_at() is None and node.present_at is not None


def _main_of(node: Node, host: Host, mains: Mapping[int, Process]) -> Process | None:
    """The main process of a node, when it is certain."""
    process = mains.get(node.pid) if node.pid is not None else None
    if process is None or process.nodename not in (None, node.nodename):
        return None
    if process.nodename is None and not same_host(node.host, host.name):
        return None
    return process if _same_start(node, process) else None


def _missing(node: Node, mains: Mapping[int, Process], at: float) -> None:
    """Its process was here and cannot be joined now: it is gone, or the worker has another one we have yet to see."""
    process = node.process
    if process is None or process.pid != node.pid:
        node.process = None
    elif not process.gone:
        process.gone = process.pid not in mains
        process.measured_at = at


def _same_start(node: Node, process: Process) -> bool:
    """Whether process and worker began together, as far as both are known."""
    if node.uptime is None:
        return True
    began_at = node.uptime_at - node.uptime
    return -ROUNDING <= began_at - process.created_at <= LOADING


def _running(
    joined: Mapping[int, str], nodes: Mapping[str, Node], tasks: Mapping[str, Task]
) -> dict[tuple[int, int], list[Task]]:
    """(main pid, pid) to the tasks that run there."""
    found: dict[tuple[int, int], list[Task]] = {}
    for main_pid, nodename in joined.items():
        node = nodes.get(nodename)
        for task_id in node.running if node is not None else ():
            task = tasks.get(task_id)
            if task is not None and task.worker_pid is not None and task.worker == nodename:
                found.setdefault((main_pid, task.worker_pid), []).append(task)
    return found


def _named(process: Process, joined: Mapping[int, str], running: Mapping[tuple[int, int], list[Task]]) -> Process:
    nodename = joined.get(process.main_pid)
    if nodename is None:
        return process
    here = running.get((process.main_pid, process.pid), [])
    # threads share one process: which of several tasks it is cannot be said
    task = here[0] if len(here) == 1 else None
    if task is not None and task.started_at is not None and task.started_at < process.created_at - ROUNDING:
        task = None  # the number was given to a new process since
    return replace(
        process,
        nodename=nodename,
        task_id=task.task_id if task is not None else None,
        task_name=task.name if task is not None else None,
    )

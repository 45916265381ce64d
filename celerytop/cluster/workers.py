"""All workers: what their events and replies say of them, and the picture of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from sys import intern
from typing import Any

from celerytop.cluster.clocks import Clocks
from celerytop.cluster.liveness import FRESH
from celerytop.cluster.node import Node
from celerytop.model.event import WorkerEvent, WorkerOffline
from celerytop.model.host import Process
from celerytop.model.observation import (
    Conf,
    Pong,
    QueuesConsumed,
    RefusedReply,
    Registered,
    Reply,
    RevokedIds,
    StatsReply,
    WorkersAnswered,
)

MOST = 20_000
FULL_FOR = 1.0
"""Seconds before room is looked for again, when nobody was gone."""
FORGET_AFTER = 3600.0
_BEAT = "celerybeat@"
"""Celery 5.7's beat answers a ping, if told to."""
_POOL = re.compile(r"(?:^| )(?:-P ?|--pool[= ])(prefork|threads|solo|gevent|eventlet)(?: |$)")


class Workers:
    """Nodes by name."""

    def __init__(self, clocks: Clocks) -> None:
        self.nodes: dict[str, Node] = {}
        self.touched: list[Node] = []
        """Of whom something was heard since the last picture."""
        self.removed: list[Node] = []
        """Who was forgotten since."""
        self.rounds = 0
        """Of answers."""
        self.turned_away = 0
        """Node names beyond 20,000."""
        self.asked_all = False
        """A round that asked everyone is over."""
        self.listening: int | None = None
        """How many listened to the last broadcast."""
        self.others = 0
        """Of these, who answers and is no worker: beat."""
        self._clocks = clocks
        self._full_until = 0.0
        self.strangers = 0
        """Listeners that never answer and are no workers we know."""

    def node(self, nodename: str, at: float) -> Node | None:
        """The node of this name, known from now on; ``None`` when there are too many."""
        found = self.nodes.get(nodename)
        if found is None:
            if len(self.nodes) >= MOST and not self._make_room(at):
                self.turned_away += 1
                return None
            found = self.nodes[nodename] = Node(nodename, self._clocks.of(nodename), at, self.touched)
            found.touch()
        return found

    def heard(self, event: WorkerEvent, at: float) -> None:
        """Fold one worker event."""
        if isinstance(event, WorkerOffline):
            self._goodbye(event, at)
            return
        node = self.nodes.get(event.hostname) or self.node(event.hostname, at)
        if node is None:
            return
        before = (node.pid, node.software, node.heartbeat_every, node.task_events)
        node.clock.note(event.timestamp, at)
        node.sight(event.pid, at)
        node.shows_itself(at)
        node.heartbeat_at = node.event_at = at
        if event.sw_ver is not None:
            node.software = intern(f"{event.sw_ident or '?'} {event.sw_ver}")
        if event.active is not None:  # a forced heartbeat lacks it, and its freq is not the worker's own
            node.heartbeat_every = event.freq if event.freq is not None else node.heartbeat_every
            node.active, node.active_at = event.active, at
        node.count_processed(event.processed, at)
        if before == (node.pid, node.software, node.heartbeat_every, node.task_events) and len(node.pids) < 2:
            node.beats()
        else:
            node.touch()

    def answered(self, round_: WorkersAnswered) -> Iterator[tuple[Node, Reply]]:
        """Fold one round; yields each reply with its node, for those who want to know more of it."""
        asked_at = round_.at - round_.window
        self.rounds += 1
        self._listening(round_)
        answering: set[str] = set()
        for reply in round_.replies:
            node = self.node(reply.nodename, asked_at) if _is_worker(reply) else None
            if node is None:
                continue
            answering.add(reply.nodename)
            node.touch()
            node.answered_at, node.missed = asked_at, 0
            node.shows_itself(asked_at)
            reader = _READERS.get(reply.__class__)
            if reader is not None:
                reader(node, reply, asked_at)
            yield node, reply
        if "ping" in round_.asked:
            self._missed(round_, answering)

    def _goodbye(self, event: WorkerOffline, at: float) -> None:
        """Believed when it is fresh and of the process we know: after a broker restart it comes late."""
        node = self.nodes.get(event.hostname)
        if node is None or at - event.timestamp - node.clock.shift > FRESH:
            return
        if event.pid is None or node.pid is None or event.pid == node.pid or event.pid in node.pids:
            node.touch()
            node.says_goodbye(event.pid, at)

    def _listening(self, round_: WorkersAnswered) -> None:
        """Whose pidbox is there, where the broker tells names."""
        for nodename in round_.present:
            found = self.node(nodename, round_.at)
            if found is not None:
                found.connected(True, round_.at)
        for nodename in round_.absent:
            if nodename in self.nodes:
                self.nodes[nodename].connected(False, round_.at)

    def _missed(self, round_: WorkersAnswered, answering: set[str]) -> None:
        everyone = round_.asked_workers is None
        asked = self.nodes if everyone else [name for name in round_.asked_workers or () if name in self.nodes]
        mute = [self.nodes[name] for name in asked if name not in answering]
        mute = [node for node in mute if node.gone_since is None]
        for node in mute:
            node.touch()
            node.missed += 1
        if everyone:
            self.asked_all = True
            self.listening = round_.expected
            self.others = sum(isinstance(reply, Pong) and not _is_worker(reply) for reply in round_.replies)
            if round_.expected is not None and not round_.present:
                self._count(round_.expected, round_, mute)

    def _count(self, listening: int, round_: WorkersAnswered, mute: list[Node]) -> None:
        """Who of the mute still listens, where the broker (Redis) tells a number only."""
        unanswered = listening - sum(isinstance(reply, Pong) for reply in round_.replies)
        if not mute:
            self.strangers = max(0, unanswered)
        elif unanswered - self.strangers >= len(mute):
            for node in mute:
                node.connected(True, round_.at)
        elif unanswered <= self.strangers:
            for node in mute:
                node.connected(False, round_.at)

    def adopt(self, processes: Sequence[Process], at: float) -> None:
        """Take in workers known by their process alone: busy solo ones, or frozen, since before we began to look.

        Not when there are more of them than listeners that do not answer: then nobody knows which these are.
        """
        if len(processes) > self.strangers:
            return
        for process in processes:
            node = self.node(process.nodename, at) if process.nodename is not None else None
            if node is not None:
                node.touch()
                node.sight(process.pid, at)
                node.missed = 1
                self.strangers -= 1

    def forget(self, now: float) -> list[Node]:
        """Drop who has been gone, or without any sign, for an hour."""
        old = [node for node in self.nodes.values() if _forgettable(node, now)]
        for node in old:
            del self.nodes[node.nodename]
        self.removed += old
        return old

    def events_lost(self) -> None:
        """There was a gap in the events."""
        for node in self.nodes.values():
            node.events_lost()

    def _make_room(self, at: float) -> bool:
        if at < self._full_until:  # a flood of names must not cost a walk over all workers each
            return False
        gone = [node for node in self.nodes.values() if node.gone_since is not None]
        for node in sorted(gone, key=lambda node: node.gone_since or 0.0)[: MOST // 100]:
            del self.nodes[node.nodename]
            self.removed.append(node)
        if not gone:
            self._full_until = at + FULL_FOR
        return bool(gone)


def _is_worker(reply: Reply) -> bool:
    return reply.nodename != "?" and not reply.nodename.startswith(_BEAT)


def _forgettable(node: Node, now: float) -> bool:
    if node.gone_since is not None:
        return now - node.gone_since > FORGET_AFTER
    connected = node.present_at is not None and now - node.present_at < FORGET_AFTER
    return not connected and now - (node.seen_at() or node.known_at) > FORGET_AFTER


def pool_of_command(command: str | None) -> str | None:
    """The pool a worker's command line asks for; ``None`` when it names none.

    >>> pool_of_command("python -m celery -A app worker -P solo -E"), pool_of_command("celery worker")
    ('solo', None)
    """
    found = _POOL.search(command or "")
    return found[1] if found else None


def _pong(node: Node, reply: Pong, at: float) -> None:
    node.latency = reply.latency


def _stats(node: Node, reply: StatsReply, at: float) -> None:
    node.sight(reply.pid, at)
    node.pool = reply.pool or node.pool
    node.concurrency = reply.concurrency if reply.concurrency is not None else node.concurrency
    node.processes = reply.processes
    node.prefetch_count = reply.prefetch_count
    node.rusage = reply.rusage
    if reply.uptime is not None:
        node.uptime, node.uptime_at = reply.uptime, at
    if reply.total is not None:
        node.totals = reply.total
        node.count_processed(sum(reply.total.values()), at)


def _queues(node: Node, reply: QueuesConsumed, at: float) -> None:
    node.queues = reply.queues
    node.only_queue = reply.queues[0].name if len(reply.queues) == 1 else None


def _registered(node: Node, reply: Registered, at: float) -> None:
    node.registered = reply.names


def _revoked(node: Node, reply: RevokedIds, at: float) -> None:
    node.revoked = reply.total


def _conf(node: Node, reply: Conf, at: float) -> None:
    node.settings, node.visibility_timeout = reply.settings, reply.visibility_timeout


def _refused(node: Node, reply: RefusedReply, at: float) -> None:
    """It has answered; there is nothing to learn from it."""


_READERS: dict[type, Callable[[Node, Any, float], None]] = {
    Pong: _pong,
    StatsReply: _stats,
    QueuesConsumed: _queues,
    Registered: _registered,
    RevokedIds: _revoked,
    Conf: _conf,
    RefusedReply: _refused,
}

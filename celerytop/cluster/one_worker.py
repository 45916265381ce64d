"""One worker as a value: anew from all that is known of its node, or from the last one and what was heard since."""

from __future__ import annotations

from msgspec.structs import replace

from celerytop.cluster.clocks import skew
from celerytop.cluster.liveness import HEART, Reach, Signs, fresh_until, goodbye_until, judge
from celerytop.cluster.node import Node
from celerytop.cluster.statistics import WINDOW
from celerytop.model.worker import ALIVE, GONE, Worker


def state_of(node: Node, reach: Reach, now: float) -> tuple[str, str]:
    """Its state and why; notes since when it is gone."""
    process = node.process
    heartbeat_at = max(node.heartbeat_at or 0.0, node.event_at or 0.0) or None
    if (  # nearly always: no more to judge
        heartbeat_at is not None
        and process is None
        and node.goodbye_at is None
        and reach.events_at is not None
        and reach.events_at <= fresh_until(heartbeat_at, node.heartbeat_every)
    ):
        node.gone_since = None
        return ALIVE, HEART
    signs = Signs(
        heartbeat_at=heartbeat_at,
        heartbeat_every=node.heartbeat_every,
        answered_at=node.answered_at,
        known_at=node.known_at,
        goodbye_at=node.goodbye_at,
        present=node.present_at is not None if node.present_at or node.absent_at else None,
        missed=node.missed,
        pool=node.pool,
        running=bool(node.running) or bool(node.active),
        process=process.status if process is not None and not process.gone else None,
        process_pid=process.pid if process is not None else None,
        process_gone=process is not None and process.gone,
        process_at=process.measured_at if process is not None else 0.0,
    )
    state, why = judge(signs, reach, now)
    if state != GONE:
        node.gone_since = None
    elif node.gone_since is None:
        node.gone_since = now
    return state, why


def picture(node: Node, state: str, why: str, now: float, since: float) -> Worker:
    """One worker as a value."""
    there = state == ALIVE or node.gone_since is None
    seen_at, tells = node.seen_at(), node.task_events
    return Worker(
        node.nodename,
        host=node.host,
        state=state,
        why=why,
        pid=node.pid,
        pids=node.together(now),
        pool=node.pool,
        concurrency=node.concurrency,
        active=node.busy() if there else None,
        reserved=node.holds("reserved") if there else None,
        scheduled=node.holds("scheduled") if there else None,
        processed=node.processed,
        prefetch_count=node.prefetch_count,
        processes=node.processes,
        queues=node.queues,
        registered=node.registered,
        revoked=node.revoked,
        settings=node.settings,
        totals=node.totals,
        rusage=node.rusage,
        uptime=_uptime(node, seen_at) if there else None,
        software=node.software,
        task_events=tells,
        heartbeat_at=node.heartbeat_at,
        heartbeat_every=node.heartbeat_every,
        answered_at=node.answered_at,
        latency=node.latency,
        seen_at=seen_at,
        skew=skew(node.clock),
        done_rate=node.finished.rate(now, since) if tells else None,
        failed_rate=node.failed.rate(now, since) if tells else None,
        finished=node.finished.total,
        failed=node.failed.total,
    )


def beaten(node: Node, before: Worker) -> Worker:
    """The picture when all that was heard since is a heartbeat: a third of the price."""
    at = node.seen_at()
    uptime = None if node.uptime is None else _uptime(node, at)
    heartbeat_at, processed = node.heartbeat_at, node.processed
    return replace(
        before, active=node.busy(), processed=processed, uptime=uptime, heartbeat_at=heartbeat_at, seen_at=at
    )


def run_on(node: Node, before: Worker, now: float, since: float) -> Worker:
    """The picture when all that was heard since are task events, as it sent before, and heartbeats."""
    at = node.seen_at()
    return replace(
        before,
        active=node.busy(),
        reserved=node.holds("reserved"),
        scheduled=node.holds("scheduled"),
        processed=node.processed,
        uptime=None if node.uptime is None else _uptime(node, at),
        heartbeat_at=node.heartbeat_at,
        seen_at=at,
        done_rate=node.finished.rate(now, since),
        failed_rate=node.failed.rate(now, since),
        finished=node.finished.total,
        failed=node.failed.total,
    )


def faded(node: Node, worker: Worker, now: float, since: float) -> Worker:
    """The same with its rates of now. Half of a picture of 2,000 workers that have all done something of late."""
    done_rate, failed_rate = node.finished.rate(now, since), node.failed.rate(now, since)
    return replace(worker, done_rate=done_rate, failed_rate=failed_rate)


def plain(node: Node, worker: Worker) -> bool:
    """Whether its heart beats, and nothing else it shows but its rates changes with time."""
    return (
        worker.why is HEART
        and node.process is None
        and not node.clock.shift
        and len(node.pids) < 2
        and None not in node.counted
    )


def _uptime(node: Node, seen_at: float | None) -> float | None:
    """As of when it was last seen: by the clock, every worker would be another one in every picture."""
    if node.uptime is None or seen_at is None:
        return node.uptime
    return node.uptime + max(0.0, seen_at - node.uptime_at)


def settled_until(node: Node, worker: Worker, now: float, since: float) -> float:
    """From when on its picture may be another one though nothing is heard of it; ``now``: with every moment."""
    if worker.why is HEART:
        until = fresh_until(max(node.heartbeat_at or 0.0, node.event_at or 0.0), node.heartbeat_every)
    elif worker.state == GONE and node.process is None and node.goodbye_at is not None:
        until = goodbye_until(node.goodbye_at, now)
    else:
        return now
    if len(node.pids) > 1 or node.clock.shift:
        return now
    if node.queues and node.unplaced.count(now):
        until = min(until, float(int(now) + 1))
    if worker.done_rate or worker.failed_rate:
        return now if now - since < WINDOW else min(until, float(int(now) + 1))
    if worker.task_events and now - since < 1.0:
        return min(until, since + 1.0)
    return until

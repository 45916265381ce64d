"""A cluster to act on: one broker, a worker per pool, and the real Monitor and Actor over them."""

from __future__ import annotations

import base64
import json
import signal
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import psutil
import redis as redis_py

from celerytop.actions.actor import Actor, open_link_of
from celerytop.actions.audit import Audit
from celerytop.actions.look import Post, look
from celerytop.broker_url import parse_url
from celerytop.build import build
from celerytop.model.action import AnyAction, KillTree, Revoke, Target
from celerytop.model.address import BrokerSettings
from celerytop.model.outcome import STOPPED, ActionReport, Outcome
from celerytop.model.snapshot import Snapshot
from celerytop.model.task import Task
from celerytop.options import Options
from celerytop.targets import target_of
from tests.rig import Worker, send, wait_until

PATIENCE = 30.0
"""Seconds for what a machine with time to spare does in a tenth of one: a deadline is no measurement."""


class Stage:
    """Tasks go to the queue named as their pool."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.settings = BrokerSettings(parse_url(url))
        self.monitor = build(Options(), self.settings)
        self.audit = Audit("stage", folder)
        self.actor = Actor(self.settings, cluster="stage", allowed=True, audit=self.audit)
        self.workers: dict[str, Worker] = {}
        self._processes: dict[str, int] = {}
        self._link = open_link_of(self.settings) if url.startswith("redis") else None

    # ------------------------------------------------------------------------------------------------ setting
    def employ(self, **concurrency: int) -> Self:
        """Start one worker a pool, all at once, and the monitor."""
        for pool, slots in concurrency.items():
            conf, env = {"worker_prefetch_multiplier": 4}, {"CELERY_BROKER_URL": self.url}
            worker = Worker(self.url, pool=pool, concurrency=slots, queues=(pool,), conf=conf, env=env)
            self.workers[pool] = worker.launch()
        for worker in self.workers.values():
            worker.wait_ready(60)
        self.monitor.start()
        names = {worker.nodename for worker in self.workers.values()}
        wait_until(lambda: self._known(names), PATIENCE, "the monitor knows all workers")
        return self

    def _known(self, names: set[str]) -> bool:
        found = self.see().workers
        return all(name in found and found[name].pool and found[name].queues for name in names)

    def close(self) -> None:
        """Everything ends."""
        self.monitor.stop()
        if self._link is not None:
            self._link.close()
        for worker in self.workers.values():
            worker.close()

    # ------------------------------------------------------------------------------------------------- acting
    def see(self) -> Snapshot:
        """A fresh one."""
        return self.monitor.picture()

    def perform(self, action: AnyAction) -> ActionReport:
        """To its end."""
        return perform(self.actor, action, self.see)

    def revoke(self, task_id: str, signal: str | None = None, wait: float = PATIENCE) -> Outcome:
        """Of what the snapshot knows of it."""
        tree = self._tree(task_id)
        action = Revoke(targets=(target_of(self.see(), task_id),), signal=signal, wait=wait)
        verdict = self.perform(action).outcomes[0]
        spared = self._processes.get(task_id) if signal in ("SIGUSR1", "SIGINT") else None
        assert verdict.outcome != STOPPED or not [pid for pid in tree if lives(pid) and pid != spared]
        return verdict

    def kill_tree(self, target: Target) -> Outcome:
        """Of one."""
        tree = self._tree(target.task_id)
        verdict = self.perform(KillTree(targets=(target,))).outcomes[0]
        assert verdict.outcome != STOPPED or not any(map(lives, tree))
        return verdict

    def _tree(self, task_id: str) -> list[int]:
        """What must be dead before anybody says so."""
        pid = self._processes.get(task_id)
        return tree_of(pid) if pid is not None and lives(pid) else []

    # ------------------------------------------------------------------------------------------------ looking
    def send(self, pool: str, name: str, *args: object, **options: Any) -> str:
        """One task; its id."""
        return str(send(self.url, name, args, queue=pool, **options).id)

    def start(self, pool: str, name: str, *args: object) -> tuple[str, int]:
        """One task that runs, as events and its worker say; its id and process."""
        task_id = self.send(pool, name, *args)
        self.wait_state(task_id, "STARTED")
        pid = self.wait_pid(task_id)
        if pool == "prefork":
            self._processes[task_id] = pid
            wait_until(lambda: has_begun(name, pid), PATIENCE, f"{name} is inside")
        return task_id, pid

    def end(self, pool: str, count: int = 1) -> None:
        """So many ``rig.subprocess`` of this worker end, by themselves and now: nothing is raced against a clock."""
        worker = self.workers[pool]
        for one in wait_until(lambda: programs(worker, count), PATIENCE, f"{count} programs below {pool}"):
            one.kill()

    def task(self, task_id: str) -> Task | None:
        """As the monitor sees it."""
        return self.see().tasks.get(task_id)

    def wait_state(self, task_id: str, state: str, timeout: float = PATIENCE) -> Task:
        """Until the monitor has heard of it."""

        def there() -> Task | None:
            task = self.task(task_id)
            return task if task is not None and task.state == state else None

        return wait_until(there, timeout, f"{task_id} is {state}")

    def posts(self) -> dict[str, Post]:
        """What the workers say."""
        link = open_link_of(self.settings)
        try:
            return look(link.control, [worker.nodename for worker in self.workers.values()], 0.5)
        finally:
            link.close()

    def pid_of(self, task_id: str) -> int | None:
        """The process that runs it; -1 for a greenlet."""
        for post in self.posts().values():
            if task_id in post.running:
                return post.running[task_id].pid or -1
        return None

    def wait_pid(self, task_id: str) -> int:
        """Until a worker that answers says so."""
        return wait_until(lambda: self.pid_of(task_id), PATIENCE, f"{task_id} has a process")

    def busy(self) -> list[str]:
        """Ids that run anywhere."""
        return [task_id for post in self.posts().values() for task_id in post.running]


def perform(actor: Actor, action: AnyAction, see: Callable[[], Snapshot]) -> ActionReport:
    """The last report."""
    *_, last = actor.perform(1, action, see)
    assert last.settled_at is not None
    return last


def lives(pid: int) -> bool:
    """By psutil; a zombie does not."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def tree_of(pid: int) -> list[int]:
    """Its living descendants, and itself."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def has_begun(name: str, pid: int) -> bool:
    """A task is said to run when its process has been given it: what it sets up for itself comes later."""
    if name == "rig.ignore_sigterm":
        return ignores(pid, signal.SIGTERM)
    if name == "rig.swallow_soft":  # it sleeps inside its try
        return psutil.Process(pid).status() == psutil.STATUS_SLEEPING
    return True


def ignores(pid: int, number: int) -> bool:
    """The process has set this signal to SIG_IGN; without ``/proc`` nobody can tell."""
    if not (status := Path(f"/proc/{pid}/status")).exists():
        return True
    (mask,) = (line.split()[1] for line in status.read_text().splitlines() if line.startswith("SigIgn:"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def programs(worker: Worker, count: int) -> list[psutil.Process] | None:
    """What its tasks execute, when that is as many as ``count``: between fork and exec one has not its name yet."""
    found = [one for one in worker.children() if _called(one, "sleep")]
    return found if len(found) == count else None


def _called(one: psutil.Process, name: str) -> bool:
    try:
        return one.name() == name and one.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def grown_tree(pid: int, least: int) -> list[int]:
    """Its living descendants and itself, once there are so many and each is at its work: one that has read nothing has
    been forked and no more. A pool's child that has no job yet ends with its parent; with a job it outlives it.
    """

    def whole() -> list[int] | None:
        tree = tree_of(pid)
        return tree if len(tree) >= least and all(map(_has_read, tree[1:])) else None

    return wait_until(whole, PATIENCE, f"{least} processes from {pid} on")


def _has_read(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).io_counters().read_chars)
    except (AttributeError, NotImplementedError):  # a system that does not count
        return True
    except psutil.NoSuchProcess:
        return False


class Wire:
    """Every control message on a Redis, as a stranger hears it."""

    def __init__(self, client: redis_py.Redis) -> None:
        self._client = client
        self._marks: set[bytes] = set()
        self._pubsub = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        self._pubsub.psubscribe("*.pidbox")
        self._messages: list[dict[str, Any]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._mark()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(5)
        self._pubsub.close()

    def _listen(self) -> None:
        while not self._done.is_set():
            found = self._pubsub.get_message(timeout=0.05)
            if found and found["channel"] == b"wire.pidbox":
                self._marks.add(found["data"])
            elif found:
                self._messages.append(json.loads(base64.b64decode(json.loads(found["data"])["body"])))

    def _mark(self) -> None:
        """Until we hear ourselves: then we have heard all that was said before."""
        word = uuid.uuid4().hex.encode()
        wait_until(lambda: self._client.publish("wire.pidbox", word) and word in self._marks, PATIENCE, "we listen")

    def commands(self, *methods: str) -> Sequence[dict[str, Any]]:
        """What has been sent of these methods so far."""
        self._mark()
        return [message for message in self._messages if message["method"] in methods]

"""The Celery app of the rig's workers; told by ``RIG_*`` variables what to be."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from typing import Any

from celery import Celery, Task, shared_task


def make_app(broker: str, backend: str | None = None, conf: dict[str, Any] | None = None) -> Celery:
    """A Celery app with the rig's tasks; ``conf`` overrides any setting."""
    app = Celery("rig", broker=broker, backend=backend, set_as_current=False)
    app.conf.update(
        broker_connection_retry_on_startup=True,
        task_default_queue="celery",
        worker_cancel_long_running_tasks_on_connection_loss=False,
    )
    app.conf.update(conf or {})
    return app


@shared_task(name="rig.add")
def add(x: float, y: float) -> float:
    """Ends at once."""
    return x + y


@shared_task(name="rig.echo")
def echo(*args: Any, **kwargs: Any) -> str:
    """Takes anything."""
    return repr((args, kwargs))


@shared_task(name="rig.sleep")
def sleep(seconds: float = 1.0, *_: Any) -> float:
    """Takes its time; further arguments are ignored, so it may stand in a chain or chord."""
    time.sleep(seconds)
    return seconds


@shared_task(name="rig.fail")
def fail(message: str = "rig says no") -> None:
    """Raises ValueError."""
    raise ValueError(message)


@shared_task(name="rig.retrying", bind=True)
def retrying(self: Task[Any, Any], times: int = 2, countdown: float = 0.2) -> int:
    """Fails ``times`` times, then succeeds."""
    if self.request.retries < times:
        raise self.retry(exc=OSError("try again"), countdown=countdown, max_retries=times + 1)
    return times


@shared_task(name="rig.waits_for_child")
def waits_for_child(seconds: float = 1.0, queue: str = "celery") -> Any:
    """Holds its slot until its own subtask has run: two of these on ``-c 2`` are a deadlock. Needs a backend."""
    return sleep.apply_async((seconds,), queue=queue).get(disable_sync_subtasks=False)


@shared_task(name="rig.lock")
def lock() -> None:
    """Waits for ever for a lock it holds itself."""
    mine = threading.Lock()
    mine.acquire()
    mine.acquire()


@shared_task(name="rig.ignore_sigterm")
def ignore_sigterm(seconds: float = 60.0) -> None:
    """Sleeps on whatever SIGTERM says."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ends_at = time.monotonic() + seconds
    while (left := ends_at - time.monotonic()) > 0:
        time.sleep(left)


@shared_task(name="rig.cpu")
def cpu(seconds: float = 1.0) -> None:
    """Burns so many seconds of one core, however long it has to wait for them."""
    ends_at = time.process_time() + seconds
    while time.process_time() < ends_at:
        sum(range(1000))


@shared_task(name="rig.leak")
def leak(megabytes: int = 50, seconds: float = 1.0) -> int:
    """Holds so much memory for so long."""
    held = b"x" * (megabytes << 20)
    time.sleep(seconds)
    return len(held)


@shared_task(name="rig.nested_pool")
def nested_pool(seconds: float = 1.0, size: int = 2) -> int:
    """Processes below a process below the pool's child, which may not use multiprocessing itself: it is daemonic."""
    script = f"sleep {seconds} & " * size + "wait"
    return subprocess.run(["sh", "-c", script], check=False).returncode


@shared_task(name="rig.subprocess")
def run_subprocess(seconds: float = 1.0) -> int:
    """Waits for a program it started."""
    return subprocess.run(["sleep", str(seconds)], check=False).returncode


@shared_task(name="rig.vanish")
def vanish(code: int = 1) -> None:
    """The pool's child is gone from one moment to the next: WorkerLostError."""
    os._exit(code)


@shared_task(name="rig.late_sleep", acks_late=True, reject_on_worker_lost=True)
def late_sleep(seconds: float = 1.0) -> float:
    """As rig.sleep; its message is acknowledged at the end, and given back when its process is lost."""
    time.sleep(seconds)
    return seconds


@shared_task(name="rig.billiard_pool")
def billiard_pool(seconds: float = 1.0, size: int = 2) -> int:
    """A pool in the pool's child: SIGTERM lets it clean up, SIGKILL leaves its processes behind."""
    import billiard

    with billiard.Pool(size) as pool:
        return len(pool.map(time.sleep, [seconds] * size))


@shared_task(name="rig.swallow_soft")
def swallow_soft(seconds: float = 60.0) -> None:
    """Sleeps on whatever the soft time limit says."""
    from celery.exceptions import SoftTimeLimitExceeded

    ends_at = time.monotonic() + seconds
    while (left := ends_at - time.monotonic()) > 0:
        try:
            time.sleep(left)
        except SoftTimeLimitExceeded:
            continue


@shared_task(name="rig.swallow_exit")
def swallow_exit(seconds: float = 60.0) -> int:
    """Waits for a program it started, whatever is raised meanwhile."""
    program = subprocess.Popen(["sleep", str(seconds)])
    while program.poll() is None:
        with contextlib.suppress(BaseException):
            program.wait()
    return program.returncode


@shared_task(name="rig.daemon")
def daemon(seconds: float = 60.0) -> int:
    """Sends a process away, as daemons go: forked twice, a session of its own. Then takes as long as that."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.setsid()
        if (pid := os.fork()) == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(seconds)
        else:
            os.write(writer, str(pid).encode())
        os._exit(0)
    os.waitpid(child, 0)
    time.sleep(seconds)
    return int(os.read(reader, 20))


@shared_task(name="rig.background_and_child")
def background_and_child(seconds: float = 60.0) -> None:
    """One program left behind, and one that is waited for."""
    subprocess.run(["sh", "-c", f"sleep {seconds} </dev/null >/dev/null 2>&1 &"], check=False, start_new_session=True)
    subprocess.run(["sleep", str(seconds + 1)], check=False)


@shared_task(name="rig.background")
def background(seconds: float = 60.0, session: bool = True) -> None:
    """Leaves a program behind, as ``&`` in a shell does: with a session of its own, or without an environment."""
    words = ["sh", "-c", f"sleep {seconds} </dev/null >/dev/null 2>&1 &"]
    subprocess.run(words, check=False, start_new_session=session, env=None if session else {}, cwd="/")
    time.sleep(seconds)


def _from_environment() -> Celery:
    conf = json.loads(os.environ.get("RIG_CONF", "{}"))
    return make_app(os.environ.get("RIG_BROKER", "memory://"), os.environ.get("RIG_BACKEND") or None, conf)


app = _from_environment()

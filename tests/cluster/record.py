"""Record a real event stream for the tests of ``advance``: run by hand, ``python -m tests.cluster.record``.

Every trap is provoked on real workers: retries, hard and soft time limits, a lost child, terminate on prefork, gevent
and eventlet, revoked and expired and unregistered tasks, chains, groups and chords, with task-sent events. Paths and
host names are taken out.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import socket
import time
from pathlib import Path
from typing import Any

from celery import Celery, chain, chord, group

from tests.rig import RedisServer, Worker
from tests.rig.send import rig_app, send

FOLDER = Path(__file__).parent / "streams"


def _mix(app: Celery) -> list[str]:
    """Send one of everything; the ids of those to terminate."""

    def signature(name: str, *args: Any) -> Any:
        return app.signature(name, args)

    for number in range(25):
        send(app, "rig.add", (number, 1), queue=("prefork", "threads")[number % 2])
    for _ in range(4):
        send(app, "rig.fail", queue="prefork")
        send(app, "rig.retrying", (2, 0.3), queue="prefork")
        send(app, "rig.retrying", (1, 0.0), queue="threads")
    send(app, "rig.sleep", (30,), queue="prefork", time_limit=1)
    send(app, "rig.sleep", (30,), queue="prefork", soft_time_limit=1)
    send(app, "rig.vanish", queue="prefork")
    send(app, "no.such.task", queue="prefork")
    send(app, "rig.add", (1, 2), queue="prefork", expires=0.0001)
    send(app, "rig.add", (1, 2), queue="prefork", countdown=1.5)
    chain(*(signature("rig.sleep", 0.05).set(queue="prefork") for _ in range(4)), app=app).apply_async()
    members = [signature("rig.add", i, i).set(queue="threads") for i in range(5)]
    group(members, app=app).apply_async()
    chord(members, signature("rig.echo").set(queue="prefork"), app=app)()
    send(app, "rig.waits_for_child", (0.2, "threads"), queue="prefork")
    return [send(app, "rig.sleep", (30,), queue=queue).id for queue in ("prefork", "prefork", "gevent", "eventlet")]


def _record(server: RedisServer, app: Celery) -> list[dict[str, Any]]:
    listener = server.client().pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    listener.psubscribe("/0.celeryev/*")
    listener.get_message(timeout=1)
    ids = _mix(app)
    events: list[dict[str, Any]] = []
    began = time.time()
    revoked = False
    while time.time() - began < 14:
        message = listener.get_message(timeout=0.2)
        if message:
            body = json.loads(base64.b64decode(json.loads(message["data"])["body"]))
            events += body if isinstance(body, list) else [body]
        if not revoked and time.time() - began > 7:
            revoked = True
            for task_id, signal in zip(ids, ("SIGKILL", "SIGUSR1", "SIGTERM", "SIGTERM"), strict=True):
                app.control.revoke(task_id, terminate=True, signal=signal)
    return events


def _anonymous(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    value = value.replace(socket.gethostname(), "h")
    return re.sub(r'File "[^"]*/', 'File "/', value)


def main() -> None:
    """Write ``streams/mix.jsonl.gz``."""
    conf = {"task_send_sent_event": True, "task_track_started": True}
    with RedisServer() as server:
        app = rig_app(server.url(), conf=conf)
        pools = {"prefork": 4, "threads": 2, "gevent": 2, "eventlet": 2}
        workers = [
            Worker(server.url(), pool=pool, concurrency=slots, queues=(pool,), nodename=f"{pool}@h", conf=conf).start()
            for pool, slots in pools.items()
        ]
        events = _record(server, app)
        for worker in workers:
            worker.close()
    FOLDER.mkdir(exist_ok=True)
    with gzip.open(FOLDER / "mix.jsonl.gz", "wt") as file:
        for event in events:
            file.write(json.dumps({key: _anonymous(value) for key, value in event.items()}) + "\n")
    print(len(events), "events")


if __name__ == "__main__":
    main()

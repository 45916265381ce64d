"""Under load: each message was run once, or is in a dump, or was moved and run there. Never lost, never doubled."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from celery import Celery

from celerytop.model.action import MoveMessages, PurgeQueue, RestoreDump
from celerytop.model.outcome import DONE, NOT_DONE
from celerytop.model.queue import Queue
from tests.actions.holding import Holding, fates, ran
from tests.rig import RedisServer, Worker, rig_app, send, wait_until

TASKS = 900
LATE = 20
"""Tasks that are sent while the worker stands still: whoever is faster under load, these are there to be removed."""


def _sent(app: Celery, region: str, priority: int) -> str:
    return str(send(app, "rig.echo", (region,), priority=priority).id)


def produced(app: Celery) -> Iterator[str]:
    """Ids, as they are sent."""
    for n in range(TASKS):
        yield _sent(app, "eu" if n % 2 else "us", n % 4)


def test_every_message_runs_once_or_is_in_the_dump(redis_server: RedisServer, tmp_path: Path) -> None:
    url = redis_server.url()
    held, app, client = Holding(url, tmp_path), rig_app(url, ""), redis_server.client()
    held.queues["celery"] = Queue("celery", 0)  # empty for a moment, it is a queue all the same
    ids: list[str] = []
    late: list[str] = []
    with Worker(
        url, pool="threads", concurrency=4, queues=("celery", "slow"), events=False, result_backend=""
    ) as worker:
        producer = threading.Thread(target=lambda: ids.extend(produced(app)))
        producer.start()
        dumps: list[str] = []
        words: list[str] = []
        for turn in range(12):
            dump = str(tmp_path / f"dump{turn}")
            wait_until(lambda: client.llen("celery") > 0 or not producer.is_alive(), 20, "something waits")
            if turn == 10:
                worker.freeze()
                late += [_sent(app, "eu", 0) for _ in range(LATE)]
            if turn % 4 == 3:
                words.append(held.perform(MoveMessages(queue="celery", to="slow", filter="args:us")).outcome)
                continue
            words.append(
                held.perform(PurgeQueue(queue="celery", dump=dump, filter="" if turn % 2 else "args:eu")).outcome
            )
            worker.thaw()
            if turn % 3 == 0:
                held.perform(RestoreDump(path=dump))
            else:
                dumps.append(dump)
        producer.join()
        ids += late
        # what was put back counts as run
        removed = Counter(task_id for dump in dumps for task_id, fate in fates(dump).items() if fate == "r")
        expected = [task_id for task_id in ids if task_id not in removed]
        wait_until(lambda: all(ran(worker.log, expected).values()), 30, "all that was not removed has run")
        counts = ran(worker.log, ids)
    assert set(words) <= {DONE, NOT_DONE}
    assert {task_id: counts[task_id] + removed[task_id] for task_id in ids} == dict.fromkeys(ids, 1)
    assert removed and not client.llen("celery") and not client.llen("slow")

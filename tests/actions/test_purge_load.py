"""Under load: each message was run once, or is in a dump, or was moved and run there. Never lost, never doubled."""

from __future__ import annotations

import threading
from pathlib import Path

from celerytop.model.action import MoveMessages, PurgeQueue, RestoreDump
from celerytop.model.outcome import DONE, NOT_DONE
from tests.actions.holding import Holding, fates, ran
from tests.rig import RedisServer, Worker, rig_app, send, wait_until

TASKS = 900


def test_every_message_runs_once_or_is_in_the_dump(redis_server: RedisServer, tmp_path: Path) -> None:
    url = redis_server.url()
    held, app, client = Holding(url, tmp_path), rig_app(url, ""), redis_server.client()
    ids: list[str] = []
    with Worker(
        url, pool="threads", concurrency=4, queues=("celery", "slow"), events=False, result_backend=""
    ) as worker:
        producer = threading.Thread(
            target=lambda: ids.extend(
                str(send(app, "rig.echo", ("eu" if n % 2 else "us",), priority=n % 4).id) for n in range(TASKS)
            )
        )
        producer.start()
        dumps: list[str] = []
        words: list[str] = []
        for turn in range(12):
            dump = str(tmp_path / f"dump{turn}")
            wait_until(lambda: client.llen("celery") > 0 or not producer.is_alive(), 10, "something waits")
            if turn % 4 == 3:
                words.append(held.perform(MoveMessages(queue="celery", to="slow", filter="args:us")).outcome)
                continue
            words.append(
                held.perform(PurgeQueue(queue="celery", dump=dump, filter="" if turn % 2 else "args:eu")).outcome
            )
            if turn % 3 == 0:
                held.perform(RestoreDump(path=dump))
            else:
                dumps.append(dump)
        producer.join()
        removed: dict[str, int] = {}
        for dump in dumps:  # those that were put back count as run
            for task_id, fate in fates(dump).items():
                removed[task_id] = removed.get(task_id, 0) + (fate == "r")
        expected = [task_id for task_id in ids if not removed.get(task_id)]
        wait_until(lambda: all(ran(worker.log, expected).values()), 30, "all that was not removed has run")
        counts = ran(worker.log, ids)
    assert set(words) <= {DONE, NOT_DONE}
    assert {task_id: counts[task_id] + removed.get(task_id, 0) for task_id in ids} == dict.fromkeys(ids, 1)
    assert sum(removed.values()) > 0 and not client.llen("celery") and not client.llen("slow")

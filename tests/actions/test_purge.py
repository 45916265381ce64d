"""Messages removed, moved and put back on a real Redis: byte for byte, dumped first, each in one place."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
from pathlib import Path

import pytest
import redis

from celerytop.model.action import MoveMessages, PurgeQueue, RestoreDump, SendTask
from celerytop.model.outcome import CANNOT, DONE, NOT_DONE, REFUSED, UNKNOWN
from celerytop.model.queue import Queue
from celerytop.model.task import Task
from tests.actions.holding import Holding, dumped, fates, lines_of, newest_first, raw_message
from tests.rig import RedisServer

ODD = [b"\xff\x00 not json", b'{"headers":{"id":"esc\\u001b[31m","task":"t\\u202e"}}', raw_message("utf\u00e9"), b""]


@pytest.fixture(scope="module")
def server() -> object:
    with RedisServer() as one:
        yield one


@pytest.fixture
def client(server: RedisServer) -> redis.Redis:
    found = server.client()
    found.flushall()
    return found


@pytest.fixture
def held(server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Holding:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Holding(server.url(), tmp_path)


def all_lists(client: redis.Redis) -> dict[bytes, object]:
    return {key: client.lrange(key, 0, -1) for key in client.scan_iter()}


def test_everything_is_dumped_then_removed_and_comes_back_byte_for_byte(client: redis.Redis, held: Holding) -> None:
    first = [raw_message(f"a{n}") for n in range(1200)] + ODD
    third = [raw_message(f"b{n}") for n in range(6)]
    client.lpush("celery", *first)
    client.lpush("celery\x06\x168", raw_message("own step"))
    client.lpush("celery\x06\x163", *third)
    client.lpush("other", b"mine")
    before = all_lists(client)
    report = held.report(PurgeQueue(queue="celery"))
    (outcome,) = report.outcomes
    assert outcome.outcome == DONE and outcome.queue == "celery" and "1,211 of 1,211" in outcome.sentence
    assert client.keys() == [b"other"]
    assert report.dump is not None and stat.S_IMODE(os.stat(report.dump).st_mode) == 0o600
    assert dumped(report.dump) == [*newest_first(first), *newest_first(third), raw_message("own step")]
    back = held.perform(RestoreDump(path=report.dump))
    assert back.outcome == DONE and "1,211" in back.sentence
    assert all_lists(client) == before


def test_put_back_messages_run_next_in_their_old_order(client: redis.Redis, held: Holding) -> None:
    old = [raw_message(f"a{n}") for n in range(450)]
    client.lpush("celery", *old)
    report = held.report(PurgeQueue(queue="celery"))
    client.lpush("celery", b"later")
    held.perform(RestoreDump(path=str(report.dump)))
    assert [client.rpop("celery") for _ in range(451)] == [*old, b"later"]


def test_a_dump_is_put_back_once(client: redis.Redis, held: Holding) -> None:
    client.lpush("celery", *(raw_message(f"a{n}") for n in range(3)))
    dump = str(held.report(PurgeQueue(queue="celery")).dump)
    assert held.perform(RestoreDump(path=dump)).outcome == DONE
    again = held.perform(RestoreDump(path=dump))
    assert again.outcome == REFUSED and "already" in again.sentence and client.llen("celery") == 3
    assert held.perform(RestoreDump(path=dump, force=True)).outcome == DONE and client.llen("celery") == 6


def test_a_filter_takes_what_it_names_and_counts_before(client: redis.Redis, held: Holding) -> None:
    entries = [raw_message(f"a{n}", "app.pay" if n % 3 else "app.mail", f"({n}, 'eu')") for n in range(999)]
    client.lpush("celery", *entries, *ODD)
    dry = held.perform(PurgeQueue(queue="celery", filter="name:mail args:eu", dry_run=True))
    assert dry.outcome == DONE and "Would remove 333 of 1,003" in dry.sentence
    assert client.llen("celery") == 1003
    report = held.report(PurgeQueue(queue="celery", filter="name:mail args:eu"))
    assert "333 of 333" in report.outcomes[0].sentence
    assert any("no task messages" in one.text for one in report.outcomes[0].evidence)
    kept = [entry for n, entry in enumerate(entries) if n % 3]
    assert client.lrange("celery", 0, -1) == newest_first([*kept, *ODD])
    assert sorted(dumped(report.dump)) == sorted(entry for n, entry in enumerate(entries) if not n % 3)


def test_one_message_is_deleted_by_its_id(client: redis.Redis, held: Holding) -> None:
    client.lpush("celery", *(raw_message(f"a{n}") for n in range(5)))
    report = held.report(PurgeQueue(queue="celery", task_ids=("a3", "gone")))
    assert [(one.task_id, one.outcome) for one in report.outcomes] == [("a3", DONE), ("gone", NOT_DONE)]
    assert client.lrange("celery", 0, -1) == newest_first([raw_message(f"a{n}") for n in (0, 1, 2, 4)])


def test_ages_come_from_events_and_unknown_ones_are_left(client: redis.Redis, held: Holding) -> None:
    client.lpush("celery", raw_message("old"), raw_message("new"), raw_message("unknown"))
    held.tasks = {"old": Task("old", sent_at=1.0), "new": Task("new", sent_at=4e9)}
    report = held.report(PurgeQueue(queue="celery", filter="age:>60"))
    assert dumped(report.dump) == [raw_message("old")]
    assert any("nobody knows when" in one.text for one in report.outcomes[0].evidence)
    assert report.outcomes[0].outcome == DONE
    for dry_run in (True, False):  # what cannot be told is not "none": a runbook must not take it for done
        (outcome,) = held.report(PurgeQueue(queue="celery", filter="age:>4000000000", dry_run=dry_run)).outcomes
        assert outcome.outcome == CANNOT and "Of 1 of 2 messages nobody knows how old" in outcome.sentence
    none = held.report(PurgeQueue(queue="celery", filter="name:app.nope age:>60")).outcomes[0]
    assert none.outcome == DONE and "None of 2 messages is meant" in none.sentence


def test_a_moved_message_goes_behind_what_waits_there_in_its_order(client: redis.Redis, held: Holding) -> None:
    entries = [raw_message(f"a{n}", "app.a" if n % 2 else "app.b") for n in range(1100)]
    client.lpush("celery", *entries)
    client.lpush("celery\x06\x166", raw_message("six", "app.a"))
    client.lpush("slow", b"first")
    report = held.report(MoveMessages(queue="celery", to="slow", filter="name:app.a"))
    assert report.outcomes[0].outcome == DONE and "551 of 551" in report.outcomes[0].sentence
    moved = [entry for n, entry in enumerate(entries) if n % 2]
    assert client.lrange("slow", 0, -1) == newest_first([b"first", *moved])
    assert client.lrange("slow\x06\x166", 0, -1) == [raw_message("six", "app.a")]
    assert set(fates(report.dump).values()) == {"m"}
    again = held.perform(RestoreDump(path=str(report.dump)))
    assert again.outcome == REFUSED and "moved to slow" in again.sentence


def test_a_prefix_is_kept(server: RedisServer, client: redis.Redis, tmp_path: Path) -> None:
    held = Holding(server.url(), tmp_path, global_keyprefix="px:")
    client.lpush("px:celery", raw_message("a"))
    client.lpush("celery", raw_message("b"))
    report = held.report(PurgeQueue(queue="celery", dump=str(tmp_path / "d")))
    assert client.keys() == [b"celery"] and report.dump == str(tmp_path / "d")
    held.perform(RestoreDump(path=str(tmp_path / "d")))
    assert client.lrange("px:celery", 0, -1) == [raw_message("a")]


def test_a_dump_of_another_broker_needs_a_queue_named(server: RedisServer, client: redis.Redis, held: Holding) -> None:
    client.lpush("celery", raw_message("a"))
    dump = str(held.report(PurgeQueue(queue="celery")).dump)
    with RedisServer() as elsewhere:
        other = Holding(elsewhere.url(), held.folder)
        refused = other.perform(RestoreDump(path=dump))
        assert refused.outcome == REFUSED and "another broker" in refused.sentence
        assert other.perform(RestoreDump(path=dump, to="here")).outcome == DONE
        assert elsewhere.client().lrange("here", 0, -1) == [raw_message("a")]


def test_a_changed_dump_is_refused(client: redis.Redis, held: Holding) -> None:
    client.lpush("celery", raw_message("a"))
    path = Path(str(held.report(PurgeQueue(queue="celery")).dump))
    path.write_text(path.read_text().replace('"sha256":"', '"sha256":"0', 1))
    refused = held.perform(RestoreDump(path=str(path)))
    assert refused.outcome == REFUSED and "was changed" in refused.sentence and not client.keys()


def test_without_a_dump_nothing_is_removed(client: redis.Redis, held: Holding, tmp_path: Path) -> None:
    client.lpush("celery", raw_message("a"))
    there = tmp_path / "there"
    there.write_text("precious")
    refused = held.perform(PurgeQueue(queue="celery", dump=str(there)))
    assert refused.outcome == REFUSED and there.read_text() == "precious"
    assert held.perform(PurgeQueue(queue="celery", dump="/proc/none/x")).outcome == REFUSED
    assert client.llen("celery") == 1


def test_a_dump_that_finds_no_room_is_said_not_to_be_whole(client: redis.Redis, held: Holding) -> None:
    client.lpush("celery", *(raw_message(f"a{n}", padding=9000) for n in range(20)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        outcome = held.perform(PurgeQueue(queue="celery"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert outcome.outcome == REFUSED and "Nothing was removed" in outcome.sentence
    assert any("not whole" in one.text for one in outcome.evidence)
    assert client.llen("celery") == 20


@pytest.mark.parametrize(
    "rights", ["-eval", "-eval -set", "~celery* ~slow* resetchannels", "-set", "-lset", "-multi", "-get -set -del"]
)
def test_an_account_without_scripts_removes_and_moves_all_the_same(
    client: redis.Redis, server: RedisServer, tmp_path: Path, rights: str
) -> None:
    keys = rights if rights.startswith("~") else "~*"
    extra = "" if rights.startswith("~") else rights
    words = ["SETUSER", "few", "reset", "on", ">pw", "&*", *f"{keys} +@all {extra}".split()]
    client.execute_command("ACL", *words)  # type: ignore[no-untyped-call]
    held = Holding(server.url(user="few", password="pw"), tmp_path)
    entries = [raw_message(f"a{n}", "app.a" if n % 2 else "app.b") for n in range(40)]
    client.lpush("celery", *entries)
    moved = held.perform(MoveMessages(queue="celery", to="slow", filter="name:app.a", dump=str(tmp_path / "m")))
    assert moved.outcome == DONE and "20 of 20" in moved.sentence
    assert client.lrange("slow", 0, -1) == newest_first(entries[1::2])
    gone = held.perform(PurgeQueue(queue="celery", dump=str(tmp_path / "p")))
    assert gone.outcome == DONE and "20 of 20" in gone.sentence and client.keys() == [b"slow"]
    assert held.perform(RestoreDump(path=str(tmp_path / "p"))).outcome == DONE
    assert client.lrange("celery", 0, -1) == newest_first(entries[::2])


@pytest.mark.parametrize("rights", ["-lpush", "-lpush -multi", "-lrem", "-lrem -eval", "-lset -multi", "-eval -multi"])
def test_what_an_account_may_not_do_is_not_done_by_half(
    client: redis.Redis, server: RedisServer, tmp_path: Path, rights: str
) -> None:
    """Redis stops a script where a right is missing, and runs the rest of a transaction whose MULTI it has denied."""
    words = ["SETUSER", "few", "reset", "on", ">pw", "&*", "~*", "+@all", *rights.split()]
    client.execute_command("ACL", *words)  # type: ignore[no-untyped-call]
    held = Holding(server.url(user="few", password="pw"), tmp_path)
    entries = [raw_message(f"a{n}") for n in range(10)]
    client.lpush("celery", *entries)
    moved = held.perform(MoveMessages(queue="celery", to="slow", dump=str(tmp_path / "m")))
    assert moved.outcome == UNKNOWN and "0 were moved" in moved.sentence and "Needs: +" in moved.sentence
    assert client.lrange("celery", 0, -1) == newest_first(entries) and not client.llen("slow")


def test_a_full_server_can_be_purged(tmp_path: Path) -> None:
    with RedisServer(args=("--maxmemory", "4mb", "--maxmemory-policy", "noeviction")) as full:
        client = full.client()
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            for n in range(10_000):
                client.lpush("celery", raw_message(f"a{n}", padding=5000))
        count = client.llen("celery")
        outcome = Holding(full.url(), tmp_path).perform(PurgeQueue(queue="celery", dump=str(tmp_path / "d")))
        assert outcome.outcome == DONE and f"{count:,} of {count:,}" in outcome.sentence and not client.keys()


def test_a_key_of_another_kind_and_remote_control_are_refused(client: redis.Redis, held: Holding) -> None:
    client.hset("unacked", "a", "b")
    client.lpush("celery", raw_message("a"))
    assert held.perform(PurgeQueue(queue="unacked")).outcome == REFUSED
    assert held.perform(PurgeQueue(queue="x.reply.celery.pidbox")).outcome == REFUSED
    assert held.perform(MoveMessages(queue="celery", to="unacked")).outcome == REFUSED
    assert client.llen("celery") == 1 and client.hlen("unacked") == 1


def test_the_dump_says_whose_messages_they_are(client: redis.Redis, held: Holding) -> None:
    client.lpush("celery", raw_message("a"))
    head = lines_of(held.report(PurgeQueue(queue="celery")).dump)[0]
    assert (head["magic"], head["version"], head["queue"], head["transport"]) == (
        "celerytop-dump",
        1,
        "celery",
        "redis",
    )
    assert head["cluster"] == "c" and head["server"] and head["broker"].startswith("redis://")


def test_a_file_that_is_no_dump_stays_as_it_is(client: redis.Redis, held: Holding, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    for content in (b"my only copy, without an end of line", b"[1, 2]\n3", b"", b"\xff" * 999):
        mine.write_bytes(content)
        outcome = held.perform(RestoreDump(path=str(mine)))
        assert outcome.outcome == REFUSED and "no dump" in outcome.sentence
        assert mine.read_bytes() == content
    os.mkfifo(tmp_path / "fifo")
    assert held.perform(RestoreDump(path=str(tmp_path / "fifo"))).outcome == REFUSED


@pytest.mark.parametrize(
    "line",
    [
        {"type": "fate", "first": 2**40, "by": -1, "was": "r" * 3, "at": 1.0},
        {"type": "fate", "first": 4, "by": -2, "was": "rr", "at": 1.0},
        {"type": "fate", "first": 0, "by": 1, "was": "\u20ac", "at": 1.0},
        {"type": "fate", "first": -1, "by": 1, "was": "rr", "at": 1.0},
        {"type": "restored", "numbers": [10**9], "to": "celery", "at": 1.0},
    ],
)
def test_lines_of_messages_that_are_not_there_are_refused(
    client: redis.Redis, held: Holding, line: dict[str, object]
) -> None:
    client.lpush("celery", *(raw_message(f"a{n}") for n in range(3)))
    report = held.report(PurgeQueue(queue="celery"))
    assert report.dump is not None
    with open(report.dump, "a") as file:
        file.write(json.dumps(line) + "\n")
    outcome = held.perform(RestoreDump(path=report.dump, force=True))
    assert outcome.outcome == REFUSED and "was changed" in outcome.sentence
    assert not client.exists("celery")


def test_another_database_of_the_same_server_is_another_broker(
    server: RedisServer, client: redis.Redis, held: Holding, tmp_path: Path
) -> None:
    client.lpush("celery", raw_message("a"))
    report = held.report(PurgeQueue(queue="celery"))
    other = Holding(server.url(db=1), tmp_path)
    outcome = other.perform(RestoreDump(path=str(report.dump)))
    assert outcome.outcome == REFUSED and "another broker" in outcome.sentence
    assert held.perform(RestoreDump(path=str(report.dump))).outcome == DONE


def test_nothing_is_put_into_remote_control(client: redis.Redis, held: Holding) -> None:
    client.lpush("celery", raw_message("a"))
    report = held.report(PurgeQueue(queue="celery"))
    outcome = held.perform(RestoreDump(path=str(report.dump), to="w@h.celery.pidbox", force=True))
    assert outcome.outcome == REFUSED and "remote control" in outcome.sentence
    assert not client.keys("*pidbox")


def test_a_copy_that_is_not_whole_says_so_and_comes_back_with_force(
    client: redis.Redis, held: Holding, tmp_path: Path
) -> None:
    client.lpush("celery", *(raw_message(f"a{n}") for n in range(5)))
    report = held.report(PurgeQueue(queue="celery"))
    half = tmp_path / "half"
    content = Path(str(report.dump)).read_bytes().splitlines(keepends=True)
    half.write_bytes(b"".join(content[:4]) + content[4][:50])
    outcome = held.perform(RestoreDump(path=str(half)))
    assert outcome.outcome == REFUSED and "is it a copy that is not whole?" in outcome.sentence
    assert held.perform(RestoreDump(path=str(half), force=True)).outcome == DONE
    assert client.llen("celery") == 3


def test_a_priority_goes_only_to_a_list_that_somebody_reads(client: redis.Redis, held: Holding) -> None:
    sent = SendTask(name="rig.echo", priority=6)
    held.perform(sent)
    assert client.llen("celery\x06\x166") == 1, "by the steps that are configured, when the queue tells of no others"
    client.flushall()
    client.lpush("celery\x06\x165", raw_message("of a cluster with steps 0 and 5"))
    held.perform(sent)
    held.perform(SendTask(name="rig.echo", priority=3))
    assert client.llen("celery\x06\x165") == 2 and client.llen("celery") == 1
    assert not client.exists("celery\x06\x166", "celery\x06\x163")


def test_an_empty_queue_that_nobody_knows_is_misspelt(client: redis.Redis, held: Holding) -> None:
    outcome = held.perform(PurgeQueue(queue="paymnets"))
    assert outcome.outcome == NOT_DONE and "No queue paymnets is known" in outcome.sentence
    held.queues = {"payments": Queue("payments", 0)}
    outcome = held.perform(PurgeQueue(queue="payments"))
    assert outcome.outcome == DONE and "No message waits there" in outcome.sentence

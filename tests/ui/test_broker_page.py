"""Page 5: Redis and RabbitMQ, well and ill, and what celerytop costs."""

from __future__ import annotations

from typing import Any

import pytest

from celerytop.columns import Look
from celerytop.model.broker import KeyWalk, RabbitBroker, RedisBroker
from celerytop.model.command import Attend
from celerytop.model.observation import DOWN, UP
from celerytop.model.snapshot import Snapshot, SourceStatus
from celerytop.ui.app import CelerytopApp
from celerytop.ui.details.forecast import redis_memory
from celerytop.ui.details.line import Target, plain_text
from celerytop.ui.feed import StillFeed
from celerytop.ui.screens.broker import BrokerPage, broker_lines
from celerytop.ui.screens.queue_detail import QueueDetail
from celerytop.ui.screens.worker_detail import WorkerDetail
from celerytop.ui.widgets.walk import Walk
from tests.ui import details_snapshots as pictures
from tests.ui import golden, snapshots
from tests.ui.details_driver import drive
from tests.ui.details_snapshots import GIB
from tests.ui.drive import Driver
from tests.ui.snapshots import AT

LOOK = Look(utc=True)
BROKERS = {"redis": pictures.full, "rabbit": pictures.rabbit}


def page(broker: RedisBroker | RabbitBroker | None, width: int = 100, own: bool = False) -> str:
    """The page's text."""
    return plain_text(broker_lines(Snapshot(AT, snapshots.CLUSTER, broker=broker), LOOK, width, own))


async def open_page(driver: Driver, app: CelerytopApp) -> None:
    """Turn to page 5 and wait until it has the keys."""
    await driver.press("5")
    for _ in range(100):
        await driver.settle()
        if app.main.query(Walk) and app.main.query_one(Walk).has_focus:
            return
    raise AssertionError("page 5 never got the focus")


def redis(**facts: Any) -> RedisBroker:
    """A Redis of which only this is known."""
    return RedisBroker(AT, **facts)


@pytest.mark.parametrize("size", [(80, 24), (100, 30)], ids=["80x24", "100x30"])
@pytest.mark.parametrize("broker", BROKERS)
def test_screen(broker: str, size: tuple[int, int]) -> None:
    async def deed(driver: Driver, app: CelerytopApp, feed: StillFeed) -> None:
        await open_page(driver, app)
        golden.check(f"broker_{broker}_{size[0]}x{size[1]}", golden.shown(app))

    drive(BROKERS[broker](), deed, size)


@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.parametrize("width", [80, 100, 140])
def test_no_line_is_wider_than_the_window(broker: str, width: int) -> None:
    for own in (False, True):
        for each in broker_lines(BROKERS[broker](), LOOK, width, own):
            assert len(each.text) <= width, each.text


# ----------------------------------------------------------------------------------------------------- known
def test_nothing_known_is_said_and_no_number_made_up() -> None:
    assert "has not told anything" in page(None)
    text = page(redis())
    assert "maxmemory" not in text
    assert "limit ?" in text and "ops ?/s" in text and "evicted ?" in text and "clients ?" in text
    assert "not looked at yet" in text
    assert "CLIENT LIST is not allowed" in text
    assert "0 B" not in text.replace("10 B", "")


def test_a_walk_under_way_tells_how_far_it_is() -> None:
    walk = KeyWalk(AT, (), 200_000, 800_000, False, "It goes on in the next second: 25 ms of each are spent.")
    text = page(redis(walk=walk))
    assert "25% of 800,000 keys so far" in text
    assert "It goes on in the next second" in text


def test_reply_queues_that_never_expire_are_marked() -> None:
    line = next(each for each in page(pictures.redis()).splitlines() if "reply queues" in each)
    assert line.startswith("!")


def test_a_slow_reader_is_marked_and_this_program_is_named() -> None:
    lines = page(pictures.redis()).splitlines()
    assert any(line.startswith("!10.0.0.31") and "slow reader" in line for line in lines)
    assert any("this program" in line for line in lines)


# ---------------------------------------------------------------------------------------------------- memory
@pytest.mark.parametrize(
    ("facts", "said", "tone"),
    [
        ({"used_memory": 3 * GIB, "maxmemory": 4 * GIB, "memory_growth": GIB / 1e5, "maxmemory_policy": "noeviction"},
         "full in about 28 h at this growth; then publishing fails (noeviction)", "warn"),
        ({"used_memory": 3 * GIB, "maxmemory": 4 * GIB, "memory_growth": GIB / 1000, "maxmemory_policy": "allkeys-lru"},
         "full in about 17 min at this growth; then keys are thrown away, queues too (allkeys-lru)", "bad"),
        ({"used_memory": 4 * GIB, "maxmemory": 4 * GIB, "maxmemory_policy": "noeviction"},
         "full: then publishing fails (noeviction)", "bad"),
        ({"used_memory": GIB, "maxmemory": 0, "memory_growth": 0.0},
         "no limit (maxmemory 0): it may take all memory of its machine", "dim"),
        ({"used_memory": GIB, "maxmemory": 0, "memory_growth": GIB / 36_000, "total_system_memory": 2 * GIB},
         "no limit (maxmemory 0): it may take all memory of its machine, 2.0 GB, in about 10 h", "warn"),
    ],
)  # fmt: skip
def test_when_redis_is_full_and_what_happens_then(facts: dict[str, Any], said: str, tone: str) -> None:
    assert redis_memory(redis(**facts)) == (said, tone)


def test_no_forecast_without_growth_or_limit() -> None:
    assert redis_memory(redis(used_memory=1, maxmemory=None)) is None
    assert redis_memory(redis(used_memory=1, maxmemory=10, memory_growth=-5.0)) is None
    assert redis_memory(redis(used_memory=1, maxmemory=10**12, memory_growth=1.0)) is None


# ------------------------------------------------------------------------------------------------------- ill
def test_redis_that_is_ill_says_so_above_everything() -> None:
    text = page(
        redis(trouble="Redis is full: it refuses every write (OOM).", loading=True, loading_done=0.4)
    ).splitlines()
    assert "reads its data from disk 40% done" in text[1]
    assert "it refuses every write" in text[2]


def test_a_failed_save_that_stops_writes_is_said() -> None:
    text = page(redis(rdb_last_bgsave_status="err", stop_writes_on_bgsave_error=True))
    assert "err" in text and "it refuses writes" in text


def test_missing_rights_are_named() -> None:
    assert "Needs: +config|get" in page(pictures.redis())


def test_rabbit_without_its_management_api() -> None:
    broker = RabbitBroker(AT, "3.10.8", vhost="/", management="The management plugin is not enabled.", clients=None)
    text = page(broker)
    assert "The management plugin is not enabled." in text
    assert "Queue lengths are exact all the same" in text
    assert "published ?/s" in text


def test_rabbit_that_blocks_publishers() -> None:
    text = page(RabbitBroker(AT, blocked="low on memory"))
    assert "blocks all who publish: low on memory" in text


# ------------------------------------------------------------------------------------------------- own cost
def test_b_shows_what_celerytop_costs_and_enter_opens_a_worker() -> None:
    async def deed(driver: Driver, app: CelerytopApp, feed: StillFeed) -> None:
        await open_page(driver, app)
        assert feed.commands[-1] == Attend(page="broker")
        assert "b: detail" in golden.shown(app)
        await driver.press("b")
        assert "Only reads: no key" in golden.shown(app)
        await driver.press("b")
        page_ = app.main.current
        assert isinstance(page_, BrokerPage)
        assert page_.query_one(Walk).target == Target("worker", "w3@db-7")
        await driver.press("enter")
        assert isinstance(app.screen, WorkerDetail)

    drive(pictures.full(), deed)


def test_enter_opens_a_queue_of_rabbit() -> None:
    async def deed(driver: Driver, app: CelerytopApp, feed: StillFeed) -> None:
        await open_page(driver, app)
        await driver.press("n", "enter")
        assert isinstance(app.screen, QueueDetail)
        assert app.screen.key == "payments"

    drive(pictures.rabbit(), deed)


def test_hostile_names_on_the_broker_page() -> None:
    for snapshot in (snapshots.hostile(), snapshots.stale(), snapshots.empty()):
        for own in (False, True):
            assert broker_lines(snapshot, LOOK, 80, own)


def test_why_sources_are_down_is_told_in_full_where_the_header_has_no_room() -> None:
    why = "Redis at 10.0.0.5:6379 takes the connection but sends nothing: frozen, or the network is cut."
    sources = (
        SourceStatus("events", DOWN, why), SourceStatus("control", DOWN, why), SourceStatus("queues", UP),
        SourceStatus("management", DOWN, "not there"),
    )  # fmt: skip
    text = plain_text(broker_lines(Snapshot(AT, snapshots.CLUSTER, sources=sources), LOOK, 80))
    first, second = text.splitlines()[:2]
    assert first.startswith(" X Redis at 10.0.0.5:6379 takes")
    assert f"{first[3:]} {second.strip()}" == f"{why} (events, control)"
    assert "not there" not in text

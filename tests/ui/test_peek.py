"""A queue's messages page by page: the keys, the cursor, what is asked of the sources, and what can be done to one."""

from __future__ import annotations

from msgspec.structs import replace

from celerytop.model.action import PurgeQueue
from celerytop.model.command import Attend
from celerytop.model.queue import Message, QueueSample
from celerytop.model.snapshot import Snapshot
from celerytop.ui.app import CelerytopApp
from celerytop.ui.screens.confirm import Confirm
from celerytop.ui.screens.menu import Menu
from celerytop.ui.screens.queue_detail import QueueDetail
from celerytop.ui.screens.task_detail import TaskDetail
from celerytop.ui.widgets.walk import Walk
from tests.ui.acting import allowed
from tests.ui.drive import Driver, drive

QUEUE = "payments"


def with_page(begin: int, count: int = 50, total: int = 120, note: str | None = None) -> Snapshot:
    """A picture in which the sources have answered with this page."""
    found = allowed()
    page = tuple(Message(f"{begin + n:08d}-x", "app.pay", QUEUE, size=900) for n in range(count))
    sample = QueueSample(QUEUE, found.at, total, count, oldest=page[:20], page=page, page_from=begin, note=note)
    return replace(found, samples={QUEUE: sample})


def shown(app: CelerytopApp) -> str:
    """The text of the page."""
    lines = app.screen.query_one("#text", Walk).lines
    return "\n".join("".join(text for text, _ in spans) for spans in lines)


def cursor(app: CelerytopApp) -> str | None:
    """Id of the message under the cursor."""
    target = app.screen.query_one("#text", Walk).target
    return target.id if target is not None else None


def test_pages_forth_and_back_and_what_is_asked_for() -> None:
    async def deed(driver: Driver) -> None:
        app, feed = driver.app, driver.feed
        app.push_screen(QueueDetail(QUEUE))
        await driver.settle()
        await driver.press("[")
        assert "next to run" in shown(app), "the overview has no page before it"
        await driver.press("]")
        assert feed.commands[-1] == Attend(page="queues", queue=QUEUE, peek_from=0)
        assert "messages 1-50 of 120" in shown(app)
        assert cursor(app) == "00000000-x"
        await driver.press("down", "down", "]")
        assert feed.commands[-1] == Attend(page="queues", queue=QUEUE, peek_from=50)
        assert "is being looked at" in shown(app), "the page before is not shown as this one"
        await driver.press("]")
        assert feed.commands[-1] == Attend(page="queues", queue=QUEUE, peek_from=50), (
            "pages that have not come are not skipped"
        )
        await driver.publish(with_page(50))
        assert "messages 51-100 of 120" in shown(app) and cursor(app) == "00000050-x"
        await driver.press("[")
        assert feed.commands[-1] == Attend(page="queues", queue=QUEUE, peek_from=0)
        await driver.press("[")
        assert "consumers" in shown(app)

    drive(with_page(0), deed)


def test_the_last_page_and_one_that_has_gone() -> None:
    async def deed(driver: Driver) -> None:
        app = driver.app
        screen = QueueDetail(QUEUE)
        screen.begins = [0, 50, 100]
        app.push_screen(screen)
        await driver.settle()
        assert "messages 101-120 of 120" in shown(app)
        await driver.press("]")
        assert screen.begins == [0, 50, 100]
        await driver.publish(with_page(100, 0, 60))
        assert "no message lies so far behind any more: 60 wait" in shown(app)

    drive(with_page(100, 20), deed)


def test_enter_opens_a_message_and_x_deletes_it() -> None:
    async def deed(driver: Driver) -> None:
        app, feed = driver.app, driver.feed
        screen = QueueDetail(QUEUE)
        screen.begins = [0, 50]
        app.push_screen(screen)
        await driver.settle()
        await driver.press("down", "enter")
        assert isinstance(app.screen, TaskDetail) and app.screen.key == "00000051-x"
        await driver.settle()
        assert "app.pay" in shown(app), "its facts are those of the page"
        await driver.press("escape", "x")
        await driver.settle()
        assert isinstance(app.screen, Menu)
        labels = [choice.label for choice in app.screen.choices]
        assert labels[:3] == ["delete this message", "revoke this message", "send it again"]
        await driver.press("enter")
        await driver.settle()
        assert isinstance(app.screen, Confirm)
        await driver.press("y")
        await driver.settle()
        assert PurgeQueue(queue=QUEUE, task_ids=("00000051-x",)) in feed.commands

    drive(with_page(50), deed)


def test_where_nobody_can_look_it_says_why() -> None:
    async def deed(driver: Driver) -> None:
        app = driver.app
        app.push_screen(QueueDetail(QUEUE))
        await driver.settle()
        await driver.press("]")
        assert "AMQP cannot look" in shown(app)
        await driver.press("x")
        await driver.settle()
        assert isinstance(app.screen, Menu)
        assert all(choice.label != "delete this message" for choice in app.screen.choices)

    drive(with_page(0, 0, 0, note="AMQP cannot look into a queue without taking from it"), deed)

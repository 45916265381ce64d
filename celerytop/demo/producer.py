"""The process that sends: ``python -m celerytop.demo.producer SCENARIO``."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from celery import chain, chord, group
from kombu.exceptions import OperationalError

from celerytop.demo import tasks
from celerytop.demo.scenarios import SCENARIOS, Scenario

_CUSTOMERS = ("ada", "grace", "linus", "guido", "barbara", "edsger", "margaret", "ken")
_PRIORITIES = (0, 0, 0, 3, 6, 9)


def _order() -> int:
    return random.randrange(100_000, 999_999)


def _customer() -> str:
    return f"{random.choice(_CUSTOMERS)}@example.com"


def _charge() -> None:
    amount = round(random.uniform(5, 400), 2)
    tasks.charge.apply_async((_order(), amount), priority=random.choice(_PRIORITIES))


def _rush() -> None:
    for _ in range(500):
        _charge()


def _stock() -> None:
    tasks.sync_stock.apply_async((random.choice(("north", "south", "harbour")),), expires=600)


def _mail() -> None:
    tasks.send_mail.delay(_customer(), random.choice(("welcome", "receipt", "newsletter")))


def _ship() -> None:
    order_id = _order()
    steps = (tasks.reserve_stock.s(order_id, f"sku-{order_id % 97}"), tasks.print_label.s(), tasks.ship.s())
    chain(*steps).apply_async()


def _report() -> None:
    tasks.build_report.delay(random.choice(("sales", "returns", "customers")), random.randrange(6, 25))


def _gallery() -> None:
    image = f"products/{_order()}.jpg"
    group(tasks.resize.s(image, width) for width in (64, 128, 256, 512, 1024)).apply_async()


def _month_end() -> None:
    month = f"2026-{random.randrange(1, 13):02}"
    regions = ("north", "south", "east", "west")
    chord([tasks.collect.s(region, month) for region in regions])(tasks.merge.s(month))


def _reminder() -> None:
    tasks.remind.apply_async((_customer(),), countdown=random.uniform(20, 180))


def _invoice() -> None:
    tasks.export_invoice.delay(_order())


def _fraud_check() -> None:
    tasks.fraud_check.delay(_order())


def _checkouts() -> None:
    for _ in range(12):
        tasks.checkout.delay(_order())


def _locked() -> None:
    tasks.render_template.delay("newsletter")


FLOWS: Mapping[str, Callable[[], None]] = {
    "charge": _charge,
    "checkouts": _checkouts,
    "fraud_check": _fraud_check,
    "gallery": _gallery,
    "invoice": _invoice,
    "locked": _locked,
    "mail": _mail,
    "month_end": _month_end,
    "reminder": _reminder,
    "report": _report,
    "rush": _rush,
    "ship": _ship,
    "stock": _stock,
}

QUEUE_OF = {"charge": "orders", "fraud_check": "orders", "stock": "orders", "invoice": "billing", "mail": "mail"}
"""Where a flow that comes often ends up: what the scenario's ceiling is checked against."""


def lengths(queues: Mapping[str, int]) -> dict[str, int]:
    """How long each of ``queues`` is, over all priorities."""
    with tasks.app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        return {queue: channel._size(queue) for queue in queues}


def run(scenario: Scenario) -> NoReturn:
    """Send for ever: each flow at its own moments, as random as customers are."""
    for name in scenario.at_start:
        FLOWS[name]()
    now = time.monotonic()
    due = {name: now + random.expovariate(rate) for name, rate in scenario.per_second.items()}
    full: set[str] = set()
    look_again_at = now
    while True:
        now = time.monotonic()
        if now >= look_again_at:
            full = {queue for queue, size in lengths(scenario.ceiling).items() if size >= scenario.ceiling[queue]}
            look_again_at = now + 5.0
        name = min(due, key=due.__getitem__)
        time.sleep(min(max(0.0, due[name] - now), 1.0))
        if due[name] > time.monotonic():
            continue
        due[name] = max(due[name], now - 1.0) + random.expovariate(scenario.per_second[name])
        if QUEUE_OF.get(name) not in full:
            FLOWS[name]()


def _expect_no_results() -> None:
    """Nobody here asks for a result; without this the Redis backend subscribes to those of every group, for ever."""
    backend: Any = tasks.app.backend
    backend.result_consumer.consume_from = lambda task_id: None


def main() -> NoReturn:
    """Start again whenever the broker was away."""
    scenario = SCENARIOS[sys.argv[1]]
    with tasks.app.connection_for_write() as connection:
        away: tuple[type[BaseException], ...] = (OperationalError, *connection.connection_errors)
    _expect_no_results()
    while True:
        try:
            run(scenario)
        except away:
            time.sleep(1.0)


if __name__ == "__main__":
    main()

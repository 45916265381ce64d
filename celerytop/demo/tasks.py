"""The Celery app of an imaginary shop; its broker comes in ``CELERYTOP_DEMO_BROKER``."""

from __future__ import annotations

import os
import random
import threading
import time
from typing import Any

from celery import Celery, Task

from celerytop.demo.scenarios import RESULT_EXPIRES

_broker = os.environ.get("CELERYTOP_DEMO_BROKER", "memory://")

app = Celery("shop", broker=_broker, backend=_broker if _broker.startswith("redis") else None)
app.conf.update(
    broker_connection_retry_on_startup=True,
    result_expires=RESULT_EXPIRES,
    task_send_sent_event=True,
    task_track_started=True,
    task_default_queue="orders",
    task_routes={
        "shop.*": {"queue": "orders"},
        "mail.*": {"queue": "mail"},
        "reports.*": {"queue": "reports"},
        "images.*": {"queue": "images"},
        "billing.*": {"queue": "billing"},
    },
)


class PaymentDeclined(Exception):
    """The bank says no; nobody tries again."""


class BankUnavailable(Exception):
    """The bank does not answer; try again."""


@app.task(name="shop.orders.charge", bind=True, max_retries=4)
def charge(self: Task[Any, Any], order_id: int, amount: float) -> str:
    """Short; one in twelve is retried, one in forty fails."""
    time.sleep(random.uniform(0.05, 0.5))
    if random.random() < 1 / 12:
        raise self.retry(exc=BankUnavailable(f"order {order_id}: 503 from bank"), countdown=2**self.request.retries)
    if random.random() < 1 / 40:
        raise PaymentDeclined(f"order {order_id}: card declined for {amount:.2f} EUR")
    return f"ch_{order_id}"


@app.task(name="shop.orders.reserve_stock")
def reserve_stock(order_id: int, sku: str) -> int:
    """The first link of a chain."""
    time.sleep(random.uniform(0.1, 0.4))
    return order_id


@app.task(name="shop.orders.print_label")
def print_label(order_id: int) -> int:
    """The second link."""
    time.sleep(random.uniform(0.2, 0.8))
    return order_id


@app.task(name="shop.orders.ship")
def ship(order_id: int) -> str:
    """The last link."""
    time.sleep(random.uniform(0.1, 0.3))
    return f"parcel {order_id} is on its way"


@app.task(name="shop.orders.checkout")
def checkout(order_id: int) -> Any:
    """Waits for its own subtask: when every slot does so, nobody is left to run the subtasks."""
    return charge.delay(order_id, 19.9).get(disable_sync_subtasks=False)


@app.task(name="shop.stock.sync")
def sync_stock(warehouse: str) -> int:
    """Fails one time in eight."""
    time.sleep(random.uniform(0.02, 0.2))
    if random.random() < 1 / 8:
        raise KeyError(f"sku missing in warehouse {warehouse}")
    return random.randrange(10, 900)


@app.task(name="shop.fraud.check")
def fraud_check(order_id: int) -> float:
    """Burns a core for a moment."""
    ends_at = time.monotonic() + random.uniform(0.3, 1.5)
    while time.monotonic() < ends_at:
        sum(i * i for i in range(500))
    return random.random()


@app.task(name="mail.send")
def send_mail(to: str, template: str) -> None:
    """Short."""
    time.sleep(random.uniform(0.1, 0.6))


@app.task(name="mail.remind")
def remind(to: str) -> None:
    """Sent with a countdown: it waits in the worker until it is due."""
    time.sleep(0.1)


_templates = threading.Lock()


@app.task(name="mail.render_template")
def render_template(template: str) -> None:
    """Takes a lock it holds already and sleeps for ever."""
    with _templates, _templates:
        return


@app.task(name="reports.build", bind=True)
def build_report(self: Task[Any, Any], name: str, pages: int) -> int:
    """Long: one second a page."""
    for page in range(pages):
        self.update_state(state="PROGRESS", meta={"page": page, "of": pages})
        time.sleep(1.0)
    return pages


@app.task(name="reports.collect")
def collect(region: str, month: str) -> float:
    """One part of the month's end."""
    time.sleep(random.uniform(0.5, 2.0))
    return round(random.uniform(1_000, 90_000), 2)


@app.task(name="reports.merge")
def merge(parts: list[float], month: str) -> float:
    """The body of a chord."""
    time.sleep(1.0)
    return round(sum(parts), 2)


@app.task(name="images.resize")
def resize(image: str, width: int) -> str:
    """One of a group."""
    time.sleep(random.uniform(0.2, 1.2))
    return f"{image}@{width}"


@app.task(name="billing.export_invoice")
def export_invoice(order_id: int) -> None:
    """Nobody ever runs this."""

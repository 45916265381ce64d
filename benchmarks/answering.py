"""Many workers in one light process: each answers as a real one did, so that only the asking side is measured.

``python -m benchmarks.answering URL NUMBER`` starts one real worker, learns its answers, then plays NUMBER of them,
with their heartbeats, and prints ``ready``. Fifty real workers on the same two cores are mostly their own CPU: each
reply takes one 1.2 ms.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
import uuid
from typing import Any

import pika
from redis import Redis

from tests.rig import RedisServer, Worker

CHANNEL, EVENTS = "/0.celery.pidbox", "/0.celeryev/worker.heartbeat"
ASKED = ("ping", "stats", "active", "reserved", "scheduled", "active_queues", "registered", "revoked", "conf")


def envelope(body: Any, headers: dict[str, Any], exchange: str, key: str) -> bytes:
    """A message as kombu's virtual transport writes it."""
    return json.dumps(
        {
            "body": base64.b64encode(json.dumps(body).encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": {
                "delivery_mode": 1,
                "delivery_info": {"exchange": exchange, "routing_key": key},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid.uuid4()),
            },
        }
    ).encode()


def learn(client: Redis) -> dict[str, Any]:
    """What a real worker answers, by method."""
    found: dict[str, Any] = {}
    for method in ASKED:
        queue, ticket = f"learn-{method}", uuid.uuid4().hex
        request: dict[str, Any] = {"method": method, "arguments": {}, "destination": None, "ticket": ticket}
        request["reply_to"] = {"exchange": "", "routing_key": queue}
        client.publish(CHANNEL, envelope(request, {"clock": 0, "expires": 0}, "celery.pidbox", ""))
        answer: Any = client.brpop([queue], timeout=5)
        (found[method],) = json.loads(base64.b64decode(json.loads(answer[1])["body"])).values()
    return found


def names(number: int) -> list[str]:
    """Node names."""
    return [f"played{one}@bench" for one in range(number)]


def play(url: str, number: int, answers: dict[str, Any]) -> None:
    """Answer and beat for ever."""
    client = Redis.from_url(url)
    threading.Thread(target=beat, args=(Redis.from_url(url), number), daemon=True).start()
    connections: list[Any] = [Redis.from_url(url) for _ in range(number)]
    listening = [one.pubsub() for one in connections]  # as many as PUBLISH shall count
    for one in listening:
        one.subscribe(CHANNEL)
        one.get_message(timeout=5)
    print("ready", flush=True)
    for message in listening[0].listen():
        if message["type"] != "message":
            continue
        request = json.loads(base64.b64decode(json.loads(message["data"])["body"]))
        wanted = request["destination"]
        pipeline = client.pipeline(transaction=False)
        for name in names(number):
            if wanted is None or name in wanted:
                body = {name: answers[request["method"]]}
                headers = {"ticket": request["ticket"], "clock": 1}
                exchange, key = request["reply_to"]["exchange"], request["reply_to"]["routing_key"]
                queue = f"{key}.{exchange}" if exchange else key  # as kombu names its reply queue
                pipeline.lpush(queue, envelope(body, headers, exchange, key))
        pipeline.execute()


def beat(client: Redis, number: int) -> None:
    """One heartbeat of each every two seconds, spread over them."""
    while True:
        for name in names(number):
            client.publish(EVENTS, envelope(heartbeat(name), {"hostname": name}, "celeryev", "worker.heartbeat"))
            time.sleep(2.0 / number)


def heartbeat(name: str) -> dict[str, Any]:
    """As a worker sends it."""
    event = {"type": "worker-heartbeat", "hostname": name, "timestamp": time.time(), "utcoffset": 0, "pid": 1}
    event |= {"clock": 1, "freq": 2.0, "active": 0, "processed": 0, "loadavg": [0, 0, 0]}
    return event | {"sw_ident": "py-celery", "sw_ver": "5.7.0", "sw_sys": "Linux"}


def play_amqp(url: str, number: int, answers: dict[str, Any]) -> None:
    """The same on RabbitMQ: a pidbox each, one connection."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.exchange_declare("celery.pidbox", "fanout")
    channel.exchange_declare("celeryev", "topic", durable=True)

    def answer(_: Any, deliver: Any, __: Any, body: bytes) -> None:
        name, request = deliver.consumer_tag, json.loads(body)
        if request["destination"] is None or name in request["destination"]:
            to, reply = request["reply_to"], json.dumps({name: answers[request["method"]]}).encode()
            sent = pika.BasicProperties("application/json", "utf-8", {"ticket": request["ticket"], "clock": 1})
            channel.basic_publish(to["exchange"], to["routing_key"], reply, sent)

    for name in names(number):
        channel.queue_declare(f"{name}.celery.pidbox", auto_delete=True, arguments={"x-expires": 10000})
        channel.queue_bind(f"{name}.celery.pidbox", "celery.pidbox")
        channel.basic_consume(f"{name}.celery.pidbox", answer, auto_ack=True, consumer_tag=name)
    print("ready", flush=True)
    while True:
        for name in names(number):
            sent = pika.BasicProperties("application/json", "utf-8", {"hostname": name}, delivery_mode=1)
            channel.basic_publish("celeryev", "worker.heartbeat", json.dumps(heartbeat(name)).encode(), sent)
            connection.process_data_events(time_limit=2.0 / number)


def main() -> None:
    """See the module."""
    url, number = sys.argv[1], int(sys.argv[2])
    amqp = url.startswith("amqp")
    with RedisServer() as server:
        learnt = server.url()
        with Worker(learnt, pool="solo", nodename="real@bench", extra=("--without-gossip", "--without-mingle")):
            answers = learn(Redis.from_url(learnt))
    (play_amqp if amqp else play)(url, number, answers)


if __name__ == "__main__":
    main()

"""More events than anybody can fold, as fast as two processes can PUBLISH them: what is dropped, and is it cut off?

Redis cuts off a subscriber that lets 32 MB wait, or 8 MB for a minute. Each publisher asks for no replies and sends the
same packed stream again and again. ``read URL`` and ``publish PORT SECONDS RATE`` are the processes it is made of.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

from benchmarks.publish import Chunk, for_redis, redis_socket
from benchmarks.stream import messages
from tests.rig import RedisServer
from tests.rig.process import ROOT

SECONDS = 10.0
PUBLISHERS = 2
TASKS, BATCH = 20_000, 24
LOOK = 0.01
"""Seconds between two looks at what Redis holds for the reader."""
SETTLED = 1.0
"""Seconds without a new event after which all that will be counted is."""


class Flooded(NamedTuple):
    """How it went."""

    published: int
    """Events."""
    seconds: float
    folded: int
    dropped: Counter[str]
    buffer: int
    """Bytes that Redis held for the reader, at most."""
    cut_off: int
    """Connections that Redis ended because of their buffers, and times that the reader was down."""
    not_read: float
    """Seconds in which task events were not asked for."""


def flood(seconds: float = SECONDS, rate: float = 0.0, publishers: int = PUBLISHERS) -> Flooded:
    """Let celerytop read it; ``rate`` events a second, 0: as fast as can be."""
    with RedisServer() as server, ExitStack() as stack:
        reader = stack.enter_context(_process("read", server.url()))
        stack.callback(reader.kill)
        _say(reader, "ready")
        crowd = [
            stack.enter_context(_process("publish", str(server.port), str(seconds), str(rate / publishers)))
            for number in range(publishers)
        ]
        for one in crowd:
            stack.callback(one.kill)
            _say(one, "ready")
        client, began, held = server.client(), time.perf_counter(), 0
        for one in crowd:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        while any(one.poll() is None for one in crowd):
            held = max([held, *(int(one["omem"]) for one in client.client_list() if one["psub"] != "0")])
            time.sleep(LOOK)
        took = time.perf_counter() - began
        published = sum(int(one.stdout.read()) for one in crowd if one.stdout is not None)
        told = json.loads(reader.communicate("end\n")[0])
        ended = int(client.info("stats").get("client_output_buffer_limit_disconnections", 0))
    cut_off = ended + told["down"]
    return Flooded(published, took, told["folded"], Counter(told["dropped"]), held, cut_off, told["not_read"])


def _process(*words: str) -> subprocess.Popen[str]:
    given = [sys.executable, "-m", "benchmarks.flood", *words]
    return subprocess.Popen(given, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def _say(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    if process.stdout.readline().strip() != word:
        raise RuntimeError("a process of the flood did not start")


def publish(port: str, seconds: str, rate: str) -> None:
    """Send the stream again and again; print how many events that were."""
    chunks: list[Chunk] = for_redis(messages(TASKS, BATCH, time.time()))
    with redis_socket(int(port)) as connection:
        connection.sendall(b"CLIENT REPLY OFF\r\n")
        print("ready", flush=True)
        sys.stdin.readline()
        sent, began, every = 0, time.perf_counter(), 1 / float(rate) if float(rate) else 0.0
        until = began + float(seconds)
        while True:
            for chunk in chunks:
                if time.perf_counter() >= until:
                    connection.sendall(b"CLIENT REPLY ON\r\n")
                    connection.recv(64)  # so Redis has taken all of it
                    print(sent)
                    return
                time.sleep(max(0.0, began + sent * every - time.perf_counter()))
                connection.sendall(chunk.data)
                sent += chunk.events


def read(url: str) -> None:
    """The real source, monitor and cluster; at the end of what came, one line of JSON."""
    from celerytop.broker_url import parse_url
    from celerytop.cluster import Cluster
    from celerytop.model.address import BrokerSettings
    from celerytop.model.observation import EventsReceived, Observation
    from celerytop.model.snapshot import ClusterInfo
    from celerytop.monitor import Monitor
    from celerytop.sources.redis.events import RedisEvents

    folded, heard_at, begun = 0, time.monotonic(), 0

    class Counted(RedisEvents):
        def observe(self) -> Iterator[EventsReceived | None]:
            nonlocal folded, heard_at, begun
            begun += 1
            item: Observation | None
            for item in super().observe():
                yield item
                if isinstance(item, EventsReceived):
                    folded += len(item.events)
                    heard_at = time.monotonic()

    cluster = Cluster(ClusterInfo("flood", url, "redis"), ("events",), time.time())
    monitor = Monitor(cluster, [Counted(BrokerSettings(address=parse_url(url)))], [], interval=0.5)
    monitor.start()
    monitor.wait(1, 10)
    print("ready", flush=True)
    sys.stdin.readline()
    while time.monotonic() - heard_at < SETTLED:
        time.sleep(LOOK)
    lost = monitor.picture().losses
    monitor.stop()
    found = {"folded": folded, "dropped": dict(lost.dropped_by_kind), "down": begun - 1, "not_read": lost.not_read_for}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "read":
        read(*sys.argv[2:])
    else:
        publish(*sys.argv[2:])

"""A test rig: real brokers, real workers and a real terminal, with verbs to break them.

Everything is a context manager, lives on free loopback ports in a temporary folder, and is gone when the block ends.
"""

from __future__ import annotations

from tests.rig.process import Child, Missing, eventually, free_port, wait_until
from tests.rig.rabbitmq import RabbitServer
from tests.rig.redis import RedisServer, Sentinel
from tests.rig.send import rig_app, send
from tests.rig.stopwatch import Stopwatch
from tests.rig.terminal import Terminal
from tests.rig.worker import Worker

__all__ = [
    "Child",
    "Missing",
    "RabbitServer",
    "RedisServer",
    "Sentinel",
    "Stopwatch",
    "Terminal",
    "Worker",
    "eventually",
    "free_port",
    "rig_app",
    "send",
    "wait_until",
]

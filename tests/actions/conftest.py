"""The stage that several modules act on: a Redis and real workers, once for each module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.actions.stage import Stage
from tests.rig import RedisServer
from tests.rig.send import close_apps


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started
        close_apps()


@pytest.fixture(scope="module")
def stage(
    server: RedisServer, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Stage]:
    """Workers as the module's ``STAFF`` says."""
    made = Stage(server.url(), Path(tmp_path_factory.mktemp("state")))
    try:
        yield made.employ(**request.module.STAFF)
    finally:
        made.close()

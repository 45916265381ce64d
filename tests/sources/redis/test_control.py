"""Asking workers over a real Redis."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import redis

from celerytop.errors import BrokerError, DeniedError
from celerytop.model.address import BrokerSettings
from celerytop.sources.base import Interest, Probe
from celerytop.sources.redis.connection import connect
from celerytop.sources.redis.control import RedisControl
from tests.rig import RedisServer, Worker, eventually
from tests.rig.send import close_apps
from tests.sources.answers import nodenames, only
from tests.sources.contract import SECRET
from tests.sources.control_contract import ControlContract, Skipping, hurry
from tests.sources.redis.looking import calls
from tests.sources.redis.site import RedisSite, settings_of

pytestmark = pytest.mark.redis


@contextlib.contextmanager
def _listening(server: RedisServer, pattern: str) -> Iterator[None]:
    listener = server.client().pubsub()  # type: ignore[no-untyped-call]
    listener.psubscribe(pattern)
    assert listener.get_message(timeout=5)
    yield
    listener.close()


class Line:
    """A lane's connection, and nothing else of a lane."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.client: redis.Redis = connect(settings.address)


@contextlib.contextmanager
def asking(settings: BrokerSettings) -> Iterator[RedisControl]:
    line = Line(settings)
    control = RedisControl(settings, line)
    try:
        yield control
    finally:
        control.close()
        line.client.close()


class TestRedisControl(ControlContract):
    @pytest.fixture
    def site(self) -> Iterator[RedisSite]:
        with RedisServer(password=SECRET) as server:
            yield RedisSite(server)
            close_apps()

    def probe(self, settings: BrokerSettings) -> contextlib.AbstractContextManager[Probe]:
        return asking(settings)

    def debris(self, site: RedisSite) -> list[str]:  # type: ignore[override]
        with site.client() as client:
            return [key.decode() for key in client.scan_iter("*celerytop*")]


def answers(control: RedisControl, worker: Worker) -> None:
    """In a round like the first: a worker says that it is ready before it listens."""

    def answered() -> None:
        control._asking.forget()
        assert nodenames(only(control.poll())) == {worker.nodename}

    eventually(answered)


def test_nobody_listens(redis_server: RedisServer) -> None:
    with asking(settings_of(redis_server)) as control:
        control.attend(Interest(workers=("w@h",)))
        answered = only(control.poll())
        assert (answered.expected, answered.replies) == (0, ())
        assert answered.absent == ("w@h",)
        with contextlib.closing(redis_server.client()) as client:
            assert "brpop" not in calls(client), "nobody listens: nothing to wait for"


def test_a_keyprefix_is_put_before_channel_and_reply_list(redis_server: RedisServer) -> None:
    settings = BrokerSettings(settings_of(redis_server).address, global_keyprefix="px:")
    conf = {"broker_transport_options": {"global_keyprefix": "px:"}}
    with Worker(redis_server.url(), pool="solo", conf=conf) as worker, asking(settings) as control:
        answers(control, worker)


@pytest.mark.parametrize(
    ("rights", "told"),
    [
        ("+@all -publish &*", r"may not publish: workers cannot be asked. Needs: \+publish &/0.celery.pidbox"),
        ("+@all resetchannels", r"may not publish.*\+publish &/0.celery.pidbox"),
        ("+@all -brpop &*", r"may not brpop: workers cannot be asked. Needs: \+brpop"),
    ],
)
def test_a_missing_right_is_named(rights: str, told: str) -> None:
    with (
        RedisServer(acl=[f"mon on >pw ~* {rights}"]) as server,
        asking(settings_of(server, "pw", "mon")) as control,
        _listening(server, "/0.celery.pidbox"),
        pytest.raises(DeniedError, match=told),
    ):
        list(control.poll())


def test_the_least_account_of_the_documentation_is_enough() -> None:
    rights = "&/0.celery.pidbox &/0.celeryev* ~*.reply.celery.pidbox* -@all +auth +ping +publish +brpop +del"
    with (
        RedisServer(acl=[f"act on >pw resetchannels {rights}"]) as server,
        Worker(server.url(), pool="solo") as worker,
        asking(settings_of(server, "pw", "act")) as control,
    ):
        answers(control, worker)


def test_a_dead_server_is_an_error(redis_server: RedisServer) -> None:
    with asking(settings_of(redis_server)) as control:
        redis_server.kill()
        with pytest.raises(BrokerError):
            list(control.poll())


def test_a_foreign_listener_costs_a_round_only_once(redis_server: RedisServer) -> None:
    with Worker(redis_server.url(), pool="solo") as worker, asking(settings_of(redis_server)) as control:
        clock = Skipping()
        hurry(control, clock)
        with _listening(redis_server, "/0.*"):

            def two_rounds() -> None:
                control._asking.forget()
                first = only(control.poll())
                assert first.expected == 2
                assert nodenames(first) == {worker.nodename}
                clock.skip(5)
                assert only(control.poll()).window < 0.4

            eventually(two_rounds)

"""Workers that were mute before we began to look: known by their process on this machine, or counted."""

from __future__ import annotations

import pytest

from celerytop.model.broker import BrokerClient, RabbitBroker, RedisBroker
from celerytop.model.host import Process
from celerytop.model.observation import BrokerMeasured, Pong
from tests.cluster.feeding import T0, Fed, main_process

W = "w1@h"


def connected_main(status: str = "sleeping") -> Process:
    command = "celery -A app worker -P solo -n w1@h"
    return main_process(command=command, sockets=("10.0.0.1:99",), status=status)


def a_mute_listener(*clients: BrokerClient) -> Fed:
    """Everybody was asked, one listener did not answer; the broker has listed its clients."""
    fed = Fed()
    fed.answers(1, window=1.0, expected=1)
    own = BrokerClient("10.0.0.1:1", own=True, db=0)
    fed.cluster.apply(BrokerMeasured(T0 + 1, RedisBroker(T0 + 1, client_list=(own, *clients))))
    return fed


def test_a_solo_worker_busy_before_we_looked_is_known_by_its_process() -> None:
    fed = a_mute_listener(BrokerClient("10.0.0.1:99", db=0))
    fed.host(2, connected_main())
    busy = fed.at(2).workers[W]
    assert (busy.state, busy.pool, busy.pid) == ("busy-solo", "solo", 100)
    fed.answers(6, window=1.0, expected=1)
    assert fed.at(7).workers[W].state == "busy-solo"
    assert not fed.at(7).notes
    fed.answers(11, Pong(W, 0.01), expected=1)
    assert fed.at(11).workers[W].state == "alive"


def test_a_worker_frozen_before_we_looked_is_known_by_its_process() -> None:
    fed = a_mute_listener(BrokerClient("10.0.0.1:99", db=0))
    fed.host(2, connected_main(status="stopped"))
    assert fed.at(2).workers[W].state == "frozen"


@pytest.mark.parametrize("client", [BrokerClient("10.0.0.1:98", db=0), BrokerClient("10.0.0.1:99", db=1)])
def test_a_process_of_another_broker_is_no_worker_of_this_one(client: BrokerClient) -> None:
    fed = a_mute_listener(client)
    fed.host(2, connected_main())
    still = fed.at(2)
    assert not still.workers
    assert "1 more listens for control commands and does not answer" in still.notes[0]


def a_mute_pidbox(nodename: str) -> Fed:
    """RabbitMQ tells names: a pidbox is there, nobody answers for it."""
    fed = Fed()
    fed.answers(1, window=1.0, present=(nodename,), expected=1)
    return fed


def test_a_mute_worker_that_rabbitmq_names_is_known_by_its_process() -> None:
    fed = a_mute_pidbox(W)
    fed.host(2, main_process(command="celery -A app worker -P solo -n w1@h"))
    for now in (6, 11, 16):
        fed.answers(now, window=1.0, present=(W,), expected=1)
        busy = fed.at(now).workers[W]
        assert (busy.state, busy.pool, busy.pid) == ("busy-solo", "solo", 100)


@pytest.mark.parametrize(
    ("end", "nodename", "pid"),
    [
        ("10.0.0.1:99", "w1@elsewhere", 100),
        ("10.0.0.1:98", "w1@elsewhere", None),
        ("10.0.0.1:99", "w2@elsewhere", None),
    ],
)
def test_a_name_of_another_machine_needs_the_workers_own_connection(end: str, nodename: str, pid: int | None) -> None:
    fed = a_mute_pidbox("w1@elsewhere")
    clients = (BrokerClient(end, worker=nodename),)
    fed.cluster.apply(BrokerMeasured(T0 + 1, RabbitBroker(T0 + 1, client_list=clients)))
    fed.host(2, main_process(command="celery worker", nodename="w1@elsewhere", sockets=("10.0.0.1:99",)))
    assert fed.at(2).workers["w1@elsewhere"].pid == pid


def test_two_processes_of_one_name_are_not_guessed_at() -> None:
    fed = a_mute_pidbox(W)
    fed.host(2, main_process(), main_process(pid=200))
    assert fed.at(2).workers[W].pid is None


def test_frozen_says_that_it_may_be_solo_where_nobody_knows_its_pool() -> None:
    fed = a_mute_pidbox(W)
    for now in (6, 11, 16):
        fed.answers(now, window=1.0, present=(W,), expected=1)
    mute = fed.at(16).workers[W]
    assert mute.state == "frozen"
    assert (mute.why or "").endswith("or a busy solo worker, for its pool is not known")

"""The rig's brokers do what its verbs say."""

from __future__ import annotations

import http.client
import socket

import pika
import pytest
import redis
from pika.adapters.utils.connection_workflow import AMQPConnectorStackTimeout
from redis.exceptions import NoPermissionError

from tests.rig import RabbitServer, RedisServer, Sentinel, wait_until


def test_frozen_redis_keeps_its_port_and_answers_after_the_thaw(redis_server: RedisServer) -> None:
    client = redis_server.client(patience=1.0)
    redis_server.client().set("kept", 1)
    redis_server.freeze()
    with socket.create_connection(("127.0.0.1", redis_server.port), timeout=30):
        pass
    with pytest.raises(redis.TimeoutError):
        client.ping()
    redis_server.thaw()
    assert redis_server.client().get("kept") == b"1"


def test_killed_redis_refuses_and_comes_back_on_its_port(redis_server: RedisServer) -> None:
    port = redis_server.port
    redis_server.kill()
    with pytest.raises(redis.ConnectionError):
        redis_server.client().ping()
    redis_server.start()
    assert redis_server.port == port
    assert redis_server.client().ping()


def test_redis_restarts_empty(redis_server: RedisServer) -> None:
    redis_server.client().set("gone", 1)
    redis_server.restart()
    assert redis_server.client().get("gone") is None


def test_password_acl_and_unix_socket() -> None:
    with RedisServer(password="p@ss/w", acl=["mon on >secret ~* &* +ping"], unixsocket=True) as server:
        assert server.client().ping()
        assert server.socket_file is not None and server.socket_file.is_socket()
        watcher = redis.Redis.from_url(server.url(user="mon", password="secret"))
        assert watcher.ping()
        with pytest.raises(NoPermissionError):
            watcher.get("x")
        with pytest.raises(redis.AuthenticationError):
            redis.Redis.from_url(server.url(password="wrong")).ping()


def test_tls_is_verified_against_its_own_authority() -> None:
    with RedisServer(tls=True) as server:
        assert server.url().startswith("rediss://")
        assert server.client().ping()
        with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            redis.Redis.from_url(server.url()).ping()


@pytest.mark.slow
def test_sentinel_promotes_the_replica(redis_sentinel: Sentinel) -> None:
    assert redis_sentinel.current_port() == redis_sentinel.master.port
    redis_sentinel.master.kill()
    wait_until(lambda: redis_sentinel.current_port() == redis_sentinel.replica.port, 90, "the failover")


def _connect(server: RabbitServer, vhost: str = "/", patience: float = 30.0) -> pika.BlockingConnection:
    parameters = pika.URLParameters(server.url(vhost))
    parameters.socket_timeout = parameters.blocked_connection_timeout = parameters.stack_timeout = patience
    return pika.BlockingConnection(parameters)


@pytest.mark.slow
def test_frozen_rabbitmq_answers_after_the_thaw(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    rabbitmq_server.freeze()
    with pytest.raises(AMQPConnectorStackTimeout):  # not one of pika.exceptions
        _connect(rabbitmq_server, rabbitmq_vhost, patience=3.0)
    rabbitmq_server.thaw()
    _connect(rabbitmq_server, rabbitmq_vhost).close()


@pytest.mark.slow
def test_killed_rabbitmq_comes_back_with_its_vhosts(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    rabbitmq_server.kill()
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        _connect(rabbitmq_server)
    rabbitmq_server.start()
    _connect(rabbitmq_server, rabbitmq_vhost).close()


@pytest.mark.slow
def test_memory_alarm_comes_and_goes(rabbitmq_server: RabbitServer) -> None:
    rabbitmq_server.set_alarm()
    rabbitmq_server.clear_alarm()


def test_user_sees_only_what_it_may(rabbitmq_server: RabbitServer, rabbitmq_vhost: str) -> None:
    rabbitmq_server.add_user("mon", "pw", "monitoring", {rabbitmq_vhost: ("^$", "^$", ".*")})
    users = {row["user"]: row["configure"] for row in rabbitmq_server.api("GET", "/permissions")}
    assert users["mon"] == "^$"
    rabbitmq_server.delete_user("mon")


def test_management_is_up(rabbitmq_server: RabbitServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", rabbitmq_server.management_port, timeout=30)
    connection.request("GET", "/api/overview")
    assert connection.getresponse().status == 401

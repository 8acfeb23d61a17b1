"""A real Redis, and what gateways share through it."""

import socket

import pytest

from parts.redis import Redis


@pytest.fixture
def redis(tmp_path):
    with Redis(tmp_path) as redis:
        yield redis


def test_a_killed_redis_comes_back_empty_on_the_same_port(redis):
    redis.ask("SET", "key", "value")
    redis.kill()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", redis.port))
    redis.start()
    assert redis.ask("DBSIZE") == "0"


def test_a_redis_that_hangs_takes_connections_and_answers_once_it_goes_on(redis):
    redis.hang()
    with socket.create_connection(("127.0.0.1", redis.port)) as client:
        client.sendall(b"PING\r\n")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(100)
        redis.resume()
        client.settimeout(20)
        assert client.recv(100) == b"+PONG\r\n"


def test_a_flush_leaves_nothing(redis):
    redis.ask("SET", "key", "value")
    redis.flush()
    assert redis.ask("DBSIZE") == "0"

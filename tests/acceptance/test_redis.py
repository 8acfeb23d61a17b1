"""A real Redis, and what gateways share through it."""

import contextlib
import itertools
import json
import math
import secrets
import socket
import time
import urllib.request

import pytest
import websockets.exceptions

from parts.child import PATIENCE, wait_until
from parts.client import close_of, open_chat, refusal
from parts.gateway import Gateway
from parts.redis import Redis, Sentinel
from parts.tokens import SECRET
from parts.upstreams import NodeEcho
from parts.wire import connect, head

GATEWAY = """
[[listen]]
address = "127.0.0.1:0"

[redis]
url = {url}
timeout = "{timeout}"
on_error = "{on_error}"

[zone.names]
key = "header:X-Key"
rate = "5r/s"
store = "redis"

[zone.rare]
key = "header:X-Key"
rate = "1/hour"
store = "redis"

[zone.talk]
key = "header:X-Key"
rate = "10r/s"
store = "redis"

[[route]]
name = "names"
path = "/names"
upstream = "{backend}/"
handshakes = {{ zone = "names", burst = 4, nodelay = true }}

[[route]]
name = "rare"
path = "/rare"
upstream = "{backend}/"
handshakes = {{ zone = "rare", burst = 2, nodelay = true }}

[[route]]
name = "talk"
path = "/talk"
upstream = "{backend}/"
messages = {{ zone = "talk", burst = 200, on_excess = "drop" }}

[[route]]
name = "few"
path = "/few"
upstream = "{backend}/"
connections = {{ total = 4, store = "redis" }}

[zone.devices]
key = "header:X-Key"
store = "redis"

[[route]]
name = "last"
path = "/last"
upstream = "{backend}/"
connections = {{ per_zone = [{{ zone = "devices", max = 1, on_full = "close_oldest" }}] }}
"""
# So many handshakes of one name get in at `/rare`, at all gateways together, and then none for an hour.
RARE = 3


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


@pytest.fixture(scope="module")
def backend():
    with NodeEcho(deflate=False) as backend:
        yield backend


@pytest.fixture(scope="module")
def start(tmp_path_factory, backend):
    """Starts so many gateways that share a Redis; all are stopped when `running` ends."""

    # A call may wait so long that no machine is too slow for it, where a test does not say otherwise.
    def start(running, count, url, on_error="local", timeout="1s"):
        config = GATEWAY.format(url=url, on_error=on_error, timeout=timeout, backend=backend.url)
        folders = [tmp_path_factory.mktemp("gateway") for _ in range(count)]
        gateways = [running.enter_context(Gateway(folder, config)) for folder in folders]
        wait_until("Redis is asked", lambda: all(map(asks_redis, gateways)))
        return gateways

    return start


@pytest.fixture
def fleet(redis, start):
    """So many gateways at the test's own Redis."""
    with contextlib.ExitStack() as running:
        yield lambda count, url=f'"{redis.url}"', **how: start(running, count, url, **how)


@pytest.fixture(scope="module")
def bereaved(tmp_path_factory, start):
    """A gateway with one of four places taken, and what holds it; the other three were taken at one that was killed. Until
    they are free takes seconds, in which the other tests of this file run: only the last one waits for it."""
    with Redis(tmp_path_factory.mktemp("redis")) as redis, contextlib.ExitStack() as running:
        one, two = start(running, 2, f'"{redis.url}"')
        lost, held = [running.enter_context(contextlib.ExitStack()) for _ in range(2)]
        assert all(holds(one, lost) for _ in range(3)) and holds(two, held)
        assert not holds(one, held) and not holds(two, held)
        one.kill()
        yield two, held


def asks_redis(gateway):
    """Whether it knows that Redis is there."""
    return gateway.count("wsgate_redis_breaker") == 0


def holds(gateway, into):
    """Whether one more session is let in and held."""
    with contextlib.suppress(websockets.exceptions.InvalidStatus):
        return into.enter_context(open_chat(gateway.url("/few")))


def test_sessions_count_at_all_gateways(bereaved):
    two, held = bereaved
    assert not holds(two, held), "those of the other are counted for a while after it was killed"


def knock(gateway, path, name):
    with connect(gateway.ports[0]) as wire:
        wire.send(head(path=path, X_Key=name))
        return wire.answer()[0]


def let_in(gateways, name, tries=4):
    """How many of so many handshakes at each gateway in turn got in, of a name that was not used before."""
    answers = [knock(gateway, "/rare", name) for _ in range(tries) for gateway in gateways]
    assert set(answers) <= {101, 429}, answers
    return answers.count(101)


def wait_until_shared(gateways):
    """Until a budget is shared again: how long a breaker stays open is not for these tests to say."""
    names = (f"probe-{nth}" for nth in itertools.count())
    wait_until("they share again", lambda: all(map(asks_redis, gateways)) and let_in(gateways, next(names)) == RARE)


def test_gateways_that_share_a_zone_let_in_what_one_would(redis, fleet):
    gateways = fleet(3)
    sent, answered, came = [], [], 0
    while not sent or sent[-1] - sent[0] < 2:
        sent.append(time.monotonic())
        came += knock(gateways[len(sent) % 3], "/names", "someone") == 101
        answered.append(time.monotonic())
    # 1 + burst at once, and then 5 a second; the last one may fall just behind the end.
    assert came <= 1 + 4 + 5 * (answered[-1] - sent[0])
    assert came >= 1 + 4 + math.floor(5 * (sent[-1] - answered[0])) - 1
    assert len(sent) > 3 * came, "they knocked much more often"
    assert let_in(gateways, "another") == RARE, "each name has a budget of its own"


def test_while_redis_is_gone_each_counts_for_itself_and_then_they_share_again(redis, fleet):
    gateways = fleet(2, on_error="local")
    assert let_in(gateways, "before") == RARE
    redis.kill()
    assert let_in(gateways, "without") == 2 * RARE
    redis.start()
    wait_until_shared(gateways)


@pytest.mark.parametrize(("on_error", "count"), [("open", 8), ("closed", 0)])
def test_what_happens_without_redis_is_what_the_operator_chose(redis, fleet, on_error, count):
    gateways = fleet(2, on_error=on_error)
    redis.kill()
    answers = [knock(gateway, "/rare", "someone") for _ in range(4) for gateway in gateways]
    assert answers.count(101) == count, answers
    assert set(answers) <= {101, 429, 503}, answers
    redis.start()
    wait_until_shared(gateways)


def test_a_redis_that_hangs_holds_up_no_handshake_and_no_message(redis, fleet):
    gateways = fleet(2, timeout="100ms")
    assert let_in(gateways, "before") == RARE
    with open_chat(gateways[0].url("/talk"), headers={"X-Key": "someone"}) as person:
        redis.hang()
        began = time.monotonic()
        assert let_in(gateways, "meanwhile") == 2 * RARE
        for nth in range(15):
            person.send(f"message {nth}")
            assert person.recv(timeout=PATIENCE) == f"message {nth}"
        assert time.monotonic() - began < 3, "a call waits for tenths of a second, and not every call"
        redis.resume()
    wait_until_shared(gateways)


def test_where_a_sentinel_names_another_master_the_gateways_follow(tmp_path, redis, fleet):
    folders = [tmp_path / name for name in ("replica", "sentinel")]
    for folder in folders:
        folder.mkdir()
    with Redis(folders[0], "--replicaof", f"127.0.0.1 {redis.port}"), Sentinel(folders[1], redis) as sentinel:
        gateways = fleet(2, url=f'["{sentinel.url}"]\nsentinel_master = "master"')
        assert let_in(gateways, "before") == RARE
        redis.kill()
        sentinel.has_switched()
        wait_until_shared(gateways)


def test_a_redis_that_was_flushed_begins_anew(redis, fleet):
    gateways = fleet(2)
    assert let_in(gateways, "someone") == RARE
    assert let_in(gateways, "someone") == 0
    redis.flush()
    assert let_in(gateways, "someone") == RARE


def test_the_oldest_session_at_any_gateway_makes_room(fleet):
    one, two = fleet(2)
    someone, another = {"headers": {"X-Key": "someone"}}, {"headers": {"X-Key": "another"}}
    with open_chat(one.url("/last"), **someone) as laptop, open_chat(one.url("/last"), **another) as bystander:
        with contextlib.ExitStack() as held:
            with one.ends_one("zone_cap", "gateway", "last"):
                phone = held.enter_context(open_chat(two.url("/last"), **someone))
                assert close_of(laptop) == (4029, "zone_cap")
            for lives in (phone, bystander):
                lives.send("still here")
                assert lives.recv(timeout=PATIENCE) == "still here"


def test_a_session_that_ends_while_redis_hangs_is_not_counted_for_ever(redis, fleet):
    one, two = fleet(2)
    with contextlib.ExitStack() as held:
        with contextlib.ExitStack() as brief:
            assert all(holds(one, brief) for _ in range(4)) and not holds(two, held)
            redis.hang()
        wait_until("they are over", lambda: one.count("wsgate_sessions_active", route="few") == 0)
        redis.resume()
        wait_until("Redis is asked", lambda: asks_redis(one) and asks_redis(two))
        for _ in range(4):
            wait_until("a place is there", lambda: holds(two, held))
        assert not holds(one, held)


def heard(person):
    """How many messages came by now."""
    with contextlib.suppress(TimeoutError):
        for count in itertools.count():
            person.recv(timeout=0)
    return count


def test_messages_at_two_gateways_draw_on_one_budget(fleet):
    # Nobody reads the echoes before the end, and they are not to hold up the pong.
    how = {"headers": {"X-Key": "someone"}, "max_queue": None}
    gateways = fleet(2)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        people = [stack.enter_context(open_chat(gateway.url("/talk"), **how)) for gateway in gateways]
        for nth in range(300):
            for person in people:
                person.send(f"message {nth}")
        for person in people:
            # It stands behind all of them, no limit counts it, and the pong comes behind the echoes.
            assert person.ping().wait(PATIENCE)
        took = time.monotonic() - began
        came = [heard(person) for person in people]
    # `docs/redis.md`: a quarter of the budget may lie unused at each gateway, or be of another time, and one message be ahead.
    apart = 2 * (50 + 1)
    assert 1 + 200 - apart <= sum(came) <= 1 + 200 + 10 * (took + 1) + apart, (came, took)
    assert sum(gateway.count("wsgate_messages_dropped_total", route="talk") for gateway in gateways) == 600 - sum(came)


def test_a_revocation_at_one_gateway_ends_the_sessions_at_the_other(tmp_path, redis, backend, token):
    admin = secrets.token_hex(16)
    text = f"""
[[listen]]
address = "127.0.0.1:0"
[redis]
url = "{redis.url}"
[jwt.main]
algorithms = ["HS256"]
secret = "env:JWT_SECRET"
[revocation]
store = "redis"
[[route]]
name = "chat"
path = "/chat"
upstream = "{backend.url}/"
jwt = "main"
"""
    with contextlib.ExitStack() as running:
        gateways = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            env = {"JWT_SECRET": SECRET, "ADMIN_TOKEN": admin}
            gateways.append(running.enter_context(Gateway(tmp_path / name, text, env=env)))
        one, two = gateways
        with open_chat(two.url("/chat"), token(subject="mallory")) as connection:
            asked = urllib.request.Request(
                f"{one.admin}/revocations",
                data=json.dumps({"subject": "mallory"}).encode(),
                headers={"Authorization": f"Bearer {admin}", "Content-Type": "application/json"},
            )
            with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
                assert answer.status == 201
            assert close_of(connection) == (4001, "token_revoked")
        assert refusal(two.url("/chat"), token(subject="mallory")).status_code == 403


def test_the_sessions_of_a_killed_gateway_vanish(bereaved):
    two, held = bereaved
    for _ in range(3):
        wait_until("its sessions are counted no more", lambda: holds(two, held), 2 * PATIENCE)
    assert not holds(two, held)

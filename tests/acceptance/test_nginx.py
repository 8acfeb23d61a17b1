"""nginx itself beside the gateway: the same limits, the same handshakes at the same instants, the same verdicts."""

import contextlib
import os
import random

import pytest
import websockets.exceptions

from parts.child import wait_until
from parts.client import open_chat, refusal
from parts.gateway import Gateway
from parts.limits import IP, NAME, NODELAY, Hit, Limit, Route, Zone, determined
from parts.nginx import Nginx
from parts.schedule import LATE, TRIES, drive, drive_until
from parts.upstreams import NodeEcho

# Another one draws other limits and other instants.
SEED = int(os.environ.get("WSGATE_SEED", "1"))


def route(name, *limit, rate="2r/s", **more):
    return Route(name, (Limit(Zone(name, rate), *limit),), **more)


# Two a second unless it says otherwise, so half a second drains one. What is 50 ms apart keeps its order.
PLAIN = route("plain")
MINUTES = route("minutes", 1, NODELAY, rate="30r/m")
NODELAYED = route("nodelayed", 3, NODELAY)
SPACED = route("spaced", 3)
PARTLY = route("partly", 3, 1)
STATUS = route("status", status=503)
DRY = route("dry", 1, dry_run=True)
SHARED = Zone("shared")
NARROW, WIDE = Route("narrow", (Limit(SHARED),)), Route("wide", (Limit(SHARED, 2, NODELAY),))
# One owes for longer than the other, so that what was charged by mistake, or the shorter wait, would be seen.
SOON, LATER = Limit(Zone("soon", "4r/s")), Limit(Zone("later", "1r/s"), 2, NODELAY)
SECOND, FIRST = Route("second", (LATER, SOON)), Route("first", (SOON, LATER))
STEADY, SUDDEN = Limit(Zone("steady", "4r/s"), 3), Limit(Zone("sudden", "1r/s"), 3, 2)
WAITS = Route("waits", (STEADY, SUDDEN)), Route("waits_too", (SUDDEN, STEADY))
NAMED = Route("named", (Limit(Zone("names", key=(NAME,))),))
PAIRS = Route("pairs", (Limit(Zone("pairs", key=(IP, NAME))),))
EITHER = Route("either", (Limit(Zone("places"), 2, NODELAY), Limit(Zone("callers", key=(NAME,)))))


def hits(where, *times):
    return [Hit(at, where) for at in times]


SCHEDULES = {
    "no burst": hits(PLAIN, 0, 200, 350, 650, 1000, 1300, 2500),
    "a refusal costs nothing": hits(PLAIN, 0, 100, 200, 300, 400, 650),
    "a rate a minute": hits(MINUTES, 0, 50, 100, 1800, 2200, 2250),
    "nodelay": hits(NODELAYED, 0, 50, 100, 150, 200, 300, 700, 750, 1200, 1250, 3200, 3250, 3300, 3350, 3400),
    "spaced": hits(SPACED, 0, 50, 100, 150, 200, 300, 1300),
    "partly delayed": hits(PARTLY, 0, 50, 100, 150, 200, 600, 650),
    "another status": hits(STATUS, 0, 100, 650),
    "two routes with one zone": [
        *[Hit(0, WIDE), Hit(50, NARROW), Hit(100, WIDE), Hit(150, WIDE), Hit(200, WIDE), Hit(650, NARROW), Hit(700, WIDE)],
        *[Hit(1900, NARROW), Hit(2200, NARROW)],
    ],
    "two clients": [Hit(at + 5 * client, PLAIN, client) for at in (0, 250, 650) for client in (0, 1)],
    "what the second refuses is not charged to the first": hits(SECOND, 0, 100, 150, 400, 450, 500, 800, 1200, 1600),
    "the same the other way round": hits(FIRST, 0, 400, 800, 1200, 1600, 1900, 2100),
    "the longest wait": hits(WAITS[0], 0, 50, 100, 150, 200),
    "the longest wait, of the first": hits(WAITS[1], 0, 50, 100, 150, 200),
    "a header": [Hit(0, NAMED, 0, 0), Hit(50, NAMED, 1, 0), Hit(100, NAMED, 0, 1), Hit(650, NAMED, 1, 0)],
    "address and header": [Hit(0, PAIRS, 0, 0), Hit(50, PAIRS, 1, 0), Hit(100, PAIRS, 0, 1), Hit(150, PAIRS, 0, 0)],
    "one by address and one by header": [
        *[Hit(0, EITHER, name=0), Hit(50, EITHER, name=0), Hit(100, EITHER, name=1), Hit(150, EITHER, name=2)],
        *[Hit(200, EITHER, name=3), Hit(700, EITHER, name=3)],
    ],
}


def drawn(chance):
    """Twelve routes with one limit or two, of all kinds, and for each more hits than it lets in; few of them are such that
    a few milliseconds decide."""
    schedules = []
    while len(schedules) < 12:
        limits = []
        for key in chance.choice([[(IP,)], [(NAME,)], [(IP,), (NAME,)], [(IP, NAME), (IP,)]]):
            zone = Zone(f"drawn{len(schedules)}_{len(limits)}", f"{chance.choice([60, 90, 120, 180, 240])}r/m", key)
            burst = chance.randrange(4)
            limits.append(Limit(zone, burst, chance.choice([NODELAY, 0, chance.randint(0, burst)])))
        where, at, schedule = Route(f"drawn{len(schedules)}", tuple(limits)), 0, []
        while len(schedule) < 9 and at < 5000:
            schedule.append(Hit(at, where, name=chance.choice([0, 0, 1])))
            at += max(60, int(chance.uniform(0.05, 0.9) * 1000 / limits[0].zone.per_second()))
        if len(determined(schedule)) >= 0.8 * len(schedule):
            schedules.append(schedule)
    return schedules


DRAWN = drawn(random.Random(SEED))
ROUTES = sorted({hit.route for hits in [*SCHEDULES.values(), *DRAWN] for hit in hits} | {DRY}, key=lambda route: route.name)
ZONES = sorted({limit.zone for route in ROUTES for limit in route.limits}, key=lambda zone: zone.name)


@pytest.fixture(scope="module")
def backend():
    with NodeEcho(deflate=False) as backend:
        yield backend


@pytest.fixture(scope="module")
def nginx(tmp_path_factory, backend):
    zones = [zone.in_nginx() for zone in ZONES] + [
        "limit_conn_zone $binary_remote_addr zone=addresses:1m;",
        "limit_conn_zone $server_name zone=all:1m;",
        "limit_conn_zone $http_x_key zone=holders:1m;",
    ]
    locations = {f"/{route.name}": route.in_nginx() for route in ROUTES} | {
        "/per_ip": "limit_conn addresses 2; limit_conn_status 429;",
        "/total": "limit_conn all 2;",
        "/per_zone": "limit_conn holders 2; limit_conn_status 429;",
        "/roomier": "limit_conn holders 3; limit_conn_status 429;",
    }
    with Nginx(tmp_path_factory.mktemp("nginx"), backend.url, zones, locations) as nginx:
        yield nginx


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, backend):
    parts = ['[[listen]]\naddress = "127.0.0.1:0"\nhandshake_timeout = "30s"\n']
    parts += [zone.in_wsgate() for zone in ZONES]
    parts += [route.in_wsgate(backend.url) for route in ROUTES]
    parts.append('[zone.holders]\nkey = "header:X-Key"\n')
    caps = {"per_ip": "per_ip = 2", "total": "total = 2"}
    caps |= {name: f'per_zone = [{{ zone = "holders", max = {most} }}]' for name, most in (("per_zone", 2), ("roomier", 3))}
    for name, cap in caps.items():
        where = f'name = "{name}"\npath = "/{name}"\nupstream = "{backend.url}/"'
        parts.append(f"[[route]]\n{where}\nconnections = {{ {cap} }}\n")
    with Gateway(tmp_path_factory.mktemp("gateway"), "\n".join(parts)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def ports(nginx, gateway):
    return nginx.port, gateway.ports[0]


def told(results):
    return "\n".join(str(one) for one in results)


@pytest.fixture(scope="module")
def driven(ports):
    """What came of all schedules, which were driven beside each other."""
    results = drive_until(ports, list(SCHEDULES.values()), lambda results: all(one.sure for one in results))
    return dict(zip(SCHEDULES, results, strict=True))


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_handshake_gets_what_nginx_gives_it(driven, name):
    assert determined(SCHEDULES[name]) == SCHEDULES[name], "chance decides some of it"
    results = driven[name]
    assert all(one.sure for one in results), "something was late each time:\n" + told(results)
    assert all(one.agree() for one in results), told(results)
    assert len({one.admitted for one in results}) == 2, "a schedule shows both"


def test_what_chance_draws_gets_the_same_verdicts_from_both(ports):
    results = drive_until(ports, DRAWN, lambda results: all(one.late <= LATE for one in results))
    every = [one for results in results for one in results]
    assert all(one.late <= LATE for one in every), "late each time:\n" + told(one for one in every if one.late > LATE)
    sure = [one for one in every if one.sure]
    assert all(one.agree() for one in sure), f"seed {SEED}:\n" + told(one for one in sure if not one.agree())
    assert len(sure) >= 0.7 * len(every), f"seed {SEED}: of {len(every)} only {len(sure)} could not be otherwise"
    admitted = sum(one.admitted for one in sure)
    assert 15 <= admitted <= len(sure) - 15, f"seed {SEED}: of {len(sure)} {admitted} got in"


def test_a_dry_run_counts_what_nginx_would_have_done_and_does_nothing(ports, gateway):
    def counts():
        labels = {"route": "dry", "limit": "handshakes", "zone": "dry", "dry_run": "true"}
        return [gateway.count("wsgate_limit_exceeded_total", action=action, **labels) for action in ("refuse", "delay")]

    for _ in range(TRIES):
        before = counts()
        [results] = drive(ports, [hits(DRY, 0, 50, 100, 150, 250, 700, 750)])
        if all(one.sure for one in results):
            break
    assert all(one.sure and one.agree() for one in results), told(results)
    said = [one.seen[0].headers["x-limit"] for one in results]
    assert [word == "REJECTED_DRY_RUN" for word in said] == [not one.admitted for one in results]
    counted = [now - then for now, then in zip(counts(), before, strict=True)]
    assert counted == [said.count("REJECTED_DRY_RUN"), said.count("DELAYED_DRY_RUN")] == [4, 2]


ADDRESSES = [{"source_address": (f"127.3.0.{nth}", 0)} for nth in (1, 2)]
NAMES = [{"headers": {"X-Key": name}} for name in ("someone", "other")]


@pytest.mark.parametrize(
    ("path", "status", "clients"), [("/per_ip", 429, ADDRESSES), ("/total", 503, ADDRESSES), ("/per_zone", 429, NAMES)]
)
def test_as_many_sessions_are_held_as_nginx_lets_be_held(nginx, gateway, path, status, clients):
    someone, other = clients
    for url in (nginx.url(path), gateway.url(path)):

        def again(url=url):
            with contextlib.suppress(websockets.exceptions.InvalidStatus):
                return held.enter_context(open_chat(url, **someone))

        with contextlib.ExitStack() as held:
            one, _ = again(), again()
            assert refusal(url, **someone).status_code == status
            if path == "/total":
                assert refusal(url, **other).status_code == status
            else:
                held.enter_context(open_chat(url, **other))
            one.close()
            # It is given back when the tunnel is seen to end, and to one only.
            wait_until("a place is given back", again)
            assert refusal(url, **someone).status_code == status


def test_two_routes_of_one_zone_count_together_and_each_refuses_at_its_own_number_as_in_nginx(nginx, gateway):
    someone = {"headers": {"X-Key": "two routes"}}
    for url in (nginx.url, gateway.url):
        with open_chat(url("/per_zone"), **someone), open_chat(url("/roomier"), **someone):
            assert refusal(url("/per_zone"), **someone).status_code == 429
            with open_chat(url("/roomier"), **someone):
                assert refusal(url("/roomier"), **someone).status_code == 429


def test_who_leaves_the_header_out_is_one_client_here_and_not_counted_by_nginx(nginx, gateway):
    with contextlib.ExitStack() as held:
        for url in (nginx.url, gateway.url):
            for address in ADDRESSES:
                held.enter_context(open_chat(url("/per_zone"), **address))
        assert refusal(gateway.url("/per_zone")).status_code == 429
        held.enter_context(open_chat(nginx.url("/per_zone")))

"""nginx's rates: how one is written in nginx's config and in the gateway's, and a model of what it lets in.

The model is the formula of `docs/limits.md` and nothing else: real numbers, seconds, one account for each zone and key."""

import dataclasses
import json
import math
import random

NODELAY = math.inf
# A verdict counts as determined if it stays the same however much later than it was sent each hit is judged, up to this.
MARGIN = 0.04

IP, NAME = "ip", "header:X-Key"


@dataclasses.dataclass(frozen=True)
class Zone:
    name: str
    rate: str = "2r/s"
    key: tuple = (IP,)

    def per_second(self):
        count, _, unit = self.rate.partition("r/")
        return int(count) / {"s": 1, "m": 60}[unit]

    def in_nginx(self):
        key = "".join({IP: "$binary_remote_addr", NAME: "$http_x_key"}[part] for part in self.key)
        return f"limit_req_zone {key} zone={self.name}:1m rate={self.rate};"

    def in_wsgate(self):
        return f'[zone.{self.name}]\nkey = {json.dumps(self.key)}\nrate = "{self.rate}"\n'


@dataclasses.dataclass(frozen=True)
class Limit:
    zone: Zone
    burst: int = 0
    delay: float = 0

    def in_nginx(self):
        # It takes no `burst=0`.
        burst = f" burst={self.burst}" if self.burst else ""
        delay = {NODELAY: " nodelay", 0: ""}.get(self.delay, f" delay={self.delay}")
        return f"limit_req zone={self.zone.name}{burst}{delay};"

    def in_wsgate(self, status, dry_run):
        delay = "nodelay = true" if self.delay == NODELAY else f"delay = {self.delay}"
        said = f'zone = "{self.zone.name}", burst = {self.burst}, {delay}, status = {status}'
        return f"{{ {said}, dry_run = true }}" if dry_run else f"{{ {said} }}"


@dataclasses.dataclass(frozen=True)
class Route:
    """A location of nginx, and the gateway's route with the same limits."""

    name: str
    limits: tuple
    status: int = 429
    dry_run: bool = False

    def in_nginx(self):
        lines = [limit.in_nginx() for limit in self.limits]
        lines += [f"limit_req_status {self.status};", f"limit_req_dry_run {'on' if self.dry_run else 'off'};"]
        return "\n".join([*lines, "add_header X-Limit $limit_req_status always;"])

    def in_wsgate(self, upstream):
        limits = ", ".join(limit.in_wsgate(self.status, self.dry_run) for limit in self.limits)
        where = f'name = "{self.name}"\npath = "/{self.name}"\nupstream = "{upstream}/"'
        return f"[[route]]\n{where}\nhandshakes = [{limits}]\n"


@dataclasses.dataclass(frozen=True)
class Hit:
    """One handshake: when, in milliseconds from the beginning of its schedule; where; from which of its addresses, and
    under which of its names."""

    at: int
    route: Route
    client: int = 0
    name: int = 0

    def account(self, zone):
        return zone, tuple({IP: self.client, NAME: self.name}[part] for part in zone.key)


def judge(accounts, hit, now):
    """When it goes on, or None if it is refused. Every limit is charged, or none."""
    charged, wait = {}, 0
    for limit in hit.route.limits:
        rate, whose = limit.zone.per_second(), hit.account(limit.zone)
        excess, last = accounts.get(whose, (-1, now))
        excess = max(0, excess - rate * (now - last) + 1)
        if excess > limit.burst:
            return None
        charged[whose] = excess, now
        wait = max(wait, (excess - limit.delay) / rate)
    accounts.update(charged)
    return now + wait


def verdicts(hits, times):
    """What `judge` says of each hit, each at its time."""
    accounts, said = {}, {}
    for nth in sorted(range(len(hits)), key=lambda nth: times[nth]):
        said[nth] = judge(accounts, hits[nth], times[nth])
    return [said[nth] for nth in range(len(hits))]


def possible(hits, windows, tries=200):
    """For each hit all that may become of it, if each is judged somewhere in its window: in another order too."""
    chance, found = random.Random(1), []
    for _ in range(tries):
        found.append(verdicts(hits, [chance.choice([first, last, chance.uniform(first, last)]) for first, last in windows]))
    return list(zip(*found, strict=True))


def determined(hits):
    """Those that get the same verdict wherever within the margin all are judged."""
    windows = [(hit.at / 1000, hit.at / 1000 + MARGIN) for hit in hits]
    return [hit for hit, ends in zip(hits, possible(hits, windows), strict=True) if len({end is None for end in ends}) == 1]

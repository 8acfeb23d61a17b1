"""Schedules of handshakes, sent to two gateways at the same instants, beside the model of what they ought to get.

Time is real here, so each verdict is compared only where it could not be another one a little later (`Compared.sure`)."""

import asyncio
import collections
import dataclasses
import itertools

from .child import PATIENCE
from .limits import MARGIN, possible, verdicts
from .wire import head

# nginx and the gateway count whole milliseconds, and may each lose one when they wait.
ROUNDING = 0.005
# What comes later than this is nobody's verdict, and is tried again.
LATE = 0.1
TRIES = 12
# Every schedule has addresses and names of its own, each time that it is driven.
_addresses = (f"127.{a}.{b}.{c}" for a, b, c in itertools.product(range(16, 250), range(1, 250), range(1, 250)))


@dataclasses.dataclass(frozen=True)
class Seen:
    """What came of one handshake at one gateway."""

    sent: float
    answered: float
    status: int
    headers: dict


@dataclasses.dataclass(frozen=True)
class Compared:
    """One hit of a schedule: what it got from each gateway, how late, and all that the model says it may have got."""

    hit: object
    seen: list
    late: float
    possible: tuple

    @property
    def sure(self):
        """Whether it is determined, and nobody was late."""
        return self.late <= LATE and len({end is None for end in self.possible}) == 1

    @property
    def admitted(self):
        """What the model says; of a dry run, what it would have been."""
        return self.possible[0] is not None

    def agree(self):
        """Both gave the verdict that the model has, after no less than its wait."""
        statuses = [one.status for one in self.seen]
        if not self.admitted and not self.hit.route.dry_run:
            return statuses == [self.hit.route.status] * len(statuses)
        ends = [end for end in self.possible if end is not None and not self.hit.route.dry_run]
        early = [one for one in self.seen if ends and one.answered < min(ends) - ROUNDING]
        return statuses == [101] * len(statuses) and not early

    def __str__(self):
        got = ", ".join(f"{one.status} after {(one.answered - one.sent) * 1000:.0f} ms" for one in self.seen)
        waits = [(end - self.seen[0].sent) * 1000 for end in self.possible if end is not None]
        model = [f"in after {min(waits):.0f} to {max(waits):.0f} ms"] if waits else []
        model += ["refused"] * (None in self.possible)
        return f"{self.hit.route.name} at {self.hit.at} ms: {got}; model: {' or '.join(model)}"


async def _answer(reader, sent):
    async with asyncio.timeout(PATIENCE):
        text = await reader.readuntil(b"\r\n\r\n")
    answered = asyncio.get_running_loop().time()
    first, *lines = text.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Seen(sent, answered, int(first.split(" ")[1]), headers)


async def _knock(streams, hit, name, at):
    """One handshake to each; the tunnels of those that are admitted are closed at once."""
    loop, request = asyncio.get_running_loop(), head(path=f"/{hit.route.name}", X_Key=name)
    await asyncio.sleep(at - loop.time())
    sent = loop.time()
    for _, writer in streams:
        writer.write(request)
    seen = await asyncio.gather(*(_answer(reader, sent) for reader, _ in streams))
    for _, writer in streams:
        writer.close()
    return seen


async def _drive(ports, schedules):
    ready = []
    for nth, hits in enumerate(schedules):
        clients, names = (collections.defaultdict(lambda: next(_addresses)) for _ in range(2))
        # Connected beforehand, so that what is sent is judged at once; and not all schedules begin at one instant.
        for hit in hits:
            where = {"host": "127.0.0.1", "local_addr": (clients[hit.client], 0)}
            streams = [await asyncio.open_connection(port=port, **where) for port in ports]
            ready.append((streams, hit, names[hit.name], hit.at / 1000 + nth * 0.023))
    begin = asyncio.get_running_loop().time() + 0.05
    seen = iter(await asyncio.gather(*(_knock(streams, hit, name, begin + at) for streams, hit, name, at in ready)))
    return [[next(seen) for _ in hits] for hits in schedules]


def _compare(hits, seen):
    """A hit was judged after it was sent, and as long before its answer as it had to wait."""
    sent, late = [both[0].sent for both in seen], []
    for hit, both, end in zip(hits, seen, verdicts(hits, sent), strict=True):
        due = both[0].sent if end is None or hit.route.dry_run else end
        late.append(max(one.answered for one in both) - due)
    windows = [(at, at + max(MARGIN, by)) for at, by in zip(sent, late, strict=True)]
    return [Compared(*one) for one in zip(hits, seen, late, possible(hits, windows), strict=True)]


def drive(ports, schedules):
    """All schedules at once, each by clients of its own."""
    seen = asyncio.run(_drive(ports, schedules))
    return [_compare(hits, got) for hits, got in zip(schedules, seen, strict=True)]


def drive_until(ports, schedules, is_good):
    """The same, and those again that are not good since the machine was too slow: each is driven `TRIES` times at most."""
    results, left = {}, range(len(schedules))
    for _ in range(TRIES):
        results.update(zip(left, drive(ports, [schedules[nth] for nth in left]), strict=True))
        left = [nth for nth in left if not is_good(results[nth])]
        if not left:
            break
    return [results[nth] for nth in range(len(schedules))]

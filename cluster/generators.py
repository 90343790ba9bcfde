"""Jobs and arrivals out of a seed: when jobs come, and how they share out a mix.

Pure Python's generator throughout, whose numbers are the same on every machine. What jobs there
are does not depend on when they come, so that worlds of different load have the same jobs, and
differ by the load alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from math import log, pi, sin
from random import Random
from typing import TypeVar

from jetsched.cluster.simulated import Outage
from jetsched.cluster.worldoptions import BURSTINESS, Arrivals
from jetsched.errors import InputError
from jetsched.records import Device

_T = TypeVar("_T")

#: How far the rate of diurnal arrivals swings around its mean.
SWING = 0.8
DAY_S = 86_400.0

#: No more outages than these are made: a fleet that fails more often does hardly anything else.
MOST_OUTAGES = 2_000_000


@dataclass(frozen=True, slots=True)
class Stream:
    """When jobs come: one every ``gap_s`` on average, 0 for all at once.

    ``poisson``: independently. ``bursty``: gaps from a gamma distribution whose coefficient of
    variation is ``burstiness``, so that most are short and some very long. ``diurnal``: Poisson
    with a rate that swings by :data:`SWING` in ``period_s``; by default as many whole periods, of
    about a day each, as the jobs take to come.
    """

    kind: Arrivals = "poisson"
    gap_s: float = 0.0
    burstiness: float = BURSTINESS
    period_s: float | None = None


def arrivals(stream: Stream, count: int, seed: int) -> Iterator[float]:
    """The times of so many arrivals, in order; the first one is at 0."""
    if stream.kind == "static" or stream.gap_s <= 0:
        return repeat(0.0, count)
    random = Random(f"arrivals {seed}")
    if stream.kind == "diurnal":
        span_s = count * stream.gap_s
        period_s = stream.period_s or span_s / max(1, round(span_s / DAY_S))
        return islice(_swinging(random, stream.gap_s, period_s), count)
    if stream.kind == "bursty":
        shape = stream.burstiness**-2
        return _summed(random.gammavariate(shape, stream.gap_s / shape) for _ in range(count))
    return _summed(random.expovariate(1.0) * stream.gap_s for _ in range(count))


def _summed(gaps: Iterator[float]) -> Iterator[float]:
    at_s = 0.0
    for gap in gaps:
        yield at_s
        at_s += gap


def _swinging(random: Random, gap_s: float, period_s: float) -> Iterator[float]:
    """Poisson arrivals at the highest rate, thinned to the rate of the moment (Lewis, Shedler)."""
    yield 0.0
    most = 1 + SWING
    at_s, around = 0.0, 2 * pi / period_s
    while True:
        at_s -= log(1.0 - random.random()) * gap_s / most
        if random.random() * most < 1 + SWING * sin(around * at_s):
            yield at_s


def shuffled(shares: Sequence[tuple[int, _T]], random: Random) -> Iterator[_T]:
    """Members by their shares, without end: each full round has exactly the shares, shuffled."""
    full = [member for number, member in shares for _ in range(number)]
    while True:
        deck = full.copy()
        random.shuffle(deck)
        yield from reversed(deck)


def amount_between(least: float, most: float, random: Random) -> float:
    """A whole amount of work between two, on a logarithmic scale."""
    return float(round(least * (most / least) ** random.random()))


def mean_amount(least: float, most: float) -> float:
    """The mean of what :func:`amount_between` draws, but for the rounding."""
    return least if most <= least else (most - least) / log(most / least)


def random_outages(
    devices: Sequence[Device], mtbf_s: float, mttr_s: float, until_s: float, seed: int
) -> list[Outage]:
    """Outages of every device up to a time: exponential, with these means up and down.

    Each device draws for itself, so that another one in the fleet changes nothing for it.
    """
    expected = len(devices) * until_s / (mtbf_s + mttr_s)
    if expected > MOST_OUTAGES:
        raise InputError(
            f"about {expected:,.0f} outages are more than {MOST_OUTAGES:,}",
            hint="a longer mean time between failures: --outages 30d,1h",
        )
    outages = []
    for device in devices:
        random = Random(f"outages {seed} {device.id}")
        at_s = 0.0
        while (at_s := at_s + random.expovariate(1 / mtbf_s)) < until_s:
            back_s = at_s + max(1e-3, random.expovariate(1 / mttr_s))
            outages.append(Outage(device.id, at_s, back_s))
            at_s = back_s
    return outages


def merged(outages: Iterable[Outage]) -> list[Outage]:
    """The same outages, but those of a device that overlap or touch are one."""
    found: list[Outage] = []
    for outage in sorted(outages, key=lambda o: (o.device_id, o.from_s)):
        last = found[-1] if found else None
        if last is None or last.device_id != outage.device_id or last.until_s < outage.from_s:
            found.append(outage)
        elif outage.until_s > last.until_s:
            found[-1] = Outage(last.device_id, last.from_s, outage.until_s)
    return found

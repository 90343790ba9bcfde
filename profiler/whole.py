"""How long the whole benchmark would take, from a part of it that ran at a steady rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

from jetsched.files import read_json_lines
from jetsched.profiler.suites import Benchmark
from jetsched.records import Measurement


@dataclass(frozen=True, slots=True)
class Whole:
    """The whole benchmark, loading included, with the 95 % confidence interval of its mean rate.

    ``extrapolated``: only a part of it ran. Steps that get slower as a board gets hot are no part
    of the interval.
    """

    amount: float
    time_s: float
    half_s: float | None  # None: too few steps to tell
    extrapolated: bool


def whole_of(benchmark: Benchmark, measurement: Measurement, folder: Path) -> Whole | None:
    """From a measurement and its attempt's folder; None where nothing was done at a steady rate."""
    rate_s, amount = measurement.rate_s, benchmark.whole or benchmark.job.amount
    if measurement.outcome != "done" or rate_s is None:
        return None
    load_s = measurement.load_s or 0.0
    steps = step_rates_s(folder / "events.jsonl")
    half_s = None
    if len(steps) > 1:
        half_s = 1.96 * stdev(steps) / sqrt(len(steps)) / mean(steps) * rate_s * amount
    done = measurement.amount + benchmark.job.workload.batch_size  # the first step warms up
    return Whole(amount, load_s + rate_s * amount, half_s, extrapolated=done < amount)


def step_rates_s(events: Path) -> Sequence[float]:
    """Seconds per unit of each step after the first, from the child's progress events."""
    if not events.exists():
        return ()
    found = [value for _, value in read_json_lines(events, lambda bad: None)]
    marks = [
        (e["t"], e["done"]) for e in found if isinstance(e, dict) and e.get("event") == "progress"
    ]
    return [
        (t - before_t) / (done - before_done)
        for (before_t, before_done), (t, done) in pairwise(marks)
        if done > before_done
    ]

"""What a fleet is to achieve: ``p95<=30m,makespan<=8h``, and what can be known without trying."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite

from jetsched.cluster.bounds import best_prices, makespan_bound_s, mean_bounds_s, priced_work
from jetsched.cluster.simulating import Scenario
from jetsched.cluster.truetimes import TrueTimes, true_times
from jetsched.errors import InputError
from jetsched.problems import did_you_mean, quoted
from jetsched.scheduler.metrics import Metrics
from jetsched.units import NOTHING, format_duration, parse_duration_s

#: What can be asked for -> the figure that it is.
FIGURES: Mapping[str, str] = {
    "mean": "mean_completion_s",
    "p50": "p50_completion_s",
    "p95": "p95_completion_s",
    "p99": "p99_completion_s",
    "makespan": "makespan_s",
    "missed": "missed_deadlines",
}
#: The share of jobs that need not be done within the time.
_TAIL: Mapping[str, float] = {"p50": 0.5, "p95": 0.05, "p99": 0.01}

_HINT = '--target "p95<=30m,missed<=0"'
_PART = re.compile(r"\s*([A-Za-z_0-9]+)\s*(<=|<|=|>=|>|:)\s*(.+?)\s*")


@dataclass(frozen=True)
class Target:
    """A figure and the most that it may be: seconds, or jobs for ``missed``."""

    name: str
    most: float

    def value(self, metrics: Metrics) -> float | None:
        found: float | None = getattr(metrics, FIGURES[self.name])
        return found

    def met(self, metrics: Metrics) -> bool:
        """Whether it is met, by a run that has done all jobs."""
        value = self.value(metrics)
        return metrics.unfinished == 0 and value is not None and value <= self.most

    def show(self, value: float | None) -> str:
        """A value of the figure, for a person."""
        if self.name == "missed":
            return NOTHING if value is None else f"{value:g}"
        return format_duration(value)

    def __str__(self) -> str:
        return f"{self.name} <= {self.show(self.most)}"


def parse_targets(text: str) -> list[Target]:
    """Targets with commas between them. Raises :class:`InputError` for what is none."""
    found: list[Target] = []
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise InputError(f"--target: {quoted(part.strip())} is no target", hint=_HINT)
        name, sign, value = match.groups()
        if name not in FIGURES:
            hint = did_you_mean(name, FIGURES) or _HINT
            known = ", ".join(FIGURES)
            raise InputError(f"--target: {quoted(name)} is none of {known}", hint=hint)
        if sign not in ("<=", "<"):
            raise InputError(f"--target {name}: a target is an upper limit", hint=_HINT)
        if any(target.name == name for target in found):
            raise InputError(f"--target: {name} is here twice")
        found.append(Target(name, _most(name, value)))
    return found


def _most(name: str, text: str) -> float:
    if name == "missed":
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            hint = "a number of jobs: --target missed<=0"
            raise InputError(f"--target missed: {quoted(text)} is no number of jobs", hint=hint)
        return float(text)
    try:
        seconds = parse_duration_s(text)
    except InputError as error:
        raise InputError(f"--target {name}: {error}", hint=error.hint) from None
    if not (isfinite(seconds) and seconds > 0):
        raise InputError(f"--target {name}: {quoted(text)} is no time to be met")
    return seconds


# ------------------------------------------------------------------------------- without simulation


def out_of_reach(scenario: Scenario, targets: Sequence[Target]) -> str:
    """Why no schedule whatever meets the targets on the scenario's fleet; "" if one might.

    Holds for fleets with fewer boards too. From lower bounds: of mean completion and makespan, and
    for percentiles what the linear program's prices say that the rest of the jobs takes.
    """
    times = true_times(scenario)
    if len(times) < len(scenario.jobs):
        return f"{len(scenario.jobs) - len(times):,} jobs can run on none of its boards"
    for target in sorted(targets, key=lambda target: target.name == "mean"):  # which takes longest
        least_s = _least_s(target, times)
        if least_s is not None and least_s > target.most:
            return f"{target.name} is at least {target.show(least_s)}"
    return ""


def _least_s(target: Target, times: TrueTimes) -> float | None:
    if target.name == "mean":
        return mean_bounds_s(times)[0]
    if target.name == "makespan":
        return makespan_bound_s(times)
    tail = _TAIL.get(target.name)
    return None if tail is None else _least_percentile_s(times, tail)


def _least_percentile_s(times: TrueTimes, tail: float) -> float:
    """A time that more than the tail of all jobs must take, by their work and by their run times.

    All but the tail are done by the last arrival and that time: even if they are those of least
    work, the fleet has to do it in between.
    """
    import numpy as np

    count = _within(len(times), tail)
    shortest_s = float(np.sort(times.best_s)[count - 1])
    work_s = float(np.sort(priced_work(times, best_prices(times)))[:count].sum())
    span_s = float(times.release_s.max() - times.release_s.min())
    return max(shortest_s, work_s - span_s) * (1 - 1e-9)


def _within(jobs: int, tail: float) -> int:
    """How many jobs must at least be within a percentile that is interpolated between two jobs."""
    return max(1, ceil((1 - tail) * (jobs - 1) - 1e-9))


def hopeless_jobs(scenario: Scenario, targets: Sequence[Target]) -> list[str]:
    """The jobs that make a target impossible on any number of such boards, in words.

    They are the ones that take longer than the target by themselves, on the fastest board.
    """
    times = true_times(scenario)
    if len(times) < len(scenario.jobs):
        return []  # the world says itself which
    best_s = times.best_s
    found: list[str] = []
    for target in targets:
        if target.name == "makespan":
            over = [
                (times.release_s[i] + best_s[i] - times.first_s, i)
                for i in range(len(times))
                if times.release_s[i] + best_s[i] - times.first_s > target.most
            ]
            allowed = 0
        elif target.name == "missed":
            over = [
                (best_s[i], i)
                for i, job in enumerate(scenario.jobs)
                if job.deadline_s is not None and job.submitted_s + best_s[i] > job.deadline_s
            ]
            allowed = int(target.most)
        elif target.name in _TAIL:
            over = [(best_s[i], i) for i in range(len(times)) if best_s[i] > target.most]
            allowed = len(times) - _within(len(times), _TAIL[target.name])
        else:
            continue
        if len(over) <= allowed:
            continue
        value_s, worst = max(over)
        job = scenario.jobs[worst]
        found.append(
            f"{target}: {len(over):,} job{'s' if len(over) > 1 else ''} cannot, on any of these"
            f" boards; job {job.id} ({job.name or job.workload.label}) takes"
            f" {format_duration(float(best_s[worst]))} on the fastest one"
            + (f", until {format_duration(float(value_s))}" if target.name == "makespan" else "")
        )
    return found

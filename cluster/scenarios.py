"""Scenarios from traces: what is true of their jobs, and whether a fleet can run them at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf

from jetsched.cluster.capacity import true_time_s
from jetsched.cluster.noise import Perturbed
from jetsched.cluster.simulated import Outage
from jetsched.cluster.simulating import Scenario
from jetsched.cluster.tracerecord import Trace
from jetsched.cluster.truth import CostsAsTruth, Truth
from jetsched.errors import InputError
from jetsched.problems import FileProblems, Problem, listed, quoted
from jetsched.profiler.bundled import bundled_profile
from jetsched.profiler.costs import CostModel
from jetsched.profiler.models import positions, shape, suggest
from jetsched.records import Device, DeviceClass, Job, Measurement, Never, Workload
from jetsched.scheduler.view import Costs


@dataclass(frozen=True)
class Work:
    """Jobs, how they really run, and a maker of cost models that know that much and no more."""

    jobs: Sequence[Job]
    truth: Truth
    costs: Callable[[], Costs]

    def scenario(
        self,
        devices: Sequence[Device],
        *,
        seed: int = 0,
        estimate_error: float = 0.0,
        outages: Sequence[Outage] = (),
    ) -> Scenario:
        """This work on a fleet; estimates are off by a lognormal error with that sigma."""
        estimates = self.costs
        if estimate_error:
            estimates = partial(_perturbed, self.costs, estimate_error, seed)
        return Scenario(self.jobs, devices, self.truth, estimates, seed, outages)


def trace_scenario(
    trace: Trace,
    devices: Sequence[Device],
    *,
    seed: int = 0,
    estimate_error: float = 0.0,
    measurements: Iterable[Measurement] = (),
    outages: Sequence[Outage] = (),
) -> Scenario:
    """A trace on a fleet. What is true is also what is estimated, but for ``estimate_error``.

    Raises :class:`InputError` where no device of the fleet has a run time in the trace.
    """
    check_models(trace, devices)
    work = trace_work(trace, measurements)
    return work.scenario(devices, seed=seed, estimate_error=estimate_error, outages=outages)


def trace_work(trace: Trace, measurements: Iterable[Measurement] = ()) -> Work:
    """The jobs of a trace with what is true of them.

    A trace that carries run times is the truth itself. Else the cost model is, with these
    measurements and the bundled profile behind it.
    """
    if trace.run_s:
        return Work(trace.jobs, trace.truth(), trace.costs)
    behind = [*measurements, *bundled_profile()]
    return Work(trace.jobs, CostsAsTruth(CostModel(behind)), partial(CostModel, behind))


def check_models(trace: Trace, devices: Sequence[Device]) -> None:
    """Refuse a fleet on which no job of a trace with run times could run."""
    models = {device.model for device in devices}
    if trace.run_s and not models & set(trace.device_models):
        example = ",".join(f"{model}:4" for model in trace.device_models)
        raise InputError(
            f"the trace has run times on {listed(trace.device_models)} only,"
            f" the fleet has {listed(sorted(models))}",
            hint=f"--fleet {example}",
        )


def fitting(trace: Trace, work: Work, devices: Sequence[Device], *, skip: bool) -> Trace:
    """The jobs of a trace that some device of the fleet can run.

    Raises :class:`FileProblems` with the line of every job that fits nowhere; with ``skip`` they
    are left out and counted.
    """
    check_models(trace, devices)
    judge = _Judge(work, devices)
    good, bad = [], list[Problem]()
    for number, job in enumerate(trace.jobs):
        found = judge.problem(job)
        if found is None:
            good.append(number)
        elif len(bad) < 100:
            line = trace.lines[number] if trace.lines else 0
            bad.append(Problem(trace.file, line, 1 if line else 0, *found))
    if len(good) == len(trace.jobs):
        return trace
    if not skip or not good:
        raise FileProblems(bad)
    return replace(
        trace,
        jobs=[trace.jobs[number] for number in good],
        lines=[trace.lines[number] for number in good] if trace.lines else (),
        skipped=trace.skipped + len(trace.jobs) - len(good),
        left_out=[*trace.left_out, *bad],
    )


class _Judge:
    """Says why a job can run nowhere on a fleet: once for each workload, where that decides it."""

    def __init__(self, work: Work, devices: Sequence[Device]) -> None:
        self._work = work
        self._costs = work.costs()
        self._devices = devices
        self._kinds = list({device.device_class: None for device in devices})
        self._by_run_time = not isinstance(self._costs, CostModel)
        self._known: dict[tuple[object, ...], tuple[str, str, str] | None] = {}

    def problem(self, job: Job) -> tuple[str, str, str] | None:
        """(field, message, hint); None where it fits somewhere."""
        if self._by_run_time:
            return self._found(job)
        key = (job.workload, job.needs)
        if key not in self._known:
            self._known[key] = self._found(job)
        return self._known[key]

    def _found(self, job: Job) -> tuple[str, str, str] | None:
        kinds = self._kinds
        if job.needs.device or job.needs.memory_mib is not None:
            kinds = self._suited(job)
            if not kinds:
                wishes = listed(job.needs.device) or f"{job.needs.memory_mib:,.0f} MiB"
                have = listed(kind.label for kind in self._kinds)
                return "needs", f"no device of the fleet is {wishes}", f"the fleet has {have}"
        if not self._by_run_time:
            wrong = _wrong_model(job.workload, self._work, kinds)
            if wrong is not None:
                return wrong
        if any(true_time_s(job, kind, self._work.truth) < inf for kind in kinds):
            return None
        return "", f"fits no device of the fleet: {self._reasons(job, kinds)}", ""

    def _suited(self, job: Job) -> list[DeviceClass]:
        least_mib = job.needs.memory_mib or 0.0
        return list(
            {
                device.device_class: None
                for device in self._devices
                if device.satisfies(job.needs) and device.device_class.memory_mib >= least_mib
            }
        )

    def _reasons(self, job: Job, kinds: Sequence[DeviceClass]) -> str:
        if self._by_run_time:
            return f"it has no run time on {listed(sorted({kind.model for kind in kinds}))}"
        reasons = []
        for kind in kinds[:3]:
            verdict = self._costs.verdict(job, kind)
            text = verdict.text if isinstance(verdict, Never) else "it was killed there"
            reasons.append(f"{kind.label}: {text}")
        return "; ".join(reasons)


def _wrong_model(
    workload: Workload, work: Work, kinds: Sequence[DeviceClass]
) -> tuple[str, str, str] | None:
    """What is wrong with the model of a workload: nobody knows it, or it cannot look that far."""
    if not workload.model:
        return None
    try:
        known, most = shape(workload.model), positions(workload.model)
    except InputError as error:
        return "model", f"{quoted(workload.model)}: {error}", error.hint
    except (OSError, ValueError, RuntimeError):  # too long for a path, a NUL...
        return "model", f"{quoted(workload.model)} is no name of a model", ""
    if known is None:
        job = Job("", workload)
        if any(work.truth.run(job, kind) is not None for kind in kinds):
            return None  # it was measured, whatever it is
        close = suggest(workload.model)
        hint = f"did you mean '{close}'?" if close else "profile it first: jetsched profile FILE"
        return "model", f"{quoted(workload.model)} is not known", hint
    tokens = max(workload.seq_len, workload.prompt_tokens + workload.max_new_tokens)
    if workload.kind != "command" and most is not None and tokens > most:
        text = f"{workload.model} has only {most:,} positions, {tokens:,} are asked for"
        return "model", text, ""
    return None


def _perturbed(costs: Callable[[], Costs], sigma: float, seed: int) -> Costs:
    return Perturbed(costs(), sigma, seed)

"""The worlds that `simulate` and `compare` run in, from what their options say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jetsched.cluster.fleet import default_fleet, load_fleet
from jetsched.cluster.paper_world import paper_mix, paper_scenario, paper_truth
from jetsched.cluster.scenarios import trace_scenario
from jetsched.cluster.simulating import Scenario
from jetsched.cluster.traces import read_trace
from jetsched.errors import InputError
from jetsched.profiler.store import MeasurementStore
from jetsched.records import Device


def worlds(
    *,
    trace: Path | None = None,
    generate: int | None = None,
    load: float | None = None,
    fleet: Path | None = None,
    seed: int = 0,
    seeds: int = 1,
    estimate_error: float = 0.0,
) -> list[Scenario]:
    """One scenario per seed, from ``seed`` on: a trace from a file, or ``generate`` jobs.

    Generated jobs are the paper's mix; they all come at once, or as a Poisson stream that keeps the
    fleet busy for the part ``load`` of the time. Raises :class:`InputError` for options that do not
    go together or make no sense.
    """
    if (trace is None) == (generate is None):
        raise InputError("give either --trace FILE or --generate N")
    if load is not None and (trace is not None or not load > 0):
        raise InputError("--load is a number above 0, and goes with --generate", hint="--load 0.9")
    if generate is not None and not 1 <= generate <= 10_000_000:
        raise InputError(f"cannot generate {generate} jobs", hint="--generate 1000")
    if seeds < 1:
        raise InputError(f"--seeds {seeds} leaves nothing to run")
    if not 0 <= estimate_error <= 3:
        raise InputError(
            f"--estimate-error {estimate_error:g} is not between 0 and 3",
            hint="it is the sigma of a lognormal error: 0.5 is large",
        )
    numbers = range(seed, seed + seeds)
    if trace is not None:
        read = read_trace(trace)
        devices = _fleet(fleet, read.device_models)
        measured = MeasurementStore().read() if not read.run_s else []
        return [
            trace_scenario(
                read,
                devices,
                seed=number,
                estimate_error=estimate_error,
                measurements=measured,
            )
            for number in numbers
        ]
    assert generate is not None
    devices = _fleet(fleet)
    return [
        paper_scenario(
            number,
            count=generate,
            mean_gap_s=0.0 if load is None else _gap_s(load, devices),
            devices=devices,
            estimate_error=estimate_error,
        )
        for number in numbers
    ]


def _fleet(file: Path | None, timed_models: Sequence[str] = ()) -> list[Device]:
    return default_fleet() if file is None else load_fleet(file, timed_models=timed_models)


def _gap_s(load: float, devices: Sequence[Device]) -> float:
    """The mean distance of arrivals that keeps the fleet busy for this part of the time.

    Capacity is taken as that of devices which all run the same mix, of what they can run at all.
    """
    jobs, truth = paper_mix(240, seed=0), paper_truth()
    jobs_per_s = 0.0
    for device in devices:
        kind = device.device_class
        runs = [truth.run(job, kind) for job in jobs]
        times = [r.time_s for r in runs if r is not None and r.peak_memory_mib <= kind.memory_mib]
        if times:
            jobs_per_s += len(times) / sum(times)
    if not jobs_per_s:
        raise InputError("no device of the fleet can run any of the paper's workloads")
    return 1 / (load * jobs_per_s)

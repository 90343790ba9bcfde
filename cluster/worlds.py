"""The worlds that `simulate` and `compare` run in, from what their options say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from jetsched.cluster.fleet import default_fleet, load_fleet
from jetsched.cluster.paper_world import paper_mix, paper_scenario, paper_truth
from jetsched.cluster.scenarios import trace_scenario
from jetsched.cluster.simulating import Scenario
from jetsched.cluster.traces import read_trace
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.errors import InputError
from jetsched.problems import Problem
from jetsched.profiler.store import MeasurementStore
from jetsched.records import Device


class Worlds:
    """The scenarios that options ask for, one per seed; each is made when it is asked for.

    What depends on no seed (the trace, the fleet) is read once, so that mistakes are told before
    anything runs. ``skipped`` rows of the trace were left out; ``left_out`` says why, of the first
    ones.
    """

    def __init__(self, options: WorldOptions) -> None:
        _check(options)
        self.options = options
        self.skipped = 0
        self.left_out: Sequence[Problem] = ()
        self._trace = read_trace(options.trace) if options.trace is not None else None
        timed = self._trace.device_models if self._trace is not None else ()
        self.devices = _fleet(options.fleet, timed)
        self._measured = (
            MeasurementStore().read() if self._trace is not None and not self._trace.run_s else []
        )

    def __len__(self) -> int:
        return self.options.seeds

    def __iter__(self) -> Iterator[Scenario]:
        first = self.options.seed
        return (self.scenario(seed) for seed in range(first, first + self.options.seeds))

    def scenario(self, seed: int) -> Scenario:
        """The world of this seed; the same one each time."""
        options = self.options
        if self._trace is not None:
            return trace_scenario(
                self._trace,
                self.devices,
                seed=seed,
                estimate_error=options.estimate_error,
                measurements=self._measured,
            )
        assert options.generate is not None
        return paper_scenario(
            seed,
            count=options.generate,
            mean_gap_s=0.0 if options.load is None else _gap_s(options.load, self.devices),
            devices=self.devices,
            estimate_error=options.estimate_error,
        )


def worlds(options: WorldOptions) -> Worlds:
    """The worlds of these options.

    Generated jobs are the paper's mix; they all come at once, or as a stream that keeps the
    fleet busy for the part ``load`` of the time. Raises :class:`InputError` for options that do not
    go together or make no sense.
    """
    return Worlds(options)


def _check(options: WorldOptions) -> None:
    if (options.trace is None) == (options.generate is None):
        raise InputError("give either --trace FILE or --generate N")
    load = options.load
    if load is not None and (options.trace is not None or not load > 0):
        raise InputError("--load is a number above 0, and goes with --generate", hint="--load 0.9")
    if options.generate is not None and not 1 <= options.generate <= 10_000_000:
        raise InputError(f"cannot generate {options.generate} jobs", hint="--generate 1000")
    if options.seeds < 1:
        raise InputError(f"--seeds {options.seeds} leaves nothing to run")
    if not 0 <= options.estimate_error <= 3:
        raise InputError(
            f"--estimate-error {options.estimate_error:g} is not between 0 and 3",
            hint="it is the sigma of a lognormal error: 0.5 is large",
        )


def _fleet(file: str | None, timed_models: Sequence[str] = ()) -> list[Device]:
    if file is None:
        return default_fleet()
    return load_fleet(Path(file), timed_models=timed_models)


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

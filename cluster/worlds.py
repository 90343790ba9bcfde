"""The worlds that `simulate` and `compare` run in, from what their options say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from math import inf
from pathlib import Path

from jetsched.cluster.capacity import capacity
from jetsched.cluster.fleet import FleetPlan, read_fleet
from jetsched.cluster.generators import Stream, arrivals, merged, random_outages
from jetsched.cluster.history import History, read_history
from jetsched.cluster.moves import Transfer
from jetsched.cluster.paper_world import (
    fits_nowhere,
    mix_capacity,
    paper_mix,
    paper_profile,
    paper_truth,
)
from jetsched.cluster.requests import Requests
from jetsched.cluster.scenarios import Work, fitting, trace_work
from jetsched.cluster.simulated import Outage
from jetsched.cluster.simulating import Scenario
from jetsched.cluster.store import JOURNAL
from jetsched.cluster.streams import Durations
from jetsched.cluster.traces import Trace, read_source
from jetsched.cluster.worldchecks import check, mean_times_s, size_mib
from jetsched.cluster.worldoptions import REQUEST_MODEL, WorldOptions
from jetsched.errors import InputError
from jetsched.files import home
from jetsched.problems import FileProblems, Problem, listed
from jetsched.profiler.store import MeasurementStore
from jetsched.records import Device, Job, Measurement

#: Random outages go on for so long after the last arrival, in units of the time that the whole
#: work would take the fleet at best: longer than any sensible policy needs.
OUTAGES_GO_ON = 4.0


class Worlds:
    """The scenarios that options ask for, one per seed; each is made when it is asked for.

    What depends on no seed (the trace, the fleet) is read once, so that mistakes are told before
    anything runs. ``skipped`` rows of the trace were left out; ``left_out`` says why, of the first
    ones. ``notes`` are sentences about the world that a person should know.
    """

    def __init__(self, options: WorldOptions, seeds: int = 1) -> None:
        check(options)
        if seeds < 1:
            raise InputError(f"--seeds {seeds} leaves nothing to run")
        self.options = options
        self.seeds = seeds
        self.skipped = 0
        self.left_out: Sequence[Problem] = ()
        self.notes: list[str] = []
        self._source = self._read()
        self.plan = self._fleet()
        self._work: Work | None = None  # where no seed changes it
        if isinstance(self._source, Trace):
            self._work = self._fitting(self._source)
        elif isinstance(self._source, History):
            self._work = self._seen(self._source)
        else:
            self._note_hopeless()
        if self.skipped:
            rows = "1 bad row" if self.skipped == 1 else f"{self.skipped:,} bad rows"
            was = "was" if self.skipped == 1 else "were"
            self.notes.append(f"{rows} of {options.trace} {was} left out")

    @property
    def devices(self) -> Sequence[Device]:
        return self.plan.devices

    def __len__(self) -> int:
        return self.seeds

    def __iter__(self) -> Iterator[Scenario]:
        first = self.options.seed
        return (self.scenario(seed) for seed in range(first, first + self.seeds))

    def scenario(self, seed: int) -> Scenario:
        """The world of this seed; the same one each time."""
        options = self.options
        work = self._timed(self._jobs(seed), seed)
        world = work.scenario(
            self.devices,
            seed=seed,
            estimate_error=options.estimate_error,
            outages=merged([*self.plan.outages, *self._outages(work, seed)]),
        )
        link_mib_s = size_mib("link", options.link)
        cache_mib = size_mib("cache", options.cache)
        return replace(
            world,
            also=self.plan.also,
            share=options.share,
            transfer=None if link_mib_s is None else Transfer(link_mib_s, cache_mib or inf),
            disk_mib_s=size_mib("disk", options.disk) or world.disk_mib_s,
        )

    # -- jobs ------------------------------------------------------------------------------------

    def _read(self) -> Trace | Durations | History | None:
        """The trace or the history, if there is one; requests are made jobs."""
        options = self.options
        if options.replay is not None:
            return read_history(options.history, options.replay)
        if options.trace is None:
            return None
        try:
            found = _read_kept(options.trace, options.skip_bad_rows, _stamps(options))
        except FileProblems as wrong:
            raise FileProblems([*wrong.problems, *self._also_wrong(options.trace)]) from None
        self.skipped, self.left_out = found.skipped, found.left_out
        if isinstance(found, Durations) != (options.mix is not None):
            if options.mix is not None:
                raise InputError(f"--mix is for durations, and {options.trace} tells more")
            raise InputError(
                f"{options.trace} tells only how long its jobs run", hint="add --mix paper"
            )
        if not isinstance(found, Requests):
            if options.model is not None:
                raise InputError(f"--model is for requests, and {options.trace} holds none")
            return found
        grouped = found.group(
            options.model or REQUEST_MODEL, window_s=options.window_s, batch=options.batch
        )
        self.notes.append(grouped.note(len(found.arrivals_s)))
        return Trace(grouped.jobs, {}, found.file, grouped.lines)

    def _also_wrong(self, file: Path) -> Sequence[Problem]:
        """What is wrong with the fleet, and with the jobs of those rows that can be read."""
        options = self.options
        try:
            trace = _read_kept(file, True, _stamps(options))
            if isinstance(trace, Trace):
                timed = trace.device_models
                plan = read_fleet(options.fleet, timed_models=timed, counts=options.counts)
                work = trace_work(trace, [] if trace.run_s else _measured())
                fitting(trace, work, plan.devices, skip=False)
        except FileProblems as found:
            return found.problems
        except InputError:
            pass  # of a fleet that no row goes with: told when the rows are right
        return ()

    def _note_hopeless(self) -> None:
        """Jobs of the mix are not left out for it: the world stays the same on another fleet."""
        found = fits_nowhere(self.devices, paper_truth())
        if found:
            names = listed(workload.label for workload in found)
            self.notes.append(f"no board of this fleet can run {names}: such jobs are given up")

    def _fitting(self, trace: Trace) -> Work:
        """The jobs of a trace that fit somewhere on the fleet."""
        measured = [] if trace.run_s else _measured()
        work = trace_work(trace, measured)
        kept = fitting(trace, work, self.devices, skip=self.options.skip_bad_rows)
        if kept is not trace:
            self.skipped += len(trace.jobs) - len(kept.jobs)
            self.left_out = [*self.left_out, *kept.left_out[len(trace.left_out) :]]
        return replace(work, jobs=kept.jobs)

    def _seen(self, history: History) -> Work:
        """The jobs of a history that can run at all, on the fleet as it is or was."""
        journal = self.options.history
        work = history.work(home() if journal is None else journal.parent)
        trace = Trace(history.jobs, {}, f"--replay {self.options.replay}")
        kept = fitting(trace, work, self.devices, skip=True)
        left_out = len(trace.jobs) - len(kept.jobs)
        if history.cancelled or left_out:
            self.notes.append(
                f"left out: {history.cancelled:,} jobs that were cancelled,"
                f" {left_out:,} that fit no board"
            )
        if any(device.device_class.emulated for device in history.devices):
            self.notes.append("its boards were emulated, and so are the times that they took")
        return replace(work, jobs=kept.jobs)

    def _jobs(self, seed: int) -> Work:
        """The work of this seed; generated jobs come when they should, the others as they did."""
        if self._work is not None:
            return self._work
        costs = partial(paper_profile, 0.0, 0)
        if isinstance(self._source, Durations):
            return Work(self._source.jobs(seed), paper_truth(), costs)
        options = self.options
        assert options.generate is not None
        truth = paper_truth()
        gap_s = 0.0
        if options.load is not None:
            gap_s = 1 / (options.load * mix_capacity(self.devices, truth))
        jobs = paper_mix(options.generate, seed, stream=self._stream(gap_s))
        return Work(jobs, truth, costs)

    def _stream(self, gap_s: float) -> Stream:
        options = self.options
        kind = options.arrivals or ("poisson" if gap_s else "static")
        return Stream(kind, gap_s, options.burstiness, options.period_s)

    def _timed(self, work: Work, seed: int) -> Work:
        """The jobs of a trace with other arrivals, where the options ask for them."""
        options = self.options
        if options.generate is not None or (options.load is None and options.arrivals is None):
            return work
        jobs = work.jobs
        first_s, span_s = jobs[0].submitted_s, jobs[-1].submitted_s - jobs[0].submitted_s
        gap_s = span_s / max(1, len(jobs) - 1)
        if options.load is not None:
            gap_s = 1 / (options.load * capacity(jobs, self.devices, work.truth))
        if options.arrivals is not None:
            times_s: list[float] = list(arrivals(self._stream(gap_s), len(jobs), seed))
        elif span_s > 0:
            factor = gap_s * (len(jobs) - 1) / span_s
            times_s = [(job.submitted_s - first_s) * factor for job in jobs]
        else:
            raise InputError(
                "the jobs of the trace all come at once, which no --load can change",
                hint="add --arrivals poisson",
            )
        return replace(work, jobs=[_at(job, at_s) for job, at_s in zip(jobs, times_s, strict=True)])

    # -- the fleet -------------------------------------------------------------------------------

    def _fleet(self) -> FleetPlan:
        """The fleet that is asked for; else a history has its own."""
        options, source = self.options, self._source
        if isinstance(source, History) and options.fleet is None:
            if options.counts:
                raise InputError("--counts is for a fleet", hint="--fleet orin-nano:4,xavier-nx:4")
            if not source.devices:
                raise InputError("no board was there in that time", hint="name some with --fleet")
            return FleetPlan(source.devices, source.outages, source.also)
        timed = source.device_models if isinstance(source, Trace) else ()
        return read_fleet(options.fleet, timed_models=timed, counts=options.counts)

    def _outages(self, work: Work, seed: int) -> Sequence[Outage]:
        options = self.options
        if options.outages is None:
            return ()
        mtbf_s, mttr_s = mean_times_s(options.outages)
        sample = work.jobs[:: max(1, len(work.jobs) // 2000)]
        rate = capacity(sample, self.devices, work.truth) * mtbf_s / (mtbf_s + mttr_s)
        needed_s = len(work.jobs) / rate if rate else 0.0
        until_s = work.jobs[-1].submitted_s + OUTAGES_GO_ON * needed_s
        return random_outages(self.devices, mtbf_s, mttr_s, until_s, seed)


def worlds(options: WorldOptions, seeds: int = 1) -> Worlds:
    """The worlds of these options, for so many seeds from ``options.seed`` on.

    Raises :class:`InputError` for options that do not go together or make no sense, and
    :class:`FileProblems` with file and line for what is wrong with a trace or a fleet.
    """
    return Worlds(options, seeds)


def scenario(options: WorldOptions, seed: int) -> Scenario:
    """The world of these options and this seed: for a worker that gets options instead of worlds.

    What was read from files is kept, as long as they do not change.
    """
    return _kept(replace(options, seed=0), _stamps(options)).scenario(seed)


@lru_cache(maxsize=2)
def _read_kept(
    path: Path, skip_bad_rows: bool, stamps: tuple[tuple[int, int], ...]
) -> Trace | Durations | Requests:
    """The trace; a sweep over loads or fleets reads it once."""
    del stamps
    return read_source(path, skip_bad_rows=skip_bad_rows)


@lru_cache(maxsize=4)
def _kept(options: WorldOptions, stamps: tuple[tuple[int, int], ...]) -> Worlds:
    del stamps  # they tell a changed file from the one that was read
    return Worlds(options)


def _stamps(options: WorldOptions) -> tuple[tuple[int, int], ...]:
    files = [options.trace, options.history, Path(options.fleet) if options.fleet else None]
    if options.replay is not None and options.history is None:
        files.append(home() / JOURNAL)
    stats = [file.stat() for file in files if file is not None and file.is_file()]
    return tuple((stat.st_mtime_ns, stat.st_size) for stat in stats)


def _at(job: Job, at_s: float) -> Job:
    """The job, handed in at another time; its deadline is as far away as it was."""
    if job.deadline_s is None:
        return replace(job, submitted_s=at_s)
    return replace(job, submitted_s=at_s, deadline_s=at_s + job.deadline_s - job.submitted_s)


def _measured() -> list[Measurement]:
    return MeasurementStore().read()

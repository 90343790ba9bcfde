"""One run from options to figures: what the verb `simulate` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from jetsched import policies
from jetsched.cluster.bounds import Bounds, bounds_of_run
from jetsched.cluster.endings import Said, ending_notes, remarks_of
from jetsched.cluster.simulating import SimulationRun, simulate
from jetsched.cluster.tracefile import check_path, write_trace_file
from jetsched.cluster.worldoptions import WorldOptions
from jetsched.cluster.worlds import worlds
from jetsched.errors import InputError
from jetsched.problems import Problem

#: Shows how far a long step is, by (done, total); None where nobody looks.
Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None] | None]]


@dataclass(frozen=True)
class OneRun:
    """A run, what no schedule could have beaten in it, and what is to be said about its world."""

    #: The options of its world.
    world: WorldOptions
    run: SimulationRun
    #: None where it was not asked for.
    bounds: Bounds | None
    #: On its world, and on how it ended.
    notes: Sequence[str]
    #: What the policy has said about jobs: the last of each.
    remarks: Sequence[Said]
    #: Rows of the trace that were left out, and what was wrong with the first of them.
    skipped: int
    left_out: Sequence[Problem]
    trace_file: Path | None

    @property
    def bound_s(self) -> tuple[float | None, float | None]:
        """Of makespan and mean completion, for a run like this one."""
        return (None, None) if self.bounds is None else self.bounds.of(self.run.metrics)


def run_once(
    options: WorldOptions,
    *,
    policy: str | None,
    objective: str | None,
    warmup: float,
    bounded: bool,
    trace_out: Path | None,
    progress: Progress,
) -> OneRun:
    """Make the world, run it, measure it. Raises InputError for options that make no sense."""
    if not 0 <= warmup < 1:
        raise InputError(
            f"--warmup {warmup:g} is not a part of the time", hint="0.1 leaves a tenth out"
        )
    if trace_out is not None:
        check_path(trace_out)
    spec = spec_of(policy, objective)
    policies.load(spec)  # a wrong name is told before a large world is made
    made = worlds(options)
    world = made.scenario(options.seed)
    with progress("simulating") as watch:
        run = simulate(spec, world, warmup=warmup, watch=watch)
    if trace_out is not None:
        write_trace_file(run, trace_out)
    found = bounds_of_run(world, run) if bounded else None
    return OneRun(
        options,
        run,
        found,
        [*made.notes, *ending_notes(run)],
        remarks_of(run),
        made.skipped,
        made.left_out,
        trace_out,
    )


def spec_of(policy: str | None, objective: str | None) -> str:
    """The policy to load: with an objective it is `auto`, or one that takes an objective too."""
    if objective is None:
        return policy or policies.DEFAULT
    name = policy or "auto"
    return f"{name}{',' if ':' in name else ':'}objective={objective}"

"""One model on one kind of device: where the memory goes, what was measured of it, and the time.

Beside the verdict of the cost model stands what is counted from the model's shape alone, so that a
measurement can be compared with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Literal

from jetsched.profiler.admission import Needs
from jetsched.profiler.costs import CostModel
from jetsched.profiler.estimating import ModelEstimate, estimate_on
from jetsched.profiler.evidence import cost_key
from jetsched.profiler.fitmap import Cell, cell_of
from jetsched.profiler.seen import Run, Seen, Sightings
from jetsched.profiler.workchoice import WorkChoice
from jetsched.records import DeviceClass, Job, Workload

#: What a part is of: tensors, what a process holds beside them, what is kept clear for the rest.
Layer = Literal["live", "beside", "headroom"]


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the memory that is counted at the peak."""

    name: str
    mib: float
    layer: Layer
    text: str  # what it is


@dataclass(frozen=True, slots=True)
class Counted:
    """Memory by the model's shape; the parts add up to ``admitted_mib``."""

    parts: tuple[Part, ...]
    live_mib: float
    admitted_mib: float


@dataclass(frozen=True, slots=True)
class Timed:
    """Rates of the runs that told one, in seconds for a unit of work."""

    runs: int
    fastest_s: float
    median_s: float
    slowest_s: float


@dataclass(frozen=True, slots=True)
class FitDetail:
    """Everything that is known of a cell of the map. None: not known."""

    cell: Cell
    #: The whole job, of as much work as was chosen; with what would make it fit.
    estimate: ModelEstimate
    counted: Counted | None
    #: What a board must have in any case; where it is more, the verdict says so in these figures.
    needs: Needs | None
    peak_mib: float | None  # the most that a process held here
    live_mib: float | None  # the most in tensors, where that is counted
    timed: Timed | None
    runs: int
    kills: int
    last: tuple[Run, ...]  # the last runs here, the latest first


def fit_detail(
    choice: WorkChoice, model: str, where: DeviceClass, costs: CostModel, sightings: Sightings
) -> FitDetail:
    """The detail of one cell of the map."""
    workload = cost_key(choice.of(model))
    seen = sightings.of(workload, where)
    return FitDetail(
        cell=cell_of(choice, model, where, costs, sightings),
        estimate=estimate_on(costs, Job("fit", workload, choice.amount), where),
        counted=counted(costs, workload, where),
        needs=costs.needs(workload, where),
        peak_mib=seen.peak_mib,
        live_mib=seen.live_mib,
        timed=_timed(seen),
        runs=seen.runs,
        kills=seen.kills,
        last=tuple(sorted(seen.last, key=lambda run: run.at, reverse=True)),
    )


def counted(costs: CostModel, workload: Workload, where: DeviceClass) -> Counted | None:
    """Megabyte by megabyte; None where nothing describes the model or the device."""
    memory, needed = costs.memory(workload, where), costs.counted(workload, where)
    if memory is None or needed is None:
        return None
    parts = [
        Part("weights", memory.weights_mib, "live", "the model's parameters"),
        Part("gradients", memory.gradients_mib, "live", "one for each parameter that is trained"),
        Part("optimizer", memory.optimizer_mib, "live", "AdamW's two moments of each"),
        Part("activations", memory.activations_mib, "live", "kept for the backward pass, or for"
             " a layer at a time"),
        Part("logits", memory.logits_mib, "live", "a score for each word of the vocabulary"),
        Part("keys and values", memory.kv_mib, "live", "of all tokens so far, in each layer"),
        Part("runtime", memory.runtime_mib, "beside", "interpreter, torch, any CUDA context"),
        Part("not given back", memory.retained_mib, "beside", "freed, and kept by the allocator"),
    ]  # fmt: skip
    rest_mib = needed.admitted_mib - sum(part.mib for part in parts)
    parts.append(
        Part("headroom", max(rest_mib, 0.0), "headroom", "that one run in twenty needs more than")
    )
    shown = tuple(part for part in parts if part.mib >= 0.05)
    return Counted(shown, memory.live_mib, needed.admitted_mib)


def _timed(seen: Seen) -> Timed | None:
    rates_s = [run.rate_s for run in seen.last if run.timed and run.rate_s is not None]
    if not rates_s:
        return None
    return Timed(len(rates_s), min(rates_s), median(rates_s), max(rates_s))

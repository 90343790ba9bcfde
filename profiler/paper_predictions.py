"""What the data sheets alone say of the paper's six workloads, beside what the paper reports.

Nothing of the paper goes into the predictions: no bundled profile, no measurement, only the models'
shapes, the boards' sheets and the constants of roofline.py. The paper leaves much open (power mode,
batch, lengths, precision); the interval of a ratio is over all of that, and over how far the model
is off where it was checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import exp
from statistics import NormalDist

from jetsched.profiler.bundled import PROMPTS, SAMPLES, paper_class, paper_workload
from jetsched.profiler.costs import Cost, CostModel
from jetsched.profiler.devices import DEVICE_MODELS
from jetsched.profiler.paper import (
    EPOCHS,
    FIGURES,
    KILLED,
    NX,
    ORIN,
    TABLE_3,
    Comparison,
    PaperModel,
    paper_model,
)
from jetsched.records import (
    DeviceClass,
    Estimate,
    Fit,
    Job,
    Method,
    Never,
    Precision,
    Source,
    Workload,
)

#: Spread of the log ratio of two boards' times, the settings known: the additive form is 11 to 13 %
#: off for a GPU that it has not seen (docs/log.md), and two are divided. Not from the paper.
RATIO_SIGMA = 0.18
#: What the paper leaves open, each as likely as the other.
POWER_MODES: Mapping[str, tuple[str, ...]] = {
    NX: ("20W_6CORE", "20W_2CORE", "15W_6CORE", "15W_2CORE"),
    ORIN: ("MAXN_SUPER", "25W", "15W"),
}
BATCHES, LENGTHS = (4, 8, 16), (128, 384, 512)
PROMPT_TOKENS, NEW_TOKENS = (32, 64, 256), (32, 64, 256)
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")
#: Memory that never ends: how fast it would be where it does not fit.
_ENDLESS_MIB = 1e9
#: MemTotal of the NX under JetPack 4, which had less reserved; what the sheet has is JetPack 5's.
NX_JETPACK_4_MIB = 7774.0


@dataclass(frozen=True, slots=True)
class Side:
    """One board, with the settings that are assumed for the paper's runs."""

    board: str
    fit: Fit | None  # None: never
    reason: str
    needs_mib: float  # tensors and runtime
    admitted_mib: float
    has_mib: float
    time_s: float  # the whole run; where it does not fit, as if it did
    time_p90_s: float
    load_s: float
    gpu_util_pct: float | None
    energy_j: float | None
    source: Source
    method: Method
    never_pct: float  # of the settings that the paper leaves open: where it would not fit
    paper_gpu_util_pct: float | None


@dataclass(frozen=True, slots=True)
class Told:
    """One reading of what the paper reports, and whether it lies within the interval."""

    nx_over_orin: float
    text: str
    within: bool


@dataclass(frozen=True, slots=True)
class Prediction:
    """A workload: time on the NX over the Orin's, loading apart, and both sides."""

    title: str
    role: str
    workload: Workload
    amount: float
    ratio: float  # with the assumed settings
    ratio_p10: float
    ratio_p90: float
    nx: Side
    orin: Side
    told: tuple[Told, ...]  # none: the NX's process was killed
    killed: bool  # in the paper, on the NX
    notes: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether a reading lies within the interval, and the boards run what they ran there."""
        if self.killed:
            return self.nx.fit != "fits" and self.orin.fit is not None
        ran = self.nx.fit is not None and self.orin.fit is not None
        return ran and any(told.within for told in self.told)


def predictions() -> list[Prediction]:
    """All six, in the order of the paper's figures."""
    costs = CostModel()
    return [_predict(figure, costs) for figure in FIGURES]


def _predict(figure: Comparison, costs: CostModel) -> Prediction:
    model = paper_model(figure.title)
    workload = paper_workload(model)
    amount = float(EPOCHS * SAMPLES if model.role == "train" else PROMPTS)
    open_ = _open_settings(model, costs)
    spread = _ratios(open_, costs)
    ratio = _rate(workload, paper_class(NX), costs) / _rate(workload, paper_class(ORIN), costs)
    low, high = min(_quantile(spread, 0.1), ratio), max(_quantile(spread, 0.9), ratio)
    found = Prediction(
        title=figure.title,
        role=model.role,
        workload=workload,
        amount=amount,
        ratio=ratio,
        ratio_p10=low,
        ratio_p90=high,
        nx=_side(figure.title, workload, amount, NX, open_, costs),
        orin=_side(figure.title, workload, amount, ORIN, open_, costs),
        told=tuple(
            Told(reading.nx_over_orin, reading.text, low <= reading.nx_over_orin <= high)
            for reading in figure.readings
        ),
        killed=(NX, figure.title) == KILLED,
        notes=(),
    )
    notes = (*_notes(found), *_as_named(figure.title, workload, costs))
    return replace(found, notes=notes)


def _as_named(title: str, workload: Workload, costs: CostModel) -> Iterator[str]:
    """The model of the size that the paper names, where the hub's is of another."""
    if title != "TinyGPT2":
        return
    named = replace(workload, model="tinygpt2-25m")
    nx, orin = (costs.cost(named, paper_class(board)) for board in (NX, ORIN))
    if isinstance(nx, Cost) and isinstance(orin, Cost):
        yield (
            f"of the size that the paper names (tinygpt2-25m) the ratio is"
            f" {nx.rate_s / orin.rate_s:.2f}, GPU use {nx.gpu_util_pct:.0f} and"
            f" {orin.gpu_util_pct:.0f} %"
        )


def _side(
    title: str,
    workload: Workload,
    amount: float,
    board: str,
    open_: Sequence[Workload],
    costs: CostModel,
) -> Side:
    where = paper_class(board)
    job = Job("paper", workload, amount)
    verdict = costs.verdict(job, where)
    timed = costs.verdict(job, replace(where, memory_mib=_ENDLESS_MIB))
    assert isinstance(timed, Estimate)  # both boards have a sheet, all six models a shape
    never = [isinstance(costs.cost(each, where), Never) for each in open_]
    return Side(
        board=board,
        fit=None if isinstance(verdict, Never) else verdict.fit,
        reason=verdict.text if isinstance(verdict, Never) else "",
        needs_mib=timed.peak_memory_mib + timed.runtime_mib,
        admitted_mib=timed.admitted_mib,
        has_mib=where.memory_mib,
        time_s=timed.time_s,
        time_p90_s=timed.time_p90_s,
        load_s=timed.load_s,
        gpu_util_pct=timed.gpu_util_pct,
        energy_j=timed.energy_j,
        source=timed.source,
        method=timed.method,
        never_pct=100 * sum(never) / len(never),
        paper_gpu_util_pct=TABLE_3[board][title],
    )


def _open_settings(model: PaperModel, costs: CostModel) -> list[Workload]:
    """The workload in every batch, length and precision that the paper may have used.

    What does not fit the Orin Nano cannot have been: it ran everything.
    """
    base = paper_workload(model)
    if model.role == "train":
        found = [
            replace(base, batch_size=batch, seq_len=length, precision=precision)
            for batch, length, precision in product(BATCHES, LENGTHS, PRECISIONS)
        ]
    else:
        found = [
            replace(base, prompt_tokens=prompt, max_new_tokens=new, precision=precision)
            for prompt, new, precision in product(PROMPT_TOKENS, NEW_TOKENS, PRECISIONS)
        ]
    orin = paper_class(ORIN)
    fit = [each for each in found if not isinstance(costs.cost(each, orin), Never)]
    return fit or [base]


def _ratios(open_: Sequence[Workload], costs: CostModel) -> list[float]:
    """Ratios in all settings and power modes, each spread by what the model itself is off."""
    steps = [exp(NormalDist(0, RATIO_SIGMA).inv_cdf((n + 0.5) / 9)) for n in range(9)]
    found: list[float] = []
    for workload in open_:
        nx, orin = (
            [_rate(workload, DeviceClass(board, mode), costs) for mode in POWER_MODES[board]]
            for board in (NX, ORIN)
        )
        found += [theirs / ours for theirs, ours in product(nx, orin)]
    return sorted(ratio * step for ratio in found for step in steps)


def _rate(workload: Workload, where: DeviceClass, costs: CostModel) -> float:
    cost = costs.cost(workload, replace(where, memory_mib=_ENDLESS_MIB))
    assert isinstance(cost, Cost)
    return cost.rate_s


def _quantile(values: list[float], part: float) -> float:
    return values[min(int(part * len(values)), len(values) - 1)]


def _notes(found: Prediction) -> Iterator[str]:
    """What does not agree, and what may explain it. None of that is more than a guess."""
    nx = found.nx
    if not found.killed and nx.fit is None:
        more_mib = NX_JETPACK_4_MIB - DEVICE_MODELS[NX].memory_mib
        text = (
            f"by our count it needs {nx.needs_mib:,.0f} of {nx.has_mib:,.0f} MiB on the NX and"
            " never runs there; the paper ran it: with swap (CPU pages only), in another precision"
        )
        if nx.needs_mib <= nx.has_mib + more_mib:
            text += f", or on JetPack 4, which leaves {more_mib:,.0f} MiB more"
        yield text
    if found.killed and nx.fit is None:
        yield (
            f"needs {nx.needs_mib:,.0f} of {nx.has_mib:,.0f} MiB: as the paper has it, memory"
            f" alone explains the kill; it would be never in {nx.never_pct:.0f} % of the settings"
        )
    for told in found.told:
        if told.nx_over_orin > found.ratio_p90:
            yield f"the paper's {told.nx_over_orin:.2f} is more than we expect of the NX's slowness"
        elif told.nx_over_orin < found.ratio_p10:
            yield f"the paper's {told.nx_over_orin:.2f} is less than we expect of the NX's slowness"
    for side in (nx, found.orin):
        theirs, ours = side.paper_gpu_util_pct, side.gpu_util_pct
        if theirs is None or ours is None or abs(theirs - ours) < 20:
            continue
        if theirs < ours:
            why = "the GPU waited more than our host model says, or the mean includes loading"
        else:
            why = "a GPU counts as busy while any kernel runs, however small"
        board = DEVICE_MODELS[side.board].title
        yield f"GPU use, {board}: {ours:.0f} % by the sheet, {theirs:.2f} % in the paper: {why}"

"""A profile that nobody measured: the paper's six workloads on its two boards.

With it `simulate` and `compare` have something to say before any board was profiled; it serves them
as the truth. Times on the Orin Nano come from its data sheet, those on the NX from the
paper's ratios, utilisation from its Table 3, memory from the models' shapes. Every row says so:
``source`` is *assumed*, ``identity`` names the paper. What was measured goes before it.
"""

from __future__ import annotations

from jetsched.profiler import roofline
from jetsched.profiler.devices import DEVICE_MODELS, sheet_of
from jetsched.profiler.memory import Memory, memory_needed, stack_of
from jetsched.profiler.models import shape
from jetsched.profiler.paper import (
    EPOCHS,
    FIGURES,
    KILLED,
    NX,
    ORIN,
    TABLE_2,
    TABLE_3,
    Comparison,
    PaperModel,
)
from jetsched.records import DeviceClass, Measurement, Workload

#: Assumed amounts: so many samples of SQuAD, so many prompts.
SAMPLES, PROMPTS = 5_000, 200


def paper_class(model: str) -> DeviceClass:
    """The paper's board of this model, in its default power mode, headless."""
    row = DEVICE_MODELS[model]
    return DeviceClass(model, row.default_power_mode, "", row.usable_mib)


def paper_workload(model: PaperModel) -> Workload:
    """What the paper ran, with what is assumed about it (paper.ASSUMED)."""
    if model.role == "train":
        return Workload(
            "train", model.known_as, dataset="squad", batch_size=8, seq_len=384, head="qa"
        )
    return Workload("infer", model.known_as, prompt_tokens=64, max_new_tokens=64, precision="fp16")


def bundled_profile() -> list[Measurement]:
    """The rows: every workload on the Orin Nano, and on the NX, where one was killed."""
    return [row for comparison in FIGURES for row in _rows(comparison)]


def _rows(comparison: Comparison) -> list[Measurement]:
    model = next(model for model in TABLE_2 if model.title == comparison.title)
    workload = paper_workload(model)
    amount = float(EPOCHS * SAMPLES if model.role == "train" else PROMPTS)
    orin_s = _rate_by_sheet(workload, paper_class(ORIN))
    rows = [_row(model, workload, amount, ORIN, orin_s, "time from the data sheet")]
    if comparison.readings:
        ratio = comparison.readings[0]
        text = f"the Orin Nano's time by its data sheet x {ratio.nx_over_orin:.2f}: {ratio.text}"
        rows.append(_row(model, workload, amount, NX, orin_s * ratio.nx_over_orin, text))
    else:
        assert (NX, model.title) == KILLED
        rows.append(_killed(model, workload))
    return rows


def _row(
    model: PaperModel, workload: Workload, amount: float, board: str, rate_s: float, text: str
) -> Measurement:
    where = paper_class(board)
    known = shape(model.known_as)
    assert known is not None  # all of Table 2 are known models
    load_s = roofline.load_s(known, workload, sheet_of(where))
    return Measurement(
        workload,
        where,
        "done",
        amount=amount,
        time_s=load_s + amount * rate_s,
        load_s=load_s,
        work_s=amount * rate_s,
        # It ran in the paper, so it cannot have needed more (or swapped, which is not known).
        peak_memory_mib=min(_memory(workload, where).needed_mib, where.memory_mib),
        gpu_util_pct=TABLE_3[board][model.title],
        text=f"assumed: {text}; utilisation from the paper's table 3",
        random_weights=False,
        identity={"source": "paper"},
        source="assumed",
        method="datasheet",
    )


def _killed(model: PaperModel, workload: Workload) -> Measurement:
    where = paper_class(NX)
    return Measurement(
        workload,
        where,
        "killed_memory",
        peak_memory_mib=max(_memory(workload, where).needed_mib, where.memory_mib),
        evidence=("the paper: the process was killed during training",),
        text="reported by the paper; that memory was the reason is assumed",
        identity={"source": "paper"},
        source="assumed",
        method="datasheet",
    )


def _rate_by_sheet(workload: Workload, where: DeviceClass) -> float:
    known, sheet = shape(workload.model), sheet_of(where)
    assert known is not None
    phases = roofline.phases_of(known, workload, stack_of(sheet))
    rates = roofline.rates_of(sheet)[workload.precision]
    return roofline.by_the_sheet(phases, rates, gpu=True).rate_s


def _memory(workload: Workload, where: DeviceClass) -> Memory:
    known = shape(workload.model)
    assert known is not None
    return memory_needed(known, workload, stack_of(sheet_of(where)))

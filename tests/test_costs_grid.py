"""A grid of estimates says what the cost model says of each pair by itself."""

from __future__ import annotations

import numpy as np
import pytest
from builders import NX, ORIN, a_workload
from hypothesis import given, settings
from hypothesis import strategies as st

from jetsched.profiler.costs import CostModel
from jetsched.profiler.grid import FITS, NEVER, TIGHT, Grid
from jetsched.records import DeviceClass, Measurement, Never, Workload

CLASSES = (NX, ORIN, DeviceClass("cpu", software="torch"), DeviceClass("agx-orin", "MAXN"))
FIT = {"fits": FITS, "tight": TIGHT}

trainings = st.builds(
    Workload,
    st.just("train"),
    st.sampled_from(["tiny-gpt2", "gpt2", "nobody/knows"]),
    batch_size=st.integers(1, 64),
    seq_len=st.sampled_from([64, 384]),
    precision=st.sampled_from(["fp32", "bf16"]),
    head=st.sampled_from(["qa", "lm"]),
)
inferences = st.builds(
    Workload,
    st.just("infer"),
    st.sampled_from(["tinyllama-1.1b", "phi-2"]),
    batch_size=st.integers(1, 8),
    prompt_tokens=st.integers(1, 256),
    max_new_tokens=st.integers(1, 64),
    precision=st.sampled_from(["fp32", "fp16"]),
)
works = st.one_of(trainings, inferences)
measurements = st.builds(
    Measurement,
    works,
    st.sampled_from(CLASSES),
    st.sampled_from(["done", "killed_memory"]),
    amount=st.just(10.0),
    time_s=st.just(40.0),
    load_s=st.floats(1, 9),
    work_s=st.floats(1, 30),
    peak_memory_mib=st.floats(500, 5000),
    source=st.sampled_from(["measured", "assumed"]),
)


def compare(model: CostModel, grid: Grid, workloads: list[Workload]) -> None:
    for row, workload in enumerate(workloads):
        for column, where in enumerate(CLASSES):
            one, at = model.cost(workload, where), (row, column)
            for mib, there in (
                (one.peak_memory_mib, grid.peak_memory_mib[at]),
                (one.admitted_mib, grid.admitted_mib[at]),
            ):
                assert (mib is None and np.isnan(there)) or there == pytest.approx(mib)
            if isinstance(one, Never):
                assert grid.fit[at] == NEVER
                assert np.isnan([grid.rate_s[at], grid.p90[at], grid.load_s[at]]).all()
            else:
                assert grid.fit[at] == FIT[one.fit]
                assert grid.rate_s[at] == pytest.approx(one.rate_s)
                assert grid.p90[at] == pytest.approx(one.p90)
                assert grid.load_s[at] == pytest.approx(one.load_s)


@given(st.lists(measurements, max_size=6), st.lists(works, min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_a_grid_says_what_is_said_of_each_pair(
    rows: list[Measurement], workloads: list[Workload]
) -> None:
    model = CostModel(rows)
    compare(model, model.grid(workloads, CLASSES), workloads)


def test_many_workloads_are_compared_once_for_all_devices_and_come_out_the_same() -> None:
    rows = [
        Measurement(a_workload(batch_size=b), where, "done", 10.0, 9.0 + b, 1.0, work_s=8.0 + b)
        for b in (1, 2, 4)
        for where in (NX, ORIN)
    ]
    model = CostModel(rows)
    workloads = [
        a_workload(batch_size=b, seq_len=s) for b in range(1, 15) for s in range(64, 512, 64)
    ]
    assert len(workloads) >= 64
    compare(model, model.grid(workloads, CLASSES), workloads)

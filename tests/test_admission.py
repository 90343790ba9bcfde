"""Whether a job fits: what counting, measured peaks and kills say together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import NX, ORIN, a_workload
from hypothesis import given, settings
from hypothesis import strategies as st

from jetsched.profiler.costs import CostModel
from jetsched.records import DeviceClass, Estimate, Job, Measurement, Never, Workload

CPU = DeviceClass("cpu", memory_mib=20_000.0)
EMULATED = DeviceClass("xavier-nx", "emulated", "torch", 2300.0, emulated=True)
ORDER = ("never", "tight", "fits")

places = st.sampled_from([NX, ORIN, CPU, EMULATED])
works = st.builds(
    Workload,
    kind=st.just("train"),
    model=st.sampled_from(["tiny-gpt2", "distilgpt2", "gpt2"]),
    batch_size=st.sampled_from([1, 2, 8]),
    seq_len=st.sampled_from([64, 256]),
    head=st.sampled_from(["qa", "lm"]),
    method=st.sampled_from(["full", "lora"]),
    gradient_checkpointing=st.booleans(),
)


def killed(workload: Workload, where: DeviceClass, **run: Any) -> Measurement:
    """A kill; ``run`` is what the record says of the circumstances."""
    return Measurement(
        workload,
        where,
        "killed_memory",
        peak_memory_mib=where.memory_mib,
        identity={"run": run} if run else {},
        emulated=where.emulated,
    )


def done(workload: Workload, where: DeviceClass, peak_mib: float) -> Measurement:
    return Measurement(
        workload,
        where,
        "done",
        amount=10.0,
        time_s=20.0,
        work_s=10.0,
        peak_memory_mib=min(peak_mib, where.memory_mib),
        emulated=where.emulated,
    )


def word(model: CostModel, workload: Workload, where: DeviceClass) -> str:
    found = model.verdict(Job("1", workload, 10.0), where)
    return "never" if isinstance(found, Never) else found.fit


def was_killed(model: CostModel, workload: Workload, where: DeviceClass) -> bool:
    """Whether a kill is the reason."""
    found = model.verdict(Job("1", workload, 10.0), where)
    return isinstance(found, Never) and "killed" in found.text


rows = st.lists(
    st.one_of(
        st.builds(done, works, places, st.floats(300, 9000)), st.builds(killed, works, places)
    ),
    max_size=6,
)


@given(rows, works, places, st.integers(0, 5), st.integers(0, 300), st.randoms())
@settings(max_examples=80, deadline=None)
def test_a_kill_rules_out_all_that_needs_provably_more_whenever_it_is_learnt(
    others: list[Measurement],
    workload: Workload,
    where: DeviceClass,
    samples: int,
    tokens: int,
    random: Any,
) -> None:
    learnt = [*others, killed(workload, where)]
    random.shuffle(learnt)
    model = CostModel(learnt)
    larger = replace(
        workload, batch_size=workload.batch_size + samples, seq_len=workload.seq_len + tokens
    )
    for has_mib in (where.memory_mib, where.memory_mib / 3):
        assert word(model, larger, replace(where, memory_mib=has_mib)) == "never"


@given(rows, works, places, st.floats(1.03, 4))
@settings(max_examples=80, deadline=None)
def test_a_kill_with_less_memory_proves_nothing_about_more(
    others: list[Measurement], workload: Workload, where: DeviceClass, factor: float
) -> None:
    more = replace(where, memory_mib=where.memory_mib * factor)
    before, after = CostModel(others), CostModel([*others, killed(workload, where)])
    assert was_killed(after, workload, more) == was_killed(before, workload, more)


@given(rows, works, places)
@settings(max_examples=80, deadline=None)
def test_more_memory_never_fits_less(
    learnt: list[Measurement], workload: Workload, where: DeviceClass
) -> None:
    model = CostModel(learnt)
    words = [
        ORDER.index(word(model, workload, replace(where, memory_mib=100.0 * 1.1**n)))
        for n in range(60)
    ]
    assert words == sorted(words)


@given(rows, works, places)
@settings(max_examples=80, deadline=None)
def test_what_is_said_of_memory_is_in_order(
    learnt: list[Measurement], workload: Workload, where: DeviceClass
) -> None:
    """Live bytes, then what is needed in any case, then what is admitted."""
    found = CostModel(learnt).verdict(Job("1", workload, 10.0), where)
    if isinstance(found, Estimate):
        needed_mib = found.peak_memory_mib + found.runtime_mib
        assert 0 <= found.peak_memory_mib <= needed_mib <= found.admitted_mib * (1 + 1e-9)


def test_a_kill_under_a_cap_says_nothing_about_the_whole_device() -> None:
    small = a_workload(batch_size=1, seq_len=64)
    model = CostModel([killed(small, NX, cap="cgroup-v1", cap_mib=1000.0)])
    assert word(model, small, NX) == "fits"
    assert was_killed(model, small, replace(NX, memory_mib=1000.0))


def test_nor_does_one_while_other_processes_held_the_memory() -> None:
    small = a_workload(batch_size=1, seq_len=64)
    model = CostModel([killed(small, NX, cap="none", memory_available_before_mib=1500.0)])
    assert word(model, small, NX) == "fits"
    assert was_killed(model, small, replace(NX, memory_mib=1500.0))
    alone = CostModel([killed(small, NX, cap="none", memory_available_before_mib=5900.0)])
    assert was_killed(alone, small, NX)


def test_a_run_under_a_cap_proves_that_so_much_will_do() -> None:
    work = a_workload(batch_size=2)
    run = replace(done(work, NX, 3000.0), identity={"run": {"cap_mib": 3100.0}})
    assert word(CostModel([run]), work, replace(NX, memory_mib=3100.0)) == "fits"


@pytest.mark.parametrize("where", [CPU, EMULATED])
def test_what_glibc_keeps_is_needed_on_a_cpu(where: DeviceClass) -> None:
    """Freed activations in small chunks are still there when the optimizer asks for its own."""
    found = CostModel().verdict(
        Job("1", a_workload("gpt2", batch_size=4, seq_len=128), 10.0),
        replace(where, memory_mib=20_000.0),
    )
    assert isinstance(found, Estimate)
    assert found.peak_memory_mib == pytest.approx(2193, abs=2)  # measured with torch's allocator
    assert found.peak_memory_mib + found.runtime_mib < 3267 < found.admitted_mib  # measured

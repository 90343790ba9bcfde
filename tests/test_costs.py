"""What the cost model says, from which source, and why it says no."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import NX, ORIN, a_job, a_workload

from jetsched.profiler.costs import CostModel
from jetsched.profiler.memory import FILES_CPU_MIB
from jetsched.records import (
    DeviceClass,
    Estimate,
    Job,
    Measurement,
    Never,
    Outcome,
    Precision,
    Workload,
)

EMULATED_NX = DeviceClass("xavier-nx", "emulated", "torch-2.13", 2310.0, emulated=True)
EMULATED_ORIN = DeviceClass("orin-nano", "emulated", "torch-2.13", 3000.0, emulated=True)
CPU = DeviceClass("cpu", memory_mib=20_000.0)


def measured(
    workload: Workload,
    where: DeviceClass,
    rate_s: float = 1.0,
    *,
    outcome: Outcome = "done",
    peak_mib: float | None = 2000.0,
    **more: Any,
) -> Measurement:
    """A run of 100 units that loaded for 10 s."""
    work_s = 100 * rate_s
    row = Measurement(
        workload,
        where,
        outcome,
        amount=100.0,
        time_s=10 + work_s,
        load_s=10.0,
        work_s=work_s,
        peak_memory_mib=peak_mib,
        at="2026-11-20T08:00:00Z",
        emulated=where.emulated,
    )
    return replace(row, **more)


def killed(workload: Workload, where: DeviceClass, **more: Any) -> Measurement:
    return measured(workload, where, outcome="killed_memory", work_s=None, **more)


def estimate(model: CostModel, workload: Workload, where: DeviceClass) -> Estimate:
    found = model.verdict(Job("1", workload, 100.0), where)
    assert isinstance(found, Estimate), found
    return found


def never(model: CostModel, workload: Workload, where: DeviceClass) -> Never:
    found = model.verdict(Job("1", workload, 100.0), where)
    assert isinstance(found, Never), found
    return found


# -- sources ---------------------------------------------------------------------------------------


def test_with_nothing_measured_the_data_sheet_speaks_and_says_that_it_is_assumed() -> None:
    found = estimate(CostModel(), a_workload(), ORIN)
    assert (found.source, found.method, found.measurements) == ("assumed", "datasheet", 0)
    assert found.time_p90_s > 1.5 * found.time_s


def test_what_was_measured_here_is_a_table_row() -> None:
    rates = (1.0, 1.2, 1.1)
    rows = [measured(a_workload(), NX, rate, at=f"{rate}") for rate in rates]
    found = estimate(CostModel(rows), a_workload(), NX)
    assert (found.source, found.method, found.measurements) == ("measured", "table", 3)
    assert found.time_s == pytest.approx(10 + 100 * 1.1)
    assert found.load_s == 10


def test_time_is_loading_and_the_amount_times_a_rate() -> None:
    model = CostModel([measured(a_workload(), NX)])
    small, large = (model.verdict(a_job(amount=amount), NX) for amount in (1.0, 1000.0))
    assert isinstance(small, Estimate) and isinstance(large, Estimate)
    assert small.time_s == pytest.approx(11)
    assert large.time_s == pytest.approx(1010)


def test_repeats_narrow_the_spread_and_scatter_widens_it() -> None:
    once = [measured(a_workload(), NX)]
    often = [measured(a_workload(), NX, at=str(n)) for n in range(10)]
    scattered = [measured(a_workload(), NX, 1.0 + n / 5, at=str(n)) for n in range(10)]
    spreads = []
    for rows in (once, often, scattered):
        found = estimate(CostModel(rows), a_workload(), NX)
        spreads.append(found.time_p90_s / found.time_s)
    assert 1.0 < spreads[1] < spreads[0] < spreads[2]


def test_what_is_not_work_counts_once_whatever_the_amount() -> None:
    """Writing the artefacts, for instance: time that is neither loading nor work."""
    row = measured(a_workload(), NX, time_s=125.0)  # 10 loading, 100 work, 15 else
    assert estimate(CostModel([row]), a_workload(), NX).load_s == 25


def test_other_work_on_the_same_device_scales_the_roofline() -> None:
    sheet = estimate(CostModel(), a_workload("gpt2", batch_size=2), ORIN)
    row = a_workload("distilgpt2", batch_size=2)
    rate_by_sheet = (estimate(CostModel(), row, ORIN).time_s - sheet_load(row)) / 100
    model = CostModel([measured(row, ORIN, 3 * rate_by_sheet)])
    found = estimate(model, a_workload("gpt2", batch_size=2), ORIN)
    assert (found.source, found.method, found.measurements) == ("estimated", "fitted", 1)
    # Nearly: one measurement does not outweigh the sheet altogether.
    assert found.time_s - found.load_s == pytest.approx(3 * (sheet.time_s - sheet.load_s), rel=0.2)


def sheet_load(workload: Workload) -> float:
    return estimate(CostModel(), workload, ORIN).load_s


def test_training_says_nothing_about_inference() -> None:
    infer = Workload("infer", "gpt2", prompt_tokens=64, max_new_tokens=64)
    found = estimate(CostModel([measured(a_workload(), ORIN)]), infer, ORIN)
    assert found.source == "assumed"


def test_another_precision_is_a_wide_guess() -> None:
    model = CostModel([measured(a_workload(batch_size=2), ORIN)])
    near = estimate(model, a_workload(batch_size=4), ORIN)
    far = estimate(model, a_workload(batch_size=4, precision="fp16"), ORIN)
    assert far.time_p90_s / far.time_s > near.time_p90_s / near.time_s


def test_times_on_another_model_are_carried_over_by_the_ratio_of_the_rooflines() -> None:
    sheet_nx, sheet_orin = (estimate(CostModel(), a_workload(), where) for where in (NX, ORIN))
    model = CostModel([measured(a_workload(), ORIN, 0.2)])  # twice the sheet
    found = estimate(model, a_workload(), NX)
    ratio = (sheet_nx.time_s - sheet_nx.load_s) / (sheet_orin.time_s - sheet_orin.load_s)
    assert (found.source, found.method) == ("estimated", "fitted")
    assert found.time_s - found.load_s == pytest.approx(20 * ratio, rel=0.15)


def test_the_same_board_with_other_software_tells_most_about_a_workload() -> None:
    elsewhere = replace(ORIN, software="jetpack-7")
    found = estimate(CostModel([measured(a_workload(), elsewhere, 2.0)]), a_workload(), ORIN)
    assert found.time_s - found.load_s == pytest.approx(200, rel=0.15)
    assert found.note  # nothing was measured with its software


def test_boards_of_other_memory_share_their_times() -> None:
    model = CostModel([measured(a_workload(), NX)])
    assert estimate(model, a_workload(), replace(NX, memory_mib=6000.0)).source == "measured"


def test_an_emulated_board_tells_nothing_about_a_real_one_nor_the_other_way_round() -> None:
    model = CostModel([measured(a_workload(batch_size=1), EMULATED_ORIN, 9.0)])
    assert estimate(model, a_workload(batch_size=1), ORIN).source == "assumed"
    assert estimate(model, a_workload(batch_size=1), EMULATED_ORIN).emulated
    real = CostModel([measured(a_workload(batch_size=1), ORIN, 9.0)])
    assert estimate(real, a_workload(batch_size=1), EMULATED_ORIN).source == "assumed"


def test_one_emulated_board_tells_about_another() -> None:
    model = CostModel([measured(a_workload(batch_size=1), EMULATED_ORIN, 9.0)])
    found = model.verdict(a_job(amount=100.0), replace(EMULATED_NX, memory_mib=9000.0))
    assert isinstance(found, Estimate)
    small = a_workload(batch_size=1)
    carried = estimate(model, small, replace(EMULATED_NX, memory_mib=9000.0))
    assert carried.source == "estimated"
    # It is made twice as slow.
    assert carried.time_s - carried.load_s == pytest.approx(2 * 900, rel=0.15)


def test_what_was_measured_goes_before_what_was_assumed() -> None:
    rows = [measured(a_workload(), NX, 5.0, source="assumed"), measured(a_workload(), NX, 1.0)]
    found = estimate(CostModel(rows), a_workload(), NX)
    assert (found.source, found.measurements) == ("measured", 1)
    assert found.time_s == pytest.approx(110)


def test_a_row_that_is_only_assumed_says_so() -> None:
    found = estimate(CostModel([measured(a_workload(), NX, source="assumed")]), a_workload(), NX)
    assert (found.source, found.method) == ("assumed", "table")


def test_aliases_and_data_sets_cost_the_same() -> None:
    model = CostModel([measured(a_workload("distilbert/distilgpt2", dataset="mine.json"), NX)])
    assert estimate(model, a_workload("distilgpt2"), NX).source == "measured"


def test_a_run_that_swapped_tells_nothing_about_time() -> None:
    row = measured(a_workload(), NX, 99.0, swap_delta_mib=500.0, peak_mib=3000.0)
    found = estimate(CostModel([row]), a_workload(), NX)
    assert found.source == "assumed"
    assert (found.fit, found.admitted_mib) == ("fits", 3000 * 1.02)  # but it fitted


def test_a_measurement_that_arrives_twice_counts_once() -> None:
    row = measured(a_workload(), NX)
    model = CostModel([row])
    assert not model.learn(row)
    assert estimate(model, a_workload(), NX).measurements == 1


@pytest.mark.parametrize("outcome", ["failed", "cancelled", "lost"])
def test_an_attempt_without_work_teaches_nothing(outcome: Outcome) -> None:
    row = measured(a_workload(), NX, outcome=outcome, amount=0.0, work_s=None)
    assert not CostModel().learn(row)


# -- what cannot run -------------------------------------------------------------------------------


def test_bf16_is_refused_on_volta_with_the_reason() -> None:
    found = never(CostModel(), a_workload(precision="bf16"), NX)
    assert found.code == "EnvMissing"
    assert "Volta" in found.text and "fp16" in found.text
    assert never(CostModel(), a_workload(precision="bf16"), EMULATED_NX).code == "EnvMissing"
    estimate(CostModel(), a_workload(precision="bf16"), ORIN)


@pytest.mark.parametrize("where", [CPU, EMULATED_ORIN])
def test_fp16_training_is_refused_without_a_gpu(where: DeviceClass) -> None:
    precision: Precision = "fp16"
    assert never(CostModel(), a_workload(precision=precision), where).code == "EnvMissing"
    estimate(CostModel(), a_workload(precision=precision), ORIN)


def test_an_unknown_model_is_not_profiled_until_it_was() -> None:
    work = a_workload("somebody/never-heard-of")
    found = never(CostModel(), work, ORIN)
    assert found.code == "NotProfiled"
    assert "profile the job file" in found.text and "config.json" in found.text
    model = CostModel([measured(work, ORIN)])
    assert estimate(model, work, ORIN).source == "measured"
    assert estimate(model, work, NX).source == "estimated"  # by peak and bandwidth alone


def test_an_unknown_device_is_not_profiled_until_it_was() -> None:
    box = DeviceClass("some-box", memory_mib=8000.0)
    assert never(CostModel(), a_workload(), box).code == "NotProfiled"
    assert estimate(CostModel([measured(a_workload(), box)]), a_workload(), box).time_s == 110


def test_a_command_costs_what_it_is_said_to_be_like() -> None:
    like = replace(a_workload(), kind="command", command="python train.py", like="train")
    assert estimate(CostModel(), like, ORIN).time_s == pytest.approx(
        estimate(CostModel(), a_workload(), ORIN).time_s
    )
    model = CostModel([measured(like, ORIN, 7.0)])
    assert estimate(model, like, ORIN).source == "measured"
    other = replace(like, command="python other.py")
    assert estimate(model, other, ORIN) == estimate(CostModel(), other, ORIN)


def test_a_command_that_is_like_nothing_may_run_anywhere_and_is_known_from_then_on() -> None:
    """Its make is nobody's business: it is no reason to refuse it. What is assumed is a minute."""
    bare = Workload("command", "", command="python train.py")
    found = CostModel().verdict(Job("1", bare), NX)
    assert isinstance(found, Estimate)
    assert (found.time_s, found.source, found.fit) == (60.0, "assumed", "fits")
    assert found.time_p90_s > 9 * found.time_s and "work.like" in found.note
    model = CostModel([measured(bare, ORIN, 7.0)])
    assert estimate(model, bare, ORIN).source == "measured"
    assert estimate(model, bare, NX).source == "estimated"
    assert estimate(model, replace(bare, command="ls"), ORIN).source == "assumed"


def test_a_command_that_was_killed_for_memory_never_fits_there_again() -> None:
    bare = Workload("command", "", command="python train.py")
    model = CostModel([killed(bare, NX)])
    assert never(model, bare, NX).code == "NeverFits"
    assert estimate(model, replace(bare, command="ls"), NX).fit == "fits"


def test_what_commands_take_says_nothing_about_the_work_that_they_are_like() -> None:
    """Five commands said to be training once made a board's training half an hour long."""
    train = a_workload("tiny-gpt2")
    known = [measured(train, ORIN, 0.01), measured(a_workload("distilgpt2"), NX, 0.2)]
    like = replace(train, kind="command", like="train")
    drawn: dict[str, Any] = {"gpu_util_pct": 3.0, "energy_j": 900.0, "live_memory_mib": 1.0}
    ran = [
        measured(replace(like, command=f"sleep {rate_s}"), where, rate_s, peak_mib=5.0, **drawn)
        for rate_s in (0.001, 1.0, 40.0)
        for where in (NX, ORIN)
    ]
    before, after = CostModel(known), CostModel([*known, *ran])
    for work in (train, a_workload("gpt2", batch_size=1), replace(like, command="another")):
        for where in (NX, ORIN, replace(NX, power_mode="10W_2CORE")):
            assert after.verdict(Job("1", work), where) == before.verdict(Job("1", work), where)
    assert CostModel(ran).cost(train, ORIN) == CostModel().cost(train, ORIN)


def test_a_command_takes_elsewhere_what_it_took_here_by_the_ratio_of_the_boards() -> None:
    """Its own run says more than what it is like."""
    like = replace(a_workload(), kind="command", command="sleep 40", like="train")
    model = CostModel([measured(like, ORIN, 40.0), measured(a_workload(), ORIN, 0.1)])
    found = model.cost(like, NX)
    assert not isinstance(found, Never)
    assert 20.0 < found.rate_s < 120.0 and found.source == "estimated"


# -- memory ----------------------------------------------------------------------------------------


def test_live_bytes_that_do_not_fit_never_do() -> None:
    found = never(CostModel(), a_workload("gpt2"), NX)
    assert found.code == "NeverFits"
    assert found.peak_memory_mib is not None and found.peak_memory_mib < NX.memory_mib
    assert found.text == "needs 6,077 MiB live + 880 runtime, has 6,150"


def test_an_estimates_peak_is_what_tensors_hold_and_no_more() -> None:
    """What a measurement's live_memory_mib is compared with; the runtime stands beside it."""
    found = estimate(CostModel(), a_workload("gpt2"), replace(NX, memory_mib=20_000.0))
    counted = CostModel().memory(a_workload("gpt2"), NX)
    assert counted is not None
    assert (found.peak_memory_mib, found.runtime_mib) == (counted.live_mib, counted.runtime_mib)
    assert found.admitted_mib > counted.live_mib + counted.runtime_mib


def test_live_bytes_that_fit_without_headroom_are_tight() -> None:
    room = replace(NX, memory_mib=6960.0)
    found = estimate(CostModel(), a_workload("gpt2"), room)
    assert found.fit == "tight"
    assert found.peak_memory_mib + found.runtime_mib < 6960 < found.admitted_mib


def test_a_run_that_came_to_its_end_is_no_longer_tight() -> None:
    room = replace(NX, memory_mib=6960.0)
    model = CostModel([measured(a_workload("gpt2"), room, peak_mib=6955.0)])
    found = estimate(model, a_workload("gpt2"), room)
    assert (found.fit, found.admitted_mib) == ("fits", 6960)
    assert found.peak_memory_mib == pytest.approx(6077, abs=1)  # as counted
    assert estimate(model, a_workload("gpt2"), replace(room, memory_mib=6958.0)).fit == "fits"


def test_live_bytes_that_an_allocator_counted_go_before_our_count() -> None:
    row = measured(a_workload(), ORIN, peak_mib=6000.0, live_memory_mib=5000.0)
    found = estimate(CostModel([row]), a_workload(), ORIN)
    assert found.peak_memory_mib == 5000
    assert found.admitted_mib == pytest.approx(6000 * 1.02)


def test_a_peak_that_was_measured_with_more_memory_does_not_prove_that_less_will_do() -> None:
    model = CostModel([measured(a_workload("gpt2"), replace(NX, memory_mib=9000.0), peak_mib=8000)])
    found = estimate(model, a_workload("gpt2"), replace(NX, memory_mib=7500.0))
    assert found.fit == "tight"
    assert found.admitted_mib > 8000


def test_headroom_is_learnt_from_measured_peaks() -> None:
    asked = a_workload("gpt2", batch_size=1)
    before = estimate(CostModel(), asked, CPU)
    rows = []
    for batch in (2, 4, 8, 16):
        work = a_workload("distilgpt2", batch_size=batch)
        memory = CostModel().memory(work, CPU)
        assert memory is not None
        rows.append(measured(work, CPU, peak_mib=memory.needed_mib + memory.retained_mib))
    after = estimate(CostModel(rows), asked, CPU)
    assert after.peak_memory_mib == pytest.approx(before.peak_memory_mib)
    assert after.admitted_mib < before.admitted_mib


def test_the_runtime_is_learnt_from_small_models() -> None:
    tiny = a_workload("tiny-gpt2", batch_size=1, seq_len=64)
    counted = CostModel().memory(tiny, CPU)
    assert counted is not None
    heavy = measured(tiny, CPU, peak_mib=counted.needed_mib + FILES_CPU_MIB + 300)
    before, after = (model.memory(a_workload(), CPU) for model in (CostModel(), CostModel([heavy])))
    assert before is not None and after is not None
    assert after.runtime_mib - before.runtime_mib == pytest.approx(300, abs=5)


def test_mapped_files_are_part_of_a_peak_but_not_of_what_is_admitted() -> None:
    """The kernel takes them back before it kills; under a near cap nobody knows what was there."""
    roomy = CostModel([measured(a_workload(), CPU, peak_mib=6000.0)])
    less = replace(CPU, memory_mib=5900.0)
    assert estimate(roomy, a_workload(), CPU).admitted_mib == pytest.approx(6000 * 1.02)
    assert never(roomy, a_workload(), replace(CPU, memory_mib=5000.0)).admitted_mib == (
        pytest.approx(5883 * 1.02)
    )
    near = CostModel([measured(a_workload(), replace(CPU, memory_mib=6050.0), peak_mib=6000.0)])
    assert estimate(near, a_workload(), less).fit == "tight"


def test_on_a_cpu_a_peak_that_was_seen_is_needed_again() -> None:
    """glibc does not give back because memory is short; the pool on CUDA does."""
    where = replace(CPU, memory_mib=5000.0)
    found = never(CostModel([measured(a_workload(), CPU, peak_mib=6000.0)]), a_workload(), where)
    assert found.text.endswith("runtime and allocator, has 5,000")
    box = replace(ORIN, memory_mib=5000.0)
    model = CostModel([measured(a_workload(), ORIN, peak_mib=6000.0)])
    assert estimate(model, a_workload(), box).fit == "tight"


# -- kills -----------------------------------------------------------------------------------------


def test_a_kill_says_when_and_with_how_much() -> None:
    model = CostModel([killed(a_workload("gpt2", batch_size=1), EMULATED_NX)])
    found = never(model, a_workload("gpt2", batch_size=1), EMULATED_NX)
    assert found.code == "NeverFits"
    assert found.text == "killed here on 2026-11-20: needs more than 2,310 MiB"
    assert found.source == "measured"


def test_whatever_needs_provably_more_is_ruled_out_as_well() -> None:
    model = CostModel([killed(a_workload(batch_size=2, seq_len=128), NX)])
    for larger in (
        a_workload(batch_size=4, seq_len=128),
        a_workload(batch_size=2, seq_len=384),
        a_workload(batch_size=2, seq_len=128, dataset="other.json"),
        a_workload(batch_size=2, seq_len=128, accumulation_steps=4),
    ):
        assert "distilgpt2 b2x128 fp32 was killed" in never(model, larger, NX).text or (
            never(model, larger, NX).text.startswith("killed here")
        )
    for other in (
        a_workload(batch_size=1, seq_len=384),
        a_workload(batch_size=2, seq_len=64),
        a_workload(batch_size=2, seq_len=128, gradient_checkpointing=True),
        a_workload(batch_size=2, seq_len=128, method="lora"),
        a_workload("tiny-gpt2"),
    ):
        estimate(model, other, NX)


def test_a_kill_rules_out_the_same_board_with_less_memory_but_not_with_more() -> None:
    model = CostModel([killed(a_workload(), NX)])
    less = never(model, a_workload(), replace(NX, memory_mib=5000.0, power_mode="10W_2CORE"))
    assert "on a xavier-nx with 6,150 MiB" in less.text
    estimate(model, a_workload(), replace(NX, memory_mib=9000.0))
    estimate(model, a_workload(), ORIN)


def test_a_kill_on_an_emulated_board_leaves_the_real_one_alone() -> None:
    same = replace(NX, emulated=True, power_mode="emulated")
    estimate(CostModel([killed(a_workload(), same)]), a_workload(), NX)


def test_a_kill_outlasts_a_run_that_came_to_its_end() -> None:
    rows = [killed(a_workload(), NX), measured(a_workload(), NX)]
    for order in (rows, rows[::-1]):
        assert never(CostModel(order), a_workload(), NX).code == "NeverFits"


def test_a_kill_that_is_only_assumed_does_not() -> None:
    model = CostModel([killed(a_workload(), NX, source="assumed")])
    assert never(model, a_workload(), NX).source == "assumed"
    assert model.learn(measured(a_workload(), NX))
    assert estimate(model, a_workload(), NX).source == "measured"


# -- energy and utilisation ------------------------------------------------------------------------


def test_energy_is_measured_power_times_work_and_less_for_loading() -> None:
    row = measured(a_workload(), NX, energy_j=1100.0, gpu_util_pct=80.0)  # over 100 s of work
    found = estimate(CostModel([row]), a_workload(), NX)
    assert found.energy_j is not None
    loading_j = found.energy_j - 11 * (found.time_s - found.load_s)
    assert 4 * found.load_s < loading_j < 11 * found.load_s
    assert found.gpu_util_pct == 80


def test_without_a_measurement_power_lies_between_idle_and_the_modes_budget() -> None:
    found = estimate(CostModel(), a_workload(), NX)  # in 15W_6CORE
    assert found.energy_j is not None
    assert 4 < found.energy_j / found.time_s < 15


def test_a_board_without_sensors_has_no_energy() -> None:
    found = estimate(CostModel(), a_workload(batch_size=1), replace(EMULATED_NX, memory_mib=9e3))
    assert found.energy_j is None and found.gpu_util_pct is None


def test_a_verdict_needs_neither_torch_nor_scipy_nor_ray() -> None:
    code = (
        "import sys; from jetsched.profiler.bundled import bundled_profile as b;"
        "from jetsched.profiler.costs import CostModel; from jetsched.records import *;"
        "CostModel(b()).verdict(Job('1', b()[0].workload), DeviceClass('orin-nano'));"
        "print(sorted({'torch', 'scipy', 'ray', 'pydantic', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_model_whose_config_comes_later_is_known_from_then_on(tmp_path: Path) -> None:
    """A scheduler lives on while somebody fetches a config, or counts a model."""
    model, workload = CostModel(), a_workload(str(tmp_path))
    before = model.cost(workload, ORIN)
    assert isinstance(before, Never) and before.code == "NotProfiled"
    config = {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 2, "vocab_size": 1000}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert model.cost(workload, ORIN) == CostModel().cost(workload, ORIN)
    assert not isinstance(model.cost(workload, ORIN), Never)

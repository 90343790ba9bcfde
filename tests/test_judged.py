"""Measurements in another unit, and numbers that no device has: not believed, and named."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import NX, ORIN, a_workload
from hypothesis import given, settings
from hypothesis import strategies as st

from jetsched.cli import main
from jetsched.errors import InputError
from jetsched.files import to_json
from jetsched.profiler.costs import Cost, CostModel
from jetsched.profiler.evaluate import evaluate
from jetsched.profiler.judged import MOST_SAID, believed, named, read_and_say, useless, warnings
from jetsched.profiler.measured import read_measured
from jetsched.profiler.store import MeasurementStore
from jetsched.profiler.subjects import Subjects
from jetsched.records import DeviceClass, Measurement, Never, Workload

CPU = DeviceClass("cpu", "", "torch", 24000.0)
EMULATED = DeviceClass("orin-nano", "emulated", "torch", 3400.0, emulated=True)
PLACES = (NX, ORIN, CPU, EMULATED)
WORKS = (
    a_workload("gpt2", batch_size=4, seq_len=256),
    a_workload("tiny-gpt2", batch_size=2, seq_len=64),
    Workload("infer", "tinyllama-1.1b", prompt_tokens=64, max_new_tokens=32, precision="fp16"),
)
WORK = WORKS[0]


def assumed_s(workload: Workload, where: DeviceClass) -> float:
    """A unit of the workload by the data sheet, launches included."""
    subjects = Subjects()
    found = subjects.card(workload).sheeted(subjects.place(where), calibrated=False)
    assert found is not None
    return found.rate_s


def a_run(
    times: float = 1.3, workload: Workload = WORK, where: DeviceClass = ORIN, **changes: Any
) -> Measurement:
    """So many times as long as the sheet says; loading likewise."""
    rate_s = times * assumed_s(workload, where)
    base = Measurement(
        workload,
        where,
        "done",
        amount=50.0,
        time_s=60 * rate_s,
        load_s=10 * rate_s,
        work_s=50 * rate_s,
        peak_memory_mib=1500.0,
        at="2026-11-20T08:00:00Z",
    )
    return replace(base, **changes)


def codes(measurement: Measurement) -> list[str]:
    return [flaw.code for flaw in useless(measurement)]


def cost(model: CostModel, workload: Workload = WORK, where: DeviceClass = ORIN) -> Cost:
    found = model.cost(workload, where)
    assert isinstance(found, Cost)
    return found


# -- times ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", PLACES, ids=lambda where: where.label)
@pytest.mark.parametrize("workload", WORKS[:2], ids=lambda workload: workload.label)
def test_a_time_in_milliseconds_is_a_slip_on_every_kind_of_device(
    workload: Workload, where: DeviceClass
) -> None:
    """Small models too, though what they may wait for is not counted."""
    slow_s = 1000 * max(assumed_s(workload, where), 2e-3)
    assert codes(a_run(slow_s / assumed_s(workload, where), workload, where)) == ["UnitSlip"]
    assert codes(a_run(1e-3, workload, where)) == ["UnitSlip"]


@pytest.mark.parametrize("where", PLACES, ids=lambda where: where.label)
@pytest.mark.parametrize("workload", WORKS[:2], ids=lambda workload: workload.label)
@pytest.mark.parametrize("times", [0.1, 1.0, 15.0, 100.0])
def test_a_busy_machine_and_a_better_one_than_assumed_are_believed(
    times: float, workload: Workload, where: DeviceClass
) -> None:
    assert codes(a_run(times, workload, where)) == []


def test_a_run_in_milliseconds_changes_no_estimate_at_all() -> None:
    good = [a_run(), a_run(1.4, WORKS[1])]
    slips = [
        a_run(1300, at="2026-11-20T09:00:00Z"),
        a_run(1300, at="2026-11-20T10:00:00Z", outcome="cancelled"),
        a_run(1.3e-3, WORKS[1], at="2026-11-20T11:00:00Z"),
    ]
    for workload in WORKS[:2]:
        right = cost(CostModel(good), workload)
        assert cost(CostModel([*good, *slips]), workload) == right
        assert cost(CostModel([*slips, *good]), workload) == right
    assert not any(CostModel(good).learn(slip) for slip in slips)


def test_a_slip_says_what_was_measured_and_what_the_sheet_says() -> None:
    (flaw,) = useless(a_run(1000), row=4)
    assert flaw.row == 4
    assert "about 1,000 times longer than the data sheet says" in flaw.text
    assert "milliseconds taken for seconds?" in flaw.text


def test_absurd_factors_are_told_in_words() -> None:
    (flaw,) = useless(a_run(1e290))
    assert "more than a million times longer" in flaw.text
    assert len(flaw.text) < 160


def test_what_was_only_assumed_may_take_what_time_it_likes() -> None:
    assert codes(a_run(5000, source="assumed")) == []


@pytest.mark.parametrize("times", [1e-4, 1.0, 1e4])
def test_a_command_may_take_any_time_whatever_it_is_like(times: float, tmp_path: Path) -> None:
    """No sheet tells what it does; nor is it compared with a prediction by what it is like."""
    like = replace(WORK, kind="command", like="train", command="sleep 40")
    ran = replace(a_run(times), workload=like)
    assert list(useless(ran)) == list(warnings(ran)) == []
    assert CostModel([ran]).cost(like, ORIN) != CostModel().cost(like, ORIN)
    store = MeasurementStore(tmp_path / "m.jsonl")
    store.append(a_run(), ran)
    (flaw,) = read_measured(store.path).left_out
    assert (flaw.code, flaw.row) == ("NotTimed", 2) and "command" in flaw.text


def test_a_command_and_a_device_without_a_sheet_cannot_be_judged() -> None:
    command = Workload("command", "", command="python x.py")
    run = Measurement(command, ORIN, "done", amount=1.0, time_s=1e7, work_s=1e7)
    assert codes(run) == []
    assert codes(replace(a_run(1e6), device_class=DeviceClass("some-board", "", "", 8000.0))) == []


def test_a_kill_counts_whatever_time_it_took() -> None:
    killed = a_run(1e6, outcome="killed_memory", peak_memory_mib=1e12)
    sound = believed(killed)
    assert sound is not None
    assert sound.peak_memory_mib is None
    found = CostModel([killed]).cost(WORK, ORIN)
    assert isinstance(found, Never)
    assert found.code == "NeverFits"


def test_loading_that_takes_longer_than_the_whole_run_is_a_contradiction() -> None:
    assert codes(a_run(load_s=1e9)) == ["Contradiction"]
    run = a_run()
    assert codes(replace(run, load_s=run.time_s)) == []


runs = st.builds(
    a_run,
    times=st.floats(1e-4, 1e4),
    workload=st.sampled_from(WORKS[:2]),
    where=st.sampled_from(PLACES),
    peak_memory_mib=st.none() | st.floats(100, 1e9),
    at=st.sampled_from(["", "2026-11-20T08:00:00Z", "2026-11-21T08:00:00Z"]),
    outcome=st.sampled_from(["done", "done", "cancelled", "killed_memory"]),
)


@given(st.lists(runs, max_size=8), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_what_is_believed_depends_neither_on_the_order_nor_on_when_it_was_asked(
    rows: list[Measurement], random: Any
) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    living = CostModel()
    for row in shuffled:
        living.learn(row)
        living.cost(WORK, ORIN)
    at_once, sound = CostModel(rows), CostModel(m for row in rows if (m := believed(row)))
    for workload in WORKS[:2]:
        for where in PLACES:
            right = at_once.cost(workload, where)
            assert living.cost(workload, where) == right
            assert sound.cost(workload, where) == right


# -- peaks, and other numbers beside the time ------------------------------------------------------


@pytest.mark.parametrize("peak_mib", [1500 * 1024.0, 1500 * 1024.0**2, 1e300])
@pytest.mark.parametrize("where", [ORIN, CPU], ids=lambda where: where.label)
def test_a_peak_that_the_device_does_not_have_is_ignored_and_its_time_is_kept(
    where: DeviceClass, peak_mib: float
) -> None:
    good, slip = a_run(where=where), a_run(where=where, peak_memory_mib=peak_mib)
    other = a_workload("gpt2", batch_size=1, seq_len=64)
    assert codes(slip) == []
    assert [flaw.code for flaw in warnings(slip)] == ["IgnoredNumber"]
    assert "slip of units" in warnings(slip)[0].text
    assert len(warnings(slip)[0].text) < 120
    model = CostModel([slip])
    assert cost(model, where=where).rate_s == cost(CostModel([good]), where=where).rate_s
    without = CostModel([replace(slip, peak_memory_mib=None)])
    for workload in (WORK, other):
        assert cost(model, workload, where) == cost(without, workload, where)


def test_what_went_to_swap_is_no_slip() -> None:
    assert warnings(a_run(peak_memory_mib=12_000.0, swap_delta_mib=2000.0)) == ()
    assert [f.code for f in warnings(a_run(peak_memory_mib=12_000.0))] == ["IgnoredNumber"]


def test_the_memory_of_the_whole_machine_counts_where_it_is_known() -> None:
    odd = a_run(where=EMULATED, peak_memory_mib=6000.0)
    assert [flaw.code for flaw in warnings(odd)] == ["IgnoredNumber"]
    assert warnings(replace(odd, identity={"memory_total_mib": 16000.0})) == ()


def test_without_a_known_memory_only_terabytes_are_absurd() -> None:
    nowhere = DeviceClass("some-board")
    run = replace(a_run(), device_class=nowhere, peak_memory_mib=3e6)
    assert warnings(run) == ()
    assert "more than any device has" in warnings(replace(run, peak_memory_mib=5e6))[0].text


def test_a_utilisation_above_a_hundred_per_cent_is_ignored() -> None:
    assert warnings(a_run(gpu_util_pct=100.4)) == ()
    odd = a_run(gpu_util_pct=4000.0)
    assert "more than 100" in warnings(odd)[0].text
    sound = believed(odd)
    assert sound is not None
    assert sound.gpu_util_pct is None
    assert sound.time_s == odd.time_s


@pytest.mark.parametrize("times", [3.0, 10.0, 15.0])
def test_one_odd_peak_that_could_be_does_not_blow_the_headroom_of_all_others(times: float) -> None:
    """Ten runs that hold what is counted say more than one that held much more."""
    empty = CostModel()
    runs = []
    for batch in range(2, 13):
        workload = a_workload("distilgpt2", batch_size=batch, seq_len=128)
        memory = empty.memory(workload, CPU)
        assert memory is not None
        runs.append(a_run(1.3, workload, CPU, peak_memory_mib=1.1 * memory.needed_mib))
    odd = replace(runs[5], peak_memory_mib=min(times * (runs[5].peak_memory_mib or 0), 23_000.0))
    other = a_workload("gpt2", batch_size=8, seq_len=256)
    right = cost(CostModel(runs), other, CPU).admitted_mib
    found = cost(CostModel([*runs[:5], odd, *runs[6:]]), other, CPU).admitted_mib
    assert right <= found < 1.35 * right


# -- where it is said ------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MeasurementStore:
    """Three lines: a good run, one in milliseconds, one with a peak in KiB."""
    monkeypatch.setenv("JETSCHED_HOME", str(tmp_path))
    found = MeasurementStore()
    for run in (a_run(), a_run(1300), a_run(peak_memory_mib=1.5e6, at="2026-11-21T08:00:00Z")):
        found.append(run)
    return found


def test_the_line_of_the_store_is_named(store: MeasurementStore) -> None:
    slip, peak = named(store.numbered())
    assert slip.startswith(f"left out: line 2, {WORK.label} of 2026-11-20T08:00:00Z: a unit")
    assert peak.startswith(f"line 3, {WORK.label} of 2026-11-21T08:00:00Z: peak_memory_mib is 1,5")


@pytest.mark.parametrize("verb", [["costs", "show"], ["estimate", "JOB"], ["plan", "JOB"]])
def test_estimates_costs_and_plans_say_what_they_left_out(
    verb: list[str],
    store: MeasurementStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job, fleet = tmp_path / "job.yaml", tmp_path / "fleet.yaml"
    job.write_text("work: {kind: train, model: gpt2, batch_size: 4, seq_len: 256, samples: 50}\n")
    fleet.write_text("devices:\n  - {model: orin-nano, power_mode: 25W}\n")
    more = ["--fleet", str(fleet)] if verb[0] == "plan" else []
    words = [str(job) if word == "JOB" else word for word in verb]
    monkeypatch.setattr(sys, "argv", ["jetsched", *words, *more, "--json"])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().err
    assert "✗ left out: line 2, " in said
    assert "✗ line 3, " in said


def test_of_many_bad_lines_the_first_are_named_and_the_rest_counted(
    store: MeasurementStore,
) -> None:
    for hour in range(30):
        store.append(a_run(1300, at=f"2026-11-22T{hour:02}:00:00Z"))
    said: list[str] = []
    assert len(read_and_say(store, said.append)) == 33
    assert len(said) == MOST_SAID + 1
    assert said[-1].startswith("✗ and 12 more: ")


def test_an_evaluation_leaves_the_slip_out_and_warns_of_the_peak(store: MeasurementStore) -> None:
    store.append(a_run(workload=WORKS[1]))
    found = evaluate(store.path, "batch")
    assert found.column == "batch_size"
    assert [(flaw.row, flaw.code) for flaw in found.left_out] == [(2, "UnitSlip")]
    assert (3, "IgnoredNumber") in [(flaw.row, flaw.code) for flaw in found.warnings]
    with pytest.raises(InputError, match="there is no column"):
        evaluate(store.path, "batches")


@pytest.mark.parametrize(
    "path", [("time_s",), ("peak_memory_mib",), ("phases_s", "decode"), ("workload", "batch_size")]
)
def test_a_boolean_is_no_number_in_a_line_of_the_store(
    path: tuple[str, ...], store: MeasurementStore
) -> None:
    line = to_json(a_run())
    inner = line
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = True
    store.path.write_text(json.dumps(line) + "\n" + json.dumps(to_json(a_run())) + "\n")
    assert [number for number, _ in store.numbered()] == [2]
    assert ".".join(path) in store.bad[0].text
    assert "true is not a number" in store.bad[0].text
    measured, _ = store.read_on(0)
    assert len(measured) == 1

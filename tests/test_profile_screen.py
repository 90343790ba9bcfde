"""Bounds, repeats, extrapolation and the forms of a profile's rows; the picture."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from builders import NX, ORIN, a_workload

from jetsched.errors import InputError
from jetsched.profile_screen import csv_text, print_profile, profile_json, sensor_notes
from jetsched.profiler.plots import draw, fit_map
from jetsched.profiler.profiling import Row
from jetsched.profiler.suites import EPOCHS, SQUAD_SAMPLES, SUITES, Benchmark, repeated
from jetsched.profiler.whole import whole_of
from jetsched.records import DeviceClass, Job, Measurement, Outcome


def a_benchmark(amount: float = 1000.0) -> Benchmark:
    return Benchmark("train-x", Job("1", a_workload(batch_size=2), amount, name="train-x"))


def a_run(outcome: Outcome = "done", work_s: float = 20.0, time_s: float = 25.0) -> Measurement:
    return Measurement(
        a_workload(batch_size=2),
        NX,
        outcome,
        amount=10.0,
        time_s=time_s,
        load_s=4.0,
        work_s=work_s,
        tokens_per_s=50.0,
        peak_memory_mib=2000.0,
        warmup_s=1.5,
        phases_s={"forward_backward": 15.0, "optimizer": 4.0},
        loss_first=4.0,
        loss_last=3.0,
        device="nx-1",
        random_weights=True,
    )


def steps(folder: Path, *durations_s: float) -> None:
    """The progress events of a child whose steps of two samples took so long."""
    lines, t = [{"event": "started", "t": 0.0}], 0.0
    for number, duration_s in enumerate((9.0, *durations_s), start=1):
        t += duration_s
        lines.append({"event": "progress", "t": t, "done": 2 * number})
    (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_bounded_run_is_extrapolated_to_the_whole_benchmark(tmp_path: Path) -> None:
    steps(tmp_path, 4.0, 4.0, 4.0, 4.0)
    whole = whole_of(a_benchmark(), a_run(), tmp_path)
    assert whole is not None
    assert whole.extrapolated
    assert whole.time_s == pytest.approx(4 + 2 * 1000)
    assert whole.half_s == pytest.approx(0.0)


def test_uneven_steps_widen_the_interval(tmp_path: Path) -> None:
    steps(tmp_path, 3.0, 5.0, 3.0, 5.0)
    whole = whole_of(a_benchmark(), a_run(), tmp_path)
    assert whole is not None and whole.half_s is not None
    assert 100 < whole.half_s < 1000


def test_a_run_to_the_end_is_not_extrapolated(tmp_path: Path) -> None:
    whole = whole_of(a_benchmark(12.0), a_run(), tmp_path)
    assert whole is not None
    assert not whole.extrapolated


def test_a_killed_run_says_nothing_about_the_whole(tmp_path: Path) -> None:
    assert whole_of(a_benchmark(), a_run("killed_memory"), tmp_path) is None


def test_bounds_cut_a_benchmark_and_remember_the_whole() -> None:
    train = next(b for b in SUITES["paper"] if b.name == "train-gpt2")
    assert train.job.amount == EPOCHS * SQUAD_SAMPLES
    assert train.bounded(samples=100).job.amount == 100 * EPOCHS
    assert train.bounded(samples=100, epochs=1).job.amount == 100
    assert train.bounded(epochs=1).job.amount == SQUAD_SAMPLES
    bounded = train.bounded(steps=2)
    assert bounded.max_steps == 3
    assert bounded.whole == train.job.amount
    infer = next(b for b in SUITES["paper"] if b.name == "infer-phi-2")
    assert infer.bounded(samples=5, epochs=1).job.amount == 5
    assert infer.bounded(samples=500).job.amount == infer.job.amount


@pytest.mark.parametrize("bound", ["epochs", "samples", "steps"])
def test_a_bound_that_leaves_nothing_is_refused(bound: str) -> None:
    with pytest.raises(InputError, match=f"--{bound} 0 leaves nothing to run"):
        a_benchmark().bounded(**{bound: 0})


def test_repeats_have_names_of_their_own_and_one_job_name() -> None:
    rounds = repeated(SUITES["demo"], 3)
    assert len({b.name for b in rounds}) == 3 * len(SUITES["demo"])
    assert {b.job.name for b in rounds} == {b.job.name for b in SUITES["demo"]}
    with pytest.raises(InputError, match="--repeat 0"):
        repeated(SUITES["demo"], 0)


def test_a_cpu_takes_single_precision_where_a_gpu_takes_half() -> None:
    infer = next(b for b in SUITES["paper"] if b.name == "infer-phi-2")
    assert infer.on(ORIN).job.workload.precision == "fp16"
    assert infer.on(replace(ORIN, emulated=True)).job.workload.precision == "fp32"
    assert infer.on(DeviceClass("cpu")).job.workload.precision == "fp32"


def test_quick_and_paper_have_at_least_six_rows() -> None:
    assert len(SUITES["quick"]) >= 6
    assert {"tiny-gpt2", "tinygpt2-25m", "distilgpt2", "gpt2"} < {
        b.job.workload.model for b in SUITES["paper"]
    }


def rows() -> list[Row]:
    times = (25.0, 27.5)
    return [
        Row(b, a_run(time_s=t)) for b, t in zip(repeated([a_benchmark()], 2), times, strict=True)
    ]


def test_repeats_are_one_line_with_median_and_spread(capsys: pytest.CaptureFixture[str]) -> None:
    print_profile(rows(), "table")
    out = capsys.readouterr().out
    assert "26 s (spread 10 %)" in out
    assert "DONE x2" in out
    assert "random weights" in out


def test_a_bar_shows_the_time_beside_the_longest(capsys: pytest.CaptureFixture[str]) -> None:
    short = replace(a_benchmark(), name="b", job=replace(a_benchmark().job, name="b"))
    print_profile([*rows(), Row(short, a_run(time_s=5.25))], "table")
    long, quick = capsys.readouterr().out.splitlines()[1:3]
    assert (long.count("█"), quick.count("█")) == (10, 2)


def test_markdown_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_profile(rows(), "md")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| BENCHMARK | WORKLOAD |")
    assert len({line.count("|") for line in lines}) == 1


def test_csv_has_a_line_per_run_with_units_in_the_names() -> None:
    found = list(csv.DictReader(io.StringIO(csv_text(rows()))))
    assert [row["time_s"] for row in found] == ["25.0", "27.5"]
    assert found[0]["outcome"] == "done"
    assert found[0]["gpu_util_pct"] == ""


def test_the_time_is_split_in_table_csv_and_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    print_profile(rows(), "table")
    header = capsys.readouterr().out.splitlines()[0]
    assert {"WARM-UP", "FWD+BWD", "OPTIMIZER", "PREFILL", "DECODE"} <= set(header.split())
    (first, _) = csv.DictReader(io.StringIO(csv_text(rows())))
    assert (first["warmup_s"], first["forward_backward_s"]) == ("1.5", "15.0")
    assert (first["optimizer_s"], first["prefill_s"]) == ("4.0", "")
    assert profile_json(rows())[0]["phases_s"] == {"forward_backward": 15.0, "optimizer": 4.0}
    monkeypatch.setenv("COLUMNS", "100")
    print_profile(rows(), "table")
    narrow = capsys.readouterr().out.splitlines()[:2]
    assert max(len(line) for line in narrow) <= 100
    assert "DECODE" not in narrow[0] and "LOAD" in narrow[0] and "RESULT" in narrow[0]


def test_what_a_sensor_refused_is_one_note() -> None:
    problem = "GPU load: no permission for /sys/devices/gpu.0/load"
    refused = {"telemetry": {"problems": [problem]}}
    told = [row._replace(measurement=replace(row.measurement, identity=refused)) for row in rows()]
    assert sensor_notes(told) == [f"sensors: {problem}"]
    assert sensor_notes(rows()) == []


def test_json_has_at_least_the_fields_of_the_contract() -> None:
    (first, _) = profile_json(rows())
    assert {
        *("workload", "outcome", "time_s", "load_s", "tokens_per_s", "peak_memory_mib"),
        *("gpu_util_pct", "energy_j", "source"),
    } <= set(first)
    assert first["energy_j"] is None


def test_the_picture_shows_what_was_killed_and_what_was_not_tried(tmp_path: Path) -> None:
    killed = Measurement(a_workload("gpt2"), NX, "killed_memory", peak_memory_mib=NX.memory_mib)
    on_orin = Measurement(a_workload("tiny-gpt2"), ORIN, "done", 10.0, 5.0, 1.0, None, 4.0)
    measured = [killed, on_orin]
    found = fit_map(measured)
    assert found[a_workload("gpt2"), NX] == "never"
    assert found[a_workload("tiny-gpt2"), ORIN] == "fits"
    assert found[a_workload("tiny-gpt2"), NX] in ("fits", "tight", "unknown")
    draw(measured, tmp_path / "profile.png")
    assert (tmp_path / "profile.png").read_bytes().startswith(b"\x89PNG")

"""`costs show` and `costs plot`: what is known where, who says so, and how good that is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import NX, ORIN, a_workload
from hypothesis import given
from hypothesis import strategies as st

import jetsched.profiler.heldout as heldout
from jetsched.costs_screen import known_json, print_known
from jetsched.errors import InputError
from jetsched.profiler.costs import CostModel
from jetsched.profiler.evidence import cost_key
from jetsched.profiler.heldout import Guess, held_out, score
from jetsched.profiler.known import MOST, Knowledge, Known, known
from jetsched.profiler.labels import device_labels, software_of, workload_labels
from jetsched.profiler.plots_costs import draw
from jetsched.profiler.store import MeasurementStore
from jetsched.records import DeviceClass, Measurement, Workload

EMULATED = DeviceClass("xavier-nx", "", "torch-2.13.0+cpu", 3075.0, emulated=True)


def a_run(
    workload: Workload, where: DeviceClass = NX, rate_s: float = 0.2, **changes: Any
) -> Measurement:
    """A run of twenty units of work to its end."""
    base = Measurement(
        workload,
        where,
        "done",
        amount=20.0,
        time_s=5.0 + 20 * rate_s,
        load_s=5.0,
        work_s=20 * rate_s,
        peak_memory_mib=2500.0,
        live_memory_mib=1800.0,
        power_w=10.0,
        device="nx-1" if where == NX else "other",
        at="2026-11-20T10:00:00+00:00",
        emulated=where.emulated,
    )
    return replace(base, **changes)


def a_kill(workload: Workload, where: DeviceClass = NX, **changes: Any) -> Measurement:
    base = Measurement(
        workload,
        where,
        "killed_memory",
        peak_memory_mib=where.memory_mib,
        device="nx-1",
        at="2026-11-21T10:00:00+00:00",
    )
    return replace(base, **changes)


def asked(measurements: Sequence[Measurement], **options: Any) -> Knowledge:
    return known(measurements, CostModel(measurements), **options)


def row_of(found: Knowledge, workload: Workload, where: DeviceClass) -> Known:
    (row,) = (r for r in found.rows if (r.workload, r.device_class) == (cost_key(workload), where))
    return row


def shown(capsys: pytest.CaptureFixture[str], found: Knowledge, **options: bool) -> str:
    capsys.readouterr()
    print_known(found, **options)
    return capsys.readouterr().out


# ------------------------------------------------------------------------------------ what is known


def test_before_anything_was_measured_the_papers_workloads_are_assumed_on_its_boards() -> None:
    found = asked([])
    assert [device.model for device in found.devices] == ["xavier-nx", "orin-nano"]
    assert len(found.workloads) == 6 and len(found.rows) == 12
    assert {row.source for row in found.rows if row.rate_s is not None} == {"assumed"}
    assert {row.runs for row in found.rows} == {0}


def test_a_measured_pair_says_so_and_what_stands_behind_it() -> None:
    work = a_workload()
    rows = [a_run(work), a_run(work, rate_s=0.22, at="2026-11-22T10:00:00+00:00")]
    row = row_of(asked(rows), work, NX)
    assert (row.source, row.method, row.measurements, row.runs) == ("measured", "table", 2, 2)
    assert row.rate_s == pytest.approx(0.21)
    assert row.rate_p90_s is not None and row.rate_p90_s > 0.21
    assert row.last_seen == "2026-11-22T10:00:00+00:00"
    assert row.peak_memory_mib == 2500
    assert row.energy_j == pytest.approx(10 * 0.21)
    assert row.unit == "sample"


def test_the_answers_are_those_that_the_scheduler_gets() -> None:
    rows = [a_run(a_workload()), a_kill(a_workload("gpt2"))]
    costs = CostModel(rows)
    for row in known(rows, costs).rows:
        cost = costs.cost(row.workload, row.device_class)
        assert getattr(cost, "rate_s", None) == row.rate_s
        assert getattr(cost, "admitted_mib", None) == row.admitted_mib


def test_a_kill_is_never_and_is_told_apart_from_what_is_only_counted() -> None:
    rows = [a_kill(a_workload("gpt2")), a_run(a_workload())]
    found = asked(rows)
    killed = row_of(found, a_workload("gpt2"), NX)
    assert (killed.fits, killed.killed, killed.kills, killed.source) == (
        *("never", True),
        *(1, "measured"),
    )
    counted = row_of(asked([a_run(a_workload("gpt2", batch_size=64))]), a_workload(), NX)
    assert not counted.killed


def test_a_run_that_was_killed_with_less_memory_does_not_make_it_never() -> None:
    work, small = a_workload(), replace(NX, memory_mib=1500.0)
    earlier = a_kill(work, small, at="2026-11-19T10:00:00+00:00")
    row = row_of(asked([earlier, a_run(work)]), work, NX)
    assert (row.fits, row.kills, row.killed) == ("fits", 1, False)


def test_devices_are_all_that_something_was_measured_on_and_the_papers_boards() -> None:
    later = replace(NX, memory_mib=6000.0)
    rows = [
        a_run(a_workload(), NX),
        a_run(a_workload(), EMULATED),
        a_run(a_workload(), later, at="2026-11-23T10:00:00+00:00"),
    ]
    labels = [(d.label, d.memory_mib) for d in asked(rows).devices]
    assert labels[:2] == [("xavier-nx @ 15W_6CORE", 6000.0), ("xavier-nx (emulated)", 3075.0)]
    assert [d.model for d in asked(rows).devices[2:]] == ["orin-nano"]


def test_an_emulated_board_does_not_stand_for_the_real_one() -> None:
    labels = {device.label for device in asked([a_run(a_workload(), EMULATED)]).devices}
    assert {"xavier-nx (emulated)", "xavier-nx @ 20W_6CORE"} <= labels


def test_a_board_that_was_only_calibrated_is_there_as_well() -> None:
    found = known([], CostModel(), [ORIN])
    assert ORIN in found.devices


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("nx-1", {"xavier-nx @ 15W_6CORE"}),
        ("orin-nano", {"orin-nano @ 25W"}),
        ("AGX", {"agx-xavier @ MAXN", "agx-orin @ MAXN"}),
        ("emulated", {"xavier-nx (emulated)"}),
        ("15w", {"xavier-nx @ 15W_6CORE"}),
    ],
)
def test_a_device_is_named_by_id_model_or_mode(name: str, labels: set[str]) -> None:
    rows = [a_run(a_workload(), NX), a_run(a_workload(), EMULATED)]
    assert {device.label for device in asked(rows, device=name).devices} == labels


def test_a_workload_is_named_by_any_words_of_it() -> None:
    rows = [a_run(a_workload(batch_size=b)) for b in (2, 4)]
    found = asked(rows, workload="distil B4x")
    assert [w.batch_size for w in found.workloads] == [4]


def test_a_name_that_nothing_has_is_an_error_that_says_what_there_is() -> None:
    with pytest.raises(InputError, match="no device 'nano-9'") as device:
        asked([], device="nano-9")
    assert "orin-nano" in device.value.hint
    with pytest.raises(InputError, match="has 'bert' in its name") as workload:
        asked([], workload="bert")
    assert "jetsched estimate" in workload.value.hint


def test_of_many_workloads_the_last_ones_are_shown_and_the_rest_is_counted() -> None:
    rows = [
        a_run(a_workload(batch_size=2, seq_len=s), at=f"2026-11-01T00:00:00.{s:06}+00:00")
        for s in range(1, 101)
    ]
    found = asked(rows)
    assert len(found.workloads) == MOST and found.left_out == 100 + 6 - MOST
    assert {100, 99} <= {w.seq_len for w in found.workloads if w.batch_size == 2}
    assert len(asked(rows, everything=True).workloads) == 106


def test_names_of_one_workload_are_one_row() -> None:
    rows = [a_run(a_workload(dataset=name), job_id=name) for name in ("squad", "other")]
    assert [r.runs for r in asked(rows, workload="distilgpt2", device="nx-1").rows] == [2]


# ---------------------------------------------------------------------------------------- warnings


def test_what_cannot_be_true_is_a_warning_on_its_pair() -> None:
    """A thousandth of a millisecond for a sample of gpt2: no board is that fast."""
    work = a_workload("gpt2", batch_size=2)
    row = row_of(asked([a_run(work, rate_s=1e-6)]), work, NX)
    assert row.warnings
    assert not row_of(asked([a_run(work, rate_s=0.6)]), work, NX).warnings


def test_repeats_that_contradict_each_other_are_a_warning() -> None:
    work = a_workload()
    rows = [a_run(work), a_run(work, rate_s=0.5, at="2026-11-22T10:00:00+00:00")]
    (text,) = row_of(asked(rows), work, NX).warnings
    assert text == "repeats differ 2.5-fold: 200 ms to 500 ms"


# ------------------------------------------------------------------------------------- on a screen


def test_the_table_shows_fit_time_and_source_of_each_pair(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [a_run(a_workload()), a_kill(a_workload("gpt2"))]
    out = shown(capsys, asked(rows, device="nx-1"))
    lines = {line.split("  ")[1]: line for line in out.splitlines() if line.startswith("  train")}
    assert "✓ 200 ms (m)" in lines["train distilgpt2 b8x384 fp32"]
    assert "✗ killed (m)" in lines["train gpt2 b8x384 fp32"]
    assert (
        "(a)" in lines["train tiny-gpt2 b8x384 fp32"]
        or "(e)" in lines["train tiny-gpt2 b8x384 fp32"]
    )
    assert out.splitlines()[-1].startswith("Next: jetsched costs plot")
    assert "\x1b" not in out


def test_in_a_hundred_columns_no_line_is_longer_and_what_has_no_room_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [a_run(a_workload(), where) for where in (NX, ORIN, EMULATED)]
    for long in (False, True):
        for columns in (80, 100):
            monkeypatch.setenv("COLUMNS", str(columns))
            out = shown(capsys, asked(rows, everything=True), long=long)
            table = [line for line in out.splitlines() if line.startswith(("  train", "  infer"))]
            assert max(map(len, table)) <= columns
            assert long or "No room for" in out


def test_the_measured_boards_are_the_last_columns_to_go(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    out = shown(capsys, asked([a_run(a_workload(), ORIN)], everything=True))
    assert "orin-nano" in out.splitlines()[1]
    assert "agx-orin" not in out.splitlines()[1]


def test_the_long_form_has_a_line_for_each_pair_with_the_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = asked([a_run(a_workload()), a_kill(a_workload("gpt2"))], device="nx-1")
    out = shown(capsys, found, long=True)
    assert "(m) table" in out
    assert "killed here on 2026-11-21" in out
    assert sum(line.startswith(("  train", "  infer")) for line in out.splitlines()) == 6


def test_json_has_a_flat_object_for_each_pair() -> None:
    rows = json.loads(
        json.dumps(known_json(asked([a_run(a_workload()), a_kill(a_workload("gpt2"))])))
    )
    (row,) = (r for r in rows if r["source"] == "measured" and r["fits"] == "fits")
    assert row["workload"] == "train distilgpt2 b8x384 fp32"
    assert row["key"] == cost_key(a_workload()).key
    assert (row["model"], row["power_mode"], row["emulated"]) == ("xavier-nx", "15W_6CORE", False)
    assert row["rate_s"]["p50"] == pytest.approx(0.2) and row["rate_s"]["p90"] > 0.2
    (killed,) = (r for r in rows if r["kills"])
    assert (killed["fits"], killed["code"], killed["rate_s"]) == ("never", "NeverFits", None)
    assert len({frozenset(r) for r in rows}) == 1, "all have the same keys"


# -------------------------------------------------------------------------------------------- names


def test_workloads_of_one_label_are_told_apart() -> None:
    works = [
        a_workload(),
        a_workload(head="lm"),
        a_workload(gradient_checkpointing=True),
        a_workload(accumulation_steps=4),
        a_workload("other/distilgpt2"),
    ]
    labels = workload_labels(works)
    assert len(set(labels.values())) == len(works)
    assert labels[works[1]].endswith(" lm distilgpt2") or " lm" in labels[works[1]]
    assert workload_labels(works[:1])[works[0]] == works[0].label


def test_a_command_is_called_by_what_it_runs() -> None:
    work = Workload("command", "gpt2", command="python mine.py", like="train")
    assert workload_labels([work])[work] == "command python mine.py"


@given(
    st.lists(
        st.builds(
            Workload,
            st.sampled_from(["train", "infer", "command"]),
            st.sampled_from(["gpt2", "a/gpt2"]),
            head=st.sampled_from(["qa", "lm"]),
            gradient_checkpointing=st.booleans(),
            accumulation_steps=st.sampled_from([1, 4]),
            command=st.sampled_from(["", "x", "y"]),
            like=st.sampled_from(["", "train"]),
        ),
        unique=True,
        max_size=12,
    )
)
def test_no_two_workloads_share_a_label(works: list[Workload]) -> None:
    labels = workload_labels(works)
    assert len(set(labels.values())) == len(works)


def test_software_is_named_only_where_it_tells_devices_apart() -> None:
    old = replace(NX, software="jetpack-5 torch-1.12.1+cu102")
    new = replace(NX, software="jetpack-5 torch-2.1.0+cu114")
    assert software_of([old, new, ORIN]) == ["torch-1.12.1", "torch-2.1.0", ""]
    assert device_labels([old, new])[old] == "xavier-nx @ 15W_6CORE torch-1.12.1"


# --------------------------------------------------------------------------------------- held out


def test_a_workload_is_predicted_without_its_own_runs() -> None:
    """Its time is ten times what the others say: who had seen it would know."""
    rows = [a_run(a_workload(batch_size=b), rate_s=0.2) for b in (2, 4, 16)]
    odd = a_workload(batch_size=8)
    guesses = held_out([*rows, a_run(odd, rate_s=2.0)])
    (guess,) = (g for g in guesses if g.workload.batch_size == 8)
    assert guess.predicted_s is not None and guess.predicted_s < 0.6
    assert guess.source == "estimated"
    assert len(guesses) == 4


def test_the_only_workload_is_predicted_by_the_data_sheet() -> None:
    (guess,) = held_out([a_run(a_workload())])
    assert (guess.source, guess.method) == ("assumed", "datasheet")


def test_a_data_set_does_not_make_another_workload() -> None:
    """Else a run of the same work would predict it."""
    rows = [a_run(a_workload(dataset=name)) for name in ("squad", "other")]
    assert {guess.method for guess in held_out(rows)} == {"datasheet"}


def test_what_was_killed_swapped_or_assumed_is_no_measured_time() -> None:
    work = a_workload()
    rows = [
        a_kill(work),
        a_run(work, swap_delta_mib=500.0),
        a_run(work, source="assumed"),
        a_run(work, amount=0.0),
    ]
    assert held_out(rows) == []


def test_many_workloads_are_held_out_in_groups_and_none_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heldout, "GROUPS", 3)
    rows = [a_run(a_workload(batch_size=2, seq_len=s)) for s in range(8, 18)]
    told: list[tuple[int, int]] = []
    guesses = held_out(rows, said=lambda done, total: told.append((done, total)))
    assert sorted(g.workload.seq_len for g in guesses) == list(range(8, 18))
    assert told == [(0, 3), (1, 3), (2, 3)]
    assert {g.method for g in guesses} == {"fitted"}


def test_the_score_is_the_mean_and_median_error_and_how_often_the_p90_held() -> None:
    work = a_workload()
    guesses = [
        Guess(work, NX, 1.0, 1.1, 1.3),
        Guess(work, NX, 1.0, 0.7, 0.9),
        Guess(work, NX, 2.0, 2.0, 2.2),
        Guess(work, NX, 1.0, None),
    ]
    found = score(guesses)
    assert found.predicted == 3
    assert found.mape_pct == pytest.approx(40 / 3)
    assert found.median_ape_pct == pytest.approx(10)
    assert found.p90_coverage == pytest.approx(2 / 3)
    assert score([]).mape_pct is None


# ---------------------------------------------------------------------------------------- the verbs


def jetsched(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jetsched", *words],
        env={**os.environ, "JETSCHED_HOME": str(home), "MPLCONFIGDIR": str(home / "mpl")},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_picture_is_written_with_whatever_was_measured(tmp_path: Path) -> None:
    rows = [
        *(a_run(a_workload(batch_size=b), where) for b in (2, 4) for where in (NX, EMULATED)),
        a_kill(a_workload("gpt2")),
        a_run(a_workload("nobody/knows-this-model")),
    ]
    path = tmp_path / "costs.png"
    draw(held_out(rows), asked(rows), path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_bare_costs_shows_the_table_and_plot_draws_it(tmp_path: Path) -> None:
    nothing = jetsched(tmp_path, "costs", "plot", "--out", str(tmp_path / "x.png"))
    assert nothing.returncode == 2
    assert "no time was measured yet" in nothing.stderr
    assert "jetsched profile --quick" in nothing.stderr
    store = MeasurementStore(tmp_path / "measurements.jsonl")
    for batch_size in (2, 4):
        store.append(a_run(a_workload(batch_size=batch_size)))
    with open(store.path, "a") as lines:
        lines.write("not a measurement\n")
    bare, rows = jetsched(tmp_path, "costs"), jetsched(tmp_path, "costs", "--json")
    assert "train distilgpt2 b2x384 fp32" in bare.stdout
    assert "measurements.jsonl" in bare.stderr, "the bad line is named"
    assert {row["source"] for row in json.loads(rows.stdout)} >= {"measured"}
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        path = tmp_path / f"x.{kind}"
        drawn = jetsched(tmp_path, "costs", "plot", "--out", str(path))
        assert drawn.returncode == 0 and path.read_bytes().startswith(start)
    assert "Next: jetsched costs show" in drawn.stdout

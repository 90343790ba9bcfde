"""The data of the fit map: a choice of work, models x boards, and the memory of one cell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import NX, ORIN, a_workload
from hypothesis import given, settings
from hypothesis import strategies as st
from test_costs_show import a_kill, a_run

from jetsched.errors import InputError
from jetsched.jobfile import parse_job
from jetsched.problems import FileProblems
from jetsched.profiler.costs import CostModel
from jetsched.profiler.devices import DEVICE_MODELS
from jetsched.profiler.fitdetail import counted, fit_detail
from jetsched.profiler.fitmap import Cell, cell_of, fit_map, models_of
from jetsched.profiler.known import by_sheet, known
from jetsched.profiler.models import KNOWN
from jetsched.profiler.seen import LAST, Sightings
from jetsched.profiler.workchoice import FIELDS, work_choice
from jetsched.records import Measurement, Workload


def cells(*measured: Measurement, **params: str) -> dict[str, Cell]:
    """The cells of the NX, by model."""
    costs, sightings = CostModel(measured), Sightings(measured)
    found = fit_map(work_choice(params), [NX], costs, sightings)
    return {model: row[0] for model, row in zip(found.models, found.cells, strict=True)}


# --------------------------------------------------------------------------------- the choice


def test_nothing_chosen_is_the_usual_training() -> None:
    assert work_choice({}).of("distilgpt2") == a_workload()


def test_a_choice_is_said_in_the_fields_of_a_job_file() -> None:
    """Its own job file means the same work, and as much of it."""
    choice = work_choice(
        {"batch_size": "4", "method": "lora", "gradient_checkpointing": "on", "samples": "50"}
    )
    spec = parse_job(choice.job_file("gpt2"))
    assert spec.workload == choice.of("gpt2")
    assert spec.workload.gradient_checkpointing and spec.workload.lora_rank == 8
    assert spec.amount == choice.amount == 50


def test_inference_has_fields_of_its_own() -> None:
    choice = work_choice({"kind": "infer", "prompts": "7", "seq_len": "not of this kind"})
    assert choice.workload.precision == "fp16"
    assert (choice.amount, choice.tokens) == (7, 128)
    assert parse_job(choice.job_file("phi-2")).workload == choice.of("phi-2")


@pytest.mark.parametrize("number", ["-5", "0"])
def test_a_number_that_is_too_low_is_not_taken_for_a_text(number: str) -> None:
    with pytest.raises(FileProblems) as raised:
        work_choice({"batch_size": number})
    assert [problem.message for problem in raised.value.problems] == [f"{number} is below 1"]


def test_all_that_is_wrong_with_a_choice_is_said_at_once() -> None:
    with pytest.raises(InputError) as error:
        work_choice({"batch_size": "0", "seq_len": "long", "precision": "int8"})
    for words in ("0 is below 1", "needs a whole number", "not one of fp32, fp16, bf16"):
        assert words in str(error.value)


@pytest.mark.parametrize("kind", ["command", "fly", "<script>"])
def test_what_is_no_work_with_a_model_is_refused(kind: str) -> None:
    with pytest.raises(InputError, match="nothing to be done with a model") as error:
        work_choice({"kind": kind})
    assert "train, infer" in error.value.hint


@pytest.mark.parametrize("model", ["/etc", "~/models", "../x", "a b", "<script>"])
def test_no_folder_of_the_head_can_be_asked_for(model: str) -> None:
    with pytest.raises(InputError):
        work_choice({"model": model})


def test_a_file_of_prompts_on_the_head_cannot_be_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("hello\n")
    with pytest.raises(InputError, match="not a file that the head lets others name"):
        work_choice({"kind": "infer", "prompts": str(file)})


@given(
    st.dictionaries(
        st.sampled_from([*FIELDS["train"], *FIELDS["infer"], "kind", "model", "other"]),
        st.text(max_size=12) | st.integers(-3, 10**7).map(str) | st.sampled_from(["infer", "lora"]),
    )
)
def test_an_address_is_a_choice_or_refused(params: dict[str, str]) -> None:
    """Whatever somebody writes into it."""
    try:
        choice = work_choice(params)
    except InputError:
        return
    assert work_choice(choice.fields) == choice


# ------------------------------------------------------------------------------------ the map


def test_all_models_with_a_name_are_in_the_map() -> None:
    assert list(cells()) == [model.name for model in KNOWN]


def test_a_model_that_is_asked_for_comes_first_and_what_was_measured_last() -> None:
    mine = a_run(a_workload("/models/mine"))
    found = models_of(work_choice({"model": "me/mine"}), Sightings([mine]))
    assert found[0] == "me/mine"
    assert found[-1] == "/models/mine"


def test_a_cell_says_what_costs_show_says() -> None:
    """Both are the cost model's answer, with what its runs say."""
    measured = [a_run(a_workload()), a_kill(a_workload("gpt2")), a_run(a_workload(), ORIN)]
    found = known(measured, CostModel(measured), device="xavier-nx", workload="train")
    told = {row.workload.model: row for row in found.rows}
    here = cells(*measured)
    for model in ("distilgpt2", "gpt2"):
        assert replace(here[model].known, device_class=NX) == replace(told[model], device_class=NX)


def test_what_was_killed_there_is_said_to_be() -> None:
    cell = cells(a_kill(a_workload("gpt2")))["gpt2"]
    assert (cell.fits, cell.word) == ("never", "killed")
    assert cell.known.source == "measured"


def test_what_is_too_much_says_how_much_it_needs() -> None:
    cell = cells()["phi-2"]
    assert cell.fits == "never"
    assert cell.word.startswith("needs ") and cell.word.endswith(" GiB")


def test_what_the_board_cannot_compute_in_is_said() -> None:
    cell = cells(precision="bf16")["tiny-gpt2"]
    assert (cell.fits, cell.word) == ("never", "no bf16")


def test_texts_that_a_model_cannot_look_at_are_too_long_for_it() -> None:
    found = cells(seq_len="1500")
    assert found["gpt2"].word == "too long"
    assert "looks at 1,024 tokens at most" in found["gpt2"].known.reason
    assert found["tinyllama-1.1b"].word != "too long"


def test_of_a_model_that_nothing_describes_nothing_is_known() -> None:
    cell = cells(model="nobody/knows-it")["nobody/knows-it"]
    assert (cell.fits, cell.word) == ("unknown", "not known")
    assert "config.json" in cell.known.reason


def test_a_run_to_its_end_makes_a_cell_green() -> None:
    """What is only counted may be tight; what ran there fits."""
    work = a_workload("distilgpt2", head="lm", precision="fp16")
    before = cells(head="lm", precision="fp16")["distilgpt2"]
    after = cells(a_run(work, peak_memory_mib=5900.0), head="lm", precision="fp16")["distilgpt2"]
    assert before.fits == "tight"
    assert (after.fits, after.known.source) == ("fits", "measured")


# --------------------------------------------------------------------------------- the detail


@settings(deadline=None, max_examples=60)
@given(
    model=st.sampled_from([model.name for model in KNOWN]),
    device=st.sampled_from([name for name in DEVICE_MODELS if name != "cpu"]),
    work=st.fixed_dictionaries(
        {
            "batch_size": st.sampled_from(["1", "2", "8", "64"]),
            "seq_len": st.sampled_from(["16", "128", "384", "1024"]),
            "precision": st.sampled_from(["fp32", "fp16"]),
            "method": st.sampled_from(["full", "lora"]),
            "head": st.sampled_from(["qa", "lm"]),
            "gradient_checkpointing": st.sampled_from(["", "on"]),
        }
    ),
)
def test_the_megabytes_add_up(model: str, device: str, work: dict[str, str]) -> None:
    """Tensors to the live bytes, all parts to what is admitted; none is below nothing."""
    workload, where = work_choice(work).of(model), by_sheet(device)
    costs = CostModel()
    found = counted(costs, workload, where)
    assert found is not None
    assert all(part.mib > 0 for part in found.parts)
    live_mib = sum(part.mib for part in found.parts if part.layer == "live")
    assert live_mib == pytest.approx(found.live_mib, abs=0.5)
    assert sum(part.mib for part in found.parts) == pytest.approx(found.admitted_mib, abs=0.5)
    verdict = costs.cost(workload, where)
    assert verdict.admitted_mib == pytest.approx(found.admitted_mib)


def a_detail(*measured: Measurement, model: str = "distilgpt2", **params: str) -> Any:
    costs, sightings = CostModel(measured), Sightings(measured)
    return fit_detail(work_choice(params), model, NX, costs, sightings)


def test_what_is_counted_stays_beside_what_was_measured() -> None:
    """A run changes what is admitted, not what is counted from the shape."""
    before, after = a_detail(), a_detail(a_run(a_workload(), peak_memory_mib=2000.0))
    assert after.counted.live_mib == before.counted.live_mib
    assert (after.peak_mib, after.live_mib) == (2000.0, 1800.0)
    assert after.estimate.admitted_mib < before.estimate.admitted_mib


def test_what_is_needed_in_any_case_is_what_the_verdict_says() -> None:
    """By the shape, and where a run on a larger board has told another peak than the shape does."""
    small = replace(NX, memory_mib=2000.0)
    for runs in ((), (a_run(a_workload(), peak_memory_mib=5000.0, live_memory_mib=4500.0),)):
        costs, sightings = CostModel(runs), Sightings(runs)
        found = fit_detail(work_choice({}), "distilgpt2", small, costs, sightings)
        assert found.needs is not None
        live, beside = (f"{mib:,.0f}" for mib in found.needs[:2])
        assert found.cell.fits == "never"
        assert f"needs {live} MiB live + {beside} " in found.cell.known.reason
        assert found.needs.source == ("measured" if runs else "estimated")


def test_the_time_has_the_spread_of_the_runs() -> None:
    runs = [
        a_run(a_workload(), rate_s=r, at=f"2026-11-2{n}") for n, r in enumerate((0.2, 0.3, 0.25))
    ]
    found = a_detail(*runs, samples="100")
    assert (found.timed.runs, found.timed.fastest_s, found.timed.slowest_s) == (3, 0.2, 0.3)
    assert found.timed.median_s == pytest.approx(0.25)
    whole = found.estimate.time_s
    assert whole.p50 == pytest.approx(5.0 + 100 * 0.25)
    assert whole.p90 > whole.p50


def test_a_run_that_was_killed_tells_no_time_but_is_listed() -> None:
    found = a_detail(a_kill(a_workload()))
    assert found.timed is None
    assert (found.runs, found.kills) == (1, 1)
    assert [run.outcome for run in found.last] == ["killed_memory"]


def test_what_would_make_it_fit_is_said() -> None:
    assert any("batch_size" in text for text in a_detail(model="gpt2", head="lm").estimate.hint)


def test_the_last_runs_are_listed_the_latest_first() -> None:
    runs = [a_run(a_workload(), at=f"2026-11-20T10:{n:02d}:00+00:00") for n in range(LAST + 5)]
    found = a_detail(*runs)
    assert found.runs == LAST + 5
    assert [run.at for run in found.last] == [m.at for m in reversed(runs[-LAST:])]


def test_a_command_has_no_row_of_its_own() -> None:
    """What it is like is only a guess at it."""
    command = a_run(
        Workload("command", "gpt2", batch_size=8, seq_len=384, command="x", like="train")
    )
    cell = cell_of(work_choice({}), "gpt2", NX, CostModel([command]), Sightings([command]))
    assert cell.known.source != "measured"

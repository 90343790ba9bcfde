"""The smallest changes that make a job fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from builders import NX, a_job, a_workload
from hypothesis import given, settings
from hypothesis import strategies as st

from jetsched.cluster.suggestions import in_one_line, least_in_words, suggestions
from jetsched.profiler.advice import estimate_hint, least_memory
from jetsched.profiler.costs import CostModel
from jetsched.records import (
    Device,
    DeviceClass,
    Estimate,
    Job,
    Measurement,
    Never,
    Verdict,
    Workload,
)

CONFIGS = Path(__file__).resolve().parent.parent / "profiler/data/configs"


def test_the_batch_is_halved_as_often_as_needed_and_no_more() -> None:
    job = a_job(model="gpt2")  # batch 8 does not fit a Xavier NX
    changes = estimate_hint(CostModel(), job, NX)
    assert [change.text for change in changes] == ["batch_size 4", "gradient_checkpointing"]
    assert all(change.admitted_mib <= NX.memory_mib for change in changes)


def test_each_change_that_is_offered_fits() -> None:
    model = CostModel()
    for job in (
        a_job(model="gpt2", workload=a_workload("gpt2", batch_size=64)),
        a_job(workload=a_workload("tinyllama-1.1b", head="lm")),
        a_job(workload=Workload("infer", "phi-2", prompt_tokens=64, max_new_tokens=64)),
    ):
        for where in (NX, DeviceClass("orin-nano", "25W", memory_mib=6907.0)):
            assert isinstance(model.verdict(job, where), Never)
            for change in estimate_hint(model, job, where):
                found = model.verdict(replace(job, workload=change.workload), where)
                assert isinstance(found, Estimate) and found.fit == "fits"


def test_two_changes_are_offered_only_where_one_does_not_do() -> None:
    job = a_job(workload=a_workload("tinyllama-1.1b"))
    changes = estimate_hint(CostModel(), job, DeviceClass("orin-nano", memory_mib=6907.0))
    assert [change.text for change in changes] == ["method lora, batch_size 1"]


def test_a_job_that_fits_needs_no_advice() -> None:
    assert estimate_hint(CostModel(), a_job(), NX) == ()


def test_a_tight_job_gets_some() -> None:
    room = replace(NX, memory_mib=6960.0)
    assert estimate_hint(CostModel(), a_job(model="gpt2"), room)


def test_after_a_kill_the_advice_is_below_what_was_killed() -> None:
    killed = Measurement(a_workload(batch_size=4), NX, "killed_memory", peak_memory_mib=6150.0)
    texts = [change.text for change in estimate_hint(CostModel([killed]), a_job(), NX)]
    assert "batch_size 2" in texts


def test_inference_may_be_halved_in_precision() -> None:
    job = a_job(workload=Workload("infer", "phi-2", prompt_tokens=64, max_new_tokens=64))
    orin = DeviceClass("orin-nano", "25W", memory_mib=6907.0)
    assert [c.text for c in estimate_hint(CostModel(), job, orin)] == ["precision fp16"]


def test_what_the_chip_lacks_is_avoided_by_another_precision() -> None:
    job = a_job(workload=a_workload(precision="bf16"))
    assert [c.text for c in estimate_hint(CostModel(), job, NX)] == ["precision fp16"]
    too_big = a_job(workload=a_workload("gpt2", precision="bf16", batch_size=16))
    texts = [c.text for c in estimate_hint(CostModel(), too_big, NX)]
    assert texts and all(text.startswith("precision fp16, ") for text in texts)
    assert texts[0].startswith("precision fp16, batch_size ")


def test_texts_are_cut_only_where_nothing_else_helps_and_no_more_than_needed(
    tmp_path: Path,
) -> None:
    """A long context of LoRA training at batch 1: the smaller half of it does not fit any more."""
    config = json.loads((CONFIGS / "gpt2.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "n_positions": 16384}))
    work = a_workload(str(tmp_path), method="lora", head="lm", seq_len=16384, batch_size=4)
    work = replace(work, gradient_checkpointing=True)
    model, job = CostModel(), a_job(workload=work)
    (change,) = estimate_hint(model, job, NX)
    length = change.workload.seq_len
    assert change.text == f"batch_size 1, seq_len {length}" and length < 16384
    longer = replace(change.workload, seq_len=2 * length)
    found = model.verdict(replace(job, workload=longer), NX)
    assert isinstance(found, Never) or found.fit == "tight"


def test_texts_are_not_left_longer_than_the_model_can_look_at() -> None:
    """GPT-2 has 1,024 positions: 2,048 tokens would fit the board, but no GPT-2 takes them."""
    work = a_workload("gpt2", method="lora", head="lm", seq_len=8192, batch_size=4)
    work = replace(work, gradient_checkpointing=True)
    (change,) = estimate_hint(CostModel(), a_job(workload=work), NX)
    assert change.text == "batch_size 1, seq_len 1024"


def test_a_precision_that_is_lacking_goes_with_other_settings() -> None:
    """LoRA in bf16 on Volta, and fp16 training on a CPU, where the other precision needs more."""
    big = a_workload("tinyllama-1.1b", precision="bf16", batch_size=1)
    texts = [c.text for c in estimate_hint(CostModel(), a_job(workload=big), NX)]
    assert texts and all(t.startswith("precision ") and "method lora" in t for t in texts)
    here = DeviceClass("cpu", memory_mib=1500.0)
    small = a_workload("distilgpt2", precision="fp16", batch_size=64, seq_len=512)
    changes = estimate_hint(CostModel(), a_job(workload=small), here)
    assert changes and all(c.workload.precision != "fp16" for c in changes)


def test_training_in_half_precision_may_need_more_than_in_full() -> None:
    """It keeps weights twice, which LoRA with few tokens does not get back from activations."""
    work = a_workload("gpt2", precision="fp16", batch_size=1, seq_len=16, method="lora")
    model = CostModel()
    least = model.verdict(a_job(workload=replace(work, precision="fp32")), NX)
    most = model.verdict(a_job(workload=work), NX)
    assert isinstance(least, Estimate) and isinstance(most, Estimate)
    assert least.admitted_mib < most.admitted_mib
    room = replace(NX, memory_mib=least.admitted_mib + 10)
    texts = [c.text for c in estimate_hint(CostModel(), a_job(workload=work), room)]
    assert "precision fp32" in texts


def test_two_settings_are_offered_together_where_each_alone_is_not_enough() -> None:
    work = a_workload("tinyllama-1.1b", head="lm", seq_len=2048, batch_size=1)
    orin = DeviceClass("orin-nano", memory_mib=6907.0)
    texts = [c.text for c in estimate_hint(CostModel(), a_job(workload=work), orin)]
    assert texts == ["gradient_checkpointing, method lora"]


JOBS = st.builds(
    Workload,
    kind=st.just("train"),
    model=st.sampled_from(["distilgpt2", "gpt2", "tinyllama-1.1b", "phi-2"]),
    batch_size=st.sampled_from([1, 2, 7, 32, 256]),
    seq_len=st.sampled_from([16, 128, 500, 1024]),
    precision=st.sampled_from(["fp32", "fp16", "bf16"]),
    head=st.sampled_from(["qa", "lm"]),
    gradient_checkpointing=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(JOBS, st.sampled_from(["xavier-nx", "orin-nano", "cpu"]), st.floats(1000.0, 12_000.0))
def test_every_change_is_new_and_fits_when_it_is_fed_back(
    work: Workload, device: str, has_mib: float
) -> None:
    where = DeviceClass(device, memory_mib=has_mib)
    job = a_job(workload=work)
    for change in estimate_hint(CostModel(), job, where):
        names = [part.split()[0] for part in change.text.split(", ")]
        assert len(set(names)) == len(names)
        again = CostModel().verdict(replace(job, workload=change.workload), where)
        assert isinstance(again, Estimate) and again.fit == "fits"
        assert estimate_hint(CostModel(), replace(job, workload=change.workload), where) == ()


def test_advice_for_a_job_that_nothing_helps_is_quick() -> None:
    """Of each way only the last step is asked for, since the ones before it need more."""
    job, asked = a_job(workload=a_workload("phi-2", batch_size=4096, seq_len=2048)), _Counted()
    assert estimate_hint(asked, job, replace(NX, memory_mib=900.0)) == ()
    assert asked.times < 200


class _Counted(CostModel):
    """Counts how often it is asked."""

    times = 0

    def verdict(self, job: Job, device_class: DeviceClass) -> Verdict:
        self.times += 1
        return super().verdict(job, device_class)


def test_a_long_generation_may_be_cut_in_what_it_reads_or_in_what_it_writes() -> None:
    work = Workload("infer", "phi-2", precision="fp16", prompt_tokens=16, max_new_tokens=16384)
    orin = DeviceClass("orin-nano", "25W", memory_mib=6907.0)
    texts = [c.text for c in estimate_hint(CostModel(), a_job(workload=work), orin)]
    assert [text.split()[0] for text in texts] == ["max_new_tokens"]


def test_the_words_of_a_change_say_what_is_admitted() -> None:
    (first, *_) = estimate_hint(CostModel(), a_job(model="gpt2"), NX)
    size = f"{first.admitted_mib / 1024:.1f} GiB"
    assert first.words == f"batch_size 4 ({size} {first.source[0]})"


def test_the_settings_of_a_command_are_left_alone() -> None:
    work = replace(a_workload("gpt2"), kind="command", command="./train.sh", like="train")
    assert isinstance(CostModel().verdict(a_job(workload=work), NX), Never)
    assert estimate_hint(CostModel(), a_job(workload=work), NX) == ()


def test_where_no_change_helps_the_least_that_the_job_can_need_is_said() -> None:
    """Nothing makes GPT-2 fit 691 MiB: a person should not have to try each setting."""
    where = DeviceClass("orin-nano", "emulated", "", 691.0, emulated=True)
    job, model = a_job(workload=a_workload("gpt2", head="qa", seq_len=64)), CostModel()
    assert estimate_hint(model, job, where) == ()
    least = least_memory(model, job, where)
    assert least is not None and least.admitted_mib > where.memory_mib
    found = model.verdict(replace(job, workload=least.workload), where)
    assert (found.admitted_mib, found.peak_memory_mib) == (
        least.admitted_mib,
        least.peak_memory_mib,
    )
    words = least_in_words(model, job, [Device("b", where)])
    assert least.words in words and "no change" in words
    assert {"batch_size 1", "method lora"} <= set(least.text.split(", "))


def test_a_change_of_a_submission_that_is_refused_is_said_for_each_board_that_it_helps() -> None:
    boards = [
        Device(f"b{mib}", DeviceClass("orin-nano", "emulated", "", float(mib), emulated=True))
        for mib in (691, 1500, 2300)
    ]
    job = a_job(workload=a_workload("gpt2", head="qa", seq_len=64))
    found = suggestions(CostModel(), job, boards)
    assert list(found) == ["b1500", "b2300"]
    assert "to make it fit b1500: method lora, batch_size 4 (" in in_one_line(found)


def test_of_commands_and_of_what_fits_no_least_is_said() -> None:
    assert least_memory(CostModel(), a_job(model="tiny-gpt2"), NX) is None
    command = replace(a_workload("gpt2", batch_size=64), kind="command", like="train")
    assert least_memory(CostModel(), a_job(workload=command), NX) is None

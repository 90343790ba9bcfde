"""The smallest changes that make a job fit."""

from __future__ import annotations

from dataclasses import replace

from builders import NX, a_job, a_workload

from jetsched.profiler.advice import estimate_hint
from jetsched.profiler.costs import CostModel
from jetsched.records import DeviceClass, Estimate, Measurement, Never, Workload


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
    (change,) = estimate_hint(CostModel(), too_big, NX)
    assert change.text.startswith("precision fp16, batch_size ")


def test_texts_are_cut_only_where_nothing_else_helps_and_no_more_than_needed() -> None:
    """A long context of LoRA training at batch 1: the smaller half of it does not fit any more."""
    work = a_workload(
        "gpt2", method="lora", head="lm", seq_len=8192, batch_size=4, gradient_checkpointing=True
    )
    model, job = CostModel(), a_job(workload=work)
    (change,) = estimate_hint(model, job, NX)
    length = change.workload.seq_len
    assert change.text == f"batch_size 1, seq_len {length}" and length < 8192
    longer = replace(change.workload, seq_len=2 * length)
    found = model.verdict(replace(job, workload=longer), NX)
    assert isinstance(found, Never) or found.fit == "tight"


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

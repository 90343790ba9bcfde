"""Times by the data sheet alone, beside what others have published."""

from __future__ import annotations

from typing import Any

import pytest

from jetsched.profiler.devices import POWER_MODES, sheet_of
from jetsched.profiler.memory import stack_of
from jetsched.profiler.models import ModelShape, shape, shape_of
from jetsched.profiler.roofline import Sheeted, by_the_sheet, load_s, phases_of, rates_of
from jetsched.records import DeviceClass, Workload


def known(model: str) -> ModelShape:
    found = shape(model)
    assert found is not None
    return found


def sheeted(shape: ModelShape, workload: Workload, where: DeviceClass) -> Sheeted:
    sheet = sheet_of(where)
    stack = stack_of(sheet)
    rates = rates_of(sheet)[workload.precision]
    return by_the_sheet(phases_of(shape, workload, stack), rates, gpu=stack.cuda)


def llama(layers: int, hidden: int, ffn: int, heads: int, vocab: int, head_dim: int) -> ModelShape:
    return shape_of(
        {
            "model_type": "llama",
            "num_hidden_layers": layers,
            "hidden_size": hidden,
            "intermediate_size": ffn,
            "num_attention_heads": heads,
            "num_key_value_heads": 8,
            "head_dim": head_dim,
            "vocab_size": vocab,
            "tie_word_embeddings": True,
        }
    )


def generate(prompt: int, new: int) -> Workload:
    return Workload("infer", "x", prompt_tokens=prompt, max_new_tokens=new, precision="fp16")


def fine_tune(model: str, **more: Any) -> Workload:
    return Workload("train", model, batch_size=8, seq_len=384, head="qa", **more)


def test_a_1b_model_decodes_on_agx_orin_as_published() -> None:
    """Llama-3.2-1B, eager transformers: 37.5-38 ms a token at any prompt, GPU 46-48 %.

    kevinhe5/IISWC2026-Artifact-Paper-177 @ 1db7395.
    """
    shape = llama(16, 2048, 8192, 32, 128256, 64)
    found = sheeted(shape, generate(128, 257), DeviceClass("agx-orin"))
    assert found.phases_s["decode"] / 256 == pytest.approx(0.0378, rel=0.15)
    assert found.gpu_util_pct == pytest.approx(47, abs=8)


def test_a_2b_model_decodes_on_orin_nano_as_published() -> None:
    """Qwen3-1.7B, eager transformers: 98-110 ms a token, power mode not stated.

    DQR-Happy/HeteroQuantServeBench, baseline_report.md.
    """
    shape = llama(28, 2048, 6144, 16, 151936, 128)
    for mode in ("MAXN_SUPER", "25W"):
        found = sheeted(shape, generate(128, 33), DeviceClass("orin-nano", mode))
        assert found.phases_s["decode"] / 32 == pytest.approx(0.104, rel=0.15)


def test_training_keeps_the_gpu_busy_and_decoding_does_not() -> None:
    """As the paper's table 3 has it: 91-97 % against 9-33 %."""
    for board in ("xavier-nx", "orin-nano"):
        training = sheeted(known("distilgpt2"), fine_tune("x"), DeviceClass(board))
        decoding = sheeted(known("tinyllama-1.1b"), generate(64, 64), DeviceClass(board))
        assert (training.gpu_util_pct or 0) > 90
        assert 0 < (decoding.gpu_util_pct or 0) < 50


def test_a_cpu_has_no_gpu_utilisation() -> None:
    assert sheeted(known("gpt2"), fine_tune("x"), DeviceClass("cpu")).gpu_util_pct is None


def test_operations_of_training_are_six_for_each_weight_and_token() -> None:
    shape = known("gpt2")
    stack = stack_of(sheet_of(DeviceClass("orin-nano")))
    phases = {p.name: p for p in phases_of(shape, fine_tune("x"), stack)}
    matrices = 6 * shape.block_matmul_parameters * 384
    attention = 3 * 4 * 12 * 384 * 384 * 768
    assert phases["forward_backward"].flops == pytest.approx(matrices + attention)
    assert phases["optimizer"].flops == 0


def test_checkpointing_costs_about_a_third_more_and_lora_less() -> None:
    shape, board = known("gpt2"), DeviceClass("orin-nano")
    plain = sheeted(shape, fine_tune("x"), board).rate_s
    again = sheeted(shape, fine_tune("x", gradient_checkpointing=True), board).rate_s
    lora = sheeted(shape, fine_tune("x", method="lora"), board).rate_s
    assert 1.2 < again / plain < 1.45
    assert 0.55 < lora / plain < 0.85


def test_a_larger_batch_never_takes_more_time_for_a_sample() -> None:
    shape, board = known("gpt2"), DeviceClass("xavier-nx")
    one = Workload("train", "x", batch_size=1, seq_len=64, head="qa")
    eight = Workload("train", "x", batch_size=8, seq_len=64, head="qa")
    assert sheeted(shape, eight, board).rate_s < sheeted(shape, one, board).rate_s


@pytest.mark.parametrize("board", ["xavier-nx", "orin-nano"])
def test_no_power_mode_trains_faster_than_the_highest(board: str) -> None:
    shape = known("gpt2")
    times = [
        sheeted(shape, fine_tune("x"), DeviceClass(board, mode.name)).rate_s
        for mode in POWER_MODES[board]
    ]
    assert min(times) == pytest.approx(times[0], rel=0.01)


def test_an_emulated_nx_is_twice_as_slow_as_an_emulated_orin() -> None:
    shape, work = known("distilgpt2"), fine_tune("x")
    nx, orin = (DeviceClass(m, "emulated", emulated=True) for m in ("xavier-nx", "orin-nano"))
    assert sheeted(shape, work, nx).rate_s == pytest.approx(2 * sheeted(shape, work, orin).rate_s)


def test_loading_takes_the_longer_the_more_there_is_to_read() -> None:
    sheet = sheet_of(DeviceClass("orin-nano"))
    small = load_s(known("gpt2"), generate(64, 64), sheet)
    large = load_s(known("phi-2"), generate(64, 64), sheet)
    assert 10 < small < large < 60

"""Counted memory beside what was measured, and what must hold for every shape."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetsched.profiler.devices import sheet_of
from jetsched.profiler.memory import (
    RUNTIME_CPU_MIB,
    Stack,
    memory_needed,
    stack_of,
    trainable_parameters,
)
from jetsched.profiler.models import ModelShape, shape, shape_of
from jetsched.records import DeviceClass, Workload

CPU = Stack(cuda=False, fused_attention=True, runtime_mib=RUNTIME_CPU_MIB)
NX = stack_of(sheet_of(DeviceClass("xavier-nx")))
ORIN = stack_of(sheet_of(DeviceClass("orin-nano")))


def known(model: str) -> ModelShape:
    found = shape(model)
    assert found is not None
    return found


def gpt2(layers: int, hidden: int, heads: int, vocab: int = 50257) -> ModelShape:
    return shape_of(
        {
            "model_type": "gpt2",
            "n_layer": layers,
            "n_embd": hidden,
            "n_head": heads,
            "vocab_size": vocab,
            "n_positions": 1024,
        }
    )


def other(family: str, layers: int, hidden: int, heads: int, **sizes: int) -> ModelShape:
    return shape_of(
        {
            "model_type": family,
            "num_hidden_layers": layers,
            "hidden_size": hidden,
            "num_attention_heads": heads,
            "num_key_value_heads": sizes.get("kv", heads),
            "intermediate_size": sizes["ffn"],
            "vocab_size": sizes["vocab"],
            "tie_word_embeddings": False,
        }
    )


def train(batch: int, seq: int, head: Any = "qa", held: Any = False, **more: Any) -> Workload:
    """``held``: the script keeps the model's output through the backward pass."""
    work = Workload("train", "x", batch_size=batch, seq_len=seq, head=head, **more)
    return replace(work, kind="command", like="train") if held else work


def infer(batch: int, prompt: int, precision: Any = "fp32") -> Workload:
    return Workload(
        "infer",
        "x",
        batch_size=batch,
        prompt_tokens=prompt,
        max_new_tokens=4,
        precision=precision,
    )


LLAMA_WIDE = other("llama", 4, 512, 8, kv=2, ffn=1408, vocab=32000)
LLAMA_WIDE_MHA = other("llama", 4, 512, 8, kv=8, ffn=1408, vocab=32000)
LLAMA_LONG = other("llama", 8, 256, 8, kv=2, ffn=704, vocab=1024)
LLAMA_BIG = other("llama", 4, 1024, 16, kv=4, ffn=2816, vocab=32000)
MIXED: Any = {"precision": "bf16"}
CKPT: Any = {"gradient_checkpointing": True}
LORA: Any = {"method": "lora", "lora_rank": 8}

#: MiB alive at the peak of a step, as torch's CPU allocator counted them through the profiler:
#: torch 2.13 on x86, transformers 5, AdamW, third step. Measured for this project (docs/log.md).
#: The families but GPT-2 were trained by the child, on samples with padding (tools/live_bytes.py).
LIVE = [
    (gpt2(12, 768, 12), train(1, 64), 2193.3),
    (gpt2(6, 768, 12), train(2, 384), 1614.8),
    (gpt2(12, 768, 12), train(2, 256, "lm", held=True), 2595.3),
    (gpt2(2, 2, 2), train(8, 128), 8.5),
    (gpt2(2, 2, 2), train(4, 256, "lm", held=True), 799.0),
    (gpt2(4, 512, 8, 8192), train(4, 256, "lm", held=True), 676.4),
    (gpt2(8, 384, 6), train(4, 512), 1723.9),
    (gpt2(6, 512, 8, 8192), train(4, 256, **CKPT), 436.7),
    (gpt2(6, 512, 8, 8192), train(4, 256, **MIXED), 685.1),
    (gpt2(6, 512, 8, 8192), train(4, 256, "lm", held=True, **MIXED), 797.6),
    (gpt2(3, 512, 8, 8192), train(2, 512, **MIXED), 448.3),
    (LLAMA_WIDE, train(2, 256, "lm"), 797.1),
    (LLAMA_WIDE_MHA, train(2, 256, "lm"), 821.1),
    (LLAMA_LONG, train(4, 512, "lm"), 469.4),
    (other("qwen2", 8, 256, 8, ffn=704, vocab=1024), train(4, 512, "lm"), 478.4),
    (other("phi", 8, 256, 8, ffn=1024, vocab=1024), train(4, 512, "lm"), 571.0),
    (gpt2(12, 768, 12), infer(4, 256), 612.7),
    (LLAMA_BIG, infer(1, 128), 429.2),
    (LLAMA_BIG, infer(4, 512), 537.1),
    (other("phi", 4, 1024, 16, ffn=4096, vocab=51200), infer(4, 512), 816.9),
    (LLAMA_BIG, infer(4, 512, "bf16"), 268.6),
    (gpt2(6, 512, 8, 8192), train(4, 256, **LORA), 548.1),
    (gpt2(6, 512, 8, 8192), train(4, 256, "lm", **LORA), 619.6),
    (gpt2(6, 512, 8, 8192), train(4, 256, "lm"), 876.6),
    (gpt2(6, 512, 8, 8192), train(4, 256, "lm", **CKPT), 452.6),
    (gpt2(6, 512, 8, 8192), train(4, 256, **CKPT, **LORA), 201.4),
    (LLAMA_LONG, train(4, 512, "lm", **LORA), 328.0),
    (LLAMA_LONG, train(4, 512, "lm", **CKPT), 151.3),
    (LLAMA_LONG, train(4, 512, "lm", **MIXED), 357.6),
]


def counted_mib(shape: ModelShape, workload: Workload) -> float:
    return memory_needed(shape, workload, CPU).live_mib


@pytest.mark.parametrize(("shape", "workload", "live_mib"), LIVE)
def test_counted_live_bytes_are_within_4_percent_of_measured_ones(
    shape: ModelShape, workload: Workload, live_mib: float
) -> None:
    assert counted_mib(shape, workload) == pytest.approx(live_mib, rel=0.04)


def test_on_average_they_are_within_1_percent() -> None:
    errors = [abs(counted_mib(shape, workload) / live - 1) for shape, workload, live in LIVE]
    assert sum(errors) / len(errors) < 0.01


def test_gpt2_small_stands_on_the_edge_of_8_gigabytes() -> None:
    small = known("gpt2")
    qa = memory_needed(small, train(8, 384), CPU).live_mib * 2**20
    lm = memory_needed(small, train(4, 512, "lm", held=True), CPU).live_mib * 2**20
    assert qa == pytest.approx(7.0e9, rel=0.02)
    assert lm == pytest.approx(7.2e9, rel=0.02)


def test_logits_dominate_a_tiny_model_with_a_language_model_head() -> None:
    tiny = known("tiny-gpt2")
    memory = memory_needed(tiny, train(16, 512, "lm", held=True), CPU)
    assert memory.logits_mib * 2**20 == pytest.approx(6.6e9, rel=0.01)
    assert memory_needed(tiny, train(16, 512), CPU).logits_mib == 0


def test_volta_keeps_the_attention_scores_and_ampere_does_not() -> None:
    """Which is one reason why a training that fits the Orin Nano is killed on the NX."""
    small = known("gpt2")
    nx = memory_needed(small, train(8, 384), NX)
    orin = memory_needed(small, train(8, 384), ORIN)
    scores = 8 * 12 * 384 * 384 * 4 / 2**20  # of one layer
    kept = 12 * 2.25 * scores  # probabilities, a mask of bytes, their product
    masks = 12 * scores / 12  # of padding, for all heads together: what Ampere keeps of them
    assert nx.live_mib - orin.live_mib == pytest.approx(kept + scores - masks)
    assert orin.needed_mib < 6907 and nx.needed_mib > 6157


def test_checkpointing_takes_two_thirds_off_a_large_batch() -> None:
    small = known("gpt2")
    plain = memory_needed(small, train(16, 384), ORIN)
    kept = memory_needed(small, train(16, 384, **CKPT), ORIN)
    assert kept.live_mib < plain.live_mib / 3


def test_lora_trains_a_thousandth_of_the_parameters() -> None:
    small = known("gpt2")
    workload = train(8, 384, "lm", **LORA)
    assert trainable_parameters(small, workload) == 12 * 8 * (768 + 3 * 768)
    assert trainable_parameters(small, train(8, 384, "lm")) == small.parameters


def test_half_precision_halves_an_inference_and_grouped_queries_shrink_its_cache() -> None:
    shape = known("tinyllama-1.1b")
    full, half = infer(1, 512), infer(1, 512, "fp16")
    assert memory_needed(shape, half, ORIN).weights_mib * 2 == pytest.approx(
        memory_needed(shape, full, ORIN).weights_mib
    )
    cache = memory_needed(shape, half, ORIN).kv_mib
    assert cache == pytest.approx(2 * 22 * 4 * 64 * 516 * 2 / 2**20)  # 4 of 32 heads


shapes = st.sampled_from(
    [
        gpt2(2, 64, 2, 1000),
        gpt2(12, 768, 12),
        LLAMA_LONG,
        LLAMA_WIDE,
        other("phi", 4, 256, 8, ffn=1024, vocab=2000),
    ]
)
stacks = st.sampled_from([CPU, NX, ORIN])
workloads = st.builds(
    Workload,
    kind=st.sampled_from(["train", "infer"]),
    model=st.just("x"),
    batch_size=st.integers(1, 64),
    seq_len=st.integers(8, 2048),
    prompt_tokens=st.integers(1, 2048),
    max_new_tokens=st.integers(1, 512),
    precision=st.sampled_from(["fp32", "fp16"]),
    method=st.sampled_from(["full", "lora"]),
    head=st.sampled_from(["qa", "lm"]),
    gradient_checkpointing=st.booleans(),
    accumulation_steps=st.integers(1, 4),
    lora_rank=st.sampled_from([0, 8, 64]),
)


@given(shapes, stacks, workloads, st.integers(0, 64), st.integers(0, 512))
def test_more_of_anything_never_needs_less(
    shape: ModelShape, stack: Stack, workload: Workload, samples: int, tokens: int
) -> None:
    larger = replace(
        workload,
        batch_size=workload.batch_size + samples,
        seq_len=workload.seq_len + tokens,
        prompt_tokens=workload.prompt_tokens + tokens,
        max_new_tokens=workload.max_new_tokens + tokens,
        accumulation_steps=workload.accumulation_steps + 1,
    )
    small, large = (memory_needed(shape, w, stack) for w in (workload, larger))
    assert large.live_mib >= small.live_mib * (1 - 1e-9)


@given(shapes, stacks, workloads)
def test_the_parts_are_not_negative_and_add_up(
    shape: ModelShape, stack: Stack, workload: Workload
) -> None:
    memory = memory_needed(shape, workload, stack)
    parts = [
        memory.weights_mib,
        memory.gradients_mib,
        memory.optimizer_mib,
        memory.activations_mib,
        memory.logits_mib,
        memory.kv_mib,
    ]
    assert all(part >= 0 for part in parts)
    assert memory.live_mib == pytest.approx(sum(parts))
    assert memory.needed_mib == pytest.approx(memory.live_mib + memory.runtime_mib)
    assert memory.loose_mib >= 0 and memory.retained_mib >= 0


@pytest.mark.slow
def test_a_real_training_run_holds_about_what_is_counted_and_admitted(tmp_path: Path) -> None:
    """The child trains for real; its peak is compared. What is admitted is a p95: one run in twenty
    may hold more, and none much more. Needs torch."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from jetsched.profiler.costs import CostModel
    from jetsched.profiler.limits import Limits
    from jetsched.profiler.runner import Run, RunOrder
    from jetsched.records import Device, Estimate, Job

    workload = Workload("train", "tinygpt2-25m", "squad", batch_size=4, seq_len=128, head="qa")
    work = {
        "kind": "train",
        "model": "tinygpt2-25m",
        "dataset": "squad",
        "epochs": 1,
        "batch_size": 4,
        "seq_len": 128,
        "head": "qa",
    }
    job = Job("1", workload, 16, work=work)
    device = Device("here", DeviceClass("cpu", memory_mib=1e6))
    order = RunOrder(job, device, tmp_path / "run", sys.executable, Limits(threads=1))
    measured = Run.start(order).wait(300)
    assert measured.outcome == "done", measured.text
    estimate = CostModel().verdict(job, device.device_class)
    assert isinstance(estimate, Estimate) and measured.peak_memory_mib is not None
    needed_mib = estimate.peak_memory_mib + estimate.runtime_mib
    assert 0.93 * needed_mib < measured.peak_memory_mib < 1.2 * estimate.admitted_mib

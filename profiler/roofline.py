"""How long a workload takes by the data sheet alone: operations, bytes, launches, each at a rate.

``t = flops / (e_F x peak) + bytes / (e_B x bandwidth) + launches x t_launch``, summed over phases
and per unit of work (a sample, a prompt). The terms are added, not maximised: kernels of all three
kinds follow each other. Operations are counted exactly (2 per weight of a matrix and token, plus
attention), bytes and launches by what eager transformers does in each layer.

The efficiencies below are *assumed*: fitted on other people's measurements, not on a board of ours.
On the 72 whole-model latencies of seven GPUs that NeuSight publishes (sitar-lab/NeuSight @ 6945927)
the three-term form with one set of efficiencies is 10 % off (fitted to them); on an unknown board
expect more. As soon as anything was measured on a device class, timing.py scales this by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from jetsched.profiler.memory import (
    BYTES,
    Stack,
    fuses,
    trainable_parameters,
    work_kind,
)
from jetsched.profiler.models import ModelShape
from jetsched.records import DeviceModel, Precision, Workload

PhaseName = Literal["forward_backward", "optimizer", "prefill", "decode"]


@dataclass(frozen=True, slots=True)
class Shares:
    """What share of its sheet a device reaches, in the additive form."""

    of_peak: Mapping[Precision, float]  # in matrices
    bandwidth: float  # many small element-wise kernels
    stream: float  # weights and cache in one long read


#: GPUs: NeuSight's rows (fp32 0.9-1.0, bandwidth 0.47); tensor cores under eager transformers from
#: published Orin Nano prefills of a 1.7B model, streams from decodes on AGX Orin and Orin Nano.
GPU_SHARES = Shares({"fp32": 0.9, "fp16": 0.5, "bf16": 0.5}, bandwidth=0.47, stream=0.75)
#: One core of this project's machine, 18 runs of GPT-2 and Llama shapes (docs/log.md).
CPU_SHARES = Shares({"fp32": 0.7, "fp16": 0.7, "bf16": 0.7}, bandwidth=0.27, stream=0.75)

#: What the host needs for one operation of eager transformers, in microseconds x GHz: Python,
#: dispatch and launch. From published decodes: 37.5 ms per token of a 1B model on AGX Orin at
#: 2.2 GHz, 98-110 ms of Qwen3-1.7B on Orin Nano.
LAUNCH_US_GHZ = 77.0
#: Work per clock beside the Cortex-A78AE's. Carmel: assumed, single-thread benchmarks say 0.7-0.9.
CLOCK_WORTH: Mapping[str, float] = {"Cortex-A78AE": 1.0, "Carmel": 0.75}
#: How much longer weights take to stream through a CPU for several sequences than for one: 1.8 to
#: 2.0 measured at batches of 4 and 8 on GPT-2 and Llama shapes (docs/log.md).
CPU_PACKING = 1.9
#: On a CPU an operation starts in the same thread.
CPU_LAUNCH_US_GHZ = 13.0

#: From the start of the interpreter to an empty model: imports, and on a board the CUDA context;
#: seconds x GHz. Measured on a CPU: 3.3 s at 2.6 GHz. Boards: assumed, 15 s on an Orin Nano.
STARTUP_CPU_S_GHZ = 9.0
STARTUP_CUDA_S_GHZ = 26.0
#: Reading weights from an SSD into the model. Assumed; an SD card gives a fifth of it.
STORAGE_MB_S = 500.0


@dataclass(frozen=True, slots=True)
class Phase:
    """What one phase asks of a device, for one unit of work. ``streams``: bytes in long reads."""

    name: PhaseName
    flops: float
    bytes: float
    launches: float
    streams: bool = False


@dataclass(frozen=True, slots=True)
class Rates:
    """What a device takes for one of each, in seconds."""

    flop_s: float
    byte_s: float
    stream_byte_s: float
    launch_s: float


@dataclass(frozen=True, slots=True)
class Sheeted:
    """A unit of work by the data sheet. ``gpu_util_pct``: share of time the GPU computes."""

    rate_s: float
    phases_s: Mapping[PhaseName, float]
    gpu_util_pct: float | None


def rates_of(sheet: DeviceModel) -> Mapping[Precision, Rates]:
    """The rates of a device in each precision; ``sheet`` already stands for its power mode."""
    shares = GPU_SHARES if sheet.architecture else CPU_SHARES
    bandwidth = sheet.bandwidth_gb_s * 1e9
    launch_us = LAUNCH_US_GHZ if sheet.architecture else CPU_LAUNCH_US_GHZ
    fp32 = sheet.peak_gflops["fp32"]
    return {
        precision: Rates(
            flop_s=1 / (share * sheet.peak_gflops.get(precision, fp32) * 1e9),
            byte_s=1 / (shares.bandwidth * bandwidth),
            stream_byte_s=1 / (shares.stream * bandwidth),
            launch_s=launch_us * 1e-6 / _clock(sheet),
        )
        for precision, share in shares.of_peak.items()
    }


def _clock(sheet: DeviceModel) -> float:
    """GHz of a Cortex-A78AE that do as much on one thread."""
    return sheet.cpu_ghz * CLOCK_WORTH.get(sheet.cpu, 1.0)


def load_s(
    shape: ModelShape, workload: Workload, sheet: DeviceModel, storage_mb_s: float = STORAGE_MB_S
) -> float:
    """Seconds until the model is ready."""
    return sum(load_terms(shape, workload, sheet, storage_mb_s))


def load_terms(
    shape: ModelShape, workload: Workload, sheet: DeviceModel, storage_mb_s: float = STORAGE_MB_S
) -> tuple[float, float]:
    """Seconds of loading: (interpreter, imports and context; reading the weights)."""
    reading = weights_mb(shape, workload) / storage_mb_s
    startup = STARTUP_CUDA_S_GHZ if sheet.architecture else STARTUP_CPU_S_GHZ
    return startup / _clock(sheet), reading


def weights_mb(shape: ModelShape, workload: Workload) -> float:
    """What is read from storage, in 10^6 bytes: trained weights are held in fp32."""
    size = 4 if work_kind(workload) == "train" else BYTES[workload.precision]
    return size * shape.parameters / 1e6


def by_the_sheet(phases: tuple[Phase, ...], rates: Rates, *, gpu: bool) -> Sheeted:
    """Seconds per unit of work, by phase and together."""
    total = computing = 0.0
    spent: dict[PhaseName, float] = {}
    for phase in phases:
        per_byte = rates.stream_byte_s if phase.streams else rates.byte_s
        busy = phase.flops * rates.flop_s + phase.bytes * per_byte
        spent[phase.name] = busy + phase.launches * rates.launch_s
        computing += busy
        total += spent[phase.name]
    return Sheeted(total, spent, 100 * computing / total if gpu and total else None)


def phases_of(shape: ModelShape, workload: Workload, stack: Stack) -> tuple[Phase, ...]:
    """Operations, bytes and launches for one unit of a ``train`` or ``infer`` workload."""
    if work_kind(workload) == "train":
        return _training(shape, workload, stack)
    return _inference(shape, workload, stack)


def _launches(shape: ModelShape, workload: Workload, stack: Stack) -> float:
    """Operations that eager transformers starts in a forward pass, as counted (forms.py).

    On a CPU attention is one operation also where it writes its scores.
    """
    fused = fuses(shape, workload, stack) if stack.cuda else stack.fused_attention
    return shape.body.attention(fused=fused).launches


def _forward(shape: ModelShape, tokens: float, seq: float) -> tuple[float, float, float]:
    """(operations, numbers that token-wise kernels move, numbers of scores moved) of all layers.

    The moved numbers are fitted on the operator graphs of NeuSight's rows: 50 per hidden unit and
    8 per attention score, in forward.
    """
    width = shape.score_width
    flops = 2.0 * shape.block_matmul_parameters * tokens + 4.0 * shape.layers * tokens * seq * width
    wide = 18.0 * shape.hidden + 8.0 * shape.ffn  # 50 hidden units where ffn is four of them
    return flops, shape.layers * tokens * wide, 8.0 * shape.layers * tokens * seq * shape.heads


def _training(shape: ModelShape, workload: Workload, stack: Stack) -> tuple[Phase, ...]:
    seq, batch = max(workload.seq_len, 1), workload.batch_size
    lora, mixed = workload.method == "lora", workload.precision != "fp32"
    flops, moved, scores = _forward(shape, seq, seq)  # of one sample
    if fuses(shape, workload, stack):
        scores *= 0.2
    head = shape.vocab * shape.hidden if workload.head == "lm" else 0
    # Backward computes the gradients of inputs and of weights; LoRA hardly any of the latter.
    passes = 2.0 if lora else 3.0
    again = flops if workload.gradient_checkpointing else 0.0
    size = 2.5 if mixed else 4.0
    logits = 8.0 * 4.0 * seq * shape.vocab if head else 0.0
    trained = float(trainable_parameters(shape, workload))
    weights = 4.0 * (shape.block_matmul_parameters + head) * passes / batch
    repeats = (passes + (1.0 if workload.gradient_checkpointing else 0.0)) * 0.75
    updates = batch * workload.accumulation_steps
    # AdamW one tensor after the other on a CPU, all at once (foreach) on CUDA.
    steps = 40.0 + 2.0 * shape.layers if stack.cuda else 12.0 * 12.0 * shape.layers
    return (
        Phase(
            "forward_backward",
            flops=passes * (flops + 2.0 * head * seq) + again,
            bytes=size * repeats * (moved + scores) + logits + weights,
            launches=(repeats / 0.75) * _launches(shape, workload, stack) / batch,
        ),
        Phase(
            "optimizer",
            flops=0.0,
            bytes=(9.0 if stack.cuda else 22.0) * 4.0 * trained / updates,
            launches=steps / updates,
            streams=True,
        ),
    )


def _inference(shape: ModelShape, workload: Workload, stack: Stack) -> tuple[Phase, ...]:
    size = BYTES[workload.precision]
    prompt, batch = max(workload.prompt_tokens, 1), workload.batch_size
    flops, moved, scores = _forward(shape, prompt, prompt)
    if fuses(shape, workload, stack):
        scores *= 0.2
    head = float(shape.vocab * shape.hidden)
    weights = size * (shape.block_matmul_parameters + head) / batch
    launches = _launches(shape, workload, stack) / batch
    after = max(workload.max_new_tokens - 1, 0)  # the prefill makes the first token
    context = prompt + after / 2
    token, _, _ = _forward(shape, 1, context)
    # The cache is copied to grow by a token (read, write), then read.
    cache = 3.0 * size * context * shape.kv_values_per_token
    # A CPU copies a matrix into another order before it multiplies several rows with it.
    packed = CPU_PACKING if batch > 1 and not stack.cuda else 1.0
    return (
        Phase(
            "prefill",
            flops=flops + 2 * head,
            bytes=size * (moved + scores) + weights,
            launches=launches,
        ),
        Phase(
            "decode",
            flops=after * (token + 2 * head),
            bytes=after * (packed * weights + cache),
            launches=after * launches,
            streams=True,
        ),
    )

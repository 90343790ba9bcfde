"""How much memory a workload needs at its peak: counted from the model's shape, without torch.

*Live bytes* are what tensors hold at the worst moment. Training has two such moments: the start of
the backward pass (weights, optimizer state and all that autograd saved, but no gradients yet) and
the optimizer step (gradients and temporaries, but no activations). What autograd saves is counted
on the meta device with torch's saved-tensor hooks: forms.py, counting.py. On the CPU (torch 2.13,
GPT-2, Llama, Qwen2 and Phi shapes) the sums below are within 3 % of what the allocator counted,
without the runtime; docs/log.md has the figures.

A process needs the *runtime* beside them (interpreter, torch, CUDA context), and what its allocator
holds beyond both is the *headroom*; admission.py learns these two and compares with the board.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from jetsched.profiler.shapes import ModelShape
from jetsched.records import DeviceModel, Workload

MIB = 2.0**20
BYTES: Mapping[str, int] = {"fp32": 4, "fp16": 2, "bf16": 2}

#: Interpreter, torch, transformers and all small things on a CPU, without mapped files: measured,
#: 292 to 340 MiB beside live bytes (torch 2.13, transformers 5; docs/log.md). On a Jetson the CUDA
#: context and the workspaces of cuBLAS and cuDNN come on top: 0.9 GB together, files in use
#: included, from published RSS of other people's runs (JetPack 6).
RUNTIME_CPU_MIB = 305.0
RUNTIME_CUDA_MIB = 880.0
#: Libraries that are mapped into a process of ours on a CPU: part of what it is seen to hold, but
#: the kernel takes them back before it kills. Measured, 114 to 118 MiB.
FILES_CPU_MIB = 117.0
#: glibc gives larger tensors back as soon as they are freed (its DEFAULT_MMAP_THRESHOLD_MAX).
MMAPPED_MIB = 32.0

#: LoRA on these: GPT-2's joint projection, the query and the value elsewhere (child_lora.py).
DEFAULT_LORA_RANK = 8


@dataclass(frozen=True, slots=True)
class Stack:
    """What the formulas have to know about a device and its software."""

    cuda: bool
    fused_attention: bool  # never stores the s x s scores in training
    runtime_mib: float


@dataclass(frozen=True, slots=True)
class Memory:
    """What is alive at the peak, by what it is; all in MiB."""

    weights_mib: float
    runtime_mib: float
    gradients_mib: float = 0.0
    optimizer_mib: float = 0.0
    activations_mib: float = 0.0  # saved by autograd, or temporaries; in inference of one layer
    logits_mib: float = 0.0
    kv_mib: float = 0.0
    #: What a process still holds of tensors that were freed, beyond the peak of live ones: glibc
    #: gives small chunks of activations not back before the optimizer step asks for its own, nor
    #: those of gradients before the next forward pass does.
    retained_mib: float = 0.0
    #: Tensors that come and go, and so leave gaps: what the allocator's headroom is a share of.
    loose_mib: float = 0.0

    @property
    def live_mib(self) -> float:
        """Bytes in tensors only: what a measurement's ``live_memory_mib`` counts."""
        return (
            self.weights_mib
            + self.gradients_mib
            + self.optimizer_mib
            + self.activations_mib
            + self.logits_mib
            + self.kv_mib
        )

    @property
    def needed_mib(self) -> float:
        """With the runtime: no process can do it with less."""
        return self.live_mib + self.runtime_mib


def stack_of(sheet: DeviceModel) -> Stack:
    """The stack that a board of this model has.

    On Volta attention is not fused: JetPack 5 ends at torch 2.1, for which transformers falls back
    to its eager attention. On Ampere it is, also with dropout. A CPU fuses it without dropout.
    """
    if not sheet.architecture:
        return Stack(cuda=False, fused_attention=True, runtime_mib=RUNTIME_CPU_MIB)
    fused = float(sheet.compute_capability or 0) >= 8.0
    return Stack(cuda=True, fused_attention=fused, runtime_mib=RUNTIME_CUDA_MIB)


def fuses(shape: ModelShape, workload: Workload, stack: Stack) -> bool:
    """Whether attention never writes its scores. A pure question of what torch's kernels take.

    On CUDA heads must be a multiple of 4 wide, 8 in half precision (torch's memory-efficient
    kernel; tiny-gpt2's are 1 wide). On a CPU dropout must be off.
    """
    if not (stack.fused_attention and shape.fuses):
        return False
    if stack.cuda:
        return shape.head_dim % (4 if workload.precision == "fp32" else 8) == 0
    return work_kind(workload) == "infer" or not shape.dropout


def work_kind(workload: Workload) -> Literal["train", "infer", ""]:
    """What the workload does; a command does what it is said to be like, "" if nothing is said."""
    return workload.like if workload.kind == "command" else workload.kind


def memory_needed(shape: ModelShape, workload: Workload, stack: Stack) -> Memory:
    """Live bytes at the peak of a ``train`` or ``infer`` workload (or a command like one)."""
    if work_kind(workload) == "train":
        return _training(shape, workload, stack)
    return _inference(shape, workload, stack)


def trainable_parameters(shape: ModelShape, workload: Workload) -> int:
    """Parameters that get gradients: all, or the adapters (and a head for answer spans)."""
    if workload.method == "full":
        return shape.parameters_with(workload.head)
    rank = workload.lora_rank or DEFAULT_LORA_RANK
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    joint = shape.hidden + q + 2 * kv
    sides = joint if shape.family == "gpt2" else 2 * shape.hidden + q + kv
    head = 2 * shape.hidden + 2 if workload.head == "qa" else 0
    return shape.layers * rank * sides + head


def _training(shape: ModelShape, workload: Workload, stack: Stack) -> Memory:
    """AdamW. Full fp32: max(3P + activations + logits, 4P + temporaries of the step).

    Mixed precision keeps weights, gradients and optimizer state in fp32 (autocast): it saves
    activations only, and holds the matrices a second time in half precision.
    """
    weights = 4.0 * shape.parameters_with(workload.head)
    trained = 4.0 * trainable_parameters(shape, workload)
    held = _held_by_autograd(shape, workload, stack)
    backward = Memory(
        weights_mib=weights / MIB,
        gradients_mib=(trained if workload.accumulation_steps > 1 else held.gradients) / MIB,
        optimizer_mib=2 * trained / MIB,
        activations_mib=held.activations / MIB,
        logits_mib=held.logits / MIB,
        runtime_mib=stack.runtime_mib,
    )
    # The step's temporaries: AdamW goes through tensors one by one on a CPU (two temporaries of
    # the largest), and through all of them at once on CUDA (foreach: one more copy).
    largest = 4.0 * shape.hidden * max(shape.vocab, shape.ffn)
    temporaries = trained if stack.cuda else min(2 * largest, 2 * trained)
    step = Memory(
        weights_mib=weights / MIB,
        gradients_mib=trained / MIB,
        optimizer_mib=2 * trained / MIB,
        activations_mib=temporaries / MIB,
        runtime_mib=stack.runtime_mib,
    )
    peak = max(backward, step, key=lambda memory: memory.live_mib)
    if stack.cuda:  # one pool: what was freed is used again
        loose_mib = peak.live_mib - peak.weights_mib - peak.optimizer_mib
        return replace(peak, loose_mib=loose_mib)
    # Checkpointing fills and empties a layer again and again, and beside adapters much is freed in
    # the middle of the forward pass: both leave more gaps. Measured on two and three shapes.
    gaps = 9 if workload.gradient_checkpointing else 3 if workload.method == "lora" else 1
    loose_mib = gaps * held.activations / MIB
    kept, gap = _kept(shape, workload, held)
    late_mib = step.live_mib + kept / MIB
    gradients = trained if workload.accumulation_steps == 1 else 0.0
    table = 4.0 * shape.hidden * shape.vocab
    if workload.method == "full" and table > MMAPPED_MIB * MIB:
        gradients = max(gradients - table, 0.0)
    early_mib = backward.live_mib + max(gradients / MIB - backward.gradients_mib, 0.0)
    retained_mib = max(late_mib, early_mib) - peak.live_mib + gap / MIB
    return replace(peak, retained_mib=retained_mib, loose_mib=loose_mib)


class _Held(NamedTuple):
    """Bytes at the worst moment of the backward pass, beside weights and optimizer state."""

    activations: float
    logits: float
    gradients: float


def _held_by_autograd(shape: ModelShape, workload: Workload, stack: Stack) -> _Held:
    tokens = workload.batch_size * max(workload.seq_len, 1)
    hidden, ffn = 4.0 * tokens * shape.hidden, 4.0 * tokens * shape.ffn
    fused = fuses(shape, workload, stack)
    scores = 0.0 if fused else 4.0 * tokens * shape.heads * max(workload.seq_len, 1)
    lora, lm = workload.method == "lora", workload.head == "lm"
    block = _block(shape, workload, stack, fused=fused)
    working = ffn + scores + (3 * hidden if lora else 0.0)
    cast = 0.0
    if workload.precision != "fp32":
        cast = 2.0 * (shape.block_matmul_parameters + (shape.vocab * shape.hidden if lm else 0))
    # Log-probabilities, their gradient, and that of the logits. A command's own script is likely to
    # hold on to the model's output as well; our child does not.
    copies = (4 if workload.kind == "command" else 3) if lm else 0
    logits = copies * 4.0 * tokens * shape.vocab
    ends = 3 * hidden + cast
    if not workload.gradient_checkpointing:
        # The logits' gradient is gone before the first layer works.
        return _Held(shape.layers * block + ends + max(working - logits, 0.0), logits, 0.0)
    # Only the layers' inputs are kept, and one layer at a time is computed again. Early on all
    # inputs are there; at the last layer the gradients of the others are (those of the embeddings
    # come after it, unless they are the head as well).
    inputs = shape.layers * hidden + ends
    early = _Held(inputs + max(block + working - logits, 0.0), logits, 0.0)
    trained = 4.0 * trainable_parameters(shape, workload)
    grown = trained if lora else 4.0 * shape.block_matmul_parameters
    grown *= (shape.layers - 1) / shape.layers
    if lm and not lora:
        grown += 4.0 * shape.vocab * shape.hidden
    late = _Held(ends + block + working, 0.0, min(grown, trained))
    return max(early, late, key=sum)


def _kept(shape: ModelShape, workload: Workload, held: _Held) -> tuple[float, float]:
    """Bytes of activations in chunks so small that glibc does not give them back when freed.

    The second is what two such chunks of the largest size take: gaps that nothing else fits into.
    """
    tokens = 4.0 * workload.batch_size * max(workload.seq_len, 1)
    least = MMAPPED_MIB * MIB
    hidden, ffn = tokens * shape.hidden, tokens * shape.ffn
    scores = tokens * shape.heads * max(workload.seq_len, 1) if shape.dropout else 0.0
    gap = 2 * max((size for size in (hidden, ffn, scores) if size <= least), default=0.0)
    if hidden > least:
        return 0.0, gap
    kept = held.activations
    layers = 1 if workload.gradient_checkpointing else shape.layers
    if ffn > least:
        kept -= layers * (4 if shape.gated_mlp or workload.method == "lora" else 5) * ffn
    if scores > least:
        kept -= layers * 3 * scores
    return max(kept, 0.0), gap


def _block(shape: ModelShape, workload: Workload, stack: Stack, *, fused: bool) -> float:
    """Bytes that autograd saves in one layer, of samples with padding.

    The count is of the whole body: the three tensors beside the layers, which the caller adds, are
    part of it. Half precision saves 0.6 or 0.7 of it: measured on CPU runs (docs/log.md).
    """
    tokens, seq = workload.batch_size * max(workload.seq_len, 1), max(workload.seq_len, 1)
    passed, lora = shape.body.attention(fused=fused), workload.method == "lora"
    saved = passed.bytes_saved(tokens, 0, lora=lora, byte_masks=stack.cuda)
    scores = passed.bytes_saved(tokens, seq, lora=lora, byte_masks=stack.cuda) - saved
    saved = max(saved - 3 * 4.0 * tokens * shape.hidden, 0.0)
    if workload.precision != "fp32":
        saved *= 0.7 if shape.gated_mlp else 0.6
        scores *= 0.5 if fused else 1.0  # the mask; eager attention's softmax stays in fp32
    return (saved + scores) / shape.layers


def _inference(shape: ModelShape, workload: Workload, stack: Stack) -> Memory:
    """Weights + keys and values of the whole context + the prefill's working set in one layer.

    The working set is b * prompt * (4h + 3f), 4f for families without a gate (their GELU is a
    formula of several tensors); 1 % off on four CPU runs. Logits are kept for the last token only.
    """
    size = BYTES[workload.precision]
    batch, prompt = workload.batch_size, max(workload.prompt_tokens, 1)
    context = prompt + workload.max_new_tokens
    working: float = (
        batch * prompt * (4 * shape.hidden + (3 if shape.gated_mlp else 4) * shape.ffn) * size
    )
    if shape.body.working_per_token is not None:
        working = batch * prompt * shape.body.working_per_token * size / 4
    kv = size * batch * context * shape.kv_values_per_token
    if not fuses(shape, workload, stack):
        # Scores, and their softmax in fp32.
        working += batch * shape.heads * prompt * prompt * (size + 4)
    return Memory(
        weights_mib=size * shape.parameters / MIB,
        activations_mib=working / MIB,
        logits_mib=2 * 4.0 * batch * shape.vocab / MIB,
        kv_mib=kv / MIB,
        runtime_mib=stack.runtime_mib,
        # The cache is copied to grow. glibc keeps more than CUDA's pool: measured on five shapes.
        loose_mib=(1 if stack.cuda else 2.5) * (2 * working + kv) / MIB,
    )

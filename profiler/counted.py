"""What a model was seen to do on the meta device: the counts where no closed form is known.

child_count.py makes them and counting.py keeps them; memory.py and roofline.py read them through
:class:`~jetsched.profiler.models.ModelShape`. All are of the whole body (embeddings and layers,
without the head); bytes are of fp32.
"""

from __future__ import annotations

from dataclasses import dataclass

BYTES = 4.0


@dataclass(frozen=True, slots=True)
class Line:
    """``per_token * batch * seq + per_score * batch * seq^2``."""

    per_token: float
    per_score: float = 0.0

    def at(self, tokens: float, seq: float) -> float:
        """For so many tokens, all samples together, in samples of ``seq`` tokens."""
        return tokens * (self.per_token + self.per_score * seq)


@dataclass(frozen=True, slots=True)
class Pass:
    """One way to compute attention. ``saved``: bytes that autograd keeps, dropout's masks as bytes.

    ``masks``: numbers that dropout covers. ``launches``: operations that start a kernel, forward.
    ``lora``: what is saved with adapters, None where none can be put on.
    """

    saved: Line
    masks: Line
    launches: float
    lora: Line | None = None

    def bytes_saved(self, tokens: float, seq: float, *, lora: bool, byte_masks: bool) -> float:
        """Bytes that autograd keeps of a forward pass in fp32; the output is among them."""
        kept = (self.lora if lora and self.lora else self.saved).at(tokens, seq)
        return kept if byte_masks else kept + (BYTES - 1) * self.masks.at(tokens, seq)


@dataclass(frozen=True, slots=True)
class Counted:
    """One model's counts. ``fused`` is None where it can only write all scores."""

    matmul_parameters: float  # half the operations for a token
    score_flops: float  # operations for a token and one that it looks at
    kv_values_per_token: float
    eager: Pass
    fused: Pass | None
    #: Bytes in temporaries of a pass without gradients; None where the software could not tell.
    working_per_token: float | None
    #: None where transformers has no such head.
    qa_parameters: int | None

    def attention(self, *, fused: bool) -> Pass:
        """The pass with fused attention where the model has one."""
        return self.fused if fused and self.fused is not None else self.eager

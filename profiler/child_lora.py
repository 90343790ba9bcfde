"""LoRA on the attention's input projections, written out so that peft need not be installed.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685: the frozen
``y = W x`` becomes ``y = W x + (alpha / rank) B A x``, A random, B zero at the start.
"""

from __future__ import annotations

import math
from typing import Any

import torch

#: Names of the projections that get an adapter: GPT-2's joint one; query and value elsewhere.
TARGETS = ("c_attn", "q_proj", "v_proj")
DEFAULT_RANK = 8


class LoraError(Exception):
    """The model has no projection that an adapter could be put on."""


class Adapted(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A frozen projection with a trainable low-rank addition; alpha is twice the rank."""

    def __init__(self, frozen: Any, rank: int) -> None:
        super().__init__()
        self.frozen = frozen
        rows, columns = frozen.weight.shape
        if isinstance(frozen, torch.nn.Linear):  # transformers' Conv1D keeps it the other way round
            rows, columns = columns, rows
        like = {"device": frozen.weight.device, "dtype": frozen.weight.dtype}
        self.lora_a = torch.nn.Parameter(torch.empty(rank, rows, **like))
        self.lora_b = torch.nn.Parameter(torch.zeros(columns, rank, **like))
        torch.nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        self.scale = 2.0

    def forward(self, x: Any) -> Any:
        low = torch.nn.functional.linear(x, self.lora_a)
        return self.frozen(x) + self.scale * torch.nn.functional.linear(low, self.lora_b)


def adapt(model: Any, rank: int) -> None:
    """Freeze the model and put adapters of this rank (0: the default) on it, in place.

    A head for answer spans is new, so it is trained in full. Raises LoraError.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("qa_outputs."))
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if name in TARGETS and hasattr(child, "weight")
    ]
    if not found:
        raise LoraError(f"the model has no projection named {', '.join(TARGETS)}: use method full")
    for parent, name, child in found:
        setattr(parent, name, Adapted(child, rank or DEFAULT_RANK))

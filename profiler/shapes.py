"""The sizes of a decoder-only transformer: all that counting memory and operations needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jetsched.profiler.counted import Counted


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a decoder-only transformer: all that memory and FLOP counting need.

    ``hidden``, ``ffn``, ``head_dim`` are widths, ``vocab`` and ``max_positions`` are rows of
    embeddings. ``gated_mlp``: the MLP has three matrices (gate, up, down) instead of two.
    """

    family: str
    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    max_positions: int
    tied_embeddings: bool
    gated_mlp: bool
    #: All parameters with the language-model head; tied embeddings count once.
    parameters: int
    #: Those of the head alone that the embeddings do not share: 0 when tied.
    head_parameters: int
    dropout: bool
    #: What the whole body does: by a closed form (forms.py), or as seen on the meta device
    #: (counting.py). None only while a closed form is being made.
    counted: Counted | None = None

    @property
    def body(self) -> Counted:
        """What the layers and embeddings do, the head apart."""
        if self.counted is None:
            raise ValueError(f"a {self.family} shape without its counts")
        return self.counted

    @property
    def block_matmul_parameters(self) -> int:
        """Weights in the matrices of all layers: what a token is multiplied with, head apart."""
        if self.counted is not None:
            return round(self.counted.matmul_parameters)
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        mlp = self.hidden * self.ffn * (3 if self.gated_mlp else 2)
        return self.layers * (attention + mlp)

    @property
    def kv_values_per_token(self) -> int:
        """Numbers that the key-value cache keeps for each token of each sequence."""
        if self.counted is not None:
            return round(self.counted.kv_values_per_token)
        return 2 * self.layers * self.kv_heads * self.head_dim

    @property
    def score_width(self) -> float:
        """Numbers of a query that meet a key in one layer: half the operations for a score."""
        if self.counted is not None:
            return self.counted.score_flops / (4 * self.layers)
        return self.heads * self.head_dim

    @property
    def fuses(self) -> bool:
        """Whether attention can be computed without writing all scores."""
        return self.counted is None or self.counted.fused is not None

    def parameters_with(self, head: Literal["qa", "lm"]) -> int:
        """Parameters with a language-model head, or with the two-row head for answer spans."""
        if head == "lm":
            return self.parameters
        if self.counted is not None and self.counted.qa_parameters is not None:
            return self.counted.qa_parameters
        return self.parameters - self.head_parameters + 2 * self.hidden + 2

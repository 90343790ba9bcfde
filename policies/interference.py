"""How much jobs on one board slow each other: a model, until somebody has measured it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

#: What a neighbour costs although the GPU has time for both, per share of it that the neighbour
#: uses: caches, memory bandwidth, switching. Assumed; what pairs of training jobs show on server
#: GPUs lies between nothing and a third (Xiao et al., *Gandiva*, OSDI 2018; Hu et al., *Lucid*,
#: ASPLOS 2023). Nobody has published it for Jetson boards.
COUPLING = 0.15


class Interference(Protocol):
    """Says at which speed a job runs beside others: 1 is that of a board of its own."""

    def __call__(self, own_pct: float, others_pct: Sequence[float]) -> float: ...


class SharedGpu:
    """The GPU's time is divided; who asks for more than there is gets it in proportion.

    A job that keeps the GPU busy for a share s of its time, beside others that use o together,
    runs at ``1 / (max(1, s + o) * (1 + coupling * o))``. So small shares add up almost freely, and
    two jobs that each fill a GPU take longer together than one after the other.
    """

    def __init__(self, coupling: float = COUPLING) -> None:
        if not 0 <= coupling <= 10:
            raise ValueError(f"coupling must lie in 0..10, not {coupling}")
        self.coupling = coupling

    def __call__(self, own_pct: float, others_pct: Sequence[float]) -> float:
        own, others = _share(own_pct), sum(_share(pct) for pct in others_pct)
        return 1 / (max(1.0, own + others) * (1 + self.coupling * others))


def _share(pct: float) -> float:
    return min(max(pct, 0.0), 100.0) / 100

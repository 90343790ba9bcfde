"""What has to be moved in a simulated cluster: models to boards, checkpoints to disks and back."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from math import inf, isfinite

from jetsched.cluster.truth import TrueRun
from jetsched.errors import InputError
from jetsched.profiler import models
from jetsched.profiler.memory import trainable_parameters, work_kind
from jetsched.profiler.roofline import STORAGE_MB_S, weights_mb
from jetsched.profiler.shapes import ModelShape
from jetsched.records import Workload

_MIB = 1024 * 1024

#: What a board's disk takes and gives, as assumed for loading weights: an NVMe drive's.
DISK_MIB_S = STORAGE_MB_S * 1e6 / _MIB

#: A checkpoint of AdamW holds each trained weight in fp32 with its two moments.
_BYTES_PER_TRAINED = 12


@dataclass(frozen=True, slots=True)
class Transfer:
    """A board fetches a model over its link before it first loads it, and keeps the last ones.

    ``cache_mib`` is what it keeps; a model that is larger is fetched each time. Raises
    :class:`InputError` for what is no rate and no size.
    """

    link_mib_s: float
    cache_mib: float = inf

    def __post_init__(self) -> None:
        if not (self.link_mib_s > 0 and isfinite(self.link_mib_s)):
            raise InputError(f"a link of {self.link_mib_s} MiB/s moves nothing")
        if not self.cache_mib >= 0:
            raise InputError(f"a cache of {self.cache_mib} MiB")


class ModelCaches:
    """The models that each board has, the least recently used first."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._boards: dict[str, OrderedDict[tuple[str, float], None]] = {}
        self._mib: dict[tuple[str, str, str], float] = {}

    def fetch_s(self, device_id: str, workload: Workload) -> float:
        """Seconds until the board has the model; 0 where it has, or nothing tells the size."""
        key = self._key(workload)
        if key in self._boards.get(device_id, ()):
            return 0.0
        return key[1] / self._transfer.link_mib_s

    def keep(self, device_id: str, workload: Workload) -> None:
        """The board has used the model: the newest one now. Others may have to go."""
        key = self._key(workload)
        if not 0 < key[1] <= self._transfer.cache_mib:
            return
        board = self._boards.setdefault(device_id, OrderedDict())
        board[key] = None
        board.move_to_end(key)
        held_mib = sum(mib for _, mib in board)
        while held_mib > self._transfer.cache_mib:
            held_mib -= board.popitem(last=False)[0][1]

    def _key(self, workload: Workload) -> tuple[str, float]:
        """The model and its MiB, in the precision in which it is stored for this use."""
        use = (workload.model, work_kind(workload), workload.precision)
        mib = self._mib.get(use)
        if mib is None:
            shape = _shape(workload.model)
            mib = weights_mb(shape, workload) * 1e6 / _MIB if shape is not None else 0.0
            self._mib[use] = mib
        return (workload.model, mib)


class Checkpoints:
    """How large checkpoints are, and how long a disk needs for one."""

    def __init__(self, disk_mib_s: float) -> None:
        if not (disk_mib_s > 0 and isfinite(disk_mib_s)):
            raise InputError(f"a disk of {disk_mib_s} MiB/s holds no checkpoint")
        self._disk_mib_s = disk_mib_s
        self._mib: dict[Workload, float | None] = {}

    def seconds(self, workload: Workload, run: TrueRun) -> float:
        """Seconds to write or read one; 0 for what cannot be resumed.

        Trained weights with their optimizer's state, as counted. Where nothing tells the shape of
        the model it is all that the run holds in memory, which is more.
        """
        if workload.kind != "train":
            return 0.0
        try:
            mib = self._mib[workload]
        except KeyError:
            mib = self._mib[workload] = checkpoint_mib(workload)
        return (run.peak_memory_mib if mib is None else mib) / self._disk_mib_s


def checkpoint_mib(workload: Workload) -> float | None:
    """The size of a training run's checkpoint; None where the model's shape is not known."""
    shape = _shape(workload.model)
    if shape is None:
        return None
    return float(_BYTES_PER_TRAINED) * trainable_parameters(shape, workload) / _MIB


def _shape(model: str) -> ModelShape | None:
    try:
        return models.shape(model) if model else None
    except InputError:  # it would have to be counted first
        return None

"""The child's calibration: four constants of this machine that make up the time of any workload.

Each is timed over three windows and the fastest is taken: whatever else happens on a machine only
adds to a time. On a CPU it takes about ten seconds. torch only; nothing here depends on a model.
"""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any, Callable

import torch
from torch import nn

WINDOW_S = 0.4
WINDOWS = 3
#: Triad arrays, 64 MiB each: larger than any cache on a board.
TRIAD_NUMBERS = 16 * 2**20
#: The file that is read back; at most this part of the free space.
FILE_MIB, FILE_SHARE = 256, 0.1
CHUNK = 4 * 2**20


def run(device: Any, folder: str, emit: Callable[..., None]) -> dict[str, Any]:
    """All of it, as the values of the ``calibration`` in the ``result`` event.

    ``launch_us``: microseconds for one small operation of a module; ``bandwidth_gb_s``: of a triad,
    two reads and a write; ``gemm_gflops``: by precision, without those the device cannot do;
    ``load_mb_s``: a file to tensors on the device; ``load_from``: *disk*, or *page cache* where
    the kernel could not be made to forget the file.
    """
    calibration: dict[str, Any] = {}
    steps: list[tuple[str, Callable[[], Any]]] = [
        ("launch_us", lambda: launch_us(device)),
        ("bandwidth_gb_s", lambda: triad_gb_s(device)),
        ("gemm_gflops", lambda: gemm_gflops(device)),
        ("load", lambda: load(device, folder)),
    ]
    with torch.no_grad():
        for number, (name, measure) in enumerate(steps, start=1):
            value = measure()
            calibration.update(
                value if isinstance(value, dict) and name == "load" else {name: value}
            )
            emit(
                "progress", done=number, amount=len(steps), step=number, steps=len(steps),
                loss=None, tokens=0,
            )  # fmt: skip
    calibration["compute_capability"] = (
        "{}.{}".format(*torch.cuda.get_device_capability()) if device.type == "cuda" else ""
    )
    return calibration


class Block(nn.Module):  # type: ignore[misc]  # torch is not looked into by mypy
    """A layer so small that only starting its operations takes time."""

    #: Operations that :meth:`forward` starts.
    OPERATIONS = 16

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.act = nn.GELU()

    def forward(self, x: Any) -> Any:
        q, k, v = self.qkv(self.norms[0](x)).chunk(3, dim=-1)  # 3 operations
        weights = torch.matmul(q, k.transpose(-1, -2)) * 0.1  # 3
        x = x + self.out(torch.matmul(weights.softmax(-1), v))  # 4
        return x + self.down(self.act(self.up(self.norms[1](x))) * 1.0)  # 6


def launch_us(device: Any) -> float:
    """Microseconds that the host needs for one small operation, Python's own part included."""
    block = Block().to(device).eval()
    start = torch.zeros(1, 4, 32, device=device)

    def chain() -> None:
        x = start
        for _ in range(10):
            x = block(x)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # waiting for the others is no part of it
    try:
        return 1e6 * seconds_for(chain, device) / (10 * Block.OPERATIONS)
    finally:
        torch.set_num_threads(threads)


def triad_gb_s(device: Any) -> float:
    """Gigabytes per second of ``a = b + 3 c`` over arrays that no cache holds."""
    a, b, c = (torch.ones(TRIAD_NUMBERS, device=device) for _ in range(3))
    seconds = seconds_for(lambda: torch.add(b, c, alpha=3.0, out=a), device)
    return 3 * 4 * TRIAD_NUMBERS / seconds / 1e9


def gemm_gflops(device: Any) -> dict[str, float]:
    """Billions of operations per second of a square matrix product, by precision."""
    kinds = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    if device.type == "cuda" and torch.cuda.get_device_capability() < (8, 0):
        del kinds["bf16"]  # Volta and Turing compute it step by step, if at all
    found = {}
    for name, kind in kinds.items():
        size = 2048 if device.type == "cuda" else 1024
        if kind is not torch.float32 and device.type == "cpu":
            size = 256  # without instructions for it, it takes hundreds of times as long
        try:
            left, right = (torch.ones(size, size, device=device, dtype=kind) for _ in range(2))
            seconds = seconds_for(lambda a=left, b=right: torch.matmul(a, b), device)  # type: ignore[misc]
        except RuntimeError:  # "not implemented for 'Half'" on old CPU builds
            continue
        found[name] = 2.0 * size**3 / seconds / 1e9
    return found


def load(device: Any, folder: str) -> dict[str, Any]:
    """How fast a file comes from the storage of the model cache, through memory, to the device."""
    place = cache_folder(folder)
    space = os.statvfs(place)
    size = int(min(FILE_MIB * 2**20, FILE_SHARE * space.f_bavail * space.f_frsize))
    size -= size % CHUNK
    if not size:
        return {"load_mb_s": None, "load_from": ""}
    block = os.urandom(CHUNK)  # a file system that compresses must not gain by it
    with tempfile.TemporaryFile(dir=place, buffering=0) as file:  # has no name: nothing stays
        for _ in range(size // CHUNK):
            file.write(block)
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        start, buffer, reads = time.perf_counter(), bytearray(CHUNK), []
        file.seek(0)
        while True:
            before = time.perf_counter()
            if not file.readinto(buffer):
                break
            reads.append(time.perf_counter() - before)
            torch.frombuffer(buffer, dtype=torch.uint8).to(device, copy=True)
        synchronize(device)
        seconds = time.perf_counter() - start
        # Memory is read at some GB/s; no storage of a board is.
        from_memory = CHUNK / (sum(reads) / len(reads)) > 4e9
    return {
        "load_mb_s": size / seconds / 1e6,
        "load_from": "page cache" if from_memory else "disk",
    }


def cache_folder(folder: str) -> str:
    """The hub's cache where there is one that can be written, else the run's own folder."""
    home = os.environ.get("HF_HOME") or os.path.expanduser("~/.cache/huggingface")
    return home if os.path.isdir(home) and os.access(home, os.W_OK) else folder


def seconds_for(work: Callable[[], Any], device: Any) -> float:
    """Seconds for one call in the fastest window.

    A GPU is given as many calls as fill a window and waited for; on a CPU the clock ends it too.
    """
    work()  # kernels are chosen and memory is taken the first time
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    most = max(1, int(WINDOW_S / max(time.perf_counter() - start, 1e-6)))
    found = []
    for _ in range(WINDOWS):
        start, calls = time.perf_counter(), 0
        while calls < most and (not calls or time.perf_counter() - start < WINDOW_S):
            work()
            calls += 1
        synchronize(device)
        found.append((time.perf_counter() - start) / calls)
    return min(found)


def synchronize(device: Any) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()

"""Other people's measurements as rows to fit times to (for bench_costs.py).

Two of the four tables have the columns of `costs evaluate` already. The other two are converted
here, and what their conversion assumes is written beside it.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from jetsched.profiler.costrows import CostRow

#: Cards of one family are held out together: one would give the other away.
FAMILIES = (("A100", "A100"), ("MI210", "MI210 / MI250"), ("MI250", "MI210 / MI250"))


def family(device: str) -> str:
    """The family of a card: both A100s are one, MI210 and MI250 are one, any other is its own."""
    return next((name for sign, name in FAMILIES if sign in device), device)


# ---------------------------------------------------------- AGX Orin 32 GB, frameworks x precisions

#: fp16 without sparsity, of 56 tensor cores x 512 operations x 0.93 GHz; NVIDIA's bandwidth.
_AGX_GFLOPS, _AGX_GB_S, _AGX_GB = 26_700.0, 204.8, 32.0
#: Parameters that a token is multiplied with: Llama 3.2 1B shares its head with its embeddings.
_PARAMETERS = {"Llama-3.2-1B": 1.236e9, "Llama-3.1-8B": 7.505e9}
#: Bytes that the key-value cache keeps per token: 2 x layers x heads x head size x 2 bytes.
_KV_BYTES = {"Llama-3.2-1B": 2 * 16 * 8 * 64 * 2.0, "Llama-3.1-8B": 2 * 32 * 8 * 128 * 2.0}
#: Bits per weight. llama.cpp's formats carry scales beside the weights.
_BITS = {
    **{"Q3_K_L": 4.27, "Q4_0": 4.5, "Q4_K_M": 4.85, "Q5_K_M": 5.69, "Q6_K": 6.56, "Q8_0": 8.5},
    **{"f16": 16.0, "fp16": 16.0, "fp16_nocache": 16.0, "bf16": 16.0},
    **{"int4": 4.25, "4bit": 4.5, "int8": 8.0, "8bit": 8.0},
}


def agx_frameworks(path: Path) -> list[CostRow]:
    """A prefill for each prompt length and a decode for each length of context.

    Prefills of vLLM with its prefix cache and of SGLang are left out: a repeated prompt comes out
    of the cache, and the operations that would be counted are not done.
    """
    prefills: dict[tuple[str, str, str, int], list[float]] = {}
    rows: list[CostRow] = []
    with path.open(encoding="utf-8") as file:
        for number, cells in enumerate(csv.DictReader(file), start=1):
            framework, model, precision = (cells[c] for c in ("framework", "model", "precision"))
            prompt, new = int(cells["prompt_tokens"]), int(cells["new_tokens"])
            if framework != "sglang" and (framework != "vllm" or precision == "fp16_nocache"):
                key = (framework, model, precision, prompt)
                prefills.setdefault(key, []).append(float(cells["ttft_ms"]) / 1000)
            context = prompt + new / 2
            time_s = float(cells["ms_per_token"]) / 1000
            rows.append(_llm(framework, model, precision, "decode", 1, context, time_s, number))
    for number, ((framework, model, precision, prompt), times) in enumerate(prefills.items(), 1):
        rows.append(
            _llm(framework, model, precision, "prefill", prompt, prompt / 2, median(times), -number)
        )
    return rows


def _llm(
    framework: str,
    model: str,
    precision: str,
    kind: str,
    tokens: int,
    context: float,
    time_s: float,
    number: int,
) -> CostRow:
    bits = _BITS[precision.removeprefix("gguf_")]
    labels = {"framework": framework, "model": model, "precision": precision, "kind": kind}
    return CostRow(
        device="Jetson AGX Orin 32GB",
        workload=model,
        kind=kind,
        time_s=time_s,
        precision=precision,
        framework=framework,
        peak_gflops=_AGX_GFLOPS,
        bandwidth_gb_s=_AGX_GB_S,
        memory_gb=_AGX_GB,
        batch=1,
        seq_len=context,
        flops=2 * _PARAMETERS[model] * tokens,
        bytes=_PARAMETERS[model] * bits / 8 + _KV_BYTES[model] * context,
        number=number,
        labels=labels,
    )


# ------------------------------------------------------------------ one CNN on Xaviers and a Nano

#: Cores of the GPU and GB/s, by the data sheets; 2 operations a clock and core.
_XAVIERS: Mapping[str, tuple[int, float]] = {
    "Nano": (128, 25.6),
    "NX": (384, 59.7),
    "AGX": (512, 136.5),
}
#: Assumed, as the source does not say: a ResNet-50. Only ratios matter, the scale is fitted.
_IMAGE_FLOPS, _IMAGE_BYTES, _WEIGHT_BYTES = 8e9, 1e8, 1e8


def xavier_clocks(path: Path) -> list[CostRow]:
    """A batch of one CNN at each clock of the GPU; the peak of the sheet goes with the clock."""
    rows = []
    with path.open(encoding="utf-8") as file:
        for number, cells in enumerate(csv.DictReader(file), start=1):
            cores, bandwidth = _XAVIERS[cells["device"]]
            ghz, batch = float(cells["frequency"]) / 1e9, float(cells["batch_size"])
            mode = f"{cells['device']} @ {1000 * ghz:.0f} MHz"
            rows.append(
                CostRow(
                    device=mode,
                    workload="cnn",
                    kind="infer",
                    board=cells["device"],
                    time_s=float(cells["latency"]),
                    peak_gflops=cores * 2 * ghz,
                    bandwidth_gb_s=bandwidth,
                    batch=batch,
                    flops=_IMAGE_FLOPS * batch,
                    bytes=_IMAGE_BYTES * batch + _WEIGHT_BYTES,
                    number=number,
                    labels={"board": cells["device"], "mode": mode},
                )
            )
    return rows

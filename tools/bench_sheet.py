"""How far the data sheets alone are off: published runs of eager transformers on other boards.

Nothing is fitted here. A row is predicted from its model's shape, the board's sheet and the
constants of roofline.py; `predicted / published` is 1 where that is right. Some constants were
chosen with a look at some of these rows (roofline.py says which). Figures go to docs/log.md.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import exp, log
from pathlib import Path
from statistics import mean, pstdev

from jetsched.profiler.devices import sheet_of
from jetsched.profiler.memory import stack_of
from jetsched.profiler.models import ModelShape, shape_of
from jetsched.profiler.roofline import Sheeted, by_the_sheet, phases_of, rates_of
from jetsched.records import DeviceClass, Precision, Workload

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "jetson" / "published.csv"


def _llama(layers: int, hidden: int, ffn: int, heads: int, vocab: int, head_dim: int) -> ModelShape:
    return shape_of(
        {
            "model_type": "llama",
            "num_hidden_layers": layers,
            "hidden_size": hidden,
            "intermediate_size": ffn,
            "num_attention_heads": heads,
            "num_key_value_heads": 8,
            "head_dim": head_dim,
            "vocab_size": vocab,
            "tie_word_embeddings": True,
        }
    )


MODELS: Mapping[str, ModelShape] = {
    "Llama-3.2-1B": _llama(16, 2048, 8192, 32, 128256, 64),
    "Qwen3-1.7B": _llama(28, 2048, 6144, 16, 151936, 128),
}
#: The power mode is not stated for the Orin Nano and the AGX Xavier: the highest is taken. The AGX
#: Orin drew 53 W, more than its 32 GB module may: the first developer kit, of full size.
BOARDS: Mapping[str, DeviceClass] = {
    "AGX Orin 32GB": DeviceClass("agx-orin", "MAXN"),
    "Orin Nano 8GB Super": DeviceClass("orin-nano", "MAXN_SUPER"),
    "AGX Xavier 32GB": DeviceClass("agx-xavier", "MAXN"),
}


@dataclass(frozen=True)
class Row:
    """A published time, and what the data sheet says of it."""

    device: str
    model: str
    phase: str  # prefill | decode (per token) | forward
    prompt: int
    published_s: float
    predicted_s: float

    @property
    def ratio(self) -> float:
        return self.predicted_s / self.published_s


def rows(path: Path) -> list[Row]:
    """All published rows of eager transformers in half precision; none where the file is not."""
    return list(_rows(path)) if path.exists() else []


def _rows(path: Path) -> Iterator[Row]:
    with path.open(newline="") as lines:
        for row in csv.DictReader(lines):
            half = row["precision"] in ("fp16", "bf16")
            if not row["framework"].startswith("HF transformers") or not half:
                continue
            published_s = _seconds(row)
            if published_s is None or row["device"] not in BOARDS:
                continue
            precision: Precision = "bf16" if row["precision"] == "bf16" else "fp16"
            prompt, new = int(row["prompt_len"]), max(int(row["gen_len"] or 0), 1)
            fused = "eager attention" not in row["framework"]
            found = _sheeted(row["device"], row["model"], prompt, new + 1, precision, fused)
            decode = row["metric"] in ("tpot", "decode_rate")
            predicted_s = found.phases_s["decode"] / new if decode else found.phases_s["prefill"]
            phase = "decode" if decode else row["task"].partition(",")[0]
            yield Row(row["device"], row["model"], phase, prompt, published_s, predicted_s)


def _seconds(row: Mapping[str, str]) -> float | None:
    value = float(row["value"])
    if row["metric"] in ("ttft", "tpot"):
        return value / 1e3
    if row["metric"] == "decode_rate":
        return 1 / value
    # All modules but the attention's core and the residuals, on the host's clock.
    return value / 1e3 if row["metric"] == "host_latency_sum" else None


def _sheeted(
    device: str, model: str, prompt: int, new: int, precision: Precision, fused: bool
) -> Sheeted:
    workload = Workload(
        "infer", model, prompt_tokens=prompt, max_new_tokens=new, precision=precision
    )
    sheet = sheet_of(BOARDS[device])
    stack = stack_of(sheet)
    if not fused:
        stack = replace(stack, fused_attention=False)
    phases = phases_of(MODELS[model], workload, stack)
    return by_the_sheet(phases, rates_of(sheet)[precision], gpu=True)


def main() -> None:
    found = rows(DATA)
    if not found:
        print(f"Data sheets alone: no data in {DATA}")
        return
    print("Data sheets alone beside published runs of eager transformers")
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for each in found:
        print(
            f"  {each.device:20} {each.model:13} {each.phase:8} prompt {each.prompt:5}"
            f"  published {each.published_s * 1e3:8.1f} ms"
            f"  predicted {each.predicted_s * 1e3:8.1f} ms  ratio {each.ratio:.2f}"
        )
        groups[each.device, each.phase].append(log(each.ratio))
    for (device, phase), logs in groups.items():
        print(
            f"  {device:20} {phase:8} {len(logs):2} rows: ratio {exp(mean(logs)):.2f},"
            f" spread {pstdev(logs):.2f}"
        )


if __name__ == "__main__":
    main()

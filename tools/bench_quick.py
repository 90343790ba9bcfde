"""How well times of jobs are known after `jetsched profile --quick`, on the machine at hand.

Without arguments it prints the figures of runs that were measured for this project and are kept in
`tests/data`. ``--measure`` profiles this machine, runs every job of :data:`JOBS` under measurement
and writes the record anew: some ten minutes, for which nothing else should run. None of the jobs is
in the quick suite: other batches, lengths, heads, methods and models.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from jetsched.files import from_json, to_json
from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.calibration import Calibration
from jetsched.profiler.costs import CostModel
from jetsched.profiler.store import MeasurementStore
from jetsched.records import Measurement, Never

RECORD = Path(__file__).resolve().parent.parent / "tests/data/quick_cases.jsonl"
MOST_PCT = 15.0  # the bar

GPT2 = {"model_type": "gpt2", "n_positions": 1024}
LLAMA = {"model_type": "llama", "vocab_size": 32000, "max_position_embeddings": 2048}
#: Models of no name: their configs by what they are called here.
CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2-6x512": {**GPT2, "n_embd": 512, "n_layer": 6, "n_head": 8, "vocab_size": 50257},
    "gpt2-4x256": {**GPT2, "n_embd": 256, "n_layer": 4, "n_head": 4, "vocab_size": 20000},
    "llama-8x512": {
        **LLAMA,
        "hidden_size": 512,
        "intermediate_size": 1408,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
    },
    "llama-12x768": {
        **LLAMA,
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_key_value_heads": 12,
    },
}


@dataclass(frozen=True)
class Case:
    """A job file's work section; ``steps`` (or prompts) come after one that warms up."""

    model: str
    batch: int
    length: int  # of a sample, or of a prompt
    steps: int
    new_tokens: int = 0  # 0: training
    more: tuple[tuple[str, Any], ...] = ()

    def work(self, folder: Path) -> dict[str, Any]:
        model = str(folder / self.model) if self.model in CONFIGS else self.model
        total = self.batch * (self.steps + 1)
        common = {"model": model, "batch_size": self.batch, "precision": "fp32", **dict(self.more)}
        if self.new_tokens:
            lengths = {"prompt_tokens": self.length, "max_new_tokens": self.new_tokens}
            return {"kind": "infer", "prompts": total, **lengths, **common}
        data = {"dataset": f"squad[:{total}]", "epochs": 1, "seq_len": self.length}
        return {"kind": "train", "head": "qa", **data, **common}


JOBS: tuple[Case, ...] = (
    Case("distilgpt2", 1, 64, 6),
    Case("distilgpt2", 2, 256, 4),
    Case("distilgpt2", 8, 64, 4),
    Case("distilgpt2", 4, 384, 3),
    Case("distilgpt2", 4, 128, 4, more=(("head", "lm"),)),
    Case("distilgpt2", 4, 128, 5, more=(("method", "lora"),)),
    Case("distilgpt2", 4, 128, 4, more=(("gradient_checkpointing", True),)),
    Case("gpt2", 1, 128, 4),
    Case("gpt2", 2, 64, 4),
    Case("gpt2", 2, 384, 3),
    Case("gpt2", 8, 128, 2),
    Case("gpt2", 4, 128, 3, more=(("method", "lora"),)),
    Case("tinygpt2-25m", 1, 64, 10),
    Case("tinygpt2-25m", 8, 256, 4),
    Case("tinygpt2-25m", 16, 128, 4),
    Case("tinygpt2-25m", 4, 128, 4, more=(("head", "lm"),)),
    Case("tinygpt2-25m", 4, 512, 4),
    Case("gpt2-6x512", 2, 128, 6),
    Case("gpt2-6x512", 8, 64, 6),
    Case("gpt2-4x256", 8, 128, 8),
    Case("llama-8x512", 4, 128, 6),
    Case("llama-12x768", 2, 128, 4),
    Case("distilgpt2", 1, 128, 2, 32),
    Case("distilgpt2", 4, 64, 2, 16),
    Case("distilgpt2", 1, 16, 2, 64),
    Case("gpt2", 1, 64, 2, 16),
    Case("gpt2", 1, 256, 2, 8),
    Case("gpt2", 8, 32, 1, 32),
    Case("tinygpt2-25m", 1, 64, 4, 32),
    Case("tinyllama-1.1b", 1, 32, 2, 8),
    Case("tinyllama-1.1b", 1, 128, 1, 16),
    Case("llama-12x768", 1, 64, 2, 16),
    Case("llama-12x768", 4, 128, 1, 16),
    Case("qwen1.5-1.8b", 1, 32, 1, 8),
)


@dataclass(frozen=True)
class Known:
    """What was measured: the quick suite with its calibration, and the other jobs."""

    quick: tuple[Measurement, ...]
    calibrations: tuple[Calibration, ...]
    unseen: tuple[Measurement, ...]


@dataclass(frozen=True)
class Guess:
    """A run of a job, beside what was said of it: seconds, warm-up left out."""

    measurement: Measurement
    time_s: float
    predicted_s: float
    predicted_p90_s: float
    rate_off: float  # predicted over measured, of a unit of work

    @property
    def off(self) -> float:
        return self.predicted_s / self.time_s


def guesses(known: Known) -> Iterator[Guess]:
    """What the cost model says of each unseen job, from the quick suite alone."""
    model = CostModel(known.quick, known.calibrations)
    for run in known.unseen:
        found = model.cost(run.workload, run.device_class)
        if isinstance(found, Never) or not run.work_s or run.time_s is None:
            raise SystemExit(f"{run.workload.label}: {found if run.work_s else run.text}")
        whole = found.of(run.amount)
        yield Guess(
            run,
            run.time_s - (run.warmup_s or 0.0),
            whole.time_s,
            whole.time_p90_s,
            found.rate_s / (run.work_s / run.amount),
        )


def error_pct(ratios: Sequence[float]) -> float:
    """Mean absolute percentage error of predicted over measured."""
    return 100 * fmean(abs(ratio - 1) for ratio in ratios)


@contextmanager
def record(path: Path = RECORD) -> Iterator[Known]:
    """What is kept, with the configs of nameless models in a folder as long as this is open."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    quick = [from_json(Measurement, row["quick"]) for row in rows if "quick" in row]
    constants = [from_json(Calibration, row["calibration"]) for row in rows if "calibration" in row]
    with tempfile.TemporaryDirectory(prefix="jetsched-bench-") as folder:
        write_configs(Path(folder))
        unseen = [
            _renamed(from_json(Measurement, row["unseen"]), lambda name: f"{folder}/{name}")
            for row in rows
            if "unseen" in row
        ]
        yield Known(tuple(quick), tuple(constants), tuple(unseen))


def _renamed(run: Measurement, rename: Callable[[str], str]) -> Measurement:
    name = Path(run.workload.model).name
    if name not in CONFIGS:
        return run
    return replace(run, workload=replace(run.workload, model=rename(name)))


def write_configs(folder: Path) -> None:
    """A folder with a ``config.json`` for each nameless model."""
    for name, config in CONFIGS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "config.json").write_text(json.dumps(config), encoding="utf-8")


def measure(path: Path) -> None:
    """Profile this machine and run all jobs, through the command itself, and write the record."""
    with tempfile.TemporaryDirectory(prefix="jetsched-bench-") as name:
        folder = Path(name)
        write_configs(folder / "models")
        _jetsched(folder / "quick", "--quick")
        for number, case in enumerate(JOBS, 1):
            file = folder / f"job{number}.yaml"  # JSON is YAML
            file.write_text(
                json.dumps({"name": f"job{number}", "work": case.work(folder / "models")})
            )
            print(f"{number} of {len(JOBS)}: {case}", flush=True)
            _jetsched(folder / "unseen", "--suite", str(file))
        lines: list[dict[str, Any]] = [_machine()]
        lines += [{"quick": to_json(m)} for m in _measurements(folder / "quick")]
        store = CalibrationStore(folder / "quick" / "calibrations.jsonl")
        lines += [{"calibration": to_json(replace(c, identity={}))} for c in store.read()]
        for run in _measurements(folder / "unseen"):
            lines.append({"unseen": to_json(_renamed(run, lambda name: name))})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _jetsched(home: Path, *words: str) -> None:
    command = [sys.executable, "-m", "jetsched", "profile", *words, "--json"]
    env = {**os.environ, "JETSCHED_HOME": str(home)}
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)


def _measurements(home: Path) -> list[Measurement]:
    """Without what they say of the machine: paths, for instance."""
    found = MeasurementStore(home / "measurements.jsonl").read()
    return [replace(measurement, identity={}) for measurement in found]


def _machine() -> dict[str, Any]:
    return {"machine": platform.machine(), "cpus": os.cpu_count(), "libc": platform.libc_ver()[1]}


def main() -> int:
    """Print each job and the errors; exit status 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true", help="run everything anew: ten minutes")
    if parser.parse_args().measure:
        measure(RECORD)
    with record() as known:
        found = list(guesses(known))
    print("Jobs that the quick suite has not seen, on the CPU that it profiled (recorded):")
    for guess in found:
        work = guess.measurement.workload
        print(f"  {work.label:44} {work.head:3} {guess.time_s:6.1f} s  x {guess.off:.2f}")
    whole = error_pct([guess.off for guess in found])
    covered = fmean(guess.time_s <= guess.predicted_p90_s for guess in found)
    print(f"  time of a run: {whole:.1f} % MAPE (bar: <= {MOST_PCT:g} %), p90 covers {covered:.0%}")
    print(f"  time of a unit of work: {error_pct([g.rate_off for g in found]):.1f} % MAPE")
    return int(whole > MOST_PCT)


if __name__ == "__main__":
    sys.exit(main())

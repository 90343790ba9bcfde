"""What `jetsched profile` runs: tables of benchmarks, each a job that is measured.

A benchmark asks for a rate, so ``max_steps`` cuts training short; ``paper`` does not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jetsched.errors import InputError
from jetsched.jobfile import load_jobs
from jetsched.profiler.models import find, missing, positions
from jetsched.records import DeviceClass, Job, Precision, Workload

#: Questions of SQuAD v1.1's training part; the paper trains for two epochs.
SQUAD_SAMPLES = 87_599
EPOCHS = 2


@dataclass(frozen=True)
class Benchmark:
    """A job to run under measurement, and where to cut it short.

    ``whole`` is the amount of the benchmark when it is not bounded: what a steady rate is
    extrapolated to. None: its job's amount is all there is.
    """

    name: str
    job: Job
    max_steps: int | None = None
    whole: float | None = None

    def on(self, kind: DeviceClass) -> Benchmark:
        """The same as the board can do it: half precision is for GPUs, a CPU takes fp32."""
        workload = self.job.workload
        if workload.precision != "fp16" or not (kind.model == "cpu" or kind.emulated):
            return self
        return replace(self, job=replace(self.job, workload=replace(workload, precision="fp32")))

    def bounded(
        self, *, epochs: int | None = None, samples: int | None = None, steps: int | None = None
    ) -> Benchmark:
        """The same for fewer samples (or prompts), fewer epochs, or so many steps after warm-up.

        Raises InputError for a bound that leaves nothing to run.
        """
        for name, bound in (("epochs", epochs), ("samples", samples), ("steps", steps)):
            if bound is not None and bound < 1:
                raise InputError(f"--{name} {bound} leaves nothing to run")
        whole, amount = self.whole or self.job.amount, self.job.amount
        if self.job.workload.kind == "command":
            return self
        if self.job.workload.kind == "train" and (epochs or samples):
            passes = epochs or EPOCHS
            amount = min(amount, float(passes * (samples or whole / EPOCHS)))
        elif samples:
            amount = min(amount, float(samples))
        max_steps = self.max_steps if steps is None else steps + 1  # one warms up
        return replace(self, job=replace(self.job, amount=amount), max_steps=max_steps, whole=whole)


def _train(
    model: str,
    batch_size: int,
    seq_len: int,
    *,
    steps: int | None = None,
    amount: float | None = None,
    precision: Precision = "fp32",
) -> Benchmark:
    """Fine-tuning with the question answering head; ``steps`` come after one of warm-up."""
    workload = Workload(
        "train", model, "squad", batch_size, seq_len, precision=precision, head="qa"
    )
    total = amount if amount is not None else batch_size * ((steps or 1) + 1)
    name = f"train-{model}"
    return Benchmark(name, Job(f"profile-{name}", workload, total, name=name))


def _infer(
    model: str,
    prompts: int,
    prompt_tokens: int,
    max_new_tokens: int,
    *,
    precision: Precision = "fp16",
) -> Benchmark:
    """Generation over prompts, one at a time."""
    workload = Workload(
        "infer",
        model,
        prompt_tokens=prompt_tokens,
        max_new_tokens=max_new_tokens,
        precision=precision,
    )
    name = f"infer-{model}"
    return Benchmark(name, Job(f"profile-{name}", workload, prompts, name=name))


#: ``demo`` takes at most 30 s on an emulated board (one core, shared), ``quick`` about three
#: minutes on a real one, ``paper`` is the paper's two tables, with a TinyGPT2 of the size that it
#: names beside the hub's. It gives no batch, length, precision or number of prompts: assumed here.
SUITES: Mapping[str, tuple[Benchmark, ...]] = {
    "demo": (
        _train("tinygpt2-25m", 2, 64, steps=6),
        _infer("tinygpt2-25m", 5, 32, 24, precision="fp32"),
    ),
    "quick": (
        _train("tiny-gpt2", 4, 128, steps=10),
        _train("tinygpt2-25m", 4, 128, steps=10),
        _train("distilgpt2", 4, 128, steps=6),
        _train("gpt2", 4, 128, steps=4),
        _infer("distilgpt2", 3, 64, 16, precision="fp32"),
        _infer("tinyllama-1.1b", 3, 64, 16),
    ),
    "paper": (
        _train("tiny-gpt2", 8, 384, amount=EPOCHS * SQUAD_SAMPLES),
        _train("tinygpt2-25m", 8, 384, amount=EPOCHS * SQUAD_SAMPLES),
        _train("distilgpt2", 8, 384, amount=EPOCHS * SQUAD_SAMPLES),
        _train("gpt2", 8, 384, amount=EPOCHS * SQUAD_SAMPLES),
        _infer("tinyllama-1.1b", 50, 128, 64),
        _infer("phi-2", 50, 128, 64),
        _infer("qwen1.5-1.8b", 50, 128, 64),
    ),
}


def load_suite(name: str) -> tuple[Benchmark, ...]:
    """A suite by its name, or the jobs of a job file as one.

    Raises InputError for an unknown name, and for a file with problems (all of them at once).
    """
    if name in SUITES:
        return SUITES[name]
    path = Path(name)
    if not path.exists():
        known = ", ".join(SUITES)
        raise InputError(f"there is no suite {name!r}", hint=f"known: {known}, or a job file")
    specs = load_jobs([path], positions=positions)
    return tuple(
        Benchmark(spec.name, spec.to_job(f"profile-{spec.name}", 0.0, canonical=_one_name))
        for spec in specs
    )


def repeated(suite: Sequence[Benchmark], times: int) -> tuple[Benchmark, ...]:
    """Each benchmark so many times, one round after the other. Raises InputError for none."""
    if times < 1:
        raise InputError(f"--repeat {times} leaves nothing to run")
    rounds = range(1, times + 1)
    return tuple(
        replace(benchmark, name=benchmark.name if number == 1 else f"{benchmark.name}-{number}")
        for number in rounds
        for benchmark in suite
    )


def require_models(suite: Sequence[Benchmark]) -> None:
    """Before an offline start: raises InputError for a model that cannot be made here."""
    for benchmark in suite:
        job = benchmark.job
        if job.workload.kind != "command":
            problem = missing(job.workload.model, {**os.environ, **dict(job.env)})
            if problem:
                raise InputError(problem, hint="or let it be fetched: jetsched profile --online")


def _one_name(model: str) -> str:
    known = find(model)
    return known.name if known else model

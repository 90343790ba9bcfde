"""How fast the cost model answers: a known pair, many new pairs at once, a fit to many runs.

CPU seconds of this process. The workloads and the measurements are made up, the model is the real
one; peers: the same pairs asked one by one, and a bare look-up in a dictionary.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # idle threads of BLAS would count as work
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import sys
import time
from collections.abc import Callable, Sequence
from random import Random
from statistics import median

from jetsched.profiler.costs import Cost, CostModel
from jetsched.profiler.devices import DEVICE_MODELS, POWER_MODES
from jetsched.records import DeviceClass, Measurement, Workload

TRAINED = ("tiny-gpt2", "tinygpt2-25m", "distilgpt2", "gpt2")
PROMPTED = (*TRAINED, "tinyllama-1.1b", "phi-2", "qwen1.5-1.8b")


def workloads(count: int, seed: int) -> list[Workload]:
    """So many different ones of known models."""
    draw, found = Random(seed), dict[Workload, None]()
    while len(found) < count:
        if draw.random() < 0.5:
            work = Workload(
                "train",
                draw.choice(TRAINED),
                "squad",
                batch_size=draw.randint(1, 64),
                seq_len=draw.randrange(32, 1024, 8),
                head=draw.choice(("qa", "lm")),
                method=draw.choice(("full", "lora")),
            )
        else:
            work = Workload(
                "infer",
                draw.choice(PROMPTED),
                batch_size=draw.randint(1, 8),
                prompt_tokens=draw.randint(1, 512),
                max_new_tokens=draw.randint(1, 256),
                precision=draw.choice(("fp16", "fp32")),
            )
        found[work] = None
    return list(found)


def device_classes() -> list[DeviceClass]:
    """Twenty: every power mode that has a row, this machine, and emulated boards."""
    boards = [
        DeviceClass(name, mode.name, "", DEVICE_MODELS[name].usable_mib)
        for name, modes in POWER_MODES.items()
        for mode in modes
    ]
    emulated = [DeviceClass(name, "emulated", "", 6000.0, True) for name in POWER_MODES]
    return [*boards, DeviceClass("cpu", memory_mib=24_000.0), *emulated][:20]


def runs(count: int, workload_count: int, classes: Sequence[DeviceClass]) -> list[Measurement]:
    """Made-up runs: what the sheet says, 1.3 times, with 10 % of noise."""
    draw, model, found = Random(1), CostModel(), list[Measurement]()
    works = workloads(workload_count, 2)
    pairs = [(work, where, model.cost(work, where)) for where in classes for work in works]
    usable = [(work, where, cost) for work, where, cost in pairs if isinstance(cost, Cost)]
    while len(found) < count:
        work, where, cost = usable[len(found) % len(usable)]
        work_s = 13 * cost.rate_s * draw.lognormvariate(0, 0.1)
        found.append(
            Measurement(
                work,
                where,
                "done",
                amount=10.0,
                time_s=cost.load_s + work_s,
                load_s=cost.load_s,
                work_s=work_s,
                peak_memory_mib=cost.admitted_mib,
                at=f"{len(found):08}",
            )
        )
    return found


def cpu_s(what: Callable[[], object], repeats: int = 3) -> float:
    """The median of so many runs."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        what()
        times.append(time.process_time() - start)
    return median(times)


def main() -> int:
    """Print the table; exit status 1 where a bar is missed."""
    works, classes = workloads(10_000, 0), device_classes()
    some, many = runs(120, 6, classes), runs(10_000, 600, classes)
    empty = CostModel()
    part = works[:500]

    def one_by_one() -> None:
        model = CostModel()
        for work in part:
            for where in classes:
                model.cost(work, where)

    def warm() -> None:
        for work in part:
            for where in classes:
                empty.cost(work, where)

    for work in part:
        for where in classes:
            empty.cost(work, where)
    table = {(where, work): 1 for where in classes for work in part}

    def look_up() -> None:
        for work in part:
            for where in classes:
                table[where, work]

    def refit() -> None:
        CostModel(many).cost(works[-1], classes[0])

    pairs = len(part) * len(classes)
    lines = [
        (
            "10,000 workloads x 20 device models, nothing measured",
            2.0,
            cpu_s(lambda: CostModel().grid(works, classes)),
        ),
        (
            "the same, 120 runs on the 20 measured",
            2.0,
            cpu_s(lambda: CostModel(some).grid(works, classes)),
        ),
        ("a fit to 10,000 measurements of as many pairs, and an answer", 5.0, cpu_s(refit)),
    ]
    missed = False
    for text, most_s, found_s in lines:
        missed |= found_s > most_s
        print(f"  {text:62} {found_s:6.2f} s  (bar {most_s:g} s)")
    new_us, known_us, bare_us = (1e6 * cpu_s(each) / pairs for each in (one_by_one, warm, look_up))
    print(f"  a new pair by itself {new_us:.1f} us; a known one {known_us:.2f} us, of which a bare")
    print(f"  look-up by two keys takes {bare_us:.2f} us")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())

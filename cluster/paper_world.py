"""The paper's six workloads on the paper's two boards, as a world to simulate.

The paper gives no batch size, sequence length, precision, number of prompts, nor absolute seconds.
What stands in for them here is assumed, and so is everything that comes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from jetsched.cluster.compare import Scenario
from jetsched.cluster.fleet import board_class, default_fleet
from jetsched.cluster.noise import Perturbed
from jetsched.cluster.simulated import Outage
from jetsched.cluster.truth import CostsAsTruth, Truth
from jetsched.profiler.costs import CostModel
from jetsched.records import Device, Job, Measurement, Workload
from jetsched.scheduler.view import Costs


@dataclass(frozen=True, slots=True)
class Share:
    """A workload of the mix: how many of 24 jobs have it, and how much work they bring.

    ``least`` and ``most`` are samples or prompts; a job's amount lies between them, drawn on a
    logarithmic scale. ``deadline_h`` is from submission.
    """

    count: int
    workload: Workload
    least: int
    most: int
    deadline_h: float | None = None


def _train(model: str, batch_size: int) -> Workload:
    return Workload("train", model, "squad", batch_size, seq_len=384, head="qa")


def _infer(model: str) -> Workload:
    return Workload("infer", model, prompt_tokens=128, max_new_tokens=64, precision="fp16")


#: GPT-2 Small is trained with half the batch of the others: counted from the data sheet, 8 x 384
#: does not fit a Xavier NX anyway, while 4 x 384 seems to.
KILLED_ON_NX = _train("gpt2", 4)

#: Fine-tuning and batch inference about half and half, sizes from ten minutes to an hour or two.
#: The weights are ours: the paper runs each workload once.
MIX: tuple[Share, ...] = (
    Share(3, _train("tiny-gpt2", 8), 80_000, 250_000),
    Share(6, _train("distilgpt2", 8), 4_000, 16_000),
    Share(5, KILLED_ON_NX, 3_000, 12_000),
    Share(4, _infer("tinyllama-1.1b"), 100, 400, deadline_h=3),
    Share(3, _infer("phi-2"), 60, 200, deadline_h=4),
    Share(3, _infer("qwen1.5-1.8b"), 80, 300, deadline_h=3),
)


def paper_mix(count: int, seed: int, *, mean_gap_s: float = 0.0) -> list[Job]:
    """Jobs of the paper's workloads: each 24 of them have exactly the shares of :data:`MIX`.

    With ``mean_gap_s`` they arrive at random (Poisson) with this mean distance, else all at 0.
    """
    random = Random(f"paper mix {seed}")
    jobs: list[Job] = []
    deck: list[Share] = []
    at_s = 0.0
    for number in range(1, count + 1):
        if not deck:
            deck = [share for share in MIX for _ in range(share.count)]
            random.shuffle(deck)
        share = deck.pop()
        low, high = share.least, share.most
        amount = round(low * (high / low) ** random.random())
        kind, model = share.workload.kind, share.workload.model
        jobs.append(
            Job(
                id=str(number),
                workload=share.workload,
                amount=float(amount),
                submitted_s=at_s,
                name=f"{kind}-{model}-{number}",
                deadline_s=None if share.deadline_h is None else at_s + 3600 * share.deadline_h,
            )
        )
        at_s += random.expovariate(1 / mean_gap_s) if mean_gap_s > 0 else 0.0
    return jobs


def paper_truth() -> Truth:
    """How the mix really runs: as in the paper, where training GPT-2 Small is killed on the NX."""
    return CostsAsTruth(CostModel([paper_kill()]))


def paper_kill() -> Measurement:
    """The run that the paper tells of: GPT-2 Small, killed during training on the Xavier NX.

    The paper does not say what killed it, nor with which batch; memory, and the mix's, are assumed.
    """
    return Measurement(
        KILLED_ON_NX,
        board_class("xavier-nx", "20W_6CORE"),
        "killed_memory",
        text="killed during training, says the paper; that memory was the reason is assumed",
        source="assumed",
    )


def paper_scenario(
    seed: int = 0,
    *,
    count: int = 24,
    mean_gap_s: float = 0.0,
    devices: Sequence[Device] | None = None,
    estimate_error: float = 0.0,
    outages: Sequence[Outage] = (),
) -> Scenario:
    """The mix on a fleet (the paper's, if none is given), met by a scheduler without any profile.

    The scheduler estimates from data sheets alone. To them, GPT-2 Small fits the Xavier NX, so
    whoever places it there sees it killed, and learns. ``estimate_error`` is a sigma on top.
    """
    return Scenario(
        jobs=paper_mix(count, seed, mean_gap_s=mean_gap_s),
        devices=list(devices) if devices is not None else default_fleet(),
        truth=paper_truth(),
        estimates=partial(_data_sheets, estimate_error, seed),
        seed=seed,
        outages=outages,
    )


def _data_sheets(estimate_error: float, seed: int) -> Costs:
    model = CostModel()
    return Perturbed(model, estimate_error, seed) if estimate_error else model

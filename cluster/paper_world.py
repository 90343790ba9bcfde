"""The paper's six workloads on the paper's two boards, as a world to simulate.

The paper gives no batch size, sequence length, precision, number of prompts, nor absolute seconds.
What stands in for them here is assumed, and so is everything that comes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from jetsched.cluster.fleet import default_fleet
from jetsched.cluster.noise import Perturbed
from jetsched.cluster.simulated import Outage
from jetsched.cluster.simulating import Scenario
from jetsched.cluster.truth import CostsAsTruth, Truth
from jetsched.profiler.bundled import bundled_profile, paper_class, paper_workload
from jetsched.profiler.costs import CostModel
from jetsched.profiler.paper import NX, paper_model
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


def _of(title: str) -> Workload:
    return paper_workload(paper_model(title))


#: With the batch that is assumed for the paper's others, 8, GPT-2 Small does not fit a Xavier NX by
#: its data sheet, and nobody would try. With 4 it should fit, as the paper's authors must have
#: thought of theirs: this is the one that is killed here.
KILLED_ON_NX = replace(_of("GPT-2 Small"), batch_size=4)

#: Fine-tuning and batch inference about half and half, sizes from ten minutes to an hour or two.
#: The weights are ours: the paper runs each workload once.
MIX: tuple[Share, ...] = (
    Share(3, _of("TinyGPT2"), 80_000, 250_000),
    Share(6, _of("DistilGPT2"), 4_000, 16_000),
    Share(5, KILLED_ON_NX, 3_000, 12_000),
    Share(4, _of("TinyLlama-1.1B"), 100, 400, deadline_h=3),
    Share(3, _of("Phi-2"), 60, 200, deadline_h=4),
    Share(3, _of("Qwen1.5-1.8B"), 80, 300, deadline_h=3),
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
    """How the mix really runs: the bundled profile of the paper, and :func:`paper_kill`."""
    return CostsAsTruth(CostModel([*bundled_profile(), paper_kill()]))


def paper_kill() -> Measurement:
    """The run that the paper tells of: GPT-2 Small, killed during training on the Xavier NX.

    The paper does not say what killed it, nor with which batch; memory, and the mix's, are assumed.
    """
    where = paper_class(NX)
    return Measurement(
        KILLED_ON_NX,
        where,
        "killed_memory",
        peak_memory_mib=where.memory_mib,
        text="killed during training, says the paper; that memory was the reason is assumed",
        identity={"source": "paper"},
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

    The scheduler estimates from data sheets alone. By them, GPT-2 Small fits the Xavier NX: whoever
    places it there sees it killed, and learns. ``estimate_error`` is the sigma of an error on top.
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

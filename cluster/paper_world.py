"""The paper's six workloads on the paper's two boards, as a world to simulate.

The paper gives no batch size, sequence length, precision, number of prompts, nor absolute seconds.
What stands in for them here is assumed, and so is everything that comes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from random import Random
from typing import Any

from jetsched.cluster.capacity import lp_capacity, true_time_s
from jetsched.cluster.fleet import default_fleet
from jetsched.cluster.generators import Stream, amount_between, arrivals, mean_amount, shuffled
from jetsched.cluster.noise import Perturbed
from jetsched.cluster.simulated import Outage
from jetsched.cluster.simulating import Scenario
from jetsched.cluster.truth import CostsAsTruth, Truth
from jetsched.errors import InputError
from jetsched.profiler.bundled import bundled_profile, paper_class, paper_workload
from jetsched.profiler.costs import CostModel
from jetsched.profiler.paper import NX, ORIN, paper_model
from jetsched.records import Device, DeviceClass, Job, Measurement, Workload
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
#: The board on which a job of unknown kind takes the duration that is known of it.
REFERENCE = paper_class(ORIN)

_MIX_JOBS = sum(share.count for share in MIX)


def paper_mix(
    count: int, seed: int, *, mean_gap_s: float = 0.0, stream: Stream | None = None
) -> list[Job]:
    """Jobs of the paper's workloads: each 24 of them have exactly the shares of :data:`MIX`.

    They arrive as ``stream`` says; with ``mean_gap_s`` as a Poisson one, else all at 0. Jobs of a
    share have their workload and name in common, so that a million of them are small.
    """
    random = Random(f"paper mix {seed}")
    times_s = arrivals(stream or Stream(gap_s=mean_gap_s), count, seed)
    named = [(s.count, (s, f"{s.workload.kind}-{s.workload.model}")) for s in MIX]
    shares = shuffled(named, random)
    work: dict[str, Any] = {}
    return [
        Job(
            id=str(number),
            workload=share.workload,
            amount=amount_between(share.least, share.most, random),
            submitted_s=at_s,
            name=name,
            deadline_s=None if share.deadline_h is None else at_s + 3600 * share.deadline_h,
            work=work,
        )
        for number, (at_s, (share, name)) in enumerate(zip(times_s, shares, strict=False), start=1)
    ]


def mix_capacity(devices: Sequence[Device], truth: Truth) -> float:
    """Jobs of the mix per second that the fleet can do, by :func:`lp_capacity`.

    Workloads that no device of it can run are left out: they take no time. Raises
    :class:`InputError` where that is all of them.
    """
    jobs = [
        Job(str(number), share.workload, mean_amount(share.least, share.most))
        for number, share in enumerate(MIX)
    ]
    fleet: dict[DeviceClass, int] = {}
    for device in devices:
        fleet[device.device_class] = fleet.get(device.device_class, 0) + 1
    shares, times_s = [], []
    for share, job in zip(MIX, jobs, strict=True):
        times = [true_time_s(job, kind, truth) for kind in fleet]
        if min(times) < inf:
            shares.append(share.count)
            times_s.append(times)
    if not shares:
        raise InputError("no device of the fleet can run any of the paper's workloads")
    return lp_capacity(shares, times_s, list(fleet.values())) * _MIX_JOBS / sum(shares)


def fits_nowhere(devices: Sequence[Device], truth: Truth) -> list[Workload]:
    """The workloads of the mix that no device of the fleet can run."""
    kinds = {device.device_class: None for device in devices}
    return [
        share.workload
        for share in MIX
        if all(true_time_s(Job("", share.workload), kind, truth) == inf for kind in kinds)
    ]


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


def generated_scenario(
    seed: int,
    *,
    count: int,
    stream: Stream,
    devices: Sequence[Device],
    estimate_error: float = 0.0,
    outages: Sequence[Outage] = (),
) -> Scenario:
    """The mix as a stream, met by a scheduler that knows every run time.

    But for ``estimate_error``, and for :func:`paper_kill`: that it sees, and learns.
    """
    return Scenario(
        jobs=paper_mix(count, seed, stream=stream),
        devices=devices,
        truth=paper_truth(),
        estimates=partial(paper_profile, estimate_error, seed),
        seed=seed,
        outages=outages,
    )


def paper_profile(estimate_error: float, seed: int) -> Costs:
    """A new cost model that knows the bundled profile, with an error on top of it."""
    model = CostModel(bundled_profile())
    return Perturbed(model, estimate_error, seed) if estimate_error else model


def _data_sheets(estimate_error: float, seed: int) -> Costs:
    model = CostModel()
    return Perturbed(model, estimate_error, seed) if estimate_error else model

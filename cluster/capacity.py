"""How much work a fleet can do at best: the linear program over classes of jobs and of devices.

It shares out each class of jobs over the kinds of devices in fractions, as if jobs could be cut:
the throughput that no schedule exceeds in the long run, and what a load of 1 means here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf, log

from jetsched.cluster.truth import Truth
from jetsched.records import Device, DeviceClass, Job

#: Jobs are one class where their run times on all kinds differ by one factor, but for this part.
#: What the program finds for the classes can be done by their jobs, so it errs to the low side.
ALIKE = 0.01
#: Where there would be more classes than these, jobs that are less alike are one: the program's
#: time grows faster than their number.
MOST_CLASSES = 4000


def lp_capacity(
    shares: Sequence[float], times_s: Sequence[Sequence[float]], counts: Sequence[int]
) -> float:
    """Jobs per second that a fleet can do of a mix; 0 where some class can run nowhere.

    ``shares`` has how many of the jobs are of each class (any unit), ``times_s`` the run time of
    each class on each kind of device, infinite where it cannot run, ``counts`` the devices of
    each kind. maximise r subject to sum_k y_ck = share_c r, sum_c time_ck y_ck <= count_k, y >= 0.
    """
    import numpy as np
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    classes = [c for c, share in enumerate(shares) if share > 0]
    total = sum(shares[c] for c in classes)
    kinds = [k for k, count in enumerate(counts) if count > 0]
    pairs = [(row, k) for row, c in enumerate(classes) for k in kinds if times_s[c][k] < inf]
    if not classes or len({row for row, _ in pairs}) < len(classes):
        return 0.0
    # Times are measured by their mean, so that the program looks the same in seconds and in days.
    unit_s = sum(times_s[classes[row]][k] for row, k in pairs) / len(pairs)
    where = {k: number for number, k in enumerate(kinds)}
    columns = np.arange(len(pairs))
    work = [times_s[classes[row]][k] / unit_s for row, k in pairs]
    rate = len(pairs)  # the column of r
    busy = coo_array(
        (work, ([where[k] for _, k in pairs], columns)), shape=(len(kinds), rate + 1)
    ).tocsr()
    shared = coo_array(
        (
            [1.0] * len(pairs) + [-shares[c] / total for c in classes],
            (
                [row for row, _ in pairs] + list(range(len(classes))),
                [*columns, *[rate] * len(classes)],
            ),
        ),
        shape=(len(classes), rate + 1),
    ).tocsr()
    found = linprog(
        np.append(np.zeros(len(pairs)), -1.0),
        A_ub=busy,
        b_ub=np.array([float(counts[k]) for k in kinds]),
        A_eq=shared,
        b_eq=np.zeros(len(classes)),
        method="highs",
    )
    if found.status != 0:
        raise RuntimeError(f"the capacity's linear program: {found.message}")
    # The last digits depend on the solver's version; arrivals that follow from them must not.
    return float(f"{-found.fun / unit_s:.9g}")


def capacity(jobs: Iterable[Job], devices: Iterable[Device], truth: Truth) -> float:
    """Jobs per second that the fleet can do of jobs like these, by what is true.

    Jobs that can run nowhere are left out. So are wishes for single devices by id or label, where
    another device of the kind will do.
    """
    counts, shares, times_s = demand(jobs, devices, truth)
    return lp_capacity(shares, times_s, counts)


def demand(
    jobs: Iterable[Job], devices: Iterable[Device], truth: Truth
) -> tuple[list[int], list[float], list[list[float]]]:
    """What :func:`lp_capacity` takes: devices per kind, jobs per class, mean times per class, kind.

    Classes are of jobs that have the same ratios of run times, but for :data:`ALIKE`.
    """
    fleet: dict[DeviceClass, list[Device]] = {}
    for device in devices:
        fleet.setdefault(device.device_class, []).append(device)
    sums: dict[tuple[int, ...], list[float]] = {}
    for job in jobs:
        times = _times_s(job, fleet, truth)
        least = min(times, default=inf)
        if least == inf:
            continue
        key = tuple(-1 if t == inf else int(log(t / least) / ALIKE) for t in times)
        found = sums.get(key)
        if found is None:
            sums[key] = [1.0, *times]
            continue
        found[0] += 1
        for number, time_s in enumerate(times, start=1):
            found[number] += time_s
    while len(sums) > MOST_CLASSES:
        sums = _merged(sums)
    counts = [len(alike) for alike in fleet.values()]
    shares = [found[0] for found in sums.values()]
    return counts, shares, [[time_s / found[0] for time_s in found[1:]] for found in sums.values()]


def _merged(sums: Mapping[tuple[int, ...], list[float]]) -> dict[tuple[int, ...], list[float]]:
    """Classes half as fine."""
    merged: dict[tuple[int, ...], list[float]] = {}
    for key, found in sums.items():
        coarse = tuple(step if step < 0 else step // 2 for step in key)
        other = merged.get(coarse)
        merged[coarse] = (
            found if other is None else [a + b for a, b in zip(found, other, strict=True)]
        )
    return merged


def true_time_s(job: Job, kind: DeviceClass, truth: Truth) -> float:
    """How long the job runs on a device of the kind; infinite where it cannot, or is killed."""
    run = truth.run(job, kind)
    if run is None or run.peak_memory_mib > kind.memory_mib:
        return inf
    return max(run.time_s, 1e-9)


def _times_s(job: Job, fleet: Mapping[DeviceClass, list[Device]], truth: Truth) -> list[float]:
    if not job.needs.device:
        return [true_time_s(job, kind, truth) for kind in fleet]
    return [
        true_time_s(job, kind, truth) if any(d.satisfies(job.needs) for d in alike) else inf
        for kind, alike in fleet.items()
    ]

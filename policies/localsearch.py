"""Local search on an assignment of jobs to devices: make the device that ends last end earlier.

A large neighbourhood: three devices are taken, and the nine of their jobs that would lose least
elsewhere are distributed anew in the best of all ways (3 ** 9 sums from two halves). *Best* is at
first the least ``sum of price x (load - target) ** 2``, with the prices of the linear program,
which keeps jobs where they are worth most while it evens out the loads; then the least maximum.
Between and after that the classic descent: the best move or swap out of the critical device until
none helps. Ours in this combination; very large neighbourhoods are surveyed by Ahuja, Ergun, Orlin
and Punnen (*A survey of very large-scale neighborhood search techniques*, Discrete Applied
Mathematics 123, 2002).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy import float64, intp
    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[float64]
    Numbers = NDArray[intp]

#: Devices taken at once -> how many of their jobs are distributed anew.
JOBS_AT_ONCE = {2: 14, 3: 9}
#: How often one of the devices is the critical one; else all are drawn.
CRITICAL = 0.5
#: Losses are drawn from exponentials with the mean (loss + this part of the makespan x mean price).
BLUR = 1e-4
#: The last part of the rounds looks at the maximum alone.
LAST_PART = 0.3
#: It is good enough this close to the bound.
CLOSE = 1e-4
#: The descent looks for partners on no more devices than this, those that end first.
PARTNERS = 100
#: More jobs than this are not looked at in one step of the descent.
MOST_JOBS = 20_000


class Search:
    """An assignment that is made better in place.

    ``times_s[job, kind]`` (inf: cannot run there), ``kind[device]``, ``ready_s[device]`` and
    ``on[job]`` (a device) describe it; ``price[kind]`` and ``target_s[device]`` come from the
    linear program. ``on`` and ``load_s[device]``, when the device ends, hold the best one found.
    """

    def __init__(
        self,
        times_s: Floats,
        kind: Numbers,
        ready_s: Floats,
        on: Numbers,
        price: Floats,
        target_s: Floats,
    ) -> None:
        import numpy as np

        self.on = on.copy()
        self.load_s = ready_s + np.bincount(on, times_s[np.arange(len(on)), kind[on]], len(kind))
        self._times_s = times_s
        self._kind = kind
        self._ready_s = ready_s
        self._target_s = target_s
        self._weight = np.maximum(price, 0.02 * max(price.max(), 1e-300))[kind]
        #: What a job costs on a kind, as a part of the makespan.
        self._worth = np.where(np.isfinite(times_s), times_s, 0.0) * price
        self._worth[~np.isfinite(times_s)] = np.inf

    @property
    def makespan_s(self) -> float:
        return float(self.load_s.max())

    def improve(
        self, rounds: int, rng: Generator, bound_s: float, out_of_time: Callable[[], bool]
    ) -> int:
        """Search for so many rounds, or until it is close to the bound; returns the rounds made.

        A round costs about 0.1 to 0.2 ms. Same generator, same result, unless ``out_of_time``
        says to stop.
        """
        good_s = bound_s * (1 + CLOSE)
        self._descend(rounds)
        even = int(rounds * (1 - LAST_PART))
        made = 0
        if len(self._kind) > 1 and len(self.on) > 1:
            made = self._redistribute(even, rng, good_s, out_of_time, squares=True)
            made += self._redistribute(rounds - even, rng, good_s, out_of_time, squares=False)
            self._descend(rounds)
        return made

    # -- the large neighbourhood -----------------------------------------------------------------

    def _redistribute(
        self,
        rounds: int,
        rng: Generator,
        good_s: float,
        out_of_time: Callable[[], bool],
        *,
        squares: bool,
    ) -> int:
        import numpy as np

        devices = len(self._kind)
        at_once = min(3, devices)
        on, load_s = self.on.copy(), self.load_s.copy()
        best_s = self.makespan_s
        jobs_of = _by_device(on, devices)
        changed: list[Numbers] = []  # jobs that may be elsewhere than in the best assignment
        blur = BLUR * best_s * float(self._weight.mean())
        for made in range(rounds):
            if best_s <= good_s or out_of_time():
                return made
            chosen = _draw(rng, at_once, devices, int(load_s.argmax()))
            here = [jobs_of[device] for device in chosen]
            jobs = np.concatenate(here)
            if not len(jobs):
                continue
            place = np.repeat(np.arange(at_once), [len(h) for h in here])
            picked = self._cheap_to_move(jobs, place, chosen, blur, rng)
            best = self._best_of_all(jobs[picked], place[picked], chosen, load_s, squares=squares)
            if (best == place[picked]).all():
                continue
            place[picked] = best
            on[jobs[picked]] = chosen[best]
            changed.append(jobs[picked])
            for number, device in enumerate(chosen):
                mine = jobs_of[device] = jobs[place == number]
                took_s = self._times_s[mine, self._kind[device]].sum()
                load_s[device] = self._ready_s[device] + took_s
            if load_s.max() < best_s:
                best_s = float(load_s.max())
                for moved in changed:
                    self.on[moved] = on[moved]
                changed.clear()
                self.load_s[:] = load_s
        return rounds

    def _cheap_to_move(
        self, jobs: Numbers, place: Numbers, chosen: Numbers, blur: float, rng: Generator
    ) -> Numbers:
        """Which of the jobs lose least on another of the devices, with some luck."""
        import numpy as np

        most = JOBS_AT_ONCE[len(chosen)]
        if len(jobs) <= most:
            return np.arange(len(jobs))
        worth = self._worth[jobs[:, None], self._kind[chosen]]
        rows = np.arange(len(jobs))
        stays = worth[rows, place]
        worth[rows, place] = np.inf
        loss = np.maximum(worth.min(axis=1) - stays, 0.0) + blur
        picked: Numbers = np.argpartition(loss * rng.exponential(size=len(jobs)), most - 1)[:most]
        return picked

    def _best_of_all(
        self, jobs: Numbers, place: Numbers, chosen: Numbers, load_s: Floats, *, squares: bool
    ) -> Numbers:
        """Where each of the jobs goes in the best of all ways to distribute them."""
        import numpy as np

        at_once, number = len(chosen), len(jobs)
        times_s = self._times_s[jobs[:, None], self._kind[chosen]]
        left_s = load_s[chosen] - self._target_s[chosen]
        left_s -= np.bincount(place, times_s[np.arange(number), place], at_once)
        half = number // 2
        one, two = _sums(times_s[:half]), _sums(times_s[half:])
        cost: Floats | None = None
        for place_number in range(at_once):
            load = (one[place_number] + left_s[place_number])[:, None] + two[place_number]
            if squares:
                load *= load
                load *= self._weight[chosen[place_number]]
                cost = load if cost is None else np.add(cost, load, out=cost)
            else:
                load += self._target_s[chosen[place_number]]
                cost = load if cost is None else np.maximum(cost, load, out=cost)
        assert cost is not None
        index = int(cost.argmin())
        return np.array(np.unravel_index(index, (at_once,) * number), dtype=np.intp)

    # -- the descent -----------------------------------------------------------------------------

    def _descend(self, steps: int) -> None:
        """The best move or swap out of the critical device, until none helps."""
        jobs_of = _by_device(self.on, len(self._kind))
        for _ in range(steps):
            critical = int(self.load_s.argmax())
            inside = jobs_of[critical]
            found = self._way_out(critical, inside, jobs_of) if len(inside) else None
            if found is None:
                return
            gives, device, takes = found
            home = [job for job in jobs_of[device].tolist() if job != takes]
            left = [job for job in inside.tolist() if job != gives]
            if takes >= 0:
                left.append(takes)
            for changed, jobs in ((critical, left), (device, [*home, gives])):
                self.on[jobs] = changed
                jobs_of[changed] = _numbers(jobs)
                took_s = self._times_s[jobs_of[changed], self._kind[changed]].sum()
                self.load_s[changed] = self._ready_s[changed] + took_s

    def _way_out(
        self, critical: int, inside: Numbers, jobs_of: list[Numbers]
    ) -> tuple[int, int, int] | None:
        """(job that leaves, its device, job that comes for it or -1); None if nothing helps."""
        import numpy as np

        times_s, kind = self._times_s, self._kind
        end_s = float(self.load_s[critical])
        partners = np.delete(np.arange(len(kind)), critical)
        if len(partners) > PARTNERS:
            nearest = np.argpartition(self.load_s, PARTNERS)[:PARTNERS]
            partners = np.sort(nearest[nearest != critical])
        if not len(partners):
            return None
        left_s = end_s - times_s[inside, kind[critical]]
        moved = self.load_s[partners] + times_s[inside][:, kind[partners]]
        at = int(moved.argmin())
        best, job, other = float(moved.flat[at]), at // len(partners), -1
        device = int(partners[at % len(partners)])
        outside = np.concatenate([jobs_of[partner] for partner in partners])
        if len(outside) and len(inside) + len(outside) <= MOST_JOBS:
            home = self.on[outside]
            takes_s = times_s[outside, kind[home]]
            swapped = times_s[inside][:, kind[home]] + (self.load_s[home] - takes_s)
            np.maximum(swapped, left_s[:, None] + times_s[outside, kind[critical]], out=swapped)
            at = int(swapped.argmin())
            if swapped.flat[at] < best:
                best, job = float(swapped.flat[at]), at // len(outside)
                other = int(outside[at % len(outside)])
                device = int(home[at % len(outside)])
        return (int(inside[job]), device, other) if best < end_s * (1 - 1e-12) else None


def _draw(rng: Generator, number: int, devices: int, critical: int) -> Numbers:
    """So many different devices at random, often with the critical one among them."""
    import numpy as np

    chosen = [critical] if rng.random() < CRITICAL else []
    while len(chosen) < number:
        device = int(rng.integers(devices))
        if device not in chosen:
            chosen.append(device)
    return np.array(chosen, dtype=np.intp)


def _by_device(on: Numbers, devices: int) -> list[Numbers]:
    """The jobs of each device."""
    import numpy as np

    order = np.argsort(on, kind="stable")
    return np.split(order, np.searchsorted(on[order], np.arange(1, devices)))


def _numbers(jobs: list[int]) -> Numbers:
    import numpy as np

    return np.array(jobs, dtype=np.intp)


def _sums(times_s: Floats) -> list[Floats]:
    """For each device, its load in each way to distribute the jobs; the first job counts most."""
    import numpy as np

    number, devices = times_s.shape
    sums = []
    for device in range(devices):
        load = np.zeros(1)
        for job in range(number):
            gets = np.zeros(devices)
            gets[device] = times_s[job, device]
            load = np.add.outer(load, gets).ravel()
        sums.append(load)
    return sums

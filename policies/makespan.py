"""Makespan: a plan for the whole batch, so that its last job ends early."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jetsched.policies.assignment import ROUNDS, plan_batch
from jetsched.policies.planned import Planned
from jetsched.records import Job
from jetsched.scheduler.view import View

if TYPE_CHECKING:
    from jetsched.policies.classlp import Floats

#: A plan is made anew when this part of what waits is new to it, or this part of it was started and
#: it is out of step. So planning costs the same per job, whatever comes.
NEW_PART = 0.25
STARTED_PART = 0.1
#: Each job that comes pays for so many rounds of local search.
ROUNDS_PER_JOB = 4
#: A plan is out of step when a job starts this part of the plan's length off its time.
OUT_OF_STEP = 0.02


class Makespan(Planned):
    """Plan all that waits as one batch, so that the last device ends as early as possible.

    The linear program of Lenstra, Shmoys and Tardos (Mathematical Programming 46, 1990) says what
    goes where; rounding and a local search make whole jobs of it (``policies/assignment.py``). The
    plan is made anew for what was not foreseen: jobs that come, memory kills, devices that are lost
    or join, and starts that are off their time when some devices have nothing left to do. Good:
    batches on unlike devices. Bad: the mean completion, since the longest jobs of a batch go first,
    and streams, which it serves in the order of arrival.

    ``rounds`` bounds the local search of one plan (about 0.15 ms each), so that the same seed gives
    the same plan. A caller with a clock may set :attr:`out_of_time`.
    """

    name = "makespan"
    ages = True

    #: Asked between the rounds of the local search; True ends it with what it has found.
    out_of_time: Callable[[], bool] | None = None

    def __init__(self, rounds: int = ROUNDS, seed: int = 0) -> None:
        if rounds < 0:
            raise ValueError(f"rounds must not be negative, but is {rounds}")
        super().__init__()
        self.rounds = rounds
        self.seed = seed
        self._plans = 0
        self._spent = 0  # rounds

    def stale(self, view: View) -> bool:
        if self._new > 1 and self._new >= NEW_PART * view.queue_length:
            return True
        if self._off_s <= OUT_OF_STEP * self._length_s:
            return False
        return self._started >= max(1, STARTED_PART * len(self._entries)) and self.dry(view)

    def assign(
        self, jobs: Sequence[Job], levels: Sequence[int], times_s: Floats, clocks: Sequence[Floats]
    ) -> tuple[list[int], list[float], float]:
        rounds = max(0, min(self.rounds, self._came * ROUNDS_PER_JOB - self._spent))
        plan = plan_batch(
            times_s,
            clocks,
            rounds=rounds,
            seed=self.seed + self._plans,
            out_of_time=self.out_of_time or _never,
        )
        self._spent += rounds
        self._plans += 1
        pool, slot = plan.kind.tolist(), plan.slot.tolist()
        took_s = times_s[range(len(jobs)), plan.kind].tolist()
        free_s = [clock.tolist() for clock in clocks]
        starts_s = [0.0] * len(jobs)
        # Batches in the order in which they came, and the longest job of each first: where runs
        # are not as long as estimated, the short ones at the end even it out.
        for n in sorted(
            range(len(jobs)), key=lambda n: (-levels[n], jobs[n].submitted_s, -took_s[n], n)
        ):
            starts_s[n] = free_s[pool[n]][slot[n]]
            free_s[pool[n]][slot[n]] += took_s[n]
        return pool, starts_s, plan.makespan_s


def _never() -> bool:
    return False

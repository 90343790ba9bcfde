"""The least joules, with a bound on the delay that this may cost."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from jetsched.policies.patient import Option, Patient, Pick
from jetsched.records import Job
from jetsched.scheduler.view import View
from jetsched.units import format_duration, format_energy


class LowestEnergy(Patient):
    """Run each job where it takes the least energy, if that delays it by no more than a bound.

    When its turn comes, a job takes the kind of device with the fewest joules, of those on which it
    is done at most ``max_delay`` x its shortest run time, and ``max_delay_s`` seconds, later than
    on any other; it waits for it where it is busy. Minimising one aim under a bound on the other is
    the epsilon-constraint method (Haimes, Lasdon and Wismer, IEEE Trans. Systems, Man, and
    Cybernetics 1, 1971); for energy and time of tasks on unlike machines see Lee and Zomaya,
    *Energy conscious scheduling for distributed computing systems under different operating
    conditions*, IEEE TPDS 22, 2011. The bound holds as long as what runs ends as estimated and no
    job of higher priority comes (:class:`~jetsched.policies.patient.Patient`).

    A kind on which the job's energy is not known is taken only where no other is within the bound;
    a job of which none is known goes where it is done first.

    Good: battery and heat, at low and middle load. Bad: under overload the wait in the queue counts
    and not the watt-hours, so that little is saved. What idle boards draw is not counted.
    """

    name = "lowest_energy"

    def __init__(self, max_delay: float = 1.0, max_delay_s: float = 3600.0) -> None:
        super().__init__()
        if not max_delay >= 0:
            raise ValueError(f"max_delay must be at least 0, not {max_delay}")
        if not max_delay_s >= 0:
            raise ValueError(f"max_delay_s must be at least 0, not {max_delay_s}")
        self.max_delay, self.max_delay_s = max_delay, max_delay_s

    def pick(self, job: Job, options: Sequence[Option], promised_s: float, view: View) -> Pick:
        first = min(options, key=lambda option: option.finish_s)
        shortest_s = min(option.cost.time_s for option in options)
        delay_s = min(self.max_delay * shortest_s, self.max_delay_s)
        bound_s = min(first.finish_s + delay_s, promised_s)
        allowed = [o for o in options if o.finish_s <= bound_s and o.cost.energy_j is not None]
        best = min(allowed, key=_joules, default=first)
        text = ""
        if view.explains and best.start_s > view.now_s:
            text = _saying(best, first, job, bound_s)
        return Pick(best, max(best.start_s, bound_s - best.cost.time_s), text)


def _joules(option: Option) -> tuple[float, float, float]:
    energy_j = option.cost.energy_j
    return (inf if energy_j is None else energy_j, option.finish_s, option.start_s)


def _saying(best: Option, first: Option, job: Job, bound_s: float) -> str:
    label = best.kind.device_class.label
    at_s = format_duration(bound_s - job.submitted_s)
    costs = f"waits for {label}, which takes {format_energy(best.cost.energy_j)}"
    other = first.cost.energy_j
    instead = f" instead of {format_energy(other)}" if best is not first and other else ""
    return f"{costs}{instead}; done {at_s} after submission at the latest"

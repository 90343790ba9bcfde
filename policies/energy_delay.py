"""The least energy x delay: joules and seconds weigh the same, in per cent."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from jetsched.policies.patient import Option, Patient, Pick
from jetsched.records import Job
from jetsched.scheduler.view import View


class EnergyDelay(Patient):
    """Run each job where energy x delay is least: one per cent of joules is worth one of seconds.

    The energy-delay product of Gonzalez and Horowitz (*Energy dissipation in general purpose
    microprocessors*, IEEE J. Solid-State Circuits 31, 1996), with the delay from the job's turn to
    its end, the wait for a busy device included. ``exponent`` is that of the delay: 0 asks for
    energy alone, 2 (the ED2P) for speed above all. Without a bound one has to choose: unlike
    ``lowest_energy`` it lets a job wait as long as the saving is worth it, and no longer. What
    happened before the turn does not count, or a long queue would make every wait seem short.

    A kind on which the job's energy is not known is compared by none; the job goes where it is done
    first, unless all its kinds are known.

    Good: a compromise that needs no figure from the user. Bad: where a bound is wanted.
    """

    name = "energy_delay"

    def __init__(self, exponent: float = 1.0) -> None:
        super().__init__()
        if not 0 <= exponent <= 16:
            raise ValueError(f"exponent must lie in 0..16, not {exponent}")
        self.exponent = exponent

    def pick(self, job: Job, options: Sequence[Option], promised_s: float, view: View) -> Pick:
        if any(option.cost.energy_j is None for option in options):
            return Pick(min(options, key=lambda option: option.finish_s))
        scored = [(self._product(o, view.now_s), o.finish_s, n) for n, o in enumerate(options)]
        best = options[min(scored)[2]]
        if best.start_s <= view.now_s:
            return Pick(best)
        free = [score for score, _, n in scored if options[n].start_s <= view.now_s]
        return Pick(best, self._worth_until(best, min(free, default=inf), view.now_s))

    def _product(self, option: Option, now_s: float) -> float:
        delay: float = (option.finish_s - now_s) ** self.exponent
        return (option.cost.energy_j or 0.0) * delay

    def _worth_until(self, option: Option, other: float, now_s: float) -> float:
        """Up to which start the option is better than the product of another one."""
        energy_j = option.cost.energy_j or 0.0
        if not self.exponent or not energy_j or other == inf:
            return inf
        delay_s: float = (other / energy_j) ** (1 / self.exponent)
        return max(option.start_s, now_s + delay_s - option.cost.time_s)

"""Where questions and wishes meet the scheduler: what the API can do, without HTTP.

Everything that touches the scheduler runs on the loop's thread (:meth:`RayCluster.ask`), so an
answer is of one instant, and a wish is journalled and decided on before its answer is given.
Answers are JSON values; the rows of `plan` and `why` are :class:`jetsched.records.Row`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, get_args

from jetsched.cluster.desk_boards import BoardDesk
from jetsched.cluster.desk_control import ControlDesk
from jetsched.cluster.desk_costs import CostDesk
from jetsched.cluster.desk_logs import LogDesk
from jetsched.cluster.desk_timeline import TimelineDesk
from jetsched.cluster.figures import Figures, waiting_by_reason
from jetsched.records import State
from jetsched.scheduler.checks import policy_name

STATES: tuple[State, ...] = get_args(State)


class Desk(ControlDesk, BoardDesk, LogDesk, TimelineDesk, CostDesk):
    """Answers for one scheduler on one cluster. Methods may be called from any thread."""

    def health(self) -> dict[str, Any]:
        """The policy, its mistakes, and how many jobs there are in each state."""

        def answer(now_s: float) -> dict[str, Any]:
            scheduler = self._scheduler
            return {
                "policy": policy_name(scheduler.policy),
                "policy_errors": scheduler.policy_errors[-10:],
                "devices": len(scheduler.fleet.devices),
                "boards": len(self._cluster.boards),  # with those that are not there
                "waiting": len(scheduler.queue),
                "held": len(scheduler.held),
                "paused": scheduler.paused.text if scheduler.paused is not None else None,
                "jobs": len(scheduler.jobs),
                "states": self._states(),
                "at_s": now_s,
            }

        return self._cluster.ask(answer)

    def figures(self) -> Figures:
        """What /metrics tells."""

        def answer(now_s: float) -> Figures:
            scheduler = self._scheduler
            return Figures(
                policy=policy_name(scheduler.policy),
                policy_errors=len(scheduler.policy_errors),
                paused=scheduler.paused is not None,
                states=self._states(),
                waiting=waiting_by_reason(scheduler, now_s),
                devices=self._boards(now_s),
                events=self._feed.changes,
                ended=self._tally.ended(),
            )

        return self._cluster.ask(answer)

    def turn(self) -> None:
        """Wait until the loop comes round. Raises :class:`UnreachableError` if it does not."""
        self._cluster.ask(lambda now_s: None)

    def _states(self) -> dict[str, int]:
        counts = Counter(record.state for record in self._scheduler.jobs.values())
        return {state: counts[state] for state in STATES}

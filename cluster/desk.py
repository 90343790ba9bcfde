"""Where questions and wishes meet the scheduler: what the API can do, without HTTP.

Everything that touches the scheduler runs on the loop's thread (:meth:`RayCluster.ask`), so an
answer is of one instant, and a wish is journalled and decided on before its answer is given.
Answers are JSON values; the rows of `plan` and `why` are :class:`jetsched.records.Row`.
"""

from __future__ import annotations

from typing import Any

from jetsched.cluster.desk_boards import BoardDesk
from jetsched.cluster.desk_control import ControlDesk
from jetsched.cluster.desk_logs import LogDesk
from jetsched.scheduler.checks import policy_name


class Desk(ControlDesk, BoardDesk, LogDesk):
    """Answers for one scheduler on one cluster. Methods may be called from any thread."""

    def health(self) -> dict[str, Any]:
        """A few numbers that show that the loop turns."""

        def answer(now_s: float) -> dict[str, Any]:
            scheduler = self._scheduler
            return {
                "policy": policy_name(scheduler.policy),
                "policy_errors": scheduler.policy_errors[-10:],
                "devices": len(scheduler.fleet.devices),
                "waiting": len(scheduler.queue),
                "held": len(scheduler.held),
                "jobs": len(scheduler.jobs),
                "at_s": now_s,
            }

        return self._cluster.ask(answer)

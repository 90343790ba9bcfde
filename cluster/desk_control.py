"""Wishes at the desk that steer: stop a job, have another policy decide."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jetsched.cluster.desk_jobs import JobDesk
from jetsched.cluster.livepolicy import live_policy
from jetsched.errors import InputError
from jetsched.policies.specs import Spec
from jetsched.records import FINAL_STATES
from jetsched.scheduler.checks import policy_name
from jetsched.scheduler.events import CancelAsked, Event, PolicyChanged


class ControlDesk(JobDesk):
    """Takes wishes, and answers with what became of them. Methods may be called from any thread."""

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Stop a job, wherever it is. Raises :class:`InputError` for one that has ended."""

        def before(now_s: float) -> Iterable[Event]:
            record = self._record(job_id)
            if record.state in FINAL_STATES:
                raise InputError(f"job {job_id} has ended already: {record.state}")
            return [CancelAsked(now_s, job_id)]

        return self._cluster.ask(
            lambda now_s: self._row(self._record(job_id), now_s, {}), before=before
        )

    def use_policy(self, spec: str) -> dict[str, Any]:
        """Have another policy decide, from now on and about everything that waits.

        The journal knows it by its spec, for the scheduler that is started next on this cluster.
        Raises :class:`InputError` for one that cannot be loaded; the old one goes on then.
        """
        chosen, spec = live_policy(spec), Spec.of(spec).absolute
        old = policy_name(self._scheduler.policy)

        def before(now_s: float) -> Iterable[Event]:
            self._scheduler.policy = chosen
            return [PolicyChanged(now_s, spec)]

        return self._cluster.ask(
            lambda now_s: {"policy": policy_name(chosen), "before": old}, before=before
        )

"""Another policy for the running cluster: tested first, then put in place without a pause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from jetsched.cluster.client import Client
from jetsched.cluster.policytest import PolicyReport, try_policy
from jetsched.cluster.state import alone, read_state, write_state
from jetsched.files import home as data_home
from jetsched.policies.specs import Spec


@dataclass(frozen=True)
class Switch:
    """What came of it. ``done`` is False where the policy breaks its contract: nothing changed."""

    spec: str
    policy: str
    before: str  # the spec of the one that decided
    done: bool
    report: PolicyReport


def switch_policy(
    spec: str,
    *,
    home: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Switch:
    """Have the scheduler of this machine decide by another policy, if it keeps its contract.

    The cluster's state file remembers it, for a scheduler that is started again. Raises
    :class:`UnreachableError` where no scheduler runs, :class:`InputError` for a policy that cannot
    be loaded here or there.
    """
    home = (home or data_home()).absolute()
    with Client.connect(home) as client:
        state = read_state(home)
        before = state.policy if state is not None else client.status()["policy"]
        report = try_policy(spec, benchmark=False, progress=progress)
        if report.errors:
            return Switch(spec, report.policy, before, False, report)
        with alone(home, f"`jetsched up` or `down` is at work in {home}"):
            wanted = Spec.of(spec).absolute
            told = client.use_policy(wanted)
            state = read_state(home)
            if state is not None:
                write_state(home, replace(state, policy=wanted))
        return Switch(spec, told["policy"], before, True, report)

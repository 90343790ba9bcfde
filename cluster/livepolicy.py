"""Policies for real boards, which run one GPU job at a time."""

from __future__ import annotations

from jetsched import policies
from jetsched.cluster.guard import LIVE_S, guarded
from jetsched.errors import InputError
from jetsched.scheduler.view import Policy


def live_policy(spec: str) -> Policy:
    """Make a policy, with a time budget for each decision.

    Raises :class:`InputError` for what :func:`jetsched.policies.load` cannot make, and for one that
    needs boards to be shared: jobs there would have to be stretched and admitted together, which
    nothing on a board does.
    """
    policy = policies.load(spec, seed=0)
    if getattr(policy, "shares_boards", False):
        raise InputError(
            f"{spec} puts several jobs on a board, and a real one runs one GPU job at a time",
            hint="it is for simulations: jetsched simulate --policy colocation --share 2",
        )
    return guarded(policy, LIVE_S)

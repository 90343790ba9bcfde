"""Where the runs of a comparison are computed: which engine suits how many of them."""

from __future__ import annotations

import os
from collections.abc import Callable

from jetsched.cluster.fanout import LIMIT_S, Children, Engine
from jetsched.cluster.onray import OnRay
from jetsched.errors import InputError

#: From so many runs on they go to Ray unasked. Fewer are over before it is worth its start.
RUNS_FOR_RAY = 1000


def engine_for(
    runs: int,
    *,
    at_once: int | None = None,
    on_ray: bool | None = None,
    address: str | None = None,
    limit_s: float = LIMIT_S,
    say: Callable[[str], None] = lambda text: None,
) -> Engine:
    """An engine for so many runs, ``at_once`` of them at a time: as many as there are processors.

    ``on_ray`` says yes or no to Ray, a private one of this machine or the cluster at ``address``;
    None leaves it to :data:`RUNS_FOR_RAY`, and if Ray does not start then, children do it.
    Raises :class:`InputError` for options that make no sense.
    """
    count = processes(at_once)
    if address is not None and on_ray is False:
        raise InputError("--ray ADDRESS and --no-on-ray do not go together")
    children = Children(count, limit_s)
    if address is not None:
        return OnRay(at_once, limit_s, address=address)
    if on_ray:
        return OnRay(count, limit_s)
    if on_ray is None and runs >= RUNS_FOR_RAY:
        say(f"{runs:,} runs: on Ray (--no-on-ray: in child processes)")
        return OnRay(count, limit_s, otherwise=children, say=say)
    return children


def processes(at_once: int | None) -> int:
    """How many run at a time: so many, or one per processor. Raises :class:`InputError`."""
    if at_once is not None and at_once < 1:
        raise InputError(f"--jobs-parallel {at_once} runs nothing", hint="--jobs-parallel 2")
    return at_once or len(os.sched_getaffinity(0))

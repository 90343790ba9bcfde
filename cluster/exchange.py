"""Everything that the head has to say to an agent at once, and what it answers: one call.

A board has one such call at a time. It carries what was decided since the last one, so that many
short jobs cost a call per turn and not several each.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jetsched.cluster.protocol import Info, Key, Order, Reading, Report
from jetsched.records import Outcome

if TYPE_CHECKING:
    from jetsched.cluster.agent import Agent

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wishes:
    """What an agent is to do, in this order, and what it is to tell.

    ``forget`` are attempts whose result the head has; ``stops`` have the outcome with which they
    are to end. ``offsets`` are the attempts that the head asks about, with how much of the log it
    has; None: it wants none. With ``look`` the node says how it is doing. ``drop`` are jobs that
    ended for good: their checkpoints go.
    """

    forget: tuple[Key, ...] = ()
    stops: tuple[tuple[Key, Outcome], ...] = ()
    starts: tuple[Order, ...] = ()
    offsets: Mapping[Key, int | None] = field(default_factory=dict)
    look: bool = False
    drop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answers:
    """How the attempts are doing that were asked about, were started or live on the node.

    ``failed`` says of orders why they could not be started; ``info`` and ``reading`` are there if
    they were asked for, the reading also where something went wrong that may be the node's trouble.
    """

    reports: Mapping[Key, Report]
    failed: Mapping[Key, str] = field(default_factory=dict)
    info: Info | None = None
    reading: Reading | None = None


async def carry_out(agent: Agent, wishes: Wishes) -> Answers:
    """What an agent does with wishes. What fails for one attempt does not concern the others."""
    failed: dict[Key, str] = {}
    for key in wishes.forget:
        try:
            await agent.forget(key)
        except Exception:  # its folder stays until the node is pruned
            log.exception("%s-%d cannot be forgotten", *key)
    if wishes.drop:
        await agent.drop(wishes.drop)
    for key, outcome in wishes.stops:
        await agent.stop(key, outcome)
    for order in wishes.starts:
        try:
            await agent.start(order)
        except Exception as error:
            log.exception("%s-%d could not be started", *order.key)
            failed[order.key] = f"{type(error).__name__}: {error}"
    started = {order.key: 0 for order in wishes.starts if order.key not in failed}
    reports = await agent.poll({**wishes.offsets, **started})
    if wishes.look:
        return Answers(reports, failed, await agent.info(), await agent.reading())
    # What went wrong for the node's sake goes wrong again until the head knows how the node is.
    wrong = any(_is_of_the_node(report) for report in reports.values())
    return Answers(reports, failed, reading=await agent.reading() if wrong else None)


def _is_of_the_node(report: Report) -> bool:
    """Whether an attempt was not started, or has ended, for what may be the node's own trouble."""
    ended = report.measurement
    if ended is None:
        return report.phase == "unknown" and bool(report.text)
    return ended.outcome in ("lost", "killed_heat")

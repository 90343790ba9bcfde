"""Journals as a live scheduler writes them, made in virtual time, for tests of the past."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from jetsched import policies
from jetsched.cluster.fleet import default_fleet
from jetsched.cluster.livepolicy import live_policy
from jetsched.cluster.paper_world import paper_mix, paper_truth
from jetsched.cluster.simulated import Outage, SimulatedCluster
from jetsched.cluster.store import JOURNAL, Store
from jetsched.profiler.bundled import bundled_profile
from jetsched.profiler.costs import CostModel
from jetsched.records import Job
from jetsched.scheduler.core import Scheduler
from jetsched.scheduler.events import Event, Learned, PolicyChanged, ServiceStarted


def write_journal(
    folder: Path,
    *,
    policy: str = "earliest_finish",
    count: int = 40,
    jobs: Sequence[Job] | None = None,
    outages: Iterable[Outage] = (),
    also: Sequence[Event] = (),
    aging_s: float = 0.0,
    began: bool = True,
    seed: int = 4,
) -> Path:
    """A scheduler works through the paper's mix on its two boards; returns the journal it wrote.

    ``also`` happens beside: a policy that changes is put in place, as the desk does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    store = Store(folder / JOURNAL)
    scheduler = Scheduler(
        live_policy(policy),
        CostModel(),
        fallback=policies.load(policies.FALLBACK),
        journal=store,
        aging_s=aging_s,
    )
    if began:
        scheduler.handle(ServiceStarted(0.0, policy, aging_s))
    scheduler.handle(Learned(0.0, tuple(bundled_profile())))
    cluster = SimulatedCluster(
        default_fleet(),
        jobs if jobs is not None else paper_mix(count, seed, mean_gap_s=600.0),
        paper_truth(),
        seed=0,
        outages=outages,
        also=also,
        measures="all",
    )
    for event in cluster.events():
        if isinstance(event, PolicyChanged):
            scheduler.policy = live_policy(event.policy)
        for action in scheduler.handle(event):
            cluster.perform(action)
    store.close()
    return folder / JOURNAL
